"""Packing blocks of A and B into panels; gathering a minibatch's rows."""

from __future__ import annotations

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.base.arrays import as_matrix
from fastdnn.kernels.blas.pack import (
    SPARE,
    TOGETHER,
    gather_other_rows,
    gather_rows,
    pack_A_block,
    pack_B_block,
)
from fastdnn.kernels.compiler.jit import other, vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.llvm.simd import address, address_at
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    Array,
    at_the_end_of_memory,
    compiled,
    draw,
    each_dtype,
    each_layout,
    nan,
    run_python,
)

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
OTHER = dict(zip(DTYPES, reversed(DTYPES), strict=True))
each_operand = pytest.mark.parametrize("operand", ["A", "B"])
MARGIN = 7
ROWS = 11  # of a minibatch


@compiled(lambda t: (int64, vector(t), *[int64] * 5, vector(t), int64))
def _pack(rank, n_ranks, team, of_b, source, start, row, column, m, n, panels, at):  # type: ignore[no-untyped-def]
    if of_b:
        pack_B_block(address(source, start), row, column, m, n, address(panels, at))
    else:
        pack_A_block(address(source, start), row, column, m, n, address(panels, at))


@compiled(
    lambda t: (
        *(int64, vector(t), vector(other(t)), int64, int64, int64, int64, vector(int64)),
        *(int64, int64, int64, vector(t), int64, int64, int64),
    )
)
def _gather(  # type: ignore[no-untyped-def]
    rank, n_ranks, team, is_other, x, x_other, x0, row, column, n, order, first, begin, end,
    a, a0, to_row, to_column,
):  # fmt: skip
    # order[0] is the address of the others, or 0
    numbers = address_at(order, 0, order)
    a, x, x_other = address(a, 0), address(x, 0), address(x_other, 0)
    if is_other:
        gather_other_rows(
            a, a0, to_row, to_column, x_other, x0, row, column, n, numbers, first, begin, end
        )
    else:
        gather_rows(a, a0, to_row, to_column, x, x0, row, column, n, numbers, first, begin, end)


