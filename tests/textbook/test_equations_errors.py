"""What a user of the textbook can get wrong: each mistake is named before any work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import textbook

Array = np.ndarray[Any, Any]
Parameters = dict[str, Array]
RULE = re.escape("W[l] is (n[l], n[l-1]), b[l] is (n[l], 1), Z[l] and A[l] are (n[l], m)")
RNG = np.random.default_rng(0)
X0, W0, B0 = (RNG.normal(size=shape) for shape in [(4, 7), (3, 4), (3, 1)])
CACHE = (X0, W0, B0)
DZ = np.ones((3, 7))
Y0 = np.ones((1, 7))
P0: Parameters = {"W1": W0, "b1": B0, "W2": np.ones((1, 3)), "b2": np.zeros((1, 1))}
AL0, CACHES = np.full((1, 7), 0.5), [(CACHE, DZ), ((DZ, P0["W2"], P0["b2"]), np.ones((1, 7)))]

WRONG_SHAPES: dict[str, tuple[Callable[[], Any], str]] = {
    "W transposed": (lambda: textbook.linear_forward(X0, W0.T, B0), "W: want 4 columns"),
    "W is a vector": (lambda: textbook.linear_forward(X0, W0[0], B0), r"W: .*\(4,\)"),
    "b is (n,)": (lambda: textbook.linear_forward(X0, W0, B0[:, 0]), r"b: want shape \(3, 1\)"),
    "b is a row": (lambda: textbook.linear_forward(X0, W0, B0.T), r"b: want shape \(3, 1\)"),
    "b of another layer": (
        lambda: textbook.linear_activation_forward(X0, W0, np.zeros((4, 1)), "relu"),
        r"b: want shape \(3, 1\), got \(4, 1\)",
    ),
    "b is a number": (lambda: textbook.linear_forward(X0, W0, 0.0), r"b: want shape \(3, 1\)"),
    "A is (n,)": (lambda: textbook.linear_forward(X0[:, 0], W0, B0), r"A: .*\(4,\)"),
    "samples in rows": (
        lambda: textbook.linear_activation_forward(X0.T, W0, B0, "tanh"),
        r"W: want 7 columns, one for each row of A_prev \(7, 4\), got shape \(3, 4\)",
    ),
    "dZ transposed": (lambda: textbook.linear_backward(DZ.T, CACHE), r"dZ: want shape \(3, 7\)"),
    "dZ of fewer samples": (
        lambda: textbook.linear_backward(DZ[:, :6], CACHE),
        r"dZ: want shape \(3, 7\), got \(3, 6\)",
    ),
    "dA of another layer": (
        lambda: textbook.linear_activation_backward(X0, (CACHE, DZ), "relu"),
        r"dA: want shape \(3, 7\), got \(4, 7\)",
    ),
    "Z of another layer": (
        lambda: textbook.linear_activation_backward(X0, (CACHE, X0), "relu"),
        r"Z: want shape \(3, 7\), got \(4, 7\)",
    ),
    "X of other features": (
        lambda: textbook.L_model_forward(X0[:3], P0),
        r"W1: want 3 columns, one for each row of X \(3, 7\)",
    ),
    "W2 transposed": (
        lambda: textbook.L_model_forward(X0, P0 | {"W2": np.ones((3, 1))}),
        r"W2: want 3 columns, one for each row of A1 \(3, 7\), got shape \(3, 1\)",
    ),
    "b2 is (n,)": (
        lambda: textbook.L_model_forward(X0, P0 | {"b2": np.zeros(1)}),
        r"b2: want shape \(1, 1\), got \(1,\)",
    ),
    "b1 is (n,) in predict": (
        lambda: textbook.predict(X0, Y0, P0 | {"b1": np.zeros(3)}),
        r"b1: want shape \(3, 1\), got \(3,\)",
    ),
    "AL of fewer samples": (
        lambda: textbook.L_model_backward(AL0[:, :5], Y0, CACHES),
        r"AL: want shape \(1, 7\), got \(1, 5\)",
    ),
    "AL is (m,)": (lambda: textbook.compute_cost(AL0[0], Y0), r"AL: .*\(7,\)"),
    "dW1 transposed": (
        lambda: textbook.update_parameters(
            {"W1": W0, "b1": B0}, {"dW1": W0.T, "db1": B0}, learning_rate=0.1
        ),
        r"dW1: want shape \(3, 4\), got \(4, 3\)",
    ),
    "db1 is (n,)": (
        lambda: textbook.update_parameters(
            {"W1": W0, "b1": B0}, {"dW1": W0, "db1": B0[:, 0]}, learning_rate=0.1
        ),
        r"db1: want shape \(3, 1\), got \(3,\)",
    ),
    "X is (m,) in a model": (
        lambda: textbook.L_layer_model(X0[0], Y0, [1, 1]),
        r"X: want a matrix, got shape \(7,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shapes_are_refused_with_the_rule(name: str) -> None:
    call, message = WRONG_SHAPES[name]
    with pytest.raises(ValueError, match=f"^{message}.*{RULE}"):
        call()


def changed(array: Array, value: float) -> Array:
    result = array.astype(float)
    result[0, 2] = value
    return result


def without(name: str) -> Parameters:
    return {key: value for key, value in P0.items() if key != name}


EMPTY = np.empty((4, 0))
DIMS = [4, 3, 1]
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown activation": (
        lambda: textbook.linear_activation_forward(X0, W0, B0, "rellu"),
        "activation: unknown name 'rellu'; did you mean 'relu'",
    ),
    "activation of the engine only": (
        lambda: textbook.linear_activation_backward(DZ, (CACHE, DZ), "softmax"),
        "activation: unknown name 'softmax'.*relu, sigmoid, tanh",
    ),
    "Y is (m,)": (
        lambda: textbook.compute_cost(AL0, Y0[0]),
        r"Y: want shape \(1, 7\), a column per sample, got \(7,\)",
    ),
    "Y is a column": (
        lambda: textbook.L_model_backward(AL0, Y0.T, CACHES),
        r"Y: want shape \(1, 7\).*got \(7, 1\)",
    ),
    "Y is (m,) in a model": (
        lambda: textbook.L_layer_model(X0, Y0[0], DIMS),
        r"Y: want shape \(1, 7\).*got \(7,\)",
    ),
    "Y of fewer samples": (
        lambda: textbook.two_layer_model(X0, Y0[:, :6], DIMS),
        r"Y: want shape \(1, 7\).*got \(1, 6\)",
    ),
    "y is (m,) in predict": (lambda: textbook.predict(X0, Y0[0], P0), r"y: want shape \(1, 7\)"),
    "label 2": (
        lambda: textbook.L_layer_model(X0, changed(Y0, 2), DIMS),
        "Y: want labels 0 and 1, got 2",
    ),
    "label -1": (
        lambda: textbook.two_layer_model(X0, changed(Y0, -1), DIMS),
        "Y: want labels 0 and 1, got -1",
    ),
    "label NaN": (
        lambda: textbook.predict(X0, changed(Y0, np.nan), P0),
        "y: want labels 0 and 1, got nan",
    ),
    "NaN in X": (
        lambda: textbook.L_layer_model(changed(X0, np.nan), Y0, DIMS),
        "X: want finite numbers, got nan in row 0, column 2",
    ),
    "infinity in X": (
        lambda: textbook.two_layer_model(changed(X0, -np.inf), Y0, DIMS),
        "X: want finite numbers, got -inf in row 0, column 2",
    ),
    "NaN in predict's X": (
        lambda: textbook.predict(changed(X0, np.nan), Y0, P0),
        "X: want finite numbers",
    ),
    "no probability": (
        lambda: textbook.compute_cost(changed(AL0, 1.5), Y0),
        r"AL: want probabilities in \[0, 1\], got 1.5",
    ),
    "NaN for a probability": (
        lambda: textbook.compute_cost(changed(AL0, np.nan), Y0),
        r"AL: want probabilities in \[0, 1\], got nan",
    ),
    "n[0] is not X's": (
        lambda: textbook.L_layer_model(X0, Y0, [5, 3, 1]),
        r"layers_dims: want n\[0\] = 4, as X \(4, 7\) is \(n\[0\], m\); got 5",
    ),
    "samples in rows": (
        lambda: textbook.L_layer_model(X0.T, Y0, DIMS),
        r"layers_dims: want n\[0\] = 7, as X \(7, 4\)",
    ),
    "two outputs": (
        lambda: textbook.L_layer_model(X0, Y0, [4, 3, 2]),
        r"layers_dims: want n\[L\] = 1",
    ),
    "no layer": (lambda: textbook.L_layer_model(X0, Y0, [4]), "layers_dims: .*at least two"),
    "a layer without units": (
        lambda: textbook.L_layer_model(X0, Y0, [4, 0, 1]),
        r"layers_dims\[1\]: want an integer in \[1, inf\), got 0",
    ),
    "too deep for two_layer_model": (
        lambda: textbook.two_layer_model(X0, Y0, [4, 3, 2, 1]),
        r"layers_dims: want \(n_x, n_h, n_y\), got \(4, 3, 2, 1\)",
    ),
    "empty X": (
        lambda: textbook.L_layer_model(EMPTY, np.empty((1, 0)), DIMS),
        r"X: want at least one row and column, got shape \(4, 0\)",
    ),
    "empty A": (lambda: textbook.linear_forward(EMPTY, W0, B0), "A: want at least one"),
    "empty AL": (
        lambda: textbook.compute_cost(np.empty((1, 0)), np.empty((1, 0))),
        "AL: want at least one",
    ),
    "no W1": (lambda: textbook.L_model_forward(X0, without("W1")), "parameters: W1 is missing"),
    "no b2": (
        lambda: textbook.predict(X0, Y0, without("b2")),
        "parameters: b2 is missing; got W1, b1, W2",
    ),
    "no parameters": (lambda: textbook.L_model_forward(X0, {}), "parameters: W1 is missing"),
    "no db1": (
        lambda: textbook.update_parameters({"W1": W0, "b1": B0}, {"dW1": W0}, 0.1),
        "grads: db1 is missing; got dW1",
    ),
    "no caches": (lambda: textbook.L_model_backward(AL0, Y0, []), "caches: want a list"),
    "a cache of the wrong kind": (
        lambda: textbook.linear_activation_backward(DZ, CACHE, "relu"),  # type: ignore[arg-type]
        r"cache: want \(\(A_prev, W, b\), Z\)",
    ),
    "a linear cache of the wrong kind": (
        lambda: textbook.linear_backward(DZ, (CACHE, DZ)),  # type: ignore[arg-type]
        r"linear cache: want \(A_prev, W, b\)",
    ),
    "negative learning rate": (
        lambda: textbook.L_layer_model(X0, Y0, DIMS, learning_rate=-1.0),
        "learning_rate: want a number",
    ),
    "learning rate NaN": (
        lambda: textbook.update_parameters(P0, {}, float("nan")),
        "learning_rate: want a number",
    ),
    "negative number of iterations": (
        lambda: textbook.L_layer_model(X0, Y0, DIMS, num_iterations=-1),
        "num_iterations: want an integer",
    ),
    "no hidden units": (lambda: textbook.initialize_parameters(3, 0, 1), "n_h: want an integer"),
    "one layer size": (lambda: textbook.initialize_parameters_deep([3]), "layer_dims: .*two"),
    "negative seed": (
        lambda: textbook.initialize_parameters_deep([3, 1], seed=-1),
        "seed: want an integer",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


WRONG_KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "strings": (lambda: textbook.linear_forward([["a"]], W0, B0), "A: want real numbers"),
    "complex X": (lambda: textbook.L_layer_model(X0 * 1j, Y0, DIMS), "X: want real numbers"),
    "parameters as a list": (
        lambda: textbook.L_model_forward(X0, [W0, B0]),  # type: ignore[arg-type]
        "parameters: want a dict, got list",
    ),
    "gradients as None": (
        lambda: textbook.update_parameters(P0, None, 0.1),  # type: ignore[arg-type]
        "grads: want a dict, got NoneType",
    ),
    "sizes as a number": (
        lambda: textbook.L_layer_model(X0, Y0, 5),  # type: ignore[arg-type]
        r"layers_dims: want n\[0\], …, n\[L\], got 5",
    ),
    "activation as a function": (
        lambda: textbook.linear_activation_forward(X0, W0, B0, np.tanh),  # type: ignore[arg-type]
        "activation: want one of",
    ),
    "size as a float": (
        lambda: textbook.initialize_parameters_deep([3.0, 1]),  # type: ignore[list-item]
        r"layer_dims\[0\]: want an integer",
    ),
    "iterations as a float": (
        lambda: textbook.L_layer_model(X0, Y0, DIMS, num_iterations=3e3),  # type: ignore[arg-type]
        "num_iterations: want an integer",
    ),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_wrong_kinds_are_named(name: str) -> None:
    call, message = WRONG_KINDS[name]
    with pytest.raises(TypeError, match=f"^{message}"):
        call()


def test_divergence_names_the_iteration() -> None:
    X, Y = np.random.default_rng(3).normal(size=(3, 40)), np.ones((1, 40))
    Y[0, ::2] = 0
    with pytest.raises(fastdnn.DivergenceError, match=r"diverged at iteration \d+: ") as caught:
        textbook.L_layer_model(X, Y, [3, 5, 4, 1], learning_rate=1e200, num_iterations=50)
    assert isinstance(caught.value, ArithmeticError)
