"""Scalar products of rows against NumPy's in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, int64

from fastdnn.kernels.base.arrays import Matrix, as_matrix
from fastdnn.kernels.blas.products import row_dot_products
from fastdnn.kernels.compiler.jit import named, vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import (
    DTYPES,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
    roundings,
)

LANES = {dtype: targets.tile(dtype).lanes for dtype in DTYPES}


@compiled(lambda t: (*[named(Matrix, vector(t), *[int64] * 3)] * 4, *[int64] * 3, boolean))
def _products(rank, n_ranks, team, a, b, c0, c, m, n, k, fused_relu):  # type: ignore[no-untyped-def]
    row_dot_products(
        m, n, k, address(a.flat, a.offset), a.row_stride, address(b.flat, b.offset), b.row_stride,
        address(c0.flat, c0.offset), c0.row_stride, c0.column_stride,
        address(c.flat, c.offset), c.row_stride, fused_relu,
    )  # fmt: skip


@each_dtype
@pytest.mark.parametrize("fused_relu", [False, True])
@pytest.mark.parametrize("m", [0, 1, 3, 4])
@pytest.mark.parametrize("k", [0, 1, 7, 8, 33, 300])
def test_scalar_products(dtype: Any, m: int, k: int, fused_relu: bool) -> None:
    for n in range(2 * LANES[dtype] + 2):  # a body for each number of rows, and several groups
        _check(dtype, m, n, k, fused_relu)


def _check(dtype: Any, m: int, n: int, k: int, fused_relu: bool) -> None:
    # between rows and around the matrices lies NaN
    spaces = [nan(rows + 2, columns + 3, dtype=dtype) for rows, columns in ((m, k), (n, k), (m, n))]
    a, b, c = spaces[0][1 : m + 1, 2 : k + 2], spaces[1][1 : n + 1, 1 : k + 1], spaces[2]
    a[...], b[...] = draw(1, m, k, dtype=dtype), draw(2, n, k, dtype=dtype)
    if a.size:
        a[m - 1, k // 2] = np.nan  # stays, and in its row
    for start in (
        draw(3, m, n, dtype=dtype),
        draw(4, 1, n, dtype=dtype),
        draw(5, 1, 1, dtype=dtype),
    ):
        c[...] = np.nan
        c0 = as_matrix(np.broadcast_to(start, (m, n))) if m * n else as_matrix(start)
        to = Matrix(c.reshape(-1), n + 3 + 1, n + 3, 1)
        _products(dtype, 1, as_matrix(a), as_matrix(b), c0, to, m, n, k, fused_relu)
        inside = c[1 : m + 1, 1 : n + 1]
        wanted = a.astype(np.float64) @ b.T.astype(np.float64) + start
        bound = product_bound(a, b.T, dtype, more=1) + roundings(1, dtype) * np.abs(start)
        if fused_relu:
            wanted = np.maximum(wanted, 0)
        np.testing.assert_array_equal(np.isnan(inside), np.isnan(wanted))
        number = ~np.isnan(wanted)
        assert_within(inside[number], wanted[number], np.broadcast_to(bound, (m, n))[number])
        inside[...] = np.nan
        assert np.isnan(c).all()


@each_dtype
@pytest.mark.parametrize("k", [1, 7, 33, 300])
def test_an_element_has_the_same_bits_in_any_group(dtype: Any, k: int) -> None:
    few = targets.tile(dtype).pairs  # rows of A go by twos
    for n in {1, few, few + 1, 2 * LANES[dtype] + 1}:
        a, b = draw(1, 3, k, dtype=dtype), draw(2, n, k, dtype=dtype)
        c0, whole, alone = (
            draw(3, 3, n, dtype=dtype),
            nan(3, n, dtype=dtype),
            nan(3, n, dtype=dtype),
        )
        _products(dtype, 1, *map(as_matrix, (a, b, c0, whole)), 3, n, k, False)
        for i, j in np.ndindex(3, n):
            parts = (
                a[i : i + 1],
                b[j : j + 1],
                c0[i : i + 1, j : j + 1],
                alone[i : i + 1, j : j + 1],
            )
            _products(dtype, 1, *map(as_matrix, parts), 1, 1, k, False)
        np.testing.assert_array_equal(whole, alone)
