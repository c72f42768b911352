"""Each row of docs/migration.md's differences from PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense, Dropout
from fastdnn.layer import Layer
from tests.migration import Cells, Table, exported, flushes, imported, names, numbers

row = Table("PyTorch")
LR, MU = 0.1, 0.9


def scalar(optimizer: Any = "sgd", x: float = 1.0, **settings: Any) -> Any:
    """A network a = w x, whose squared error from y = 0 has the derivative 2 w x^2."""
    layer = Dense(1, use_bias=False, **settings)
    model = fastdnn.Sequential([layer], input_size=1, dtype="float64", seed=0)
    model.compile(optimizer, "mse")
    layer.W = 1.0
    return model


def data(m: int = 1, x: float = 1.0) -> tuple[Any, Any]:
    return np.full((m, 1), x), np.zeros(m)


def signature(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


@row("Start of W")
def test_start_of_W(cells: Cells) -> None:
    assert Dense(3, "relu").kernel_initializer == "he_normal"
    assert Dense(3, "tanh").kernel_initializer == "glorot_uniform"
    W = imported("PyTorch").nn.Linear(100, 500).weight.detach().numpy()
    assert 0.99 / sqrt(100) < abs(W).max() <= 1 / sqrt(100)


@row("Start of b")
def test_start_of_b(cells: Cells) -> None:
    (want,) = numbers(cells.ours)
    assert (fastdnn.Sequential([Dense(500)], input_size=100).layers[0].b == want).all()
    b = imported("PyTorch").nn.Linear(100, 500).bias.detach().numpy()
    assert 0.99 / sqrt(100) < abs(b).max() <= 1 / sqrt(100)


@row("`SGD`'s rate")
def test_rate_of_sgd(cells: Cells) -> None:
    assert numbers(cells.ours) == [fastdnn.SGD().learning_rate]
    assert numbers(cells.theirs) == [signature(imported("PyTorch").optim.SGD, "lr")]


@row("`RMSprop`'s rate and ρ")
def test_rmsprop(cells: Cells) -> None:
    ours = fastdnn.RMSprop()
    assert numbers(cells.ours) == [ours.learning_rate, getattr(ours, names(cells.ours)[0])]
    theirs = imported("PyTorch").optim.RMSprop
    (name,) = names(cells.theirs)
    assert numbers(cells.theirs) == [signature(theirs, "lr"), signature(theirs, name)]


@row("`AdamW`'s weight decay")
def test_adamw(cells: Cells) -> None:
    assert numbers(cells.ours) == [fastdnn.AdamW().weight_decay]
    assert numbers(cells.theirs) == [signature(imported("PyTorch").optim.AdamW, "weight_decay")]


@row("`weight_decay` of the others")
def test_weight_decay(cells: Cells) -> None:
    for kind in (fastdnn.SGD, fastdnn.RMSprop, fastdnn.Adam):
        with pytest.raises(TypeError, match="weight_decay"):
            kind(weight_decay=0.1)  # type: ignore[call-arg]
    torch = imported("PyTorch")
    w = torch.ones(1, requires_grad=True)
    for kind in (torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam):
        assert signature(kind, "weight_decay") == 0
    optimizer = torch.optim.SGD([w], lr=LR, weight_decay=0.5)
    w.grad = torch.zeros(1)
    optimizer.step()
    assert w.item() == pytest.approx(1 - LR * 0.5)


@row("Momentum")
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(cells: Cells, nesterov: bool) -> None:
    """Two steps, the second with a tenth of the rate."""
    optimizer = fastdnn.SGD(LR, momentum=MU, nesterov=nesterov)
    model = scalar(optimizer)
    g, W = [], []
    for rate in (LR, LR / 10):
        model.optimizer.learning_rate = rate  # the model has a copy
        g.append(2 * model.layers[0].W.item())
        model.train_on_batch(*data())
        W.append(model.layers[0].W.item())
    v = MU * -LR * g[0] - LR / 10 * g[1]
    assert W[1] - W[0] == pytest.approx(MU * v - LR / 10 * g[1] if nesterov else v)
    torch = imported("PyTorch")
    w = torch.ones(1, requires_grad=True, dtype=torch.float64)
    theirs = torch.optim.SGD([w], lr=LR, momentum=MU, nesterov=nesterov)
    for i, rate in enumerate((LR, LR / 10)):
        theirs.param_groups[0]["lr"] = rate
        w.grad = torch.tensor([g[i]], dtype=torch.float64)
        before = w.item()
        theirs.step()
        if i == 0:
            assert w.item() == pytest.approx(W[0])
    v = MU * g[0] + g[1]
    assert w.item() - before == pytest.approx(-LR / 10 * (MU * v + g[1] if nesterov else v))


@row("Clipping")
def test_clipping(cells: Cells) -> None:
    """A gradient of 2e-6, clipped to half its norm."""
    x = 1e-3
    for clip in ("clipnorm", "global_clipnorm"):
        model = scalar(fastdnn.SGD(1.0, **{clip: x**2}), x)
        model.train_on_batch(*data(x=x))
        assert 1 - model.layers[0].W.item() == pytest.approx(x**2)
    torch = imported("PyTorch")
    w = torch.ones(1, requires_grad=True, dtype=torch.float64)
    w.grad = torch.full((1,), 2 * x**2, dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_([w], x**2)
    (added,) = numbers(cells.theirs)
    assert w.grad.item() == pytest.approx(2 * x**2 * x**2 / (2 * x**2 + added))


@row("Schedules")
def test_schedules(cells: Cells) -> None:
    model = scalar(fastdnn.SGD(fastdnn.StepDecay(LR, 0.1, every_steps=4)))
    history = model.fit(*data(8), batch_size=4, epochs=3, verbose=0)
    assert history.history["learning_rate"] == pytest.approx([LR, LR, LR / 10])
    torch = imported("PyTorch")
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=LR)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    rates = []
    for _ in range(3):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([LR, LR, LR / 10])


@row("The network's output")
def test_output(cells: Cells) -> None:
    Z = np.array([[1.0, 2.0, 4.0]])
    model = fastdnn.Sequential([Dense(3, "softmax")], input_size=3, dtype="float64")
    model.layers[0].W = np.eye(3)
    A = np.exp(Z) / np.exp(Z).sum()
    assert model.predict(Z) == pytest.approx(A)
    model.compile(loss="sparse_categorical_crossentropy")
    loss = model.evaluate(Z, [0])["loss"]
    logits = fastdnn.Sequential([Dense(3)], input_size=3, dtype="float64")
    logits.layers[0].W = np.eye(3)
    logits.compile(loss=fastdnn.SparseCategoricalCrossentropy(from_logits=True))
    assert logits.predict(Z) == pytest.approx(Z)
    assert logits.evaluate(Z, [0])["loss"] == pytest.approx(loss)
    torch = imported("PyTorch")
    theirs = getattr(torch.nn, names(cells.theirs)[0])()
    assert theirs(torch.tensor(Z), torch.tensor([0])).item() == pytest.approx(loss)


@row("Weights of classes")
def test_weights_of_classes(cells: Cells) -> None:
    Z, y, weight = np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([0, 1]), {0: 3.0, 1: 2.0}
    losses = np.log(np.exp(Z).sum(axis=1)) - Z[[0, 1], y]
    total = weight[0] * losses[0] + weight[1] * losses[1]
    model = fastdnn.Sequential([Dense(2, "softmax")], input_size=2, dtype="float64")
    model.layers[0].W = np.eye(2)
    model.compile(fastdnn.SGD(0.0), "sparse_categorical_crossentropy")
    history = model.fit(Z, y, class_weight=weight, verbose=0)
    assert history.history["loss"] == pytest.approx([total / len(y)])
    torch = imported("PyTorch")
    function = torch.nn.CrossEntropyLoss(torch.tensor(list(weight.values()), dtype=torch.float64))
    loss = function(torch.tensor(Z), torch.tensor(y)).item()
    assert loss == pytest.approx(total / sum(weight.values()))


@row("`train()` and `eval()`")
def test_modes(cells: Cells) -> None:
    layers = [Dropout(0.5), Dense(1, kernel_initializer="glorot_normal")]
    model = fastdnn.Sequential(layers, input_size=30, dtype="float64", seed=0)
    model.compile(fastdnn.SGD(0.0), "mse")
    X, y = np.ones((1, 30)), np.zeros(1)
    loss = model.evaluate(X, y)["loss"]
    assert loss == pytest.approx(model.predict(X).item() ** 2)
    assert model.fit(X, y, verbose=0).history["loss"][0] != pytest.approx(loss)
    assert not hasattr(model, "train")
    assert not hasattr(model, "eval")
    dropout = imported("PyTorch").nn.Dropout(0.5)
    assert dropout.training
    assert not dropout.eval().training


@row("Gradients")
def test_gradients(cells: Cells) -> None:
    with pytest.raises(TypeError, match="derivative"):
        fastdnn.ScalarLoss(lambda a, y: (a - y) ** 2)  # type: ignore[call-arg]
    (name,) = names(cells.ours)
    loss, [(dW, db)] = getattr(scalar(), name)(*data())
    assert (loss, dW.item(), db) == (1.0, 2.0, None)
    assert hasattr(imported("PyTorch"), "autograd")


@row("Layers")
def test_layers(cells: Cells) -> None:
    assert exported(Layer) == set(names(cells.ours))
    torch = imported("PyTorch")
    assert all(hasattr(torch.nn, one) for one in ("Conv2d", "LSTM", "BatchNorm1d", "Embedding"))


@row("Moving variance of a batch norm")
def test_moving_variance(cells: Cells) -> None:
    torch = imported("PyTorch")
    X, m = np.random.default_rng(0).normal(size=(5, 2)), 5
    layer, norm = fastdnn.BatchNormalization(0.0), torch.nn.BatchNorm1d(2, momentum=1.0)
    model = fastdnn.Sequential([layer, Dense(1)], input_size=2)
    model.compile("sgd", "mse")
    model.train_on_batch(X, np.zeros((m, 1)))
    norm(torch.tensor(X).float())
    np.testing.assert_allclose(layer.moving_variance, X.var(0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, X.var(0) * m / (m - 1), rtol=1e-5)


@row("Data")
def test_data(cells: Cells) -> None:
    def batches() -> Iterator[Any]:
        yield data()

    model = scalar()
    model.fit([[1.0], [2.0]], [0.0, 1.0], verbose=0)  # NumPy makes arrays of them
    model.fit(batches, epochs=2, verbose=0)
    torch = imported("PyTorch")
    model.fit(torch.ones(2, 1), torch.ones(2), verbose=0)  # and of tensors
    before = model._state.steps
    model.fit(torch.utils.data.DataLoader([data()] * 3, batch_size=None), verbose=0)
    assert model._state.steps == before + 3


@row("X of another dtype than the model")
def test_dtype(cells: Cells) -> None:
    X = data(3)[0]
    assert X.dtype == "float64"
    assert fastdnn.Sequential([Dense(2)], input_size=1).predict(X).dtype == "float32"
    torch = imported("PyTorch")
    with pytest.raises(RuntimeError, match="dtype"):
        torch.nn.Linear(1, 2)(torch.tensor(X))


@row("NaN or infinity in X")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan(cells: Cells, value: float) -> None:
    model = scalar()
    with pytest.raises(ValueError, match="X: want finite numbers"):
        model.fit([[value]], [0.0], verbose=0)
    assert model.parameters == [1.0]
    torch = imported("PyTorch")
    assert not torch.isfinite(torch.nn.Linear(1, 1)(torch.tensor([[value]]))).any()


@row("A run that diverges")
def test_divergence(cells: Cells) -> None:
    (error,) = names(cells.ours)
    model = scalar(fastdnn.SGD(1e200))
    with pytest.raises(getattr(fastdnn, error), match="step"):
        model.fit(*data(), epochs=9, verbose=0)
    assert np.isfinite(model.parameters).all()
    torch = imported("PyTorch")
    w = torch.ones(1, requires_grad=True, dtype=torch.float64)
    optimizer = torch.optim.SGD([w], lr=1e200)
    for _ in range(9):
        optimizer.zero_grad()
        (w**2).backward()
        optimizer.step()
    assert torch.isnan(w)


@row("Names of saved tensors")
def test_names_of_tensors(cells: Cells, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = fastdnn.Sequential([Dense(2), Dense(3)], input_size=1)
    model.save(tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    assert set(names(cells.ours)) <= set(tensors)
    assert tensors["W2"].shape == (3, 2)
    nn = imported("PyTorch").nn
    theirs = nn.Sequential(nn.Linear(1, 2)).state_dict()
    assert [f"`{name}`" for name in theirs] == cells.theirs.split(", ")[:2]


@row("Random numbers")
def test_random_numbers(cells: Cells) -> None:
    def start(seed: int) -> Any:
        return fastdnn.Sequential([Dense(3)], input_size=4, seed=seed).parameters

    assert np.array_equal(start(0), start(0))
    assert not np.array_equal(start(0), start(1))
    torch = imported("PyTorch")
    torch.manual_seed(0)
    W = torch.empty(3, 4)
    torch.nn.init.xavier_uniform_(W)
    assert not np.allclose(start(0)[:12], W.numpy().reshape(-1))


@row("The same bits for any number of threads")
def test_bits(cells: Cells) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((600, 50)), rng.standard_normal(600)
    found = []
    for n_threads in (1, 2, 3):
        model = fastdnn.Sequential([Dense(200, "relu"), Dense(1)], seed=0)
        model.compile("adam", "mse")
        with fastdnn.num_threads(n_threads):
            model.fit(X, y, batch_size=300, epochs=3, verbose=0)
        found.append(model.parameters)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@row("Numbers below the smallest normal one")
def test_small_numbers(cells: Cells) -> None:
    model = scalar()
    model.layers[0].W = 1e-160
    assert (model.predict([[1e-160]]) == 0).all() == flushes()
    torch = imported("PyTorch")
    assert hasattr(torch, "set_flush_denormal")
    assert (torch.tensor([1e-160], dtype=torch.float64) * 1e-160).item() > 0


@row("Devices")
def test_devices(cells: Cells) -> None:
    assert "device" not in inspect.signature(fastdnn.Sequential).parameters
    torch = imported("PyTorch")
    assert {torch.device(name).type for name in names(cells.theirs)} == set(names(cells.theirs))


def test_every_row_is_tested() -> None:
    assert row.tested == set(row.rows)
