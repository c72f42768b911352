"""Every activation, loss and optimizer against finite differences and against the specification."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import kernels
from fastdnn.activations import ACTIVATIONS
from fastdnn.losses import LOSSES
from fastdnn.optimizers import OPTIMIZERS
from tests import naive
from tests.cases import (
    OPTIMIZER_SETTINGS,
    Case,
    derivative,
    draw,
    name_of,
    settings_of,
    tensors,
)
from tests.nets import classifier

# The largest derivatives are of order 1, so rounding alone moves smaller ones by more than 1e-6.
TINY = 1e-5
REGULARIZERS = [fastdnn.L1(0.02), fastdnn.L2(0.05), fastdnn.L1L2(0.01, 0.03)]
PENALTIES = [(0.02, 0.0), (0.0, 0.05), (0.01, 0.03)]
HUBER_DELTA = 0.5  # `draw` keeps residuals away from this, too


def relative_error(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """|found - expected| / max(|found|, |expected|): of the norms, and the worst of an entry."""
    scale = max(float(np.linalg.norm(found)), float(np.linalg.norm(expected)), TINY)
    sizes = np.maximum(np.maximum(np.abs(found), np.abs(expected)), TINY)
    worst = float(np.max(np.abs(found - expected) / sizes))
    return max(float(np.linalg.norm(found - expected)) / scale, worst)


def check_against_finite_differences(
    model: fastdnn.Sequential, case: Case, weights: Sequence[float] | None = None
) -> None:
    X = np.ascontiguousarray(case.X.T)

    def loss() -> float:
        return model.loss_and_gradients(X, case.y, sample_weight=weights)[0]

    _, gradients, dX = model.loss_and_gradients(X, case.y, weights, inputs=True)
    assert any(np.any(dW) for dW, _ in gradients)
    assert np.any(dX)
    assert relative_error(dX, derivative(loss, X)) < 1e-6
    for layer, (dW, db) in zip(model.layers, gradients, strict=True):
        assert relative_error(dW, derivative(loss, layer.W)) < 1e-6
        assert relative_error(db.ravel(), derivative(loss, layer.b)) < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_output_activation(output: str, loss: str) -> None:
    case = draw(("tanh", output), loss)
    check_against_finite_differences(case.model(), case)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_hidden_activations(hidden: str, loss: str) -> None:
    last = next(iter(kernels.LOSSES[loss].fused), "identity")
    case = draw((hidden, hidden, last), loss)
    check_against_finite_differences(case.model(), case)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regularizers_and_sample_weights(activation: str, loss: str) -> None:
    case = draw(("tanh", activation, activation), loss)
    check_against_finite_differences(
        case.model(regularizers=REGULARIZERS), case, [0.5, 2.0, 0.0, 1.0, 3.0]
    )


def test_huber_delta() -> None:
    case = draw(("tanh", "identity"), "huber")
    model = case.model(loss=fastdnn.Huber(HUBER_DELTA))
    check_against_finite_differences(model, case)
    expected, _ = naive.loss_and_gradients(
        case.X, case.Y, case.parameters, case.activations, "huber", delta=HUBER_DELTA
    )
    assert model.loss_and_gradients(case.X.T, case.y)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_and_gradients_are_the_specification(activation: str, loss: str) -> None:
    case = draw((activation, activation, activation), loss)
    weights = np.array([0.5, 2.0, 0.0, 1.0, 3.0])
    found, gradients = case.model(regularizers=REGULARIZERS).loss_and_gradients(
        case.X.T, case.y, sample_weight=weights
    )
    value, expected = naive.loss_and_gradients(
        case.X,
        case.Y,
        case.parameters,
        case.activations,
        loss,
        weights=weights,
        regularizers=PENALTIES,
    )
    assert found == pytest.approx(value, rel=1e-12)
    for (dW, db), (dW_expected, db_expected) in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(dW, dW_expected, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(db, db_expected[:, 0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("output", "loss", "logits"),
    [
        ("identity", "binary_crossentropy", [-0.5, 1.5, 0.5]),
        ("relu", "categorical_crossentropy", [-1.0, 2.0, 1.0]),
        ("relu", "sparse_categorical_crossentropy", [-1.0, 2.0, 1.0]),
        ("sigmoid", "binary_crossentropy", [-800.0, 800.0, 0.0]),
        ("softmax", "categorical_crossentropy", [-800.0, 800.0, 0.0]),
        ("softmax", "sparse_categorical_crossentropy", [-800.0, 800.0, 0.0]),
        ("identity", "binary_focal_crossentropy", [0.0, 1.0, 0.5]),
        ("relu", "categorical_focal_crossentropy", [-1.0, 2.0, 1.0]),
        ("sigmoid", "binary_focal_crossentropy", [-800.0, 800.0, 0.0]),
        ("softmax", "categorical_focal_crossentropy", [-800.0, 800.0, 0.0]),
        ("exponential", "poisson", [-800.0, 5.0, 0.0]),
        ("identity", "poisson", [0.0, 5.0, 1e-9]),
        ("identity", "log_cosh", [-800.0, 1e12, 1.0]),
    ],
)
@pytest.mark.parametrize("target", range(3))
def test_probabilities_at_and_beyond_0_and_1(
    output: str, loss: str, logits: list[float], target: int
) -> None:
    W, b = np.full((3, 2), 0.0), np.c_[logits]
    X, Y = np.ones((2, 1)), naive.one_hot(np.array([target]), 3)
    case = Case((output,), loss, [(W, b)], X, Y)
    found, [(dW, db)] = case.model().loss_and_gradients(X.T, case.y)
    value, [(dW_expected, db_expected)] = naive.loss_and_gradients(
        X, Y, case.parameters, case.activations, loss
    )
    assert found == pytest.approx(value, rel=1e-9)  # 1 - (1 - CLIP) is rounded
    np.testing.assert_allclose(dW, dW_expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(db, db_expected[:, 0], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("widths", "m"),
    [
        ((1, 1), 1),
        ((1, 7, 1), 3),
        ((3, 5, 5, 3, 1), 64),
        ((17, 33, 2), 1000),
        ((30, 64, 32, 1), 65),
        ((784, 100, 10), 33),
        ((129, 300, 257, 10), 200),
        ((64, 64, 64, 64, 64, 10), 127),
    ],
    ids=str,
)
@pytest.mark.parametrize("hidden", ["relu", "gelu", "softmax"])
def test_any_shape_is_the_specification(widths: tuple[int, ...], m: int, hidden: str) -> None:
    rng = np.random.default_rng(m)
    parameters = [
        (rng.normal(size=(n, n_prev)) / np.sqrt(n_prev), rng.normal(size=(n, 1)))
        for n_prev, n in pairwise(widths)
    ]
    X, Y = rng.normal(size=(widths[0], m)), rng.normal(size=(widths[-1], m))
    activations = (hidden,) * (len(parameters) - 1) + ("identity",)
    case = Case(activations, "mean_squared_error", parameters, X, Y)
    found, gradients = case.model().loss_and_gradients(X.T, Y.T)
    value, expected = naive.loss_and_gradients(X, Y, parameters, activations, case.loss)
    assert found == pytest.approx(value, rel=1e-11)
    for (dW, db), (dW_expected, db_expected) in zip(gradients, expected, strict=True):
        assert np.linalg.norm(dW - dW_expected) <= 1e-11 * np.linalg.norm(dW_expected)
        assert np.linalg.norm(db - db_expected[:, 0]) <= 1e-11 * np.linalg.norm(db_expected)


# ------------------------------------------------------------------------------------- optimizers
CLIPPING: list[dict[str, float]] = [
    {},
    {"clipnorm": 0.05},
    {"clipnorm": 100.0},
    {"global_clipnorm": 0.05},
    {"global_clipnorm": 100.0},
]


def check_steps(optimizer: Any, name: str, case: Case, n_steps: int) -> None:
    """Each step's parameters: the specification's step along the gradient just checked."""
    settings = settings_of(optimizer)
    model = case.model(optimizer, regularizers=REGULARIZERS[: len(case.parameters)])
    X, y = case.X.T, case.y
    states: list[Any] | None = None
    for t in range(1, n_steps + 1):
        _, gradients = model.loss_and_gradients(X, y)
        flat = [part for pair in gradients for part in pair]
        expected, states = naive.step(name, list(tensors(model)), flat, states, t, **settings)
        model.train_on_batch(X, y)
        for found, wanted in zip(tensors(model), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_step(name: str, activation: str, loss: str) -> None:
    case = draw((activation, activation), loss)
    check_steps(OPTIMIZERS[name](learning_rate=0.1), name, case, 1)


@pytest.mark.parametrize("clipping", CLIPPING, ids=name_of)
@pytest.mark.parametrize(("name", "settings"), OPTIMIZER_SETTINGS, ids=name_of)
def test_several_steps(name: str, settings: dict[str, Any], clipping: dict[str, float]) -> None:
    optimizer = OPTIMIZERS[name](learning_rate=0.1, **settings, **clipping)
    check_steps(optimizer, name, draw(("tanh", "softmax"), "categorical_crossentropy"), 4)


def test_the_step_counts_from_one_fit_to_the_next() -> None:
    case = draw(("tanh", "identity"), "mean_squared_error")
    X, Y = case.X.T, case.y
    once, twice = case.model("adam"), case.model("adam")
    once.fit(X, Y, epochs=4, batch_size=2, shuffle=False, verbose=0)
    for _ in range(2):
        twice.fit(X, Y, epochs=2, batch_size=2, shuffle=False, verbose=0)
    assert np.array_equal(once.parameters, twice.parameters)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 100])
def test_fit_is_minibatch_steps(batch_size: int) -> None:
    """The last, smaller minibatch counts by its own number of samples."""
    case = draw(("tanh", "identity"), "mean_squared_error")
    parameters, states = case.parameters, None
    for t, start in enumerate([*range(0, 5, batch_size)] * 2, start=1):
        indices = np.arange(start, min(start + batch_size, 5))
        X, Y = naive.minibatch(case.X, indices), naive.minibatch(case.Y, indices)
        _, gradients = naive.loss_and_gradients(X, Y, parameters, case.activations, case.loss)
        flat, slopes = ([part for pair in of for part in pair] for of in (parameters, gradients))
        new, states = naive.step("adam", flat, slopes, states, t, learning_rate=0.1)
        parameters = list(zip(new[::2], new[1::2], strict=True))
    model = case.model(fastdnn.Adam(learning_rate=0.1))
    model.fit(case.X.T, case.y, epochs=2, batch_size=batch_size, shuffle=False, verbose=0)
    for layer, (W, b) in zip(model.layers, parameters, strict=True):
        np.testing.assert_allclose(layer.W, W, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(layer.b, b[:, 0], rtol=1e-10, atol=1e-11)


def test_dropout_takes_the_same_mask_forward_and_backward() -> None:
    """One sample whose hidden A is all ones: the step's dW2 shows the mask that db1 must have."""
    n, rate, X, Y = 400, 0.25, np.ones((1, 1)), np.array([[2.0]])
    hidden, output = fastdnn.Dense(n), fastdnn.Dense(1)
    layers = [hidden, fastdnn.Dropout(rate), output]
    model = fastdnn.Sequential(layers, input_size=1, dtype="float64", seed=0)
    model.compile(fastdnn.SGD(learning_rate=1.0), "mean_squared_error")
    W2 = np.random.default_rng(0).normal(size=(1, n))
    hidden.W[...], hidden.b[...], output.W[...], output.b[...] = 0.0, 1.0, W2, 0.0
    model.train_on_batch(X, Y)
    mask = (output.W != W2).T
    A1 = naive.dropout(np.ones((n, 1)), mask, rate)
    dZ2 = 2 * (naive.linear_forward(A1, W2, np.zeros((1, 1))) - Y)
    dA1, dW2, _ = naive.linear_backward(dZ2, A1, W2)
    np.testing.assert_allclose(output.W, W2 - dW2, rtol=1e-12)
    np.testing.assert_allclose(hidden.b, 1 - naive.dropout(dA1, mask, rate)[:, 0], rtol=1e-12)
    assert abs(mask.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / n)


