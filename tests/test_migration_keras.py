"""Each row of docs/migration.md's differences from Keras."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense
from fastdnn.initializers import INITIALIZERS
from fastdnn.layers import Layer
from fastdnn.optimizers import OPTIMIZERS, Optimizer
from tests.migration import Cells, Table, exported, flushes, imported, names, numbers

row = Table("Keras")
# Keras calls deprecated parts of NumPy, and warns that a generator is not shuffled.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]
LOSS = "sparse_categorical_crossentropy"


def default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def step(optimizer: Any, g: float) -> float:
    """What a step changes, with fastdnn, where the gradient is g."""
    model = fastdnn.Sequential([Dense(1, use_bias=False)], input_size=1, dtype="float64")
    model.compile(optimizer, "mse")
    model.layers[0].W = 0.0
    model.train_on_batch([[1.0]], [-g / 2])
    return float(model.layers[0].W.item())


def their_step(optimizer: Any, g: float) -> float:
    keras = imported("Keras")
    w = keras.Variable([0.0], dtype="float64")
    optimizer.apply([keras.ops.convert_to_tensor([g], "float64")], [w])
    return float(keras.ops.convert_to_numpy(w)[0])


def networks(Z: Any) -> tuple[Any, Callable[..., Any]]:
    """Two networks that are softmax(Z) at X = 1."""
    n = len(Z)
    model = fastdnn.Sequential([Dense(n, "softmax", use_bias=False)], input_size=1)
    model.layers[0].W = np.reshape(Z, (n, 1))
    model.compile(fastdnn.SGD(0.1), LOSS, ["accuracy"])

    def theirs(*metrics: str) -> Any:
        keras = imported("Keras")
        layer = keras.layers.Dense(n, "softmax", use_bias=False)
        network = keras.Sequential([keras.Input((1,)), layer])
        network.set_weights([np.reshape(Z, (1, n))])
        network.compile(keras.optimizers.SGD(0.1), LOSS, metrics=list(metrics))
        return network

    return model, theirs


@row("ε of `Adam` and `AdamW`")
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_epsilon_of_adam(cells: Cells, kind: str) -> None:
    """The first step of a gradient as small as epsilon: m = (1 - b1) g, v = (1 - b2) g^2."""
    ours = getattr(fastdnn, kind)()
    assert numbers(cells.ours) == [ours.epsilon]
    assert step(ours, 1e-8) == pytest.approx(-1e-3 * 1e-8 / (1e-8 + 1e-8))
    theirs = getattr(imported("Keras").optimizers, kind)()
    assert numbers(cells.theirs) == [theirs.epsilon]
    root = sqrt(1 - 0.999)
    assert their_step(theirs, 1e-7) == pytest.approx(
        -1e-3 * root / (1 - 0.9) * (1 - 0.9) * 1e-7 / (root * 1e-7 + 1e-7), rel=1e-5
    )


@row("ε of `RMSprop`")
def test_epsilon_of_rmsprop(cells: Cells) -> None:
    ours = fastdnn.RMSprop()
    assert numbers(cells.ours) == [ours.epsilon]
    assert step(ours, 1e-8) == pytest.approx(-1e-3 * 1e-8 / (sqrt(0.1) * 1e-8 + 1e-8))
    theirs = imported("Keras").optimizers.RMSprop()
    assert numbers(cells.theirs) == [theirs.epsilon]
    assert their_step(theirs, 1e-7) == pytest.approx(
        -1e-3 * 1e-7 / sqrt(0.1 * 1e-14 + 1e-7), rel=1e-5
    )


@row("Optimizers")
def test_optimizers(cells: Cells) -> None:
    assert exported(Optimizer) == set(names(cells.ours))
    assert {kind.__name__ for kind in OPTIMIZERS.values()} == set(names(cells.ours))
    more = names(cells.theirs)
    for kind in OPTIMIZERS.values():
        assert not set(more) & set(inspect.signature(kind).parameters)
    keras = imported("Keras")
    assert hasattr(keras.optimizers, "Adagrad")
    assert set(more) <= set(inspect.signature(keras.optimizers.Adam).parameters)


@row("`weight_decay`")
def test_weight_decay(cells: Cells) -> None:
    with_it = [
        kind.__name__
        for kind in OPTIMIZERS.values()
        if "weight_decay" in inspect.signature(kind).parameters
    ]
    assert with_it == names(cells.ours)
    keras = imported("Keras")
    for name in exported(Optimizer):
        theirs = getattr(keras.optimizers, name)
        assert "weight_decay" in inspect.signature(theirs).parameters


@row("`compile` without arguments")
def test_compile(cells: Cells) -> None:
    ours = fastdnn.Sequential.compile
    assert f'"{default(ours, "optimizer")}", "{default(ours, "loss")}"' == cells.ours
    theirs = imported("Keras").Model.compile
    assert default(theirs, "loss") is None
    assert f'"{default(theirs, "optimizer")}", no loss' == cells.theirs


@row("The third argument of `compile`")
def test_third_argument(cells: Cells) -> None:
    def third(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)[3:4]  # self is the first

    assert third(fastdnn.Sequential.compile) == names(cells.ours)
    assert third(imported("Keras").Model.compile) == names(cells.theirs)


@row("Start of W")
def test_start(cells: Cells) -> None:
    assert Dense(3, "relu").kernel_initializer == "he_normal"
    assert Dense(3, "tanh").kernel_initializer == Dense(3).kernel_initializer == "glorot_uniform"
    assert default(imported("Keras").layers.Dense, "kernel_initializer") == "glorot_uniform"


@row("Normal starts")
@pytest.mark.parametrize("name", ["he_normal", "glorot_normal", "lecun_normal"])
def test_normal_starts(cells: Cells, name: str) -> None:
    """A normal distribution cut off at 2 of its own deviations has 0.8796 of that deviation."""
    W = INITIALIZERS[name](100, 1000, np.random.default_rng(0))
    limit = 1.01 * numbers(cells.theirs)[0] * W.std() / 0.8796
    assert (abs(W) > limit).mean() > 0.01
    keras = imported("Keras")
    theirs = keras.ops.convert_to_numpy(keras.initializers.get(name)((1000, 100)))
    assert theirs.std() == pytest.approx(W.std(), rel=0.02)
    assert (abs(theirs) > limit).mean() < 1e-4  # its PyTorch backend lets some through


@row('Slope of "leaky_relu"')
def test_leaky_relu(cells: Cells) -> None:
    model = fastdnn.Sequential([Dense(1, "leaky_relu")], input_size=1)
    model.layers[0].W = 1.0
    assert numbers(cells.ours) == pytest.approx([-model.predict([[-1.0]]).item()])
    keras = imported("Keras")
    theirs = keras.activations.leaky_relu(keras.ops.convert_to_tensor([-1.0]))
    assert numbers(cells.theirs) == pytest.approx([-float(theirs[0])])


@row("Cross-entropy after softmax or sigmoid")
def test_crossentropy(cells: Cells) -> None:
    model, theirs = networks([50.0, 0.0])
    assert model.evaluate([[1.0]], [1])["loss"] == pytest.approx(50.0)
    loss = theirs().evaluate(np.ones((1, 1)), np.array([1]), verbose=0)
    lowest = numbers(cells.theirs)[0]
    assert loss == pytest.approx(-np.log(lowest), rel=1e-3)


@row("`evaluate`")
def test_evaluate(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    assert set(model.evaluate([[1.0]], [1])) == {"loss", "accuracy"}
    (flag,) = names(cells.theirs)
    network = theirs("accuracy")
    X, y = np.ones((1, 1)), np.array([1])
    assert isinstance(network.evaluate(X, y, verbose=0), list)
    assert isinstance(network.evaluate(X, y, verbose=0, **{flag: True}), dict)


@row("`train_on_batch`")
def test_train_on_batch(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    assert set(model.train_on_batch([[1.0]], [1])) == {"loss", "accuracy"}
    (flag,) = names(cells.theirs)
    network = theirs("accuracy")
    X, y = np.ones((1, 1)), np.array([1])
    assert isinstance(network.train_on_batch(X, y), list)
    assert isinstance(network.train_on_batch(X, y, **{flag: True}), dict)
    assert np.ndim(theirs().train_on_batch(X, y)) == 0


@row("`batch_size` of `evaluate` and `predict`")
def test_batch_size(cells: Cells) -> None:
    from fastdnn.training import EVALUATION_BATCH

    assert numbers(cells.ours) == [EVALUATION_BATCH]
    model, theirs = networks([1.0, 0.0, 2.0])
    X, y = np.random.default_rng(0).normal(size=(70, 1)), np.arange(70) % 3
    assert np.array_equal(model.predict(X, batch_size=1), model.predict(X))
    assert model.evaluate(X, y, batch_size=9) == pytest.approx(model.evaluate(X, y))
    network, seen = theirs(), []

    class Count(imported("Keras").callbacks.Callback):  # type: ignore[misc]
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)

    network.predict(X, callbacks=[Count()], verbose=0)
    assert len(seen) == -(-len(X) // numbers(cells.theirs)[0])


@row('`history["learning_rate"]`')
def test_learning_rate(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    model.compile(fastdnn.SGD(fastdnn.StepDecay(0.1, 0.5, every_steps=1)), LOSS)
    X, y = np.ones((4, 1)), np.zeros(4, int)
    history = model.fit(X, y, batch_size=2, epochs=2, verbose=0)
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.025])
    network = theirs()
    assert "learning_rate" not in network.fit(X, y, verbose=0).history
    lower = imported("Keras").callbacks.ReduceLROnPlateau("loss")
    assert "learning_rate" in network.fit(X, y, callbacks=[lower], verbose=0).history


@row("`sample_weight` with `class_weight`")
def test_both_weights(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    X, y = np.ones((2, 1)), np.array([0, 1])
    settings: dict[str, Any] = {"class_weight": {1: 3.0}, "sample_weight": np.array([0.0, 2.0])}
    loss = model.evaluate(X[:1], y[1:])["loss"]
    history = model.fit(X, y, verbose=0, **settings)
    assert history.history["loss"] == pytest.approx([2 * 3 * loss / 2])
    with pytest.raises(ValueError, match="class_weight"):
        theirs().fit(X, y, verbose=0, **settings)


@row("Weighted metrics")
def test_weighted_metrics(cells: Cells) -> None:
    model, _ = networks([1.0, 0.0])
    X, y = np.ones((2, 1)), np.array([0, 1])
    assert model.evaluate(X, y, sample_weight=[1.0, 0.0])["accuracy"] == 0.5
    (name,) = names(cells.theirs)
    assert name not in inspect.signature(model.compile).parameters
    assert name in inspect.signature(imported("Keras").Model.compile).parameters


@row("A metric's function")
def test_metric(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    X, y, seen = np.ones((70, 1)), np.zeros(70, int), []

    def spy(y_true: Any, y_pred: Any) -> Any:
        seen.append((type(y_pred), len(y_true)))
        return y_pred[:, 0].mean()

    model.compile("sgd", LOSS, [spy])
    model.evaluate(X, y)
    assert seen == [(np.ndarray, 70)]
    network = theirs()
    seen.clear()
    network.compile("sgd", LOSS, metrics=[spy], run_eagerly=True)
    network.evaluate(X, y, verbose=0)
    assert len(seen) >= 3
    assert np.ndarray not in dict(seen)


@row("Layers")
def test_layers(cells: Cells) -> None:
    assert exported(Layer) == set(names(cells.ours))
    layers = imported("Keras").layers
    assert all(hasattr(layers, name) for name in ("Conv2D", "LSTM", "LayerNormalization"))
    assert hasattr(layers, "Embedding")


@row("Graphs of layers")
def test_graphs(cells: Cells) -> None:
    with pytest.raises(TypeError, match="layers"):
        fastdnn.Sequential([fastdnn.Sequential([Dense(1)])])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not callable"):
        Dense(1)(Dense(2))  # type: ignore[operator]
    keras = imported("Keras")
    X = keras.Input((3,))
    outputs = [keras.layers.Dense(n)(X) for n in (1, 2)]
    assert len(keras.Model(X, outputs).outputs) == 2


@row("Penalties and starts of b")
def test_b(cells: Cells) -> None:
    ours = inspect.signature(Dense).parameters
    assert not {*names(cells.theirs), "kernel_constraint", "bias_constraint"} & set(ours)
    assert (
        fastdnn.Sequential([Dense(5)], input_size=2).layers[0].b == numbers(cells.ours)[0]
    ).all()
    theirs = inspect.signature(imported("Keras").layers.Dense).parameters
    assert {*names(cells.theirs), "kernel_constraint", "bias_constraint"} <= set(theirs)


@row("`kernel` (n_prev, n)")
def test_kernel(cells: Cells) -> None:
    model = fastdnn.Sequential([Dense(2)], input_size=3)
    assert model.layers[0].W.shape == (2, 3)
    assert np.array_equal(model.get_weights()[0], model.layers[0].W.T)
    keras = imported("Keras")
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert tuple(layer.kernel.shape) == (3, 2)


@row("Data")
def test_data(cells: Cells) -> None:
    def batches() -> Iterator[Any]:
        while True:
            yield np.ones((1, 1)), np.zeros(1, int)

    model, theirs = networks([1.0, 0.0])
    model.fit([[1.0]], [0], verbose=0)
    with pytest.raises(TypeError, match="X: want an array"):
        model.fit(batches(), [0], verbose=0)
    theirs().fit(batches(), steps_per_epoch=2, verbose=0)


@row("NaN or infinity in X")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan(cells: Cells, value: float) -> None:
    model, theirs = networks([1.0, 0.0])
    before = model.get_weights()
    X, y = np.full((1, 1), value), np.array([0])
    with pytest.raises(ValueError, match="X: want finite numbers"):
        model.fit(X, y, verbose=0)
    assert np.array_equal(before, model.get_weights())
    network = theirs()
    network.fit(X, y, verbose=0)
    assert np.isnan(network.get_weights()[0]).any()


@row("A run that diverges")
def test_divergence(cells: Cells) -> None:
    (error,) = names(cells.ours)
    X, y = np.ones((1, 1)), np.zeros(1)
    model = fastdnn.Sequential([Dense(1)], input_size=1, seed=0)
    model.compile(fastdnn.SGD(1e30), "mse")
    with pytest.raises(getattr(fastdnn, error), match="step"):
        model.fit(X, y, epochs=9, verbose=0)
    assert np.isfinite(model.parameters).all()
    keras = imported("Keras")
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(keras.optimizers.SGD(1e30), "mse")
    network.fit(X, y, epochs=9, verbose=0)
    assert np.isnan(network.get_weights()[0]).all()


@row("Precision")
def test_precision(cells: Cells) -> None:
    for dtype in ("float32", "float64"):
        model = fastdnn.Sequential([Dense(1)], input_size=1, dtype=dtype)
        assert model.predict([[1.0]]).dtype == model.parameters.dtype == dtype
    with pytest.raises(ValueError, match="float32, float64"):
        fastdnn.Sequential([Dense(1)], dtype="float16")
    assert hasattr(imported("Keras"), "dtype_policies")


@row("Random numbers")
def test_random_numbers(cells: Cells) -> None:
    def start(seed: int) -> Any:
        return fastdnn.Sequential([Dense(3)], input_size=4, seed=seed).get_weights()[0]

    assert np.array_equal(start(0), start(0))
    assert not np.array_equal(start(0), start(1))
    keras = imported("Keras")
    keras.utils.set_random_seed(0)
    W = keras.ops.convert_to_numpy(keras.initializers.GlorotUniform()((4, 3)))
    assert not np.allclose(start(0), W)


@row("The file of `save`")
def test_file(cells: Cells, tmp_path: Path) -> None:
    from safetensors import safe_open

    model, theirs = networks([1.0, 0.0])
    model.save(tmp_path / "any.name")
    with safe_open(tmp_path / "any.name", "numpy") as file:
        assert "W1" in file.keys()  # noqa: SIM118
    network, path = theirs(), tmp_path / f"model{cells.theirs}"
    network.save(path)
    with pytest.raises(ValueError, match="not a safetensors file"):
        fastdnn.load(path)


@row("Progress")
def test_progress(cells: Cells, capsys: pytest.CaptureFixture[str]) -> None:
    model, theirs = networks([1.0, 0.0])
    X, y = np.ones((1, 1)), np.zeros(1, int)
    model.fit(X, y, verbose=2)
    printed = capsys.readouterr()
    assert not printed.out
    assert "loss" in printed.err
    theirs().fit(X, y, verbose=2)
    printed = capsys.readouterr()
    assert "loss" in printed.out
    assert not printed.err


@row("Numbers below the smallest normal one")
def test_small_numbers(cells: Cells) -> None:
    model = fastdnn.Sequential([Dense(1)], input_size=1)
    model.layers[0].W = 1e-20
    assert (model.predict([[1e-20]]) == 0).all() == flushes()
    keras = imported("Keras")
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.set_weights([np.full((1, 1), 1e-20)])
    assert network.predict(np.full((1, 1), 1e-20), verbose=0).item() > 0


@row("Devices")
def test_devices(cells: Cells) -> None:
    assert "device" not in inspect.signature(fastdnn.Sequential).parameters
    assert hasattr(imported("Keras"), "device")


def test_every_row_is_tested() -> None:
    assert row.tested == set(row.rows)
