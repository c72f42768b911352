"""Sums over the samples: each column in the samples' order, whoever computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, float64, int64

from fastdnn.kernels.base.arrays import Matrix, as_matrix
from fastdnn.kernels.blas.reduce import (
    COLUMNS,
    add_absolutes,
    add_not_finite,
    add_parts,
    column_sums,
    outer_product,
    weighted_sums,
)
from fastdnn.kernels.compiler.jit import named, vector
from fastdnn.kernels.layers.sharing import part
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import (
    LAYOUTS,
    RANKS,
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    each_layout,
    nan,
    product_bound,
    roundings,
)


@compiled(lambda t: (*[int64] * 2, vector(t), int64, int64, float64, boolean, vector(t), int64))
def _sums(rank, n_ranks, team, m, n, z, z0, ldz, scale, add, out, out0):  # type: ignore[no-untyped-def]
    begin, end = part(n, COLUMNS, rank, n_ranks)
    column_sums(m, end - begin, z, z0 + begin, ldz, scale, add, out, out0 + begin)


@compiled(lambda t: (vector(t), *(int64,) * 3, vector(float64)))
def _not_finite(rank, n_ranks, team, x, start, count, terms, found):  # type: ignore[no-untyped-def]
    add_not_finite(x, start, count, terms, found)


@compiled(lambda t: (named(Matrix, vector(t), *[int64] * 3), int64, int64, vector(float64)))
def _absolutes(rank, n_ranks, team, x, m, n, total):  # type: ignore[no-untyped-def]
    add_absolutes(m, n, x.flat, x.offset, x.row_stride, x.column_stride, total)


@compiled(
    lambda t: (named(Matrix, vector(t), *[int64] * 3), vector(t), *[int64] * 3, boolean, vector(t))
)
def _weighted(rank, n_ranks, team, z, weights, step, m, n, add, out):  # type: ignore[no-untyped-def]
    weighted_sums(m, n, address(z.flat, z.offset), z.row_stride, weights, step, add, out)


@compiled(lambda t: (vector(t), vector(t), int64, int64, named(Matrix, vector(t), *[int64] * 3)))
def _outer(rank, n_ranks, team, x, y, m, n, c):  # type: ignore[no-untyped-def]
    outer_product(m, n, address(x, 0), address(y, 0), address(c.flat, c.offset), c.row_stride)


@compiled(lambda t: (*[int64] * 4, *[vector(t)] * 2, boolean))
def _parts(rank, n_ranks, team, m, n, ld, count, z, parts, fused_relu):  # type: ignore[no-untyped-def]
    add_parts(m, n, ld, address(z, 0), address(parts, 0), m * ld, count, fused_relu)


def sums(
    z: Array, scale: float, *, gap: int = 0, n_ranks: int = 1, add_to: Array | None = None
) -> Array:
    """Through vectors that hold NaN around the matrix and the sums, and between the rows."""
    m, n = z.shape
    memory, out = nan(m * (n + gap) + 10, dtype=z.dtype), nan(n + 20, dtype=z.dtype)
    memory[10:].reshape(m, n + gap)[:, :n] = z
    if add_to is not None:
        out[7 : 7 + n] = add_to
    add = add_to is not None
    _sums(z.dtype, n_ranks, m, n, memory, 10, n + gap, scale, add, out, 7)
    assert np.isnan(out[:7]).all()
    assert np.isnan(out[7 + n :]).all()
    return out[7 : 7 + n]


def is_finite(x: Array, start: int, count: int, terms: int = 1) -> bool:
    found = np.full(1, 3.0)  # it stays or rises
    _not_finite(x.dtype, 1, x, start, count, terms, found)
    assert found[0] >= 3
    return bool(found[0] == 3)


@each_dtype
@pytest.mark.parametrize("n", [0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 5 * COLUMNS + 37])
@pytest.mark.parametrize("m", [0, 1, 2, 131])
@pytest.mark.parametrize("gap", [0, 3])
def test_sums(dtype: Any, n: int, m: int, gap: int) -> None:
    z = draw(1, m, n, dtype=dtype)
    bound = product_bound(z.T, np.ones((m, 1)), dtype, more=1)[:, 0] / 3
    assert_within(sums(z, 1 / 3, gap=gap), z.astype(np.float64).sum(axis=0) / 3, bound)


@each_dtype
def test_the_order_is_the_samples(dtype: Any) -> None:
    z = draw(1, 131, 37, dtype=dtype)
    wanted = np.zeros(37, dtype)
    for row in z:
        wanted += row
    np.testing.assert_array_equal(sums(z, 1.0), wanted)


@each_dtype
def test_the_same_bits_for_any_number_of_ranks(dtype: Any) -> None:
    z = draw(1, 131, 5 * COLUMNS + 37, dtype=dtype)
    assert len({sums(z, 0.1, n_ranks=n).tobytes() for n in RANKS}) == 1


@each_dtype
def test_nan_and_infinity_stay_in_their_column(dtype: Any) -> None:
    z = draw(1, 5, 70, dtype=dtype)
    z[2, 3], z[4, 66] = np.nan, np.inf
    got = sums(z, 1.0)
    np.testing.assert_array_equal(np.isnan(got), np.arange(70) == 3)
    np.testing.assert_array_equal(np.isinf(got), np.arange(70) == 66)


@each_dtype
@pytest.mark.parametrize("n", [0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 5 * COLUMNS + 37])
@pytest.mark.parametrize("m", [0, 1, 2, 131])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("scale", [1.0, 1 / 3])
def test_sums_added_to_what_is_there(dtype: Any, n: int, m: int, gap: int, scale: float) -> None:
    z, before = draw(1, m, n, dtype=dtype), draw(2, n, dtype=dtype)
    terms = np.vstack([before, z])
    bound = product_bound(terms.T, np.ones((m + 1, 1)), dtype, more=1)[:, 0] * scale
    wanted = terms.astype(np.float64).sum(axis=0) * scale
    assert_within(sums(z, scale, gap=gap, add_to=before), wanted, bound)


@each_dtype
def test_parts_of_the_samples_one_after_the_other_are_all_of_them(dtype: Any) -> None:
    z = draw(1, 131, COLUMNS + 5, dtype=dtype)
    total = sums(z[:32], 1.0)
    for begin in range(32, 131, 32):
        total = sums(z[begin : begin + 32], 1.0, add_to=total)
    np.testing.assert_array_equal(total, sums(z, 1.0))


@each_dtype
@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 101])
def test_not_finite(dtype: Any, count: int) -> None:
    x = nan(count + 20, dtype=dtype)  # what lies around does not count
    largest = np.finfo(dtype).max
    x[7 : 7 + count] = np.resize([1, -0.0, largest, -largest, np.finfo(dtype).tiny / 8], count)
    assert is_finite(x, 7, count)
    for i in range(count):
        for bad in (np.nan, np.inf, -np.inf):
            other = x.copy()
            other[7 + i] = bad
            assert not is_finite(other, 7, count)
    x[7 : 7 + count] = np.resize([np.nan, np.inf, -np.inf], count)
    assert is_finite(x, 7, count) == (count == 0)


@each_dtype
@pytest.mark.parametrize("terms", [2, 3, 8])
def test_what_is_not_finite_as_a_sum(dtype: Any, terms: int) -> None:
    x = np.ones(37, dtype)
    for sign in (1, -1):
        x[36] = sign * (np.finfo(dtype).max / dtype.type(terms + 2))
        assert is_finite(x, 0, 37, terms)
        assert np.isfinite(np.full(terms, x[36]).sum())
        x[36] = sign * (np.finfo(dtype).max / dtype.type(terms))
        assert not is_finite(x, 0, 37, terms)


def sum_of_absolutes(x: Array) -> float:
    total = np.full(1, 3.0)  # it is added to
    _absolutes(x.dtype, 1, as_matrix(x), *x.shape, total)
    return float(total[0]) - 3


@each_dtype
@each_layout
@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (131, 1), (37, 70)])
def test_absolutes(dtype: Any, layout: str, shape: tuple[int, int]) -> None:
    x = LAYOUTS[layout](draw(1, *shape, dtype=dtype))
    wanted = np.abs(x.astype(np.float64)).sum()
    assert abs(sum_of_absolutes(x) - wanted) <= 2 * x.size * np.finfo(dtype).eps * (3 + wanted)


@each_dtype
@each_layout
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_absolutes_are_not_finite_where_an_element_is_not(
    dtype: Any, layout: str, bad: float
) -> None:
    for at in ((0, 0), (2, 18), (4, 36)):
        x = draw(1, 5, 37, dtype=dtype)
        x[at] = bad
        assert not np.isfinite(sum_of_absolutes(LAYOUTS[layout](x)))


@each_dtype
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("n", [0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 3 * COLUMNS + 37])
@pytest.mark.parametrize("m", [0, 1, 2, 131])
def test_weighted_sums(dtype: Any, m: int, n: int, step: int, add: bool) -> None:
    space, weights = nan(m + 2, n + 3, dtype=dtype), nan(m * step + 1, dtype=dtype)
    z = space[1 : m + 1, 2 : n + 2]
    z[...], weights[: m * step : step] = draw(1, m, n, dtype=dtype), draw(2, m, dtype=dtype)
    before, out = draw(3, n, dtype=dtype), nan(n + 5, dtype=dtype)
    if add:
        out[:n] = before
    _weighted(dtype, 1, Matrix(space.reshape(-1), n + 5, n + 3, 1), weights, step, m, n, add, out)
    w = weights[: m * step : step].astype(np.float64)
    wanted, size = w @ z.astype(np.float64), np.abs(w) @ np.abs(z.astype(np.float64))
    if add:
        wanted, size = wanted + before, size + np.abs(before)
    assert_within(out[:n], wanted, roundings(m + 1, dtype) * size)
    assert np.isnan(out[n:]).all()


@each_dtype
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 101])
@pytest.mark.parametrize("m", [0, 1, 2, 131])
def test_outer_product(dtype: Any, m: int, n: int) -> None:
    x, y, c = draw(1, m, dtype=dtype), draw(2, n, dtype=dtype), nan(m + 2, n + 3, dtype=dtype)
    x[: m // 2] = np.inf
    _outer(dtype, 1, x, y, m, n, Matrix(c.reshape(-1), n + 5, n + 3, 1))
    np.testing.assert_array_equal(c[1 : m + 1, 2 : n + 2], np.outer(x, y))
    c[1 : m + 1, 2 : n + 2] = np.nan
    assert np.isnan(c).all()


@each_dtype
@pytest.mark.parametrize("fused_relu", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("m", "n"), [(0, 5), (1, 1), (3, 67), (7, 0), (5, 16)])
@pytest.mark.parametrize("gap", [0, 3])
def test_parts_are_added_in_their_order(
    dtype: Any, fused_relu: bool, count: int, m: int, n: int, gap: int
) -> None:
    z, parts = draw(1, m, n + gap, dtype=dtype), draw(2, count, m, n + gap, dtype=dtype)
    if z[:, :n].size > 2:
        z[0, 0], parts[-1, -1, n - 1] = np.nan, -np.inf
    wanted = z.copy()
    for one in parts:
        wanted[:, :n] += one[:, :n]
    if fused_relu:
        wanted[:, :n] = np.maximum(wanted[:, :n], 0)  # a NaN stays
    _parts(dtype, 1, m, n, n + gap, count, z.reshape(-1), parts.reshape(-1), fused_relu)
    np.testing.assert_array_equal(z, wanted)  # and what lies between the rows
