"""The specification itself, against values worked out by hand and against finite differences."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn.activations import ACTIVATIONS
from fastdnn.losses import LOSSES
from fastdnn.optimizers import OPTIMIZERS
from tests import naive
from tests.cases import derivative, draw
from tests.naive import Array

LN2 = math.log(2)


def test_naive_specifies_every_entry_of_the_tables() -> None:
    assert set(ACTIVATIONS) <= set(naive.ACTIVATIONS)
    assert set(LOSSES) <= set(naive.LOSSES)
    assert set(OPTIMIZERS) <= set(naive.OPTIMIZERS)


# ------------------------------------------------------------------------------------ activations
@pytest.mark.parametrize(
    ("name", "z", "a"),
    [
        ("identity", -3, -3),
        ("sigmoid", 0, 0.5),
        ("sigmoid", math.log(3), 0.75),
        ("relu", -2, 0),
        ("relu", 2, 2),
        ("tanh", LN2, 0.6),  # (e^2z - 1) / (e^2z + 1) = (4 - 1) / (4 + 1)
        ("leaky_relu", -2, -0.02),
        ("leaky_relu", 2, 2),
        ("elu", -LN2, -0.5),
        ("elu", 2, 2),
        ("gelu", 1, 0.8413447460685429),  # the standard normal distribution at 1
        ("gelu", -1, -0.15865525393145707),
        ("silu", math.log(3), 0.75 * math.log(3)),
        ("softplus", 0, LN2),
        ("softplus", math.log(3), math.log(4)),
        ("softplus", 1000, 1000),
        ("exponential", math.log(3), 3),
    ],
)
def test_activation_by_hand(name: str, z: float, a: float) -> None:
    assert naive.ACTIVATIONS[name][0](np.array([[z]])) == pytest.approx(np.array([[a]]), rel=1e-15)


def test_softmax_by_hand() -> None:
    Z = np.log([[1.0, 4.0], [3.0, 4.0]]) + 1000  # a common term changes nothing, nor overflows
    assert naive.softmax(Z) == pytest.approx(np.array([[0.25, 0.5], [0.75, 0.5]]), rel=1e-12)


@pytest.mark.parametrize("name", naive.ACTIVATIONS)
def test_activation_backward_is_the_derivative(name: str) -> None:
    g, backward = naive.ACTIVATIONS[name]
    Z = np.array([[-3.0, -0.4], [0.3, 2.5], [-1.0, 1.7]])
    dA = np.array([[0.7, -1.3], [2.0, 0.1], [-0.6, 1.1]])
    expected = derivative(lambda: float(np.sum(dA * g(Z))), Z)
    assert backward(dA, Z) == pytest.approx(expected, rel=1e-9, abs=1e-11)


# ----------------------------------------------------------------------------------------- losses
@pytest.mark.parametrize(
    ("name", "A", "Y", "expected"),
    [
        ("mean_squared_error", [3, 0], [1, 1], (4 + 1) / 2),
        ("mean_absolute_error", [3, 0], [1, 1], (2 + 1) / 2),
        ("huber", [3, 0.5], [1, 1], (2 - 0.5 + 0.5**2 / 2) / 2),
        ("binary_crossentropy", [0.25, 0.5], [1, 0], (2 * LN2 + LN2) / 2),
        ("binary_crossentropy", [0, 0.5], [1, 0], (-math.log(1e-7) + LN2) / 2),
        ("categorical_crossentropy", [1, 3], [1, 0], 2 * LN2),  # 1 of 4
        ("categorical_crossentropy", [0, 3], [1, 0], -math.log(1e-7)),
        ("log_cosh", [LN2, 1], [0, 1], math.log(1.25) / 2),  # cosh(log 2) = (2 + 1/2) / 2
        ("log_cosh", [1000, 1], [0, 1], (1000 - LN2) / 2),
        ("quantile", [3, 0], [1, 1], (0.5 * 2 + 0.5) / 2),
        ("poisson", [1 - 1e-7, 2], [3, 0], (1 - 1e-7 + 2) / 2),
        ("binary_focal_crossentropy", [0.25, 0.5], [1, 0], (0.75**2 * 2 * LN2 + LN2 / 4) / 2),
        ("categorical_focal_crossentropy", [1, 3], [1, 0], 0.25 * 0.75**2 * 2 * LN2),
    ],
)
def test_loss_by_hand(name: str, A: list[float], Y: list[float], expected: float) -> None:
    losses, _ = naive.LOSSES[name](np.c_[A].astype(float), np.c_[Y].astype(float))
    assert losses == pytest.approx([expected], rel=1e-12)


def test_huber_is_quadratic_within_delta_and_linear_beyond() -> None:
    losses, dA = naive.huber(np.array([[1.0, 5.0]]), np.zeros((1, 2)), delta=2.0)
    assert losses == pytest.approx([0.5, 2 * (5 - 1)])
    assert dA == pytest.approx(np.array([[1.0, 2.0]]))


@pytest.mark.parametrize("name", ["binary_crossentropy", "categorical_crossentropy"])
def test_no_gradient_where_a_probability_is_clipped(name: str) -> None:
    _, dA = naive.LOSSES[name](np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert not dA.any()


@pytest.mark.parametrize("name", naive.LOSSES)
def test_loss_derivative(name: str) -> None:
    A = np.array([[0.2, 0.6], [0.5, 0.1], [0.9, 0.4]])
    Y = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    if "error" in name or name in ("huber", "log_cosh"):
        Y = Y * 3  # Huber's loss on both sides of delta
    expected = derivative(lambda: float(naive.LOSSES[name](A, Y)[0].sum()), A)
    assert naive.LOSSES[name](A, Y)[1] == pytest.approx(expected, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(("activation", "loss"), naive.FUSED)
def test_fused_is_the_plain_loss_of_the_activation(activation: str, loss: str) -> None:
    Z = np.array([[-2.0, 0.6], [0.5, 0.1], [1.9, -0.4]])
    Y = np.array([[1.0, 0.0], [0.0, 0.3], [0.0, 0.5]])  # columns need not sum to 1
    g, backward = naive.ACTIVATIONS[activation]
    losses, dA = naive.LOSSES[loss](g(Z), Y)
    fused, dZ = naive.loss_and_dZ(Z, Y, activation, loss)
    added = 1e-6 if loss == "poisson" else 0.0  # CLIP, divided by a
    assert fused == pytest.approx(losses, rel=1e-12 + added)
    assert dZ == pytest.approx(backward(dA, Z), rel=1e-10 + added, abs=1e-14)


@pytest.mark.parametrize(("activation", "loss"), naive.FUSED)
def test_from_logits_nothing_is_clipped(activation: str, loss: str) -> None:
    losses, dZ = naive.loss_and_dZ(np.c_[[-400.0, 0.0]], np.c_[[1.0, 0.0]], activation, loss)
    n = 1 if activation == "softmax" else 2
    # what the second output adds: nothing, log 2, a quarter of it (it is right by half), exp(0)
    more = {"sigmoid": LN2 / (4 if "focal" in loss else 1), "exponential": 1}.get(activation, 0)
    alpha = 0.25 if loss == "categorical_focal_crossentropy" else 1
    assert losses == pytest.approx([alpha * (400 + more) / n])
    assert dZ[0] == pytest.approx([-alpha / n])


def test_one_hot() -> None:
    assert naive.one_hot(np.array([2, 0]), 3).tolist() == [[0, 1], [0, 0], [1, 0]]


# ---------------------------------------------------------------------------------------- network
def test_linear_by_hand() -> None:
    W, A_prev = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[1.0, 3.0], [2.0, 0.0]])
    Z = naive.linear_forward(A_prev, W, np.array([[10.0], [20.0]]))
    assert Z.tolist() == [[15, 13], [18, 20]]
    dA_prev, dW, db = naive.linear_backward(np.array([[1.0, 0.0], [2.0, 4.0]]), A_prev, W)
    assert dA_prev.tolist() == [[1, 0], [0, -4]]
    assert dW.tolist() == [[0.5, 1], [7, 2]]
    assert db.tolist() == [[0.5], [3]]
    assert naive.bias_gradient(np.array([[1.0, 0.0], [2.0, 4.0]])).tolist() == [[0.5], [3]]


def test_dropout_and_minibatch_by_hand() -> None:
    A = np.array([[1.0, 2.0, 3.0]])
    assert naive.dropout(A, np.array([[1, 0, 1]]), 0.75).tolist() == [[4, 0, 12]]
    assert naive.minibatch(A, np.array([2, 0])).tolist() == [[3, 1]]


def test_penalty_by_hand() -> None:
    value, gradient = naive.penalty(np.array([[1.0, -2.0]]), 0.1, 0.01)
    assert value == pytest.approx(0.3 + 0.05)
    assert gradient == pytest.approx(np.array([[0.12, -0.14]]))


@pytest.mark.parametrize("loss", naive.LOSSES)
def test_gradients_of_three_layers(loss: str) -> None:
    case = draw(("tanh", "gelu", "softmax"), loss)
    weights, regularizers = np.linspace(0, 2, case.Y.shape[1]), [(0.1, 0.0), (0, 0), (0.03, 0.2)]

    def value() -> Any:
        return naive.loss_and_gradients(
            case.X, case.Y, case.parameters, case.activations, loss,
            weights=weights, regularizers=regularizers,
        )  # fmt: skip

    _, gradients = value()
    for parameters, of_layer in zip(case.parameters, gradients, strict=True):
        for parameter, gradient in zip(parameters, of_layer, strict=True):
            expected = derivative(lambda: value()[0], parameter)
            assert gradient == pytest.approx(expected, rel=1e-8, abs=1e-11)


def test_sample_weights_divide_by_all_samples() -> None:
    case = draw(("identity",), "mse")
    losses, _ = naive.mean_squared_error(
        naive.forward(case.X, case.parameters, case.activations)[0][-1], case.Y
    )
    weights = np.zeros(len(losses))
    weights[1] = 3
    total, _ = naive.loss_and_gradients(
        case.X, case.Y, case.parameters, case.activations, "mse", weights=weights
    )
    assert total == pytest.approx(3 * losses[1] / len(losses))


# ------------------------------------------------------------------------------------- optimizers
def two_steps(name: str, **settings: Any) -> list[float]:
    """The parameter 1 after one and two steps down the constant gradient 2."""
    theta, states, path = [np.array([1.0])], None, []
    for t in (1, 2):
        theta, states = naive.step(name, theta, [np.array([2.0])], states, t, **settings)
        path.append(float(theta[0][0]))
    return path


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sgd", {"learning_rate": 0.1}, [0.8, 0.6]),
        ("sgd", {"learning_rate": 0.1, "momentum": 0.5}, [0.8, 0.5]),
        ("sgd", {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True}, [0.7, 0.35]),
        # a constant gradient: m_hat = g, v_hat = g^2, so each step is lr g / (|g| + epsilon)
        ("adam", {"learning_rate": 0.1, "epsilon": 2.0}, [0.95, 0.9]),
        (
            "adamw",
            {"learning_rate": 0.1, "weight_decay": 0.5, "epsilon": 2.0},
            [0.95 - 0.05, 0.9 * 0.95 - 0.05],
        ),
        # v = 3, then 0.25 * 3 + 3 = 3.75
        (
            "rmsprop",
            {"learning_rate": 0.1, "rho": 0.25, "epsilon": 0.0},
            [1 - 0.2 / math.sqrt(3), 1 - 0.2 / math.sqrt(3) - 0.2 / math.sqrt(3.75)],
        ),
        # s = 5 + 4, then 5 + 8
        (
            "adagrad",
            {"learning_rate": 0.1, "initial_accumulator_value": 5.0, "epsilon": 1.0},
            [1 - 0.2 / 4, 1 - 0.2 / 4 - 0.2 / (math.sqrt(13) + 1)],
        ),
        ("lion", {"learning_rate": 0.1}, [0.9, 0.8]),
        ("lion", {"learning_rate": 0.1, "weight_decay": 0.5}, [0.85, 0.85 * 0.95 - 0.1]),
        # mu = 0 but for the first steps' gradient: m_bar = g
        ("nadam", {"learning_rate": 0.1, "beta_1": 0.0, "epsilon": 2.0}, [0.95, 0.9]),
        ("sgd", {"learning_rate": 0.1, "clipnorm": 1.0}, [0.9, 0.8]),
        ("sgd", {"learning_rate": 0.1, "clipnorm": 5.0}, [0.8, 0.6]),
    ],
)
def test_optimizer_by_hand(name: str, settings: dict[str, Any], expected: list[float]) -> None:
    assert two_steps(name, **settings) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.5]]),
        ({"global_clipnorm": math.sqrt(25.25) / 2}, [[1.5, 2.0], [0.25]]),
        ({"clipnorm": 100.0}, [[3, 4], [0.5]]),
        ({"global_clipnorm": 100.0}, [[3, 4], [0.5]]),
        ({}, [[3, 4], [0.5]]),
    ],
)
def test_clip_by_norm(settings: dict[str, float], expected: list[list[float]]) -> None:
    gradients: list[Array] = [np.array([3.0, 4.0]), np.array([0.5])]
    clipped = naive.clip_by_norm(
        gradients, settings.get("clipnorm"), settings.get("global_clipnorm")
    )
    assert [list(g) for g in clipped] == [pytest.approx(g) for g in expected]


def test_a_zero_gradient_is_not_clipped() -> None:
    assert naive.clip_by_norm([np.zeros(2)], 1.0, None)[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("f", "x"),
    [(lambda x: float(np.sum(x**3)), 2.0), (lambda x: float(np.sum(np.sin(x))), 0.5)],
)
def test_finite_difference(f: Callable[[Array], float], x: float) -> None:
    X = np.array([[x, -x]])
    expected = 3 * X**2 if x == 2 else np.cos(X)
    assert derivative(lambda: f(X), X) == pytest.approx(expected, rel=1e-10)
