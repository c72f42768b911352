"""The textbook's functions: values printed before, and the same equations in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn import textbook
from tests import naive
from tests.equations import (
    Array,
    layer_data,
    network_data,
    numpy_backward,
    numpy_cost,
    numpy_forward,
    numpy_start,
    same,
)


# -------------------------------------------------------------------------- values printed before
def legacy(seed: int) -> Callable[..., Array]:
    return np.random.RandomState(seed).randn


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=6e-9)


def test_published_starts() -> None:
    shallow = textbook.initialize_parameters(3, 2, 1)
    close(
        shallow["W1"],
        [[0.01624345, -0.00611756, -0.00528172], [-0.01072969, 0.00865408, -0.02301539]],
    )
    close(shallow["W2"], [[0.01744812, -0.00761207]])
    deep = textbook.initialize_parameters_deep([5, 4, 3])
    close(deep["W1"][0], [0.01788628, 0.0043651, 0.00096497, -0.01863493, -0.00277388])
    close(deep["W2"][2], [-0.00768836, -0.00230031, 0.00745056, 0.01976111])


def test_published_forward_pass() -> None:
    draw = legacy(1)
    A, W, b = draw(3, 2), draw(1, 3), draw(1, 1)
    close(textbook.linear_forward(A, W, b)[0], [[3.26295337, -1.23429987]])
    draw = legacy(2)
    A, W, b = draw(3, 2), draw(1, 3), draw(1, 1)
    results = {g: textbook.linear_activation_forward(A, W, b, g)[0] for g in ("sigmoid", "relu")}
    close(results["sigmoid"], [[0.96890023, 0.11013289]])
    close(results["relu"], [[3.43896131, 0.0]])
    draw = legacy(6)
    X = draw(5, 4)
    names = {"W1": (4, 5), "b1": (4, 1), "W2": (3, 4), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    AL, caches = textbook.L_model_forward(X, {name: draw(*of) for name, of in names.items()})
    close(AL, [[0.03921668, 0.70498921, 0.19734387, 0.04728177]])
    assert len(caches) == 3


def test_published_cost() -> None:
    AL = np.array([[0.8, 0.9, 0.4]])
    close(textbook.compute_cost(AL, np.array([[1, 1, 1]])), 0.41493159961539694)
    close(textbook.compute_cost(AL, np.array([[1, 1, 0]])), 0.2797765635793422)


def test_published_backward_step() -> None:
    draw = legacy(1)
    dZ, A, W, b = draw(1, 2), draw(3, 2), draw(1, 3), draw(1, 1)
    dA_prev, dW, db = textbook.linear_backward(dZ, (A, W, b))
    close(
        dA_prev,
        [[0.51822968, -0.19517421], [-0.40506361, 0.15255393], [2.37496825, -0.89445391]],
    )
    close(dW, [[-0.10076895, 1.40685096, 1.64992505]])
    close(db, [[0.50629448]])
    draw = legacy(2)
    dA, A, W, b, Z = draw(1, 2), draw(3, 2), draw(1, 3), draw(1, 1), draw(1, 2)
    dA_prev, dW, db = textbook.linear_activation_backward(dA, ((A, W, b), Z), "sigmoid")
    close(
        dA_prev,
        [[0.11017994, 0.01105339], [0.09466817, 0.00949723], [-0.05743092, -0.00576154]],
    )
    close(dW, [[0.10266786, 0.09778551, -0.01968084]])
    close(db, [[-0.05729622]])
    dA_prev, dW, db = textbook.linear_activation_backward(dA, ((A, W, b), Z), "relu")
    close(dA_prev, [[0.44090989, 0.0], [0.37883606, 0.0], [-0.2298228, 0.0]])
    close(dW, [[0.44513824, 0.37371418, -0.10478989]])
    close(db, [[-0.20837892]])


def test_published_backward_pass_whose_outputs_are_no_probabilities() -> None:
    draw = legacy(3)
    AL, Y = draw(1, 2), np.array([[1, 0]])
    A1, W1, b1, Z1 = draw(4, 2), draw(3, 4), draw(3, 1), draw(3, 2)
    A2, W2, b2, Z2 = draw(3, 2), draw(1, 3), draw(1, 1), draw(1, 2)
    assert (AL > 1).any()
    grads = textbook.L_model_backward(AL, Y, [((A1, W1, b1), Z1), ((A2, W2, b2), Z2)])
    assert set(grads) == {"dA0", "dW1", "db1", "dA1", "dW2", "db2"}
    close(
        grads["dW1"],
        [
            [0.41010002, 0.07807203, 0.13798444, 0.10502167],
            [0.0, 0.0, 0.0, 0.0],
            [0.05283652, 0.01005865, 0.01777766, 0.0135308],
        ],
    )
    close(grads["db1"], [[-0.22007063], [0.0], [-0.02835349]])
    close(
        grads["dA1"],
        [[0.12913162, -0.44014127], [-0.14175655, 0.48317296], [0.01663708, -0.05670698]],
    )


def test_published_update() -> None:
    draw = legacy(2)
    p = {"W1": draw(3, 4), "b1": draw(3, 1), "W2": draw(1, 3), "b2": draw(1, 1)}
    draw = legacy(3)
    grads = {f"d{name}": draw(*value.shape) for name, value in p.items()}
    updated = textbook.update_parameters(p, grads, 0.1)
    close(updated["W1"][0], [-0.59562069, -0.09991781, -2.14584584, 1.82662008])
    close(updated["b1"], [[-0.04659241], [-1.28888275], [0.53405496]])
    close(updated["W2"], [[-0.55569196, 0.0354055, 1.32964895]])
    close(updated["b2"], [[-0.84610769]])


# ----------------------------------------------------------------------- each function and NumPy
def test_starts_are_the_legacy_generators() -> None:
    dims = [6, 4, 3, 1]
    p = textbook.initialize_parameters_deep(dims, seed=1, scale=1.0)
    expected = numpy_start(dims, lambda W: W)
    assert list(p) == list(expected) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    for name, value in expected.items():
        assert p[name].tobytes() == value.tobytes()
        assert p[name].shape == value.shape
    small = textbook.initialize_parameters_deep(dims, seed=1)
    assert small["W3"].tobytes() == (expected["W3"] * 0.01).tobytes()
    for name, value in textbook.initialize_parameters(6, 4, 3).items():
        assert value.tobytes() == small[name].tobytes()


def test_linear_forward() -> None:
    A, W, b = layer_data()
    Z, cache = textbook.linear_forward(A, W, b)
    same(Z, W @ A + b)
    assert all(np.array_equal(x, y) for x, y in zip(cache, (A, W, b), strict=True))


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_linear_activation_forward(activation: str) -> None:
    A_prev, W, b = layer_data()
    A, (linear_cache, Z) = textbook.linear_activation_forward(A_prev, W, b, activation)
    same(Z, W @ A_prev + b)
    same(A, naive.ACTIVATIONS[activation][0](W @ A_prev + b))
    assert all(np.array_equal(x, y) for x, y in zip(linear_cache, (A_prev, W, b), strict=True))


def test_linear_backward() -> None:
    A, W, b = layer_data()
    dZ = np.random.default_rng(1).normal(size=(3, 7))
    dA_prev, dW, db = textbook.linear_backward(dZ, textbook.linear_forward(A, W, b)[1])
    same(dA_prev, W.T @ dZ)
    same(dW, dZ @ A.T / 7)
    same(db, dZ.sum(axis=1, keepdims=True) / 7)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_linear_activation_backward(activation: str) -> None:
    A_prev, W, b = layer_data()
    dA = np.random.default_rng(1).normal(size=(3, 7))
    _, cache = textbook.linear_activation_forward(A_prev, W, b, activation)
    dZ = naive.ACTIVATIONS[activation][1](dA, W @ A_prev + b)
    found = textbook.linear_activation_backward(dA, cache, activation)
    for one, expected in zip(
        found, (W.T @ dZ, dZ @ A_prev.T / 7, dZ.sum(axis=1, keepdims=True) / 7), strict=True
    ):
        same(one, expected)


def test_relu_has_no_derivative_at_zero_nor_below() -> None:
    Z = np.array([[-1.0, -0.0, 0.0, 1e-300]])
    cache = (np.ones((1, 4)), np.ones((1, 1)), np.zeros((1, 1))), Z
    dA_prev, _, _ = textbook.linear_activation_backward(np.ones((1, 4)), cache, "relu")
    assert dA_prev.tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize("dims", [[4, 1], [4, 3, 1], [5, 4, 3, 2, 1], [17, 33, 9, 1]])
def test_whole_network_forward_and_backward(dims: list[int]) -> None:
    X, Y, p = network_data(dims)
    A, Z = numpy_forward(X, p)
    AL, caches = textbook.L_model_forward(X, p)
    same(AL, A[-1])
    for l, ((A_prev, W, b), z) in enumerate(caches):
        same(A_prev, A[l])
        same(z, Z[l])
        assert np.array_equal(W, p[f"W{l + 1}"])
        assert np.array_equal(b, p[f"b{l + 1}"])
    assert textbook.compute_cost(AL, Y) == pytest.approx(numpy_cost(A[-1], Y), rel=1e-13)
    grads = textbook.L_model_backward(AL, Y, caches)
    expected = numpy_backward(A, Z, Y, p)
    assert set(grads) == {"dA0", *expected}
    for name, value in expected.items():
        same(grads[name], value, 1e-12)


def test_whole_gradient_is_the_costs_derivative() -> None:
    X, Y, p = network_data([5, 4, 3, 1])
    AL, caches = textbook.L_model_forward(X, p)
    grads = textbook.L_model_backward(AL, Y, caches)

    def cost() -> float:
        return textbook.compute_cost(textbook.L_model_forward(X, p)[0], Y)

    # the notes' dA is that of one sample: the 1 / m stands in dW and db
    wanted = [(X, grads["dA0"] / X.shape[1])]
    wanted += [(value, grads[f"d{name}"]) for name, value in p.items()]
    for array, gradient in wanted:
        found = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            middle, h = array[index], 1e-4
            values = []
            for steps in (-2, -1, 1, 2):
                array[index] = middle + steps * h
                values.append(cost())
            array[index] = middle
            found[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert np.linalg.norm(found - gradient) < 1e-9 * np.linalg.norm(gradient)


def test_compute_cost_at_certain_probabilities() -> None:
    assert textbook.compute_cost([[1.0, 0.0]], [[1, 0]]) == 0
    assert not np.signbit(textbook.compute_cost([[1.0, 0.0]], [[1, 0]]))
    assert textbook.compute_cost([[1.0, 0.0]], [[1, 1]]) == np.inf
    assert type(textbook.compute_cost([[0.5]], [[1]])) is float


def test_backward_pass_of_a_saturated_sigmoid_takes_the_limit() -> None:
    X, Y = np.array([[50.0, 50.0, -800.0, 1.0]]), np.array([[1, 0, 1, 0]])
    AL, caches = textbook.L_model_forward(X, {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))})
    assert AL[0, :3].tolist() == [1, 1, 0]
    grads = textbook.L_model_backward(AL, Y, caches)
    same(grads["dA0"], AL - Y)
    same(grads["dW1"], (AL - Y) @ X.T / 4)


def test_update_makes_new_arrays() -> None:
    X, Y, p = network_data([4, 3, 1])
    AL, caches = textbook.L_model_forward(X, p)
    grads = textbook.L_model_backward(AL, Y, caches)
    before = {name: value.copy() for name, value in (p | grads).items()}
    updated = textbook.update_parameters(p, grads, 0.3)
    assert list(updated) == list(p)
    for name, value in p.items():
        assert np.array_equal(updated[name], value - 0.3 * grads[f"d{name}"])
        assert not np.shares_memory(updated[name], value)
    assert all(np.array_equal(value, before[name]) for name, value in (p | grads).items())
    rate = np.float64(0.3)
    single = {name: value.astype(np.float32) for name, value in (p | grads).items()}
    first = {name: single[name] for name in p}
    assert textbook.update_parameters(first, single, rate)["W1"].dtype == np.float32


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [1, 1, 1, 1]])
def test_predict(labels: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    X = np.array([[-3.0, 0.0, 1e-9, 2.0]])
    p = {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))}
    row = textbook.predict(X, np.array([labels]), p)
    assert row.tolist() == [[0, 0, 1, 1]]  # 0.5 itself is no 1
    assert capsys.readouterr().out == "Accuracy: 0.5\n"