def panels_of(x: Array, operand: str) -> list[Array]:
    """What each panel must begin with, (kc, its columns of B or rows of A)."""
    t = TILES[x.dtype]
    if operand == "B":
        return [x[:, j : j + t.nr] for j in range(0, x.shape[1], t.nr)]
    tiles = -(-len(x) // t.mr)
    return [part.T for part in np.array_split(x, tiles)] if tiles else []


def check_packed(x: Array, operand: str) -> None:
    """Pack a matrix of any strides; nothing is written before the block, and little behind it."""
    wanted, unit = panels_of(x, operand), TILES[x.dtype].lanes if operand == "B" else 1
    widths = [-(-part.shape[1] // unit) * unit for part in wanted]
    size = sum(width * len(part) for width, part in zip(widths, wanted, strict=True))
    memory = nan(MARGIN + size + SPARE + MARGIN, dtype=x.dtype)
    _pack(x.dtype, 1, operand == "B", *as_matrix(x), *x.shape, memory, MARGIN)
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[MARGIN + size + SPARE :]).all()
    if not x.size:
        assert np.isnan(memory).all()
    at = MARGIN
    for width, part in zip(widths, wanted, strict=True):
        kc, used = part.shape
        panel = memory[at : at + kc * width].reshape(kc, width)
        np.testing.assert_array_equal(panel[:, :used], part)
        if operand == "B":  # a tile computes with whole vectors: memory as it was may slow it down
            assert np.isfinite(panel).all()
        at += kc * width


@each_dtype
@each_layout
@each_operand
@pytest.mark.parametrize("kc", [0, 1, 2, 3, 15, 16, 17, 101])
def test_blocks(dtype: Any, layout: str, operand: str, kc: int) -> None:
    t = TILES[dtype]
    width = t.nr if operand == "B" else t.mr
    counts = {0, 1, width - 1, width, width + 1, 2 * width, 2 * width + 1, 5 * width + 3}
    # as many tiles as are packed together, of either height or of both, and some more
    counts |= {TOGETHER * width, (TOGETHER + 1) * width - TOGETHER}
    counts |= {(2 * TOGETHER + 1) * width - TOGETHER - 1}
    if operand == "B":  # around as many panels as are packed together, and twice as many
        counts |= {
            t.panels_at_once * t.nr - 1,
            t.panels_at_once * t.nr,
            (2 * t.panels_at_once + 1) * t.nr + 3,
        }
    for count in counts:
        x = draw(1, kc, count, dtype=dtype)
        check_packed(LAYOUTS[layout](x if operand == "B" else x.T.copy()), operand)


@each_dtype
@each_operand
def test_every_count_of_lines(dtype: Any, operand: str) -> None:
    t = TILES[dtype]
    for count, kc in combinations(range(2 * t.nr + 2), (1, t.lanes - 1, t.lanes, 2 * t.lanes + 1)):
        x = draw(1, kc, count, dtype=dtype)
        for lines in (x, np.asfortranarray(x)):
            check_packed(lines if operand == "B" else lines.T, operand)


@each_dtype
@each_operand
def test_lines_far_apart_along_k(dtype: Any, operand: str) -> None:
    # each line runs along k, the next lies somewhere else: rows of a wider matrix, some backwards
    width = TILES[dtype].nr if operand == "B" else TILES[dtype].mr
    for rows in (slice(None, None, 2), slice(None, None, -2)):
        x = draw(1, 2 * width, 150, dtype=dtype)[rows, 20:57]
        for lines in (x, x[:-1]):
            check_packed(lines.T if operand == "B" else lines, operand)


@each_dtype
@each_operand
def test_a_block_of_one_value_everywhere(dtype: Any, operand: str) -> None:
    check_packed(np.broadcast_to(np.array([[3.0]], dtype), (37, 41)), operand)


def read_up_to_the_end_of_memory() -> None:
    """For a process of its own: reading behind the end of what is packed would kill it."""
    for dtype in DTYPES:
        t = TILES[dtype]
        sizes = sorted({1, 2, t.mr - 1, t.lanes, t.lanes + 1, t.nr - 1, t.nr, t.nr + 1, 37})
        for m, n in combinations(sizes, sizes):
            x = at_the_end_of_memory(draw(1, m, n, dtype=dtype))
            for operand, one in combinations("AB", (x, x.reshape(n, m).T)):
                check_packed(one, operand)


def test_nothing_is_read_behind_the_end() -> None:
    program = (
        "from tests.kernels.blas.test_pack import read_up_to_the_end_of_memory\n"
        "read_up_to_the_end_of_memory(); print('alive')"
    )
    assert run_python(program).strip() == "alive"


# ---------------------------------------------------------------------------------------- gathering
def gather(
    x: Array, order: Array, first: int, begin: int, end: int, dtype: Any, *, transposed: bool
) -> Array:
    """Rows begin, …, end - 1 of the minibatch of 11 rows that begins at `first`."""
    flat, *strides = as_matrix(x)
    n = x.shape[1]
    a = nan(ROWS * n + 2 * MARGIN, dtype=dtype)
    none = np.empty(0, OTHER[x.dtype])
    both = (flat, none) if x.dtype == dtype else (none, flat)
    numbers = np.array([order.ctypes.data if order.size else 0])
    places = (1, ROWS) if transposed else (n, 1)
    _gather(
        dtype, 1, x.dtype != dtype, *both, *strides, n, numbers, first, begin, end, a, MARGIN,
        *places,
    )  # fmt: skip
    assert np.isnan(a[:MARGIN]).all()
    assert np.isnan(a[MARGIN + ROWS * n :]).all()
    inside = a[MARGIN : MARGIN + ROWS * n]
    return inside.reshape(n, ROWS).T if transposed else inside.reshape(ROWS, n)


@each_dtype
@each_layout
@pytest.mark.parametrize("of", DTYPES, ids=str)
@pytest.mark.parametrize(("begin", "end"), [(0, ROWS), (0, 0), (3, 4), (5, ROWS)])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_gather(
    dtype: Any, layout: str, of: Any, begin: int, end: int, shuffled: bool, transposed: bool
) -> None:
    x = draw(1, 23, 5, dtype=of)
    order = np.random.default_rng(2).permutation(23) if shuffled else np.arange(23)
    given = order if shuffled else np.empty(0, np.int64)
    got = gather(LAYOUTS[layout](x), given, 9, begin, end, dtype, transposed=transposed)
    wanted = nan(ROWS, 5, dtype=dtype)
    wanted[begin:end] = x[order[9 + begin : 9 + end]]
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("of", DTYPES, ids=str)
def test_a_sample_may_come_twice(of: Any, transposed: bool) -> None:
    x = draw(1, 23, 5, dtype=of)
    order = np.array([4] * ROWS)
    got = gather(x, order, 0, 0, ROWS, np.dtype(float), transposed=transposed)
    np.testing.assert_array_equal(got, x[order])
