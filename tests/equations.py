"""The notes' equations as `naive` has them, and data, for the tests of the textbook."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tests import naive

Array = np.ndarray[Any, Any]
Parameters = dict[str, Array]


# --------------------------------------------------------- the equations, of the specification
def numpy_forward(X: Array, p: Parameters) -> tuple[list[Array], list[Array]]:
    """A[0], …, A[L] and Z[1], …, Z[L]: relu, and a sigmoid at the end."""
    L = len(p) // 2
    pairs = [(p[f"W{l}"], p[f"b{l}"]) for l in range(1, L + 1)]
    return naive.forward(X, pairs, ["relu"] * (L - 1) + ["sigmoid"])


def numpy_cost(AL: Array, Y: Array) -> float:
    """Where naive keeps probabilities from 0 and 1, the notes do not."""
    return float(-np.mean(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)))


def numpy_backward(A: list[Array], Z: list[Array], Y: Array, p: Parameters) -> Parameters:
    """As the notes have it, but for dA0, which no update needs."""
    L = len(Z)
    grads: Parameters = {}
    dA = -(Y / A[L] - (1 - Y) / (1 - A[L]))
    for l in range(L, 0, -1):
        dZ = naive.ACTIVATIONS["sigmoid" if l == L else "relu"][1](dA, Z[l - 1])
        dA, grads[f"dW{l}"], grads[f"db{l}"] = naive.linear_backward(dZ, A[l - 1], p[f"W{l}"])
        if l > 1:
            grads[f"dA{l - 1}"] = dA
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


@cache
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


def same(actual: Any, expected: Any, rtol: float = 1e-13) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
