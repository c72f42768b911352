"""One layer on plain arrays, in the notes' shapes: samples in columns, A of shape (n, m).

Arrays of any layout are read where they lie (C or Fortran order, strides, read-only); so samples in
rows are ``A.T``. Results are new arrays whose samples are contiguous (Fortran order), as the layer
above reads them best. The computation is in float32 if all of A and W are, else in float64.

Every element of a product of depth k differs from the exact one by at most ``k eps sum |a| |b|``
(eps = 2^-24 or 2^-53), and has the same bits for any number of threads.
"""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float64, int64, types
from numpy.typing import ArrayLike, NDArray

from .base.arrays import Matrix, aligned_empty, as_float, as_matrix, grown, rounded
from .base.constants import NO, ONE, ZERO
from .blas.operands import ZEROS
from .blas.reduce import COLUMNS, column_sums
from .compiler.jit import named, vector
from .cpu import targets, threads
from .elementwise.activations import (
    Activation,
    OwnActivation,
    activate,
    activation_of,
    differentiate,
)
from .layers.epilogue import FORWARD, PLAIN, Epilogue, Mask
from .layers.gemm import Factor, Size, block_depth, packed_elements, product
from .layers.layout import Rank
from .layers.sharing import part, share
from .llvm.simd import address, null
from .parallel.entry import entry

Array = NDArray[Any]
_NO_BYTES = np.empty(0, np.uint8)


# --------------------------------------------------------------------------------------- compiled
class After(NamedTuple):
    """What is done with C, and where it and what it becomes lie in one vector."""

    mode: int = PLAIN
    code: int = -1  # of the activation; < 0: none
    rectifies: bool = False  # the activation is max(C, 0)
    whole_rows: bool = False
    c: int = 0
    s: int = 0  # where g(C) goes
    a: int = 0  # and what dropout makes of it
    drop: int = 0  # of its `LEVELS`
    scale: float = 1.0


_NO_MORE = After()


def _product_signature(t: types.Float) -> tuple[types.Type, ...]:
    v = vector(t)
    operand = named(Matrix, v, int64, int64, int64)
    after = named(After, int64, int64, boolean, boolean, *[int64] * 4, float64)
    return *[int64] * 3, *[operand] * 3, v, after, v


@entry(_product_signature)
def _product(number, n_ranks, team, m, n, k, a, b, c0, c, after, packed):
    each = packed.size // n_ranks
    own = address(packed, number * each)
    rank = Rank(number, n_ranks, own, team, null(team))
    epilogue = Epilogue(
        after.mode, after.code, after.rectifies, after.whole_rows, address(c, after.s),
        address(c, after.a), Mask(after.drop, ZERO, np.uint64(0)), after.scale,
    )  # fmt: skip
    region = share(m, n, rank, NO, after.whole_rows, c)
    size, factor = Size(m, n, k, block_depth(k, c)), Factor(b, null(c), NO)
    product(size, region, a, factor, c0, address(c, after.c), epilogue, rank)


@entry(lambda t: (int64, int64, int64, vector(t), vector(t)))
def _rows(rank, n_ranks, team, m, n, code, d, s):
    """s = g(s) for each row where d is empty, else d = d * g'(s)."""
    begin, end = part(m, ONE, rank, n_ranks)
    if d.size == 0:
        activate(code, s, begin * n, s, begin * n, end - begin, n)
    else:
        differentiate(code, d, begin * n, s, begin * n, end - begin, n)


@entry(lambda t: (int64, int64, vector(t), float64, vector(t)))
def _column_sums(rank, n_ranks, team, m, n, z, scale, out):
    begin, end = part(n, COLUMNS, rank, n_ranks)
    column_sums(m, end - begin, z, begin, n, scale, False, out, begin)


def _multiply(
    size: tuple[int, int, int],
    a: Matrix,
    b: Matrix,
    c: Array,
    *,
    c0: Matrix | None = None,
    after: After = _NO_MORE,
) -> None:
    """C = C0 + A B, A m x k and B k x n: `size` is m, n, k."""
    (m, n, k), dtype = size, c.dtype
    n_ranks = threads.workers(2 * m * n * k)
    start = _no_start(dtype) if c0 is None else c0
    _product(dtype, n_ranks, m, n, k, a, b, start, c, after, _packed(n_ranks, n, dtype))


@cache
def _no_start(dtype: np.dtype[Any]) -> Matrix:
    """C0 where there is no bias."""
    return Matrix(np.zeros(ZEROS, dtype), 0, 0, 0)


@lru_cache
def _packed_size(n_ranks: int, n: int, dtype: np.dtype[Any]) -> int:
    """Bytes of all ranks' packed blocks for C with n columns."""
    return n_ranks * rounded(packed_elements(targets.tile(dtype), n)) * dtype.itemsize


_memory = threading.local()  # one thread's call must not disturb another's


