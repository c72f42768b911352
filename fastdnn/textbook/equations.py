"""The equations of one layer and of all, function by function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdnn import kernels
from fastdnn._checks import check_number
from fastdnn.kernels.base.lookup import lookup

from . import shapes as check

Array = NDArray[Any]
LinearCache = tuple[Array, Array, Array]  # A_prev, W, b
Cache = tuple[LinearCache, Array]  # and Z

ACTIVATIONS = {name: kernels.ACTIVATIONS[name] for name in ("sigmoid", "relu", "tanh")}


# ------------------------------------------------------------------------------------------ start
def initialize_parameters(n_x: int, n_h: int, n_y: int) -> dict[str, Array]:
    """Return parameters W = 0.01 N(0, 1) by NumPy's legacy generator from seed 1, b = 0.

    Parameters
    ----------
    n_x, n_h, n_y : int
        Units of the input, hidden and output layer.

    Returns
    -------
    dict
        "W1" (n_h, n_x), "b1" (n_h, 1), "W2" (n_y, n_h) and "b2" (n_y, 1), in float64.
    """
    for name, n in (("n_x", n_x), ("n_h", n_h), ("n_y", n_y)):
        check_number(name, n, "[1, inf)", whole=True)
    return initialize_parameters_deep((n_x, n_h, n_y), seed=1)


def initialize_parameters_deep(
    layer_dims: Sequence[int], *, seed: int = 3, scale: float = 0.01
) -> dict[str, Array]:
    """Return parameters W[l] = scale N(0, 1), b[l] = 0.

    Parameters
    ----------
    layer_dims : sequence of int
        n[0], …, n[L].
    seed : int
        Of NumPy's legacy generator, which published runs used; the global one stays untouched.
    scale : float
        The standard deviation of W.

    Returns
    -------
    dict
        "W1" (n[1], n[0]), "b1" (n[1], 1), …, in float64.
    """
    check_number("seed", seed, f"[0, {2**32})", whole=True)
    check_number("scale", scale, "[0, inf)")
    return start(check.dims("layer_dims", layer_dims), seed, lambda W: W * scale)


def start(dims: Sequence[int], seed: int, scaled: Callable[[Array], Array]) -> dict[str, Array]:
    """Return W1, W2, … drawn from N(0, 1) in this order, then scaled; b1, b2, … zero."""
    rng = np.random.RandomState(seed)
    parameters: dict[str, Array] = {}
    for l, (n_prev, n) in enumerate(pairwise(dims), 1):
        parameters[f"W{l}"] = scaled(rng.randn(n, n_prev))
        parameters[f"b{l}"] = np.zeros((n, 1))
    return parameters


# ---------------------------------------------------------------------------------------- forward
def linear_forward(A: ArrayLike, W: ArrayLike, b: ArrayLike) -> tuple[Array, LinearCache]:
    """Return Z = W A + b.

    Parameters
    ----------
    A : array_like of shape (n_prev, m)
        The outputs of the layer before, or X.
    W : array_like of shape (n, n_prev)
    b : array_like of shape (n, 1)

    Returns
    -------
    Z : ndarray of shape (n, m)
    cache : tuple
        (A, W, b), for `linear_backward`.
    """
    cache = check.layer(A, W, b, A_name="A")
    return kernels.linear_forward(*cache), cache


def linear_activation_forward(
    A_prev: ArrayLike, W: ArrayLike, b: ArrayLike, activation: str
) -> tuple[Array, Cache]:
    """Return A = g(Z) of Z = W A_prev + b, and what the backward step reads.

    Parameters
    ----------
    A_prev : array_like of shape (n_prev, m)
    W : array_like of shape (n, n_prev)
    b : array_like of shape (n, 1)
    activation : {"sigmoid", "relu", "tanh"}

    Returns
    -------
    A : ndarray of shape (n, m)
    cache : tuple
        ((A_prev, W, b), Z), for `linear_activation_backward`.
    """
    lookup("activation", activation, ACTIVATIONS)
    A_prev, W, b = check.layer(A_prev, W, b)
    Z = np.empty((len(W), A_prev.shape[1]), W.dtype)
    return kernels.linear_forward(A_prev, W, b, activation, Z=Z), ((A_prev, W, b), Z)


def L_model_forward(X: ArrayLike, parameters: Mapping[str, ArrayLike]) -> tuple[Array, list[Cache]]:
    """Return A[L], by A[l] = g(W[l] A[l-1] + b[l]) for all layers, from A[0] = X.

    Parameters
    ----------
    X : array_like of shape (n[0], m)
    parameters : dict
        "W1", "b1", …, "WL", "bL".

    Returns
    -------
    AL : ndarray of shape (n[L], m)
        The probability of label 1.
    caches : list
        Of each layer, as `linear_activation_forward` returns it.
    """
    L = check.parameters(parameters)
    A, caches = check.finite("X", X), []
    for l in range(1, L + 1):
        W, b, name = parameters[f"W{l}"], parameters[f"b{l}"], f"A{l - 1}" if l > 1 else "X"
        A, W, b = check.layer(A, W, b, A_name=name, number=str(l))
        A, cache = linear_activation_forward(A, W, b, "sigmoid" if l == L else "relu")
        caches.append(cache)
    return A, caches


def compute_cost(AL: ArrayLike, Y: ArrayLike) -> float:
    """Return J = -1/m sum(Y log AL + (1 - Y) log(1 - AL)), where 0 log 0 = 0.

    Parameters
    ----------
    AL : array_like of shape (1, m)
        Probabilities of label 1.
    Y : array_like of shape (1, m)

    Returns
    -------
    float
        In nats; infinite where what is the case has the probability 0.
    """
    AL = check.matrix("AL", AL)
    outside = ~((AL >= 0) & (AL <= 1))
    if outside.any():
        raise ValueError(f"AL: want probabilities in [0, 1], got {AL[outside][0]}")
    Y = check.labels("Y", Y, AL)
    with np.errstate(divide="ignore"):  # log 0 = -inf
        logarithms = np.log(np.where(Y == 1, AL, 1 - AL))
    # + 0.0: a cost of nothing is 0, not -0
    return float(-logarithms.sum(dtype=np.float64) / AL.shape[1] + 0.0)


# --------------------------------------------------------------------------------------- backward
def linear_backward(dZ: ArrayLike, cache: LinearCache) -> tuple[Array, Array, Array]:
    """Return the products dW = dZ A_prev^T / m, db = sum(dZ) / m and dA_prev = W^T dZ.

    Parameters
    ----------
    dZ : array_like of shape (n, m)
    cache : tuple
        (A_prev, W, b), from `linear_forward`.

    Returns
    -------
    dA_prev, dW, db : ndarray
        In the shapes of A_prev, W and b.
    """
    A_prev, W, _ = check.linear_cache(cache)
    dZ = check.matrix("dZ", dZ, (len(W), A_prev.shape[1]))
    dA_prev, dW, db = kernels.linear_backward(dZ, A_prev, W)
    assert dA_prev is not None  # as it is not left out
    return dA_prev, dW, db


def linear_activation_backward(
    dA: ArrayLike, cache: Cache, activation: str
) -> tuple[Array, Array, Array]:
    """Return what `linear_backward` does, of dZ = dA * g'(Z).

    Parameters
    ----------
    dA : array_like of shape (n, m)
    cache : tuple
        ((A_prev, W, b), Z), from `linear_activation_forward`.
    activation : {"sigmoid", "relu", "tanh"}

    Returns
    -------
    dA_prev, dW, db : ndarray
        As `linear_backward`.
    """
    linear_cache, Z = check.cache(cache)
    return linear_backward(_activation_backward(dA, Z, activation), linear_cache)


def _activation_backward(dA: ArrayLike, Z: Array, activation: str) -> Array:
    lookup("activation", activation, ACTIVATIONS)
    dA, Z = check.same_dtype(check.matrix("dA", dA, Z.shape), Z)
    A = kernels.activation_forward(Z, activation)
    return kernels.activation_backward(dA, activation, A=A)


def L_model_backward(AL: ArrayLike, Y: ArrayLike, caches: Sequence[Cache]) -> dict[str, Array]:
    """Return all gradients, from dAL = -(Y / AL - (1 - Y) / (1 - AL)) back through the layers.

    Parameters
    ----------
    AL : array_like of shape (n[L], m)
        Need not lie in (0, 1). Only where the formula is infinite, because the sigmoid is
        saturated, dZ[L] takes its limit AL - Y.
    Y : array_like of shape (n[L], m)
    caches : list
        From `L_model_forward`.

    Returns
    -------
    dict
        "dA0", "dW1", "db1", …, "dA<L-1>", "dW<L>", "db<L>".
    """
    linear_cache, Z = check.last_cache(caches)
    AL = check.matrix("AL", AL, Z.shape)
    Y = check.labels("Y", Y, AL)
    with np.errstate(divide="ignore"):
        dAL = np.where(Y == 1, -1 / AL, 1 / (1 - AL))
    dZ = np.where(np.isinf(dAL), AL - Y, _activation_backward(dAL, Z, "sigmoid"))
    dA, dW, db = linear_backward(dZ, linear_cache)
    L = len(caches)
    grads = {f"dA{L - 1}": dA, f"dW{L}": dW, f"db{L}": db}
    for l in range(L - 1, 0, -1):
        dA, dW, db = linear_activation_backward(dA, caches[l - 1], "relu")
        grads |= {f"dA{l - 1}": dA, f"dW{l}": dW, f"db{l}": db}
    return grads


def update_parameters(
    parameters: Mapping[str, ArrayLike], grads: Mapping[str, ArrayLike], learning_rate: float
) -> dict[str, Array]:
    """Return W[l] - learning_rate dW[l] and b[l] - learning_rate db[l], as new arrays.

    Parameters
    ----------
    parameters, grads : dict
        "W1", "b1", …; "dW1", "db1", …, and whatever else.
    learning_rate : float

    Returns
    -------
    dict
    """
    check.parameters(parameters)
    check_number("learning_rate", learning_rate, "[0, inf)")
    check.gradients(grads, parameters)
    rate = float(learning_rate)  # a Python number leaves float32 arrays float32
    updated: dict[str, Array] = {}
    for name, value in parameters.items():
        theta = check.matrix(name, value)
        updated[name] = theta - rate * check.matrix(f"d{name}", grads[f"d{name}"], theta.shape)
    return updated
