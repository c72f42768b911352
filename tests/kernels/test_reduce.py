"""Sums over the samples: each column in the samples' order, whoever computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels._jit import vector
from fastdnn.kernels.reduce import COLUMNS, column_sums
from tests.kernels.common import (
    RANKS,
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
)


@compiled(lambda t: (*[int64] * 2, vector(t), int64, int64, float64, vector(t), int64))
def _sums(rank, n_ranks, team, m, n, z, z0, ldz, scale, out, out0):  # type: ignore[no-untyped-def]
    column_sums(m, n, z, z0, ldz, scale, out, out0, rank, n_ranks)


def sums(z: Array, scale: float, *, gap: int = 0, n_ranks: int = 1) -> Array:
    """Through vectors that hold NaN around the matrix and the sums, and between the rows."""
    m, n = z.shape
    memory, out = nan(m * (n + gap) + 10, dtype=z.dtype), nan(n + 20, dtype=z.dtype)
    memory[10:].reshape(m, n + gap)[:, :n] = z
    _sums(z.dtype, n_ranks, m, n, memory, 10, n + gap, scale, out, 7)
    assert np.isnan(out[:7]).all()
    assert np.isnan(out[7 + n :]).all()
    return out[7 : 7 + n]


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
