"""A block of C = C0 + A B: rows of tiles, the order of the loops, runs of k."""

from __future__ import annotations

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.blas.macrokernel import FLAT_ROWS, LEAST_RUN, tile_rows
from fastdnn.kernels.blas.operands import ZEROS
from tests.kernels.common import assert_within, draw, each_dtype, nan, product_bound, roundings
from tests.kernels.tiles import (
    MARGIN,
    STARTS,
    TILES,
    each_left,
    each_right,
    multiplied,
    whole_numbers,
)


@each_dtype
@each_left
@each_right
def test_a_block_of_b_that_is_not_near(dtype: Any, left: str, right: str) -> None:
    t = TILES[dtype]
    m, k = 3 * t.mr + 1, 101
    n = t.l1_elements // k + t.nr + 1  # more than stays in L1
    a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
    first = draw(3, m, n, dtype=dtype)
    whole, _ = multiplied(a, b, first, left=left, right=right, start="C")
    bound = product_bound(a, b, dtype, more=1) + roundings(1, dtype) * np.abs(first)
    assert_within(whole, a.astype(np.float64) @ b.astype(np.float64) + first, bound)
    # the same bits as in blocks that do stay there, where the loops are the other way round
    for j in range(0, n, t.nr):
        part = slice(j, j + t.nr)
        small, _ = multiplied(a, b[:, part], first[:, part], left=left, right=right, start="C")
        np.testing.assert_array_equal(small, whole[:, part])
    for near in (t.l1_elements, t.l1_elements + 1):  # and just at the bound
        b = draw(2, 1, near, dtype=dtype)
        got, _ = multiplied(a[:, :1], b, left=left, right=right)
        np.testing.assert_array_equal(got, a[:, :1] * b)


@each_dtype
@pytest.mark.parametrize("left", ["rows", "columns", "gaps"])
def test_runs_of_k(dtype: Any, left: str) -> None:
    t = TILES[dtype]
    columns = (
        t.l1_elements // (2 * LEAST_RUN) - 1,
        t.l1_elements // LEAST_RUN + 1,
        t.page + t.lanes + 1,
    )
    depths = 1, LEAST_RUN - 1, LEAST_RUN, LEAST_RUN + 1, 3 * LEAST_RUN + 2
    cases = combinations(range(t.mr + 2), columns, depths)
    for (m, n, k), number in zip(cases, range(10**6), strict=False):
        a, b = whole_numbers(1, m, k, dtype=dtype), whole_numbers(2, k, n, dtype=dtype)
        first, start = whole_numbers(3, m, n, dtype=dtype), STARTS[number % len(STARTS)]
        room = ZEROS + m * -(-n // t.lanes) * t.lanes
        sums = nan(room + MARGIN, dtype=dtype)
        got, c0 = multiplied(a, b, first, left=left, start=start, sums=sums)
        np.testing.assert_array_equal(got, c0 + a @ b, str((m, n, k, start)))
        assert np.isnan(sums[room:]).all()
        # the rows of B are far apart where C is as wide as a page
        is_made_in_runs = 0 < m <= (FLAT_ROWS if n < t.page else t.mr)
        run = max(t.l1_elements // n // 4 * 4, LEAST_RUN)
        assert np.isfinite(sums).any() == (is_made_in_runs and k > run)


@each_dtype
def test_runs_change_no_bit(dtype: Any) -> None:
    t = TILES[dtype]
    n, k = t.page + 1, 5 * LEAST_RUN + 3
    b = draw(2, k, n, dtype=dtype)
    for m in (1, FLAT_ROWS, t.mr - 1, t.mr):
        a, first = draw(1, m, k, dtype=dtype), draw(3, m, n, dtype=dtype)
        for fused_relu in (False, True):
            sums = nan(ZEROS + m * (n + t.lanes), dtype=dtype)
            got, _ = multiplied(a, b, first, start="C", fused_relu=fused_relu, sums=sums)
            wanted, _ = multiplied(a, b, first, start="C", fused_relu=fused_relu)
            assert not np.isnan(sums).all()
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("m", range(40))
def test_tiles_are_few_and_of_almost_one_height(m: int) -> None:
    for mr in (4, 6, 8, 12):
        tiles = -(-m // mr)
        parts = [tile_rows.py_func(m // tiles, m % tiles, q) for q in range(tiles)]
        assert [i for begin, height in parts for i in range(begin, begin + height)] == list(
            range(m)
        )
        heights = [height for _, height in parts]
        assert all(0 < height <= mr for height in heights)
        assert not heights or max(heights) - min(heights) <= 1
