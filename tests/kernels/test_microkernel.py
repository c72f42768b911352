"""One tile: every depth around the unrolling, written or added, whole or at an edge."""

from __future__ import annotations

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels import targets
from fastdnn.kernels._jit import vector
from fastdnn.kernels.microkernel import (
    UNROLL,
    edge_tile,
    full_tile,
    kc_of,
    mc_of,
    mr_of,
    nc_of,
    nr_of,
)
from tests.kernels.common import (
    DTYPES,
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
    roundings,
)

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
DEPTHS = [0, 1, UNROLL - 1, UNROLL, UNROLL + 1, 3 * UNROLL + 2, 101]
LDC = 40  # wider than any tile


@compiled(lambda t: (*[vector(t)] * 3, *[int64] * 7, vector(t), vector(int64)))
def _tile(rank, n_ranks, team, a, b, c, a0, b0, kc, c0, add, rows, columns, spare, constants):  # type: ignore[no-untyped-def]
    constants[0], constants[1] = mr_of(c), nr_of(c)
    constants[2], constants[3], constants[4] = mc_of(c), kc_of(c), nc_of(c)
    if rows == mr_of(c) and columns == nr_of(c):
        full_tile(a, a0, b, b0, kc, c, c0, LDC, add)
    else:
        edge_tile(a, a0, b, b0, kc, c, c0, LDC, add, rows, columns, spare, 5)


def tile(a: Array, b: Array, c: Array, *, add: bool, rows: int, columns: int) -> Array:
    """The tile c[:rows, :columns], begun from what `c` holds; all around it stays NaN."""
    dtype = a.dtype
    t, kc = TILES[dtype], len(a)
    panels = [np.concatenate([nan(3, dtype=dtype), x.ravel(), nan(3, dtype=dtype)]) for x in (a, b)]
    memory = nan(t.mr + 2, LDC, dtype=dtype)
    memory[1 : 1 + rows, 2 : 2 + columns] = c
    spare, constants = nan(t.mr * t.nr + 5, dtype=dtype), np.zeros(5, np.int64)
    flat = memory.reshape(-1)
    _tile(dtype, 1, *panels, flat, 3, 3, kc, LDC + 2, add, rows, columns, spare, constants)
    np.testing.assert_array_equal(constants, [t.mr, t.nr, t.mc, t.kc, t.nc])
    inside = np.zeros(memory.shape, bool)
    inside[1 : 1 + rows, 2 : 2 + columns] = True
    assert np.isnan(memory[~inside]).all()
    return memory[1 : 1 + rows, 2 : 2 + columns]


@each_dtype
@pytest.mark.parametrize("kc", DEPTHS)
@pytest.mark.parametrize("add", [False, True])
def test_whole_tile(dtype: Any, kc: int, add: bool) -> None:
    t = TILES[dtype]
    a, b = draw(1, kc, t.mr, dtype=dtype), draw(2, kc, t.nr, dtype=dtype)
    c = draw(3, t.mr, t.nr, dtype=dtype) if add else nan(t.mr, t.nr, dtype=dtype)
    got = tile(a, b, c, add=add, rows=t.mr, columns=t.nr)
    wanted = a.T.astype(np.float64) @ b.astype(np.float64)
    bound = product_bound(a.T, b, dtype, more=int(add))
    if add:
        wanted, bound = wanted + c, bound + roundings(1, dtype) * np.abs(c)
    assert_within(got, wanted, bound)


@each_dtype
@pytest.mark.parametrize("add", [False, True])
def test_edges(dtype: Any, add: bool) -> None:
    # whole numbers: sums are exact
    t, rng = TILES[dtype], np.random.default_rng(1)
    for rows, columns in combinations({1, 2, t.mr - 1, t.mr}, {1, 2, t.lanes + 1, t.nr - 1, t.nr}):
        a, b = (rng.integers(-9, 9, (7, width)).astype(dtype) for width in (t.mr, t.nr))
        c = rng.integers(-9, 9, (rows, columns)).astype(dtype)
        wanted = (a.T @ b)[:rows, :columns] + (c if add else 0)
        start = c if add else nan(rows, columns, dtype=dtype)
        got = tile(a, b, start, add=add, rows=rows, columns=columns)
        np.testing.assert_array_equal(got, wanted)


@each_dtype
def test_an_edge_has_the_bits_of_the_whole(dtype: Any) -> None:
    t = TILES[dtype]
    a, b = draw(1, 101, t.mr, dtype=dtype), draw(2, 101, t.nr, dtype=dtype)
    whole = tile(a, b, nan(t.mr, t.nr, dtype=dtype), add=False, rows=t.mr, columns=t.nr)
    rows, columns = t.mr - 1, t.nr - 1
    edge = tile(a, b, nan(rows, columns, dtype=dtype), add=False, rows=rows, columns=columns)
    np.testing.assert_array_equal(edge, whole[:rows, :columns])


@each_dtype
def test_depths_are_added_in_order(dtype: Any) -> None:
    # huge + 1 - huge is 0 in this order, and 1 in another
    t = TILES[dtype]
    huge = dtype.type(2) ** 60
    a, b = np.ones((7, t.mr), dtype), np.zeros((7, t.nr), dtype)
    b[0], b[3], b[6] = huge, 1, -huge
    got = tile(a, b, nan(t.mr, t.nr, dtype=dtype), add=False, rows=t.mr, columns=t.nr)
    np.testing.assert_array_equal(got, np.zeros((t.mr, t.nr)))
