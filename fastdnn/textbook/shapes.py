"""Checks of matrices against the textbook convention's shapes (samples are columns), by errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdnn._checks import check_number
from fastdnn.kernels.base.arrays import as_float

Array = NDArray[Any]

RULE = "W[l] is (n[l], n[l-1]), b[l] is (n[l], 1), Z[l] and A[l] are (n[l], m)"


def matrix(name: str, x: ArrayLike, shape: tuple[int, ...] | None = None) -> Array:
    """Return a float matrix with at least one element, of the shape where one is given."""
    array = as_float(name, x, ndim=None)
    if shape is None and array.ndim != 2:
        raise ValueError(f"{name}: want a matrix, got shape {array.shape}; {RULE}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name}: want shape {shape}, got {array.shape}; {RULE}")
    if array.size == 0:
        raise ValueError(f"{name}: want at least one row and column, got shape {array.shape}")
    return array


def layer(
    A_prev: ArrayLike, W: ArrayLike, b: ArrayLike, *, A_name: str = "A_prev", number: str = ""
) -> tuple[Array, Array, Array]:
    """Return A_prev, W and b in one dtype; errors name W and b with the layer's number."""
    A_prev, W = matrix(A_name, A_prev), matrix(f"W{number}", W)
    if W.shape[1] != len(A_prev):
        raise ValueError(
            f"W{number}: want {len(A_prev)} columns, one for each row of {A_name} {A_prev.shape}, "
            f"got shape {W.shape}; {RULE}"
        )
    A_prev, W, b = same_dtype(A_prev, W, matrix(f"b{number}", b, (len(W), 1)))
    return A_prev, W, b


def same_dtype(*arrays: Array) -> list[Array]:
    """Return the arrays in float32 if all are, else in float64."""
    dtype = np.result_type(*arrays)
    return [array.astype(dtype, copy=False) for array in arrays]


def finite(name: str, x: ArrayLike) -> Array:
    """Return a float matrix without NaN and infinity."""
    array = matrix(name, x)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        got = f"{array[row, column]} in row {row}, column {column}"
        raise ValueError(f"{name}: want finite numbers, got {got}")
    return array


def labels(name: str, y: ArrayLike, row: Array) -> Array:
    """Return labels 0 and 1 in the shape and dtype of `row`."""
    array = as_float(name, y, row.dtype, None)
    if array.shape != row.shape:
        raise ValueError(f"{name}: want shape {row.shape}, a column per sample, got {array.shape}")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        raise ValueError(f"{name}: want labels 0 and 1, got {array[wrong][0]}")
    return array


def dims(name: str, layer_dims: Sequence[int]) -> list[int]:
    """Return n[0], …, n[L]."""
    if not isinstance(layer_dims, Iterable):
        raise TypeError(f"{name}: want n[0], …, n[L], got {layer_dims!r}")
    sizes = list(layer_dims)
    for i, n in enumerate(sizes):
        check_number(f"{name}[{i}]", n, "[1, inf)", whole=True)
    if len(sizes) < 2:
        raise ValueError(f"{name}: want n[0], …, n[L], at least two numbers, got {sizes}")
    return [int(n) for n in sizes]


def data(X: ArrayLike, Y: ArrayLike, layers_dims: Sequence[int]) -> tuple[Array, Array, list[int]]:
    """Return X, Y and n[0], …, n[L] that fit together, with one output."""
    X, sizes = finite("X", X), dims("layers_dims", layers_dims)
    if sizes[0] != len(X):
        raise ValueError(
            f"layers_dims: want n[0] = {len(X)}, as X {X.shape} is (n[0], m); got {sizes[0]}"
        )
    if sizes[-1] != 1:
        raise ValueError(f"layers_dims: want n[L] = 1, as Y is (1, m); got {sizes[-1]}")
    return X, labels("Y", Y, X[:1]), sizes


def parameters(parameters: Mapping[str, ArrayLike]) -> int:
    """Return L, where the entries are "W1", "b1", …, "WL", "bL"."""
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters: want a dict, got {type(parameters).__name__}")
    depth = max((len(parameters) + 1) // 2, 1)
    for key in (f"{letter}{layer}" for layer in range(1, depth + 1) for letter in "Wb"):
        if key not in parameters:
            got = ", ".join(map(str, parameters)) or "no entry"
            raise ValueError(f"parameters: {key} is missing; got {got}")
    return depth


def gradients(grads: Mapping[str, ArrayLike], parameters: Mapping[str, ArrayLike]) -> None:
    """Refuse gradients without an entry for each parameter."""
    if not isinstance(grads, Mapping):
        raise TypeError(f"grads: want a dict, got {type(grads).__name__}")
    for name in parameters:
        if f"d{name}" not in grads:
            raise ValueError(f"grads: d{name} is missing; got {', '.join(grads) or 'no entry'}")


def cache(cache: Any) -> Any:
    """Return a linear cache and Z, as `linear_activation_forward` makes them."""
    if not (isinstance(cache, tuple | list) and len(cache) == 2):
        raise ValueError(f"cache: want ((A_prev, W, b), Z), got {cache!r:.60}")
    A_prev, W, b = linear_cache(cache[0])
    return (A_prev, W, b), matrix("Z", cache[1], (len(W), A_prev.shape[1]))


def last_cache(caches: Any) -> Any:
    """Return the last layer's cache, checked."""
    if not (isinstance(caches, tuple | list) and len(caches)):
        raise ValueError(f"caches: want a list with an entry for each layer, got {caches!r:.60}")
    return cache(caches[-1])


def linear_cache(cache: Any) -> Any:
    """Return A_prev, W and b in one dtype, as `linear_forward` makes them."""
    if not (isinstance(cache, tuple | list) and len(cache) == 3):
        raise ValueError(f"linear cache: want (A_prev, W, b), got {cache!r:.60}")
    return layer(*cache)