def _packed(n_ranks: int, n: int, dtype: np.dtype[Any]) -> Array:
    """Memory for packed blocks, kept from call to call: the first touch of new pages is slow."""
    size = _packed_size(n_ranks, n, dtype)
    _memory.packed = grown(getattr(_memory, "packed", _NO_BYTES), size)
    packed: Array = _memory.packed[:size].view(dtype)
    return packed


# ----------------------------------------------------------------------------------------- checks
def _check_layer(A_prev: ArrayLike, W: ArrayLike, dtype: Any = None) -> tuple[Array, Array]:
    A_prev, W = as_float("A_prev", A_prev), as_float("W", W)
    if W.shape[1] != A_prev.shape[0]:
        raise ValueError(
            f"W, A_prev: W[l] is (n[l], n[l-1]) and A[l-1] is (n[l-1], m), so W's columns are "
            f"A_prev's rows; got W {W.shape} and A_prev {A_prev.shape}"
        )
    if A_prev.dtype == W.dtype and (dtype is None or dtype == W.dtype):
        return A_prev, W
    common = np.result_type(A_prev, W, *([] if dtype is None else [dtype]))
    return A_prev.astype(common, copy=False), W.astype(common, copy=False)


def _check_bias(b: ArrayLike, n: int, dtype: Any) -> Array:
    array = as_float("b", b, dtype, None)
    if array.shape not in ((n, 1), (n,)):
        raise ValueError(f"b: b[l] is (n[l], 1), here ({n}, 1); got {array.shape}")
    return np.ascontiguousarray(array.reshape(n))


def _check_same(name: str, x: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    array = as_float(name, x, dtype)
    if array.shape != shape:
        raise ValueError(
            f"{name}: Z[l], A[l] and dA[l] are (n[l], m), here {shape}; got {array.shape}"
        )
    return array


def _check_result(name: str, array: Array | None, shape: tuple[int, int]) -> None:
    if array is None:
        return
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        got = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name}: want a float32 or float64 array, got {got}")
    if array.shape != shape:
        raise ValueError(f"{name}: want shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name}: want an array that can be written, got a read-only one")


def _saved(
    activation: str | OwnActivation, entry: Activation, A: ArrayLike | None, Z: ArrayLike | None
) -> ArrayLike:
    name, saved = ("Z", Z) if entry.from_z else ("A", A)
    if saved is None:
        raise ValueError(
            f"{name}: the derivative of {activation} is computed from {name}; got None"
        )
    return saved


# ----------------------------------------------------------------------------------------- public
def linear_forward(
    A_prev: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None,
    activation: str | OwnActivation = "identity",
    *,
    out: Array | None = None,
    Z: Array | None = None,
) -> Array:
    """A = g(Z), Z = W A_prev + b: product, bias and activation in one pass.

    Parameters
    ----------
    A_prev : array_like of shape (n_prev, m)
        The outputs of the layer before, a column per sample.
    W : array_like of shape (n, n_prev)
    b : array_like of shape (n, 1) or (n,), or None
    activation : str or ScalarActivation
        A name in `ACTIVATIONS`, or a `fastdnn.ScalarActivation`.
    out, Z : ndarray of shape (n, m), optional
        Take A and Z.

    Returns
    -------
    ndarray of shape (n, m)
        A; `out` where it was given.

    Raises
    ------
    ValueError, TypeError
        If a shape does not fit the others, the activation is unknown, or an array holds no real
        numbers.
    """
    g = activation_of(activation)
    A_prev, W = _check_layer(A_prev, W)
    (n, k), m, dtype = W.shape, A_prev.shape[1], W.dtype
    bias = None if b is None else _check_bias(b, n, dtype)
    _check_result("out", out, (n, m))
    _check_result("Z", Z, (n, m))
    # where Z is wanted it is kept beside A
    a_at = 0 if Z is None else m * n
    in_place = out if Z is None and _can_take(out, dtype, (A_prev, W, bias)) else None
    ws = aligned_empty(a_at + m * n, dtype) if in_place is None else in_place.T.reshape(-1)
    a, w = as_matrix(A_prev.T), as_matrix(W.T)
    after = After(FORWARD, g.code, g.rectifies and Z is None, g.whole_row, s=a_at, a=a_at)
    start = None if bias is None else Matrix(bias, 0, 0, 1)
    _multiply((m, n, k), a, w, ws, c0=start, after=after)
    if Z is not None:
        Z[...] = ws[: m * n].reshape(m, n).T
    if in_place is not None:
        return in_place
    result: Array = ws[a_at : a_at + m * n].reshape(m, n).T
    if out is None:
        return result
    out[...] = result
    return out


def _can_take(out: Array | None, dtype: Any, operands: tuple[Array | None, ...]) -> bool:
    """Return whether the result can be written where it shall lie, and no operand lies there."""
    if out is None or out.dtype != dtype:
        return False
    fits = out.flags.f_contiguous and out.flags.aligned
    return fits and not any(x is not None and np.may_share_memory(out, x) for x in operands)