# ---------------------------------------------------------------------------- derivatives by inputs
def test_the_input_gradient_is_that_of_a_step() -> None:
    case = draw(("tanh", "softmax"), "categorical_crossentropy")
    model, X, weights = case.model(), np.ascontiguousarray(case.X.T), [0.5, 2.0, 0.25, 1.0, 3.0]
    for given in (None, weights):
        _, _, dX = model.loss_and_gradients(X, case.y, given, inputs=True)
        np.testing.assert_array_equal(model.input_gradient(X, case.y, given), dX)


@pytest.mark.parametrize("hidden", [(), ("tanh",), ("softmax", "gelu")], ids=str)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_the_jacobian(output: str, hidden: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    layers = [fastdnn.Dense(4, name) for name in hidden]
    model = fastdnn.Sequential(
        [*layers, fastdnn.Dropout(0.5), fastdnn.Dense(3, output)],
        input_size=5, dtype="float64", seed=1,
    )  # fmt: skip
    X = rng.standard_normal((6, 5))
    jacobian = model.jacobian(X)
    assert jacobian.shape == (6, 3, 5)
    for k in range(5):
        for_step = 1e-6 * np.eye(5)[k]
        wanted = (model.predict(X + for_step) - model.predict(X - for_step)) / 2e-6
        np.testing.assert_allclose(jacobian[:, :, k], wanted, rtol=1e-6, atol=1e-8)


def test_a_jacobian_needs_no_loss_and_changes_none() -> None:
    case = draw(("tanh", "softmax"), "categorical_crossentropy")
    model, X = case.model(), np.ascontiguousarray(case.X.T)
    before, state = model.evaluate(X, case.y), model.parameters.copy()
    for dtype in ("float32", "float64"):
        one = fastdnn.Sequential([fastdnn.Dense(3)], input_size=X.shape[1], dtype=dtype, seed=0)
        found = one.jacobian(X)
        assert found.dtype == dtype
        # of a linear model it is W, to the bit
        np.testing.assert_array_equal(found, np.broadcast_to(one.layers[0].W, found.shape))
    model.jacobian(X)
    assert model.evaluate(X, case.y) == before
    np.testing.assert_array_equal(model.parameters, state)
    assert model.jacobian(X[:0]).shape == (0, *model.jacobian(X).shape[1:])
    bits = [model.jacobian(X, n_threads=n).tobytes() for n in (1, 2, 4)]
    assert len(set(bits)) == 1


@pytest.mark.parametrize("X", [np.ones((2, 3)), np.ones(5), np.full((2, 5), np.nan)])
def test_a_jacobian_of_no_samples_is_refused(X: Any) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(3)], input_size=5, seed=0)
    with pytest.raises(ValueError, match=r"^X: "):
        model.jacobian(X)


def test_a_jacobian_within_a_training_leaves_its_loss() -> None:
    X, y = np.random.default_rng(0).standard_normal((40, 4)), np.arange(40) % 3

    def trained(rows: int) -> Any:
        model = classifier()

        def look(*_: Any) -> None:
            if rows:
                model.jacobian(X[:rows])

        callback = fastdnn.LambdaCallback(on_epoch_end=look)
        history = model.fit(X, y, 16, epochs=3, callbacks=[callback], verbose=0).history
        return history, model.parameters.tobytes()

    assert trained(2) == trained(0)
