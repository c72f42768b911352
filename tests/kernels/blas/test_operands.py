"""Matrices in flat memory: elements, parts and transposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.base.arrays import Matrix, as_matrix
from fastdnn.kernels.blas.operands import element, moved, rows_from, transposed, zeros_at
from fastdnn.kernels.compiler.jit import named, vector
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import LAYOUTS, compiled, draw, each_dtype, each_layout


@compiled(lambda t: (named(Matrix, vector(t), *[int64] * 3), int64, int64, vector(t)))
def _read(rank, n_ranks, team, x, i, j, out):  # type: ignore[no-untyped-def]
    part, zero = moved(x, i, j), i - i
    out[0] = element(x, i, j)[0]
    out[1] = element(part, zero + 1, zero + 2)[0]
    out[2] = element(transposed(part), zero + 2, zero + 1)[0]
    out[3] = element(moved(transposed(x), j, i), zero, zero)[0]


@compiled(lambda t: (vector(t), int64, int64, vector(t)))
def _at(rank, n_ranks, team, x, ld, i, out):  # type: ignore[no-untyped-def]
    out[0] = element(rows_from(address(x, i), ld), i, i + 1)[0]
    out[1] = element(zeros_at(address(x, i)), i, i + 1)[0]


@each_dtype
@each_layout
@pytest.mark.parametrize(("i", "j"), [(0, 0), (2, 3)])
def test_elements_of_any_strides(dtype: Any, layout: str, i: int, j: int) -> None:
    x, out = draw(1, 5, 7, dtype=dtype), np.zeros(4, dtype)
    _read(dtype, 1, as_matrix(LAYOUTS[layout](x)), i, j, out)
    np.testing.assert_array_equal(out, [x[i, j], x[i + 1, j + 2], x[i + 1, j + 2], x[i, j]])


@each_dtype
def test_matrices_at_addresses(dtype: Any) -> None:
    x, out = np.arange(40, dtype=dtype), np.zeros(2, dtype)
    _at(dtype, 1, x, 7, 2, out)
    np.testing.assert_array_equal(out, [2 + 2 * 7 + 3, 2])
