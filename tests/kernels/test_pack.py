"""Packing into panels, filled up with zeros; gathering a minibatch's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels import targets
from fastdnn.kernels._arrays import as_matrix
from fastdnn.kernels._jit import vector
from fastdnn.kernels.pack import gather_rows, pack_A_panel, pack_B_panel
from tests.kernels.common import (
    LAYOUTS,
    Array,
    compiled,
    draw,
    each_dtype,
    each_layout,
    nan,
)

each_operand = pytest.mark.parametrize("operand", ["A", "B"])


@compiled(lambda t: (int64, vector(t), *[int64] * 5, vector(t), int64))
def _pack(rank, n_ranks, team, of_b, source, start, across, along, count, kc, panel, p0):  # type: ignore[no-untyped-def]
    if of_b:
        pack_B_panel(source, start, across, along, count, kc, panel, p0)
    else:
        pack_A_panel(source, start, across, along, count, kc, panel, p0)


@compiled(lambda t: (vector(float64), *[int64] * 4, vector(int64), *[int64] * 3, vector(t), int64))
def _gather(rank, n_ranks, team, x, x0, row, column, n, order, first, begin, end, a, a0):  # type: ignore[no-untyped-def]
    gather_rows(x, x0, row, column, n, order, first, begin, end, a, a0)


def width_of(operand: str, dtype: Any) -> int:
    tile = targets.tile(dtype)
    return tile.nr if operand == "B" else tile.mr


def pack(x: Array, operand: str) -> Array:
    """All rows of `x` (count, kc) as one panel, (kc, width); what lies around it stays NaN."""
    count, kc = x.shape
    width = width_of(operand, x.dtype)
    panel = nan(kc * width + 10, dtype=x.dtype)
    _pack(x.dtype, 1, operand == "B", *as_matrix(x), count, kc, panel, 7)
    assert np.isnan(panel[:7]).all()
    assert np.isnan(panel[7 + kc * width :]).all()
    return panel[7 : 7 + kc * width].reshape(kc, width)


@each_dtype
@each_layout
@each_operand
@pytest.mark.parametrize("kc", [0, 1, 2, 15, 16, 17, 101])
def test_panels(dtype: Any, layout: str, operand: str, kc: int) -> None:
    width = width_of(operand, dtype)
    for count in {0, 1, width - 1, width}:
        x = draw(1, count, kc, dtype=dtype)
        wanted = np.zeros((kc, width), dtype)
        wanted[:, :count] = x.T
        np.testing.assert_array_equal(pack(LAYOUTS[layout](x), operand), wanted)


@each_dtype
@each_operand
def test_lines_far_apart_along_k(dtype: Any, operand: str) -> None:
    # each line runs along k, the next lies somewhere else: rows of a wider matrix, some backwards
    width = width_of(operand, dtype)
    for rows in (slice(None, None, 2), slice(None, None, -2)):
        x = draw(1, 2 * width, 150, dtype=dtype)[rows, 20:57]
        np.testing.assert_array_equal(pack(x, operand), x.T)
        np.testing.assert_array_equal(pack(x[:-1], operand)[:, :-1], x[:-1].T)


@each_operand
def test_a_panel_of_one_value_everywhere(operand: str) -> None:
    width = width_of(operand, np.dtype(float))
    x = np.broadcast_to(np.array([[3.0]]), (width, 7))
    np.testing.assert_array_equal(pack(x, operand), np.full((7, width), 3.0))


def gather(x: Array, order: Array, first: int, begin: int, end: int, dtype: Any) -> Array:
    """Rows begin, …, end - 1 of the minibatch of 11 rows that begins at `first`."""
    flat, *strides = as_matrix(x)
    n = x.shape[1]
    a = nan(11 * n + 10, dtype=dtype)
    _gather(dtype, 1, flat, *strides, n, order, first, begin, end, a, 7)
    assert np.isnan(a[:7]).all()
    assert np.isnan(a[7 + 11 * n :]).all()
    return a[7 : 7 + 11 * n].reshape(11, n)


@each_dtype
@each_layout
@pytest.mark.parametrize(("begin", "end"), [(0, 11), (0, 0), (3, 4), (5, 11)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_gather(dtype: Any, layout: str, begin: int, end: int, shuffled: bool) -> None:
    x = draw(1, 23, 5)
    order = np.random.default_rng(2).permutation(23) if shuffled else np.arange(23)
    given = order if shuffled else np.empty(0, np.int64)
    got = gather(LAYOUTS[layout](x), given, 9, begin, end, dtype)
    wanted = nan(11, 5, dtype=dtype)
    wanted[begin:end] = x[order[9 + begin : 9 + end]]
    np.testing.assert_array_equal(got, wanted)


def test_a_sample_may_come_twice() -> None:
    x = draw(1, 23, 5)
    order = np.array([4] * 11)
    np.testing.assert_array_equal(gather(x, order, 0, 0, 11, np.dtype(float)), x[order])
