"""Formulas: what each operation of theirs computes, for both types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import kernel, vector
from fastdnn.kernels.llvm.scalar import (
    PerDtype,
    Value,
    at_least,
    at_most,
    copy_strip,
    copysign,
    fma,
    formula,
    polynomial,
    rows_strip,
    sqrt,
    strip,
    where,
)
from fastdnn.kernels.llvm.simd import address, null
from tests.kernels.common import Array, compiled, draw, each_dtype, nan

_SIGN = PerDtype(1 << 31, 1 << 63)
_THIRD = PerDtype(1 / 3, 0.25)  # not the same, to see which is taken
_COEFFICIENTS = PerDtype((1.5, -0.25, 0.125), (1.5, -0.25, 0.125, 1.0))


def _of(x: Array, single: Any, double: Any) -> Any:
    return single if x.dtype == np.float32 else double


def _bits(x: Array) -> Array:
    return x.view(f"u{x.itemsize}")


def _polynomial(x: Array) -> Array:
    return np.polynomial.Polynomial(_of(x, *_COEFFICIENTS))(x).astype(x.dtype)  # type: ignore[no-any-return]


# a formula of two values, and the same in NumPy
CASES: dict[str, tuple[Callable[[Value, Value], Value], Callable[[Array, Array], Array]]] = {
    "sums": (lambda x, y: (1.0 + x) - (y + 0.1), lambda x, y: (1 + x) - (y + x.dtype.type(0.1))),
    "a difference from a constant": (lambda x, y: 1.0 - x, lambda x, y: 1 - x),
    "a product and a sum": (lambda x, y: x * y + x, lambda x, y: x * y + x),
    "a product from the left": (lambda x, y: 0.1 * x, lambda x, y: x.dtype.type(0.1) * x),
    "quotients": (lambda x, y: x / y - 1.0 / x, lambda x, y: x / y - 1 / x),
    "negation": (lambda x, y: -x, lambda x, y: -x),
    "size": (lambda x, y: abs(x), lambda x, y: np.abs(x)),
    "square root": (lambda x, y: sqrt(x), lambda x, y: np.sqrt(x)),
    "by type": (lambda x, y: x * _THIRD, lambda x, y: x * x.dtype.type(_of(x, 1 / 3, 0.25))),
    "<": (lambda x, y: where(x < y, 1.0, y), lambda x, y: np.where(x < y, 1, y)),
    "<=": (lambda x, y: where(x <= y, x, 2.0), lambda x, y: np.where(x <= y, x, 2)),
    ">": (lambda x, y: where(x > y, x, y), lambda x, y: np.where(x > y, x, y)),
    ">=": (lambda x, y: where(x >= 0.5, x, y), lambda x, y: np.where(x >= 0.5, x, y)),
    "at least": (lambda x, y: at_least(x, y), lambda x, y: np.where(x < y, y, x)),
    "at most": (lambda x, y: at_most(x, 0.25), lambda x, y: np.where(x > 0.25, 0.25, x)),
    "copysign": (lambda x, y: copysign(x, y), np.copysign),
    "polynomial": (lambda x, y: polynomial(x, _COEFFICIENTS), lambda x, y: _polynomial(x)),
    "bits, +": (lambda x, y: (x.bits + 3).value, lambda x, y: (_bits(x) + 3).view(x.dtype)),
    "bits, -": (lambda x, y: (5 - (0 - x.bits)).value, lambda x, y: (_bits(x) + 5).view(x.dtype)),
    "bits, shifts": (
        lambda x, y: ((x.bits << 2) >> 3).value,
        lambda x, y: ((_bits(x) << 2) >> 3).view(x.dtype),
    ),
    "bits, & and |": (
        lambda x, y: ((x.bits | _SIGN) & y.bits).value,
        lambda x, y: ((_bits(x) | _of(x, 1 << 31, 1 << 63)) & _bits(y)).view(x.dtype),
    ),
}


def _loop(function: Callable[[Value, Value], Value]) -> Callable[..., None]:
    f = formula(function)

    @kernel
    def loop(x, y, out):  # type: ignore[no-untyped-def]
        for i in range(out.size):
            out[i] = f(x[i], y[i])

    return loop  # type: ignore[no-any-return]


def _vector_loop(function: Callable[[Value, Value], Value]) -> Callable[..., None]:
    f = strip(function, 2)

    @kernel
    def loop(x, y, out):  # type: ignore[no-untyped-def]
        f(out.size, out, 0, x, 0, y, 0)

    return loop  # type: ignore[no-any-return]


_call = switch([_loop(function) for function, _ in CASES.values()])
_call_vectors = switch([_vector_loop(function) for function, _ in CASES.values()])
_fma = formula(fma)


@compiled(lambda t: (int64, vector(t), vector(t), vector(t)))
def _run(rank, n_ranks, team, code, x, y, out):  # type: ignore[no-untyped-def]
    _call(code, x, y, out)


@compiled(lambda t: (int64, vector(t), vector(t), vector(t)))
def _run_vectors(rank, n_ranks, team, code, x, y, out):  # type: ignore[no-untyped-def]
    _call_vectors(code, x, y, out)


@compiled(lambda t: (vector(t), vector(t), vector(t), vector(t)))
def _fused(rank, n_ranks, team, x, y, z, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = _fma(x[i], y[i], z[i])


@each_dtype
@pytest.mark.parametrize("name", CASES)
@np.errstate(all="ignore")
def test_operations(dtype: Any, name: str) -> None:
    ends = np.array([0, 1, np.inf, np.nan, np.finfo(dtype).smallest_subnormal])
    ends = np.concatenate([ends, -ends])
    x = np.concatenate([draw(1, 200), np.repeat(ends, 10)]).astype(dtype)
    y = np.concatenate([draw(2, 200), np.tile(ends, 10)]).astype(dtype)
    out, of_vectors = nan(x.size, dtype=dtype), nan(x.size, dtype=dtype)
    _run(dtype, 1, list(CASES).index(name), x, y, out)
    _run_vectors(dtype, 1, list(CASES).index(name), x, y, of_vectors)
    np.testing.assert_array_equal(of_vectors, out)
    wanted = CASES[name][1](x, y)
    assert wanted.dtype == dtype
    if name == "polynomial":  # it may be fused
        size = 8 * np.finfo(dtype).eps * (1 + np.abs(x) + np.abs(x) ** 3)
        np.testing.assert_array_less(np.abs(out - wanted)[:200], size[:200])
    elif name in ("negation", "size", "copysign") or "bits" in name:
        np.testing.assert_array_equal(_bits(out), _bits(wanted))
    else:  # the same roundings, none of them fused
        np.testing.assert_array_equal(out, wanted)


@each_dtype
def test_fma_adds_to_a_product(dtype: Any) -> None:
    x, y = draw(1, 200, dtype=dtype), draw(2, 200, dtype=dtype)
    z = -(x * y)
    out = nan(200, dtype=dtype)
    _fused(dtype, 1, x, y, z, out)
    # what is left is the product's rounding, or nothing where the CPU cannot fuse
    exact = x.astype(np.longdouble) * y + z
    fused = bool(out.any())
    if np.finfo(np.longdouble).nmant >= 2 * np.finfo(dtype).nmant + 1:
        np.testing.assert_array_equal(out, exact.astype(dtype) if fused else 0)
    np.testing.assert_array_less(np.abs(out), np.finfo(dtype).eps * np.abs(x * y))
    _fused(dtype, 1, x, y, np.zeros_like(x), out)
    np.testing.assert_array_equal(out, x * y)


# ----------------------------------------------------------------------------------------- strips
_scaled_sums = strip(lambda x, y, p: (x + y) * p, 2)


@compiled(lambda t: (int64, *[vector(t), int64] * 3, float64))
def _strip(rank, n_ranks, team, count, out, out0, x, x0, y, y0, p):  # type: ignore[no-untyped-def]
    _scaled_sums(count, out, out0, x, x0, y, y0, p)


@compiled(lambda t: (int64, *[vector(t), int64] * 2))
def _copy(rank, n_ranks, team, count, out, out0, x, x0):  # type: ignore[no-untyped-def]
    copy_strip(count, out, out0, x, x0)


@each_dtype
@pytest.mark.parametrize("count", [0, 1, 3, 8, 37, 1000])
def test_strips(dtype: Any, count: int) -> None:
    x, y = draw(1, count + 5, dtype=dtype), draw(2, count + 9, dtype=dtype)
    wanted = (x[3 : 3 + count] + y[7 : 7 + count]) * dtype.type(0.1)
    out = nan(count + 11, dtype=dtype)
    _strip(dtype, 1, count, out, 6, x, 3, y, 7, 0.1)
    np.testing.assert_array_equal(out[6 : 6 + count], wanted)
    assert np.isnan(np.delete(out, np.arange(6, 6 + count))).all()
    # the same in place
    before = x.copy()
    _strip(dtype, 1, count, x, 3, x, 3, y, 7, 0.1)
    before[3 : 3 + count] = wanted
    np.testing.assert_array_equal(x, before)


_moved = rows_strip(lambda x, y, z, w, c: (x + w * z, x - y * c[0] + c[1]), 2)


@compiled(lambda t: (*[int64] * 2, *[vector(t), int64] * 3, vector(t), int64, *[float64] * 2))
def _change(  # type: ignore[no-untyped-def]
    rank, n_ranks, team, lines, n, x, x_apart, y, y_apart, z, z_apart, ws, ws_apart, c, d
):
    factors = address(ws, 0) if ws.size > 0 else null(ws)
    at = address(x, 3), address(y, 3), address(z, 3)
    _moved(lines, n, at[0], x_apart, at[1], y_apart, at[2], z_apart, 0.7, factors, ws_apart, (c, d))


@each_dtype
@pytest.mark.parametrize("n", [0, 1, 7, 8, 16, 37])
@pytest.mark.parametrize("lines", [0, 1, 3])
@pytest.mark.parametrize("has_factors", [False, True])
def test_rows_of_strips_are_changed(dtype: Any, n: int, lines: int, has_factors: bool) -> None:
    # x's and y's rows with others between them, z's row is that of all
    x, y = (draw(i, lines + 1, n + 9, dtype=dtype) for i in (1, 2))
    z, ws = draw(3, n + 3, dtype=dtype), draw(4, 2 * lines if has_factors else 0, dtype=dtype)
    w, c, d = (np.array(number, dtype) for number in (0.7, 0.1, 0.3))
    wanted = [x.copy(), y.copy()]
    for i in range(lines):
        row, inside = (ws[2 * i] if has_factors else w), (i, slice(3, 3 + n))
        wanted[0][inside] = x[inside] + row * z[3:]
        wanted[1][inside] = x[inside] - y[inside] * c + d
    _change(dtype, 1, lines, n, x.ravel(), n + 9, y.ravel(), n + 9, z, 0, ws, 2, 0.1, 0.3)
    np.testing.assert_array_equal(x, wanted[0])
    np.testing.assert_array_equal(y, wanted[1])


@each_dtype
@pytest.mark.parametrize("count", [0, 1, 37])
def test_copies(dtype: Any, count: int) -> None:
    x, out = draw(1, count + 5, dtype=dtype), nan(count + 11, dtype=dtype)
    _copy(dtype, 1, count, out, 6, x, 3)
    np.testing.assert_array_equal(out[6 : 6 + count], x[3 : 3 + count])
    assert np.isnan(np.delete(out, np.arange(6, 6 + count))).all()
    before = x.copy()
    _copy(dtype, 1, count, x, 3, x, 3)
    np.testing.assert_array_equal(x, before)
