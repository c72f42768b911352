"""The textbook's functions beside the same equations in plain NumPy, and runs replayed."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import fastdnn
from fastdnn import textbook

Array = np.ndarray[Any, Any]
Parameters = dict[str, Array]


# ---------------------------------------------------------------------- the equations, in NumPy
def sigmoid(Z: Array) -> Array:
    return 1 / (1 + np.exp(-Z))


def relu(Z: Array) -> Array:
    return np.maximum(0, Z)


G: dict[str, Callable[[Array], Array]] = {"sigmoid": sigmoid, "relu": relu, "tanh": np.tanh}
G_PRIME: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda Z: sigmoid(Z) * (1 - sigmoid(Z)),
    "relu": lambda Z: (Z > 0).astype(float),
    "tanh": lambda Z: 1 - np.tanh(Z) ** 2,
}


def numpy_forward(X: Array, p: Parameters) -> tuple[list[Array], list[Array]]:
    """A[0], …, A[L] and Z[1], …, Z[L]."""
    L = len(p) // 2
    A, Z = [X], []
    for l in range(1, L + 1):
        Z.append(p[f"W{l}"] @ A[-1] + p[f"b{l}"])
        A.append(sigmoid(Z[-1]) if l == L else relu(Z[-1]))
    return A, Z


def numpy_cost(AL: Array, Y: Array) -> float:
    m = Y.shape[1]
    return float(-np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / m)


def numpy_backward(A: list[Array], Z: list[Array], Y: Array, p: Parameters) -> Parameters:
    """As the notes have it, but for dA0, which no update needs."""
    m, L = Y.shape[1], len(Z)
    grads: Parameters = {}
    dA = -(Y / A[L] - (1 - Y) / (1 - A[L]))
    for l in range(L, 0, -1):
        dZ = dA * G_PRIME["sigmoid" if l == L else "relu"](Z[l - 1])
        grads[f"dW{l}"] = dZ @ A[l - 1].T / m
        grads[f"db{l}"] = np.sum(dZ, axis=1, keepdims=True) / m
        if l > 1:
            dA = grads[f"dA{l - 1}"] = p[f"W{l}"].T @ dZ
    return grads


def numpy_start(dims: list[int], scaled: Callable[[Array], Array]) -> Parameters:
    """The random start that published runs have: seed 1, W1 first."""
    rng = np.random.RandomState(1)
    p: Parameters = {}
    for l, (n_prev, n) in enumerate(pairwise(dims), 1):
        p[f"W{l}"] = scaled(rng.randn(n, n_prev))
        p[f"b{l}"] = np.zeros((n, 1))
    return p


def numpy_model(
    X: Array, Y: Array, p: Parameters, learning_rate: float, num_iterations: int
) -> tuple[Parameters, list[float]]:
    costs = []
    with threadpool_limits(1, "blas"):  # two libraries' idle threads would wait on the same cores
        for i in range(num_iterations):
            A, Z = numpy_forward(X, p)
            if i % 100 == 0:
                costs.append(numpy_cost(A[-1], Y))
            grads = numpy_backward(A, Z, Y, p)
            p = {name: value - learning_rate * grads[f"d{name}"] for name, value in p.items()}
    return p, costs


def deep_start(dims: list[int]) -> Parameters:
    return numpy_start(dims, lambda W: W / np.sqrt(W.shape[1]))


def shallow_start(dims: list[int]) -> Parameters:
    return numpy_start(dims, lambda W: W * 0.01)


# ------------------------------------------------------------------------------------------ data
def layer_data(seed: int = 0) -> tuple[Array, Array, Array]:
    """A_prev (4, 7), W (3, 4) and b (3, 1)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 7)), rng.normal(size=(3, 4)), rng.normal(size=(3, 1))


def network_data(dims: list[int], m: int = 9, seed: int = 0) -> tuple[Array, Array, Parameters]:
    """X, Y and random parameters, with no Z near relu's kink."""
    for attempt in range(1000):
        rng = np.random.default_rng([seed, attempt])
        p: Parameters = {}
        for l, (n_prev, n) in enumerate(pairwise(dims), 1):
            p[f"W{l}"] = rng.normal(size=(n, n_prev)) / np.sqrt(n_prev)
            p[f"b{l}"] = rng.normal(size=(n, 1))
        X = rng.normal(size=(dims[0], m))
        if min(np.abs(z).min() for z in numpy_forward(X, p)[1]) > 0.01:
            return X, rng.integers(2, size=(1, m)).astype(float), p
    raise AssertionError("no such data")


def small_job(dims: tuple[int, ...] = (3, 5, 1), m: int = 40) -> tuple[Array, Array]:
    """Points and whether their coordinates' product is positive."""
    X = np.random.default_rng(3).uniform(-1, 1, size=(dims[0], m))
    return X, (X.prod(axis=0, keepdims=True) > 0).astype(float)