def activation_forward(Z: ArrayLike, activation: str | OwnActivation) -> Array:
    """A = g(Z).

    Parameters
    ----------
    Z : array_like of shape (n, m)
    activation : str or ScalarActivation
        A name in `ACTIVATIONS`, or a `fastdnn.ScalarActivation`.

    Returns
    -------
    ndarray of shape (n, m)
    """
    g = activation_of(activation)
    Z = as_float("Z", Z)
    n, m = Z.shape
    rows = np.array(Z.T, order="C")
    _rows(
        rows.dtype,
        threads.workers(threads.ELEMENT_FLOPS * m * n),
        m,
        n,
        g.code,
        np.empty(0, rows.dtype),
        rows.reshape(-1),
    )
    return rows.T


def activation_backward(
    dA: ArrayLike,
    activation: str | OwnActivation,
    *,
    A: ArrayLike | None = None,
    Z: ArrayLike | None = None,
) -> Array:
    """dZ = dA * g'(Z).

    Parameters
    ----------
    dA : array_like of shape (n, m)
    activation : str or ScalarActivation
        A name in `ACTIVATIONS`, or a `fastdnn.ScalarActivation`.
    A, Z : array_like of shape (n, m)
        A where ``ACTIVATIONS[activation].from_z`` is false (sigmoid, relu, tanh, …), else Z.

    Returns
    -------
    ndarray of shape (n, m)
    """
    g = activation_of(activation)
    dA = as_float("dA", dA)
    s = _check_same("Z" if g.from_z else "A", _saved(activation, g, A, Z), dA.shape, dA.dtype)
    n, m = dA.shape
    d = np.array(dA.T, order="C")
    saved = np.ascontiguousarray(s.T).reshape(-1)
    _rows(
        d.dtype, threads.workers(threads.ELEMENT_FLOPS * m * n), m, n, g.code, d.reshape(-1), saved
    )
    return d.T


def bias_gradient(dZ: ArrayLike) -> Array:
    """db = sum of dZ over the samples / m.

    Parameters
    ----------
    dZ : array_like of shape (n, m)

    Returns
    -------
    ndarray of shape (n, 1)
    """
    dZ = as_float("dZ", dZ)
    n, m = dZ.shape
    out = np.empty(n, dZ.dtype)
    rows = np.ascontiguousarray(dZ.T).reshape(-1)
    _column_sums(
        dZ.dtype,
        threads.workers(threads.ELEMENT_FLOPS * m * n),
        m,
        n,
        rows,
        1.0 / m if m else 0.0,
        out,
    )
    return out.reshape(n, 1)


def linear_backward(
    dA: ArrayLike,
    A_prev: ArrayLike,
    W: ArrayLike,
    activation: str | OwnActivation = "identity",
    *,
    A: ArrayLike | None = None,
    Z: ArrayLike | None = None,
    need_dA_prev: bool = True,
) -> tuple[Array | None, Array, Array]:
    """dZ = dA * g'(Z), then dW = dZ A_prev^T / m, db = sum dZ / m and dA_prev = W^T dZ.

    Parameters
    ----------
    dA : array_like of shape (n, m)
        The loss's derivative by A, per sample. With the identity, this is dZ.
    A_prev : array_like of shape (n_prev, m)
    W : array_like of shape (n, n_prev)
    activation : str or ScalarActivation
        A name in `ACTIVATIONS`, or a `fastdnn.ScalarActivation`.
    A, Z : array_like of shape (n, m)
        As `activation_backward` wants them; the identity needs neither.
    need_dA_prev : bool
        False: skip the product for dA_prev, as for a first layer.

    Returns
    -------
    dA_prev : ndarray of shape (n_prev, m), or None
    dW : ndarray of shape (n, n_prev)
    db : ndarray of shape (n, 1)
    """
    A_prev, W = _check_layer(A_prev, W, np.result_type(as_float("dA", dA)))
    n, n_prev, m = *W.shape, A_prev.shape[1]
    dZ = _check_same("dA", dA, (n, m), W.dtype)
    if activation != "identity":
        dZ = activation_backward(dZ, activation, A=A, Z=Z)
    dW = aligned_empty(n_prev * n, W.dtype)
    mean = After(scale=1.0 / m if m else 0.0)
    _multiply((n_prev, n, m), as_matrix(A_prev), as_matrix(dZ.T), dW, after=mean)
    dA_prev = None
    if need_dA_prev:
        values = aligned_empty(m * n_prev, W.dtype)
        _multiply((m, n_prev, n), as_matrix(dZ.T), as_matrix(W), values)
        dA_prev = values.reshape(m, n_prev).T
    return dA_prev, dW.reshape(n_prev, n).T, bias_gradient(dZ)
