"""Each row of docs/migration.md's differences from Keras in numbers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import get_scorer_names

import fastdnn
from fastdnn import Dense
from fastdnn.initializers import INITIALIZERS
from tests.migration import (
    LOSS,
    Cells,
    Table,
    flushes,
    imported,
    names,
    networks,
    numbers,
)

row = Table("Keras", " in numbers")
# Keras calls deprecated parts of NumPy, and warns that a generator is not shuffled.
pytestmark = [
    pytest.mark.xdist_group("Keras"),  # which takes long to import
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]


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


@row("`compile` without arguments")
def test_compile(cells: Cells) -> None:
    ours = fastdnn.Sequential.compile
    assert f'"{default(ours, "optimizer")}", "{default(ours, "loss")}"' == cells.ours
    theirs = imported("Keras").Model.compile
    assert default(theirs, "loss") is None
    assert f'"{default(theirs, "optimizer")}", no loss' == cells.theirs


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


@row("Metrics by name")
def test_metrics_by_name(cells: Cells) -> None:
    quoted = re.findall(r'"(\w+)"', cells.ours)
    assert set(quoted) <= set(get_scorer_names())
    rng = np.random.default_rng(0)
    for name in quoted:
        n = 3 if name == "f1_macro" else 1
        model = fastdnn.Sequential([Dense(n, "softmax" if n > 1 else "sigmoid")], seed=0)
        loss = LOSS if n > 1 else "mse" if name == "r2" else "binary_crossentropy"
        model.compile("sgd", loss, [name])
        X, y = rng.standard_normal((50, 4)), rng.integers(0, max(n, 2), 50)
        assert name in model.fit(X, y, verbose=0).history
    metrics = imported("Keras").metrics
    for name in quoted:
        with pytest.raises(ValueError, match=name):
            metrics.get(name)


@row("A loss or activation of your own")
def test_of_your_own(cells: Cells) -> None:
    def square(a: float, y: float) -> float:
        return (a - y) ** 2

    def wrong(a: float, y: float) -> float:
        return a - y

    with pytest.raises(TypeError, match="derivative"):
        fastdnn.ScalarLoss(square)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="derivative"):
        fastdnn.ScalarLoss(square, wrong)
    with pytest.raises(TypeError, match="g_prime"):
        fastdnn.ScalarActivation(square)  # type: ignore[call-arg]
    keras = imported("Keras")
    layer = keras.layers.Dense(1, lambda z: z / (1 + keras.ops.abs(z)))
    network = keras.Sequential([keras.Input((1,)), layer])
    network.compile("sgd", lambda y_true, y_pred: keras.ops.square(y_pred - y_true))
    before = network.get_weights()[0]
    network.fit(np.ones((1, 1)), np.full((1, 1), 2.0), verbose=0)
    assert network.get_weights()[0] != before


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
    error, callback = names(cells.ours)
    X, y = np.ones((1, 1)), np.zeros(1)
    model = fastdnn.Sequential([Dense(1)], input_size=1, seed=0)
    model.compile(fastdnn.SGD(1e30), "mse")
    with pytest.raises(getattr(fastdnn, error), match="step"):
        model.fit(X, y, epochs=9, verbose=0)
    assert np.isfinite(model.parameters).all()
    model.fit(X, y, epochs=9, callbacks=[getattr(fastdnn, callback)()], verbose=0)
    assert np.isfinite(model.parameters).all()
    keras = imported("Keras")
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(keras.optimizers.SGD(1e30), "mse")
    stop = getattr(keras.callbacks, *names(cells.theirs))()
    assert len(network.fit(X, y, epochs=9, callbacks=[stop], verbose=0).epoch) < 9
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


@row("Numbers below the smallest normal one")
def test_small_numbers(cells: Cells) -> None:
    model = fastdnn.Sequential([Dense(1)], input_size=1)
    model.layers[0].W = 1e-20
    assert (model.predict([[1e-20]]) == 0).all() == flushes()
    keras = imported("Keras")
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.set_weights([np.full((1, 1), 1e-20)])
    assert network.predict(np.full((1, 1), 1e-20), verbose=0).item() > 0


def test_every_row_is_tested() -> None:
    assert row.tested == set(row.rows)