def images(m: int = 209) -> tuple[Array, Array]:
    """Colour images of 64 x 64 as columns (12288, m), in [0, 1]: is the blob red or blue?"""
    rng = np.random.default_rng(1)
    side = np.linspace(0, 1, 64)
    labels = rng.random(m) < 0.35
    rows = np.empty((m, 64, 64, 3))
    for image, red in zip(rows, labels, strict=True):
        x, y = rng.uniform(0.3, 0.7, size=2)
        blob = np.exp(-((side[:, None] - x) ** 2 + (side - y) ** 2) / 0.08)
        background = 0.7 * rng.random((8, 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
        colour = [0.3, 0.15, 0.0] if red else [0.0, 0.15, 0.3]
        noise = 0.05 * rng.random((64, 64, 3))
        image[...] = np.clip(background + blob[..., None] * colour + noise, 0, 1)
    # a transposed view, as it comes of flattening image files
    return rows.reshape(m, -1).T, labels[None].astype(float)


def digits() -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X.T / 16, (y == 0).astype(float)[None]


def breast_cancer() -> tuple[Array, Array]:
    X, y = load_breast_cancer(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).T, y.astype(float)[None]


def digits_printed(costs: list[float]) -> list[str]:
    return [f"{cost:.6f}" for cost in costs]


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
def same(actual: Any, expected: Any, rtol: float = 1e-13) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


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


@pytest.mark.parametrize("activation", G)
def test_linear_activation_forward(activation: str) -> None:
    A_prev, W, b = layer_data()
    A, (linear_cache, Z) = textbook.linear_activation_forward(A_prev, W, b, activation)
    same(Z, W @ A_prev + b)
    same(A, G[activation](W @ A_prev + b))
    assert all(np.array_equal(x, y) for x, y in zip(linear_cache, (A_prev, W, b), strict=True))


def test_linear_backward() -> None:
    A, W, b = layer_data()
    dZ = np.random.default_rng(1).normal(size=(3, 7))
    dA_prev, dW, db = textbook.linear_backward(dZ, textbook.linear_forward(A, W, b)[1])
    same(dA_prev, W.T @ dZ)
    same(dW, dZ @ A.T / 7)
    same(db, dZ.sum(axis=1, keepdims=True) / 7)


@pytest.mark.parametrize("activation", G)
def test_linear_activation_backward(activation: str) -> None:
    A_prev, W, b = layer_data()
    dA = np.random.default_rng(1).normal(size=(3, 7))
    _, cache = textbook.linear_activation_forward(A_prev, W, b, activation)
    dZ = dA * G_PRIME[activation](W @ A_prev + b)
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


# ------------------------------------------------------------------------------------ whole runs
def test_replay_of_the_deep_network_on_images(capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = images()
    dims = [12288, 20, 7, 5, 1]
    assert X.shape == (12288, 209)
    p, costs = textbook.L_layer_model(X, Y, dims, num_iterations=2500, print_cost=True)
    printed = re.findall(r"Cost after iteration (\d+): (\d\.\d{6})\n", capsys.readouterr().out)
    expected_p, expected = numpy_model(X, Y, deep_start(dims), 0.0075, 2500)
    assert printed == [(str(100 * i), f"{cost:.6f}") for i, cost in enumerate(expected)]
    assert digits_printed(costs) == digits_printed(expected)
    assert expected[0] > 0.6 > 0.1 > expected[-1]
    for name, value in expected_p.items():
        same(p[name], value, 1e-9)


def test_replay_of_the_shallow_network_on_images() -> None:
    X, Y = images()
    dims = [12288, 7, 1]
    _, costs = textbook.two_layer_model(X, Y, dims, num_iterations=301)
    _, expected = numpy_model(X, Y, shallow_start(dims), 0.0075, 301)
    assert digits_printed(costs) == digits_printed(expected)
    assert costs[-1] < costs[0] - 0.05


RUNS: dict[str, tuple[Any, list[int], float]] = {
    "digits shallow": (digits, [64, 7, 1], 0.1),
    "breast cancer deep": (breast_cancer, [30, 16, 8, 1], 0.05),
    "breast cancer shallow": (breast_cancer, [30, 6, 1], 0.05),
    "breast cancer, one layer": (breast_cancer, [30, 1], 0.05),
}


@pytest.mark.parametrize("name", RUNS)
def test_replay_on_real_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, dims, learning_rate = RUNS[name]
    X, Y = data()
    shallow = name.endswith("shallow")
    model = textbook.two_layer_model if shallow else textbook.L_layer_model
    start = shallow_start(dims) if shallow else deep_start(dims)
    p, costs = model(X, Y, dims, learning_rate, num_iterations=2500)
    expected_p, expected = numpy_model(X, Y, start, learning_rate, 2500)
    assert digits_printed(costs) == digits_printed(expected)
    assert costs[-1] < 0.5 * costs[0]
    for key, value in expected_p.items():
        same(p[key], value, 1e-8)
    assert capsys.readouterr().out == ""  # print_cost is off
    row = textbook.predict(X, Y, p)
    accuracy = float(capsys.readouterr().out.removeprefix("Accuracy: "))
    assert accuracy == np.mean(row == Y) == np.mean((numpy_forward(X, p)[0][-1] > 0.5) == Y)
    assert accuracy > 0.97


def test_the_functions_in_a_loop_are_the_model() -> None:
    X, Y = small_job()
    dims = [3, 8, 5, 1]
    p = deep_start(dims)
    for _ in range(150):
        AL, caches = textbook.L_model_forward(X, p)
        p = textbook.update_parameters(p, textbook.L_model_backward(AL, Y, caches), 0.3)
    found, _ = textbook.L_layer_model(X, Y, dims, 0.3, 150)
    assert list(found) == list(p)
    for name, value in p.items():
        assert found[name].shape == value.shape
        same(found[name], value, 1e-11)


@pytest.mark.parametrize(
    ("num_iterations", "recorded"), [(0, 0), (1, 1), (100, 1), (101, 2), (250, 3)]
)
def test_costs_are_recorded_every_hundred_iterations(num_iterations: int, recorded: int) -> None:
    X, Y = small_job()
    p, costs = textbook.L_layer_model(X, Y, [3, 5, 1], num_iterations=num_iterations)
    assert len(costs) == recorded
    assert all(type(cost) is float for cost in costs)
    if num_iterations == 0:
        for name, value in deep_start([3, 5, 1]).items():
            assert np.array_equal(p[name], value)


def test_defaults_are_the_courses() -> None:
    X, Y = small_job()
    for model, start in (
        (textbook.L_layer_model, deep_start),
        (textbook.two_layer_model, shallow_start),
    ):
        _, costs = model(X, Y, [3, 5, 1])
        _, expected = numpy_model(X, Y, start([3, 5, 1]), 0.0075, 3000)
        assert digits_printed(costs) == digits_printed(expected)


def test_float32_stays_float32() -> None:
    X, Y = breast_cancer()
    dims = [30, 6, 1]
    p, costs = textbook.L_layer_model(X.astype(np.float32), Y, dims, 0.05, 301)
    _, expected = textbook.L_layer_model(X, Y, dims, 0.05, 301)
    assert {value.dtype for value in p.values()} == {np.dtype(np.float32)}
    same(costs, expected, 1e-5)
    assert costs != expected
    AL, caches = textbook.L_model_forward(X.astype(np.float32), p)
    grads = textbook.L_model_backward(AL, Y, caches)
    assert {value.dtype for value in (AL, *grads.values())} == {np.dtype(np.float32)}
    assert textbook.L_model_forward(X, p)[0].dtype == np.float64  # one float64 array is enough


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "int", "list", "read-only"])
def test_the_layout_of_the_data_changes_nothing(layout: str) -> None:
    X, Y = small_job()
    X = np.round(4 * X)
    wide = np.zeros((6, 80))
    wide[::2, ::2] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    layouts = {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "int": X.astype(np.int64),
        "list": X.tolist(),
        "read-only": frozen,
    }
    expected, _ = textbook.L_layer_model(X, Y, [3, 4, 1], num_iterations=20)
    found, _ = textbook.L_layer_model(layouts[layout], Y, [3, 4, 1], num_iterations=20)
    for name, value in expected.items():
        assert found[name].tobytes() == value.tobytes()


def test_labels_may_be_integers_and_booleans() -> None:
    X, Y = small_job()
    expected = textbook.L_layer_model(X, Y, [3, 4, 1], num_iterations=20)[1]
    for labels in (Y.astype(np.int64), Y == 1, Y.tolist()):
        assert textbook.L_layer_model(X, labels, [3, 4, 1], num_iterations=20)[1] == expected


def test_arguments_are_left_as_they_are() -> None:
    X, Y = small_job()
    x, y = X.copy(), Y.copy()
    dims = [3, 4, 1]
    p, _ = textbook.L_layer_model(X, Y, dims, num_iterations=5)
    before = {name: value.copy() for name, value in p.items()}
    textbook.predict(X, Y, p)
    assert np.array_equal(X, x)
    assert np.array_equal(Y, y)
    assert dims == [3, 4, 1]
    assert all(np.array_equal(value, before[name]) for name, value in p.items())


def test_any_number_of_threads_and_the_global_generator() -> None:
    X, Y = breast_cancer()
    dims = [30, 64, 20, 1]
    before = repr(np.random.get_state())  # noqa: NPY002 - it must stay as it is
    runs = []
    for n_threads in (1, 2, 3):
        with fastdnn.num_threads(n_threads):
            p, costs = textbook.L_layer_model(X, Y, dims, 0.05, 201)
            AL, caches = textbook.L_model_forward(X, p)
            grads = textbook.L_model_backward(AL, Y, caches)
            arrays = [AL, *p.values(), *grads.values()]
            runs.append((costs, [array.tobytes() for array in arrays]))
    assert runs[0] == runs[1] == runs[2]
    assert repr(np.random.get_state()) == before  # noqa: NPY002
    np.random.seed(9)  # noqa: NPY002 - nor may it matter
    assert textbook.L_layer_model(X, Y, dims, 0.05, 201)[1] == runs[0][0]
