"""Blocks of C = C0 + A B from operands that lie anywhere, with NaN around all that there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, int64

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.blas.macrokernel import multiply_block, multiply_by_width
from fastdnn.kernels.blas.microkernel import widest
from fastdnn.kernels.blas.operands import ZEROS, Left, Right, Target
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import DTYPES, Array, compiled, nan

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
LEFTS = ("rows", "columns", "gaps", "packed")
RIGHTS = ("direct", "panels")
STARTS = ("zeros", "one row", "C", "another", "a column")
each_left = pytest.mark.parametrize("left", LEFTS)
each_right = pytest.mark.parametrize("right", RIGHTS)
each_start = pytest.mark.parametrize("start", STARTS)
MARGIN = 5


@compiled(
    lambda t: (
        *(vector(t), int64, int64, int64, boolean),
        *(vector(t), int64, int64, int64),
        *(vector(t), int64, int64, int64),
        *(vector(t), int64, int64, int64, int64, boolean, vector(t)),
    )
)
def multiply(  # type: ignore[no-untyped-def]
    rank, n_ranks, team, a, a0, row_stride, k_stride, packed, b, b0, ldb, kc,
    first, first0, ld0, step0, c, c0, ldc, m, n, fused_relu, sums,
):  # fmt: skip
    left = Left(address(a, a0), row_stride, k_stride, packed)
    right, start = Right(address(b, b0), ldb, kc), Matrix(first, first0, ld0, step0)
    to = Target(address(c, c0), ldc, m, n, fused_relu)
    if sums.size > 0:
        multiply_block(left, right, start, to, address(sums, 0))
    else:
        multiply_by_width(left, right, start, to)


def within_nan(x: Array) -> Array:
    """The numbers of `x` in its order, with NaN around them."""
    around = nan(MARGIN, dtype=x.dtype)
    return np.concatenate([around, x.ravel(), around])


def left_operand(a: Array, left: str) -> tuple[Array, int, int, int, bool]:
    """A in memory: where it begins, its strides, and whether it is packed."""
    m, k = a.shape
    if left == "packed":  # a panel per tile, of heights that differ by one at most
        tiles = -(-m // TILES[a.dtype].mr)
        panels = [part.T.ravel() for part in (np.array_split(a, tiles) if tiles else [])]
        return within_nan(np.concatenate([a[:0, 0:1].ravel(), *panels])), MARGIN, -1, -1, True
    if left == "columns":
        return within_nan(a.T), MARGIN, 1, m, False
    if left == "gaps":  # every third column of every other row, backwards
        memory = nan(2 * m + 1, 3 * k + 1, dtype=a.dtype)
        memory[1::2, 1::3] = a[::-1, ::-1]
        width = memory.shape[1]
        begin = (2 * m - 1) * width + 3 * k - 2 if a.size else 0
        return memory.ravel(), begin, -2 * width, -3, False
    return within_nan(a), MARGIN, k, 1, False


def right_operand(b: Array, right: str) -> tuple[Array, int, int]:
    """B in memory: where it begins, how far apart its rows lie, or 0 if it is panels."""
    (k, n), nr, lanes = b.shape, TILES[b.dtype].nr, TILES[b.dtype].lanes
    if right == "direct":  # rows may be read past their ends
        memory = nan(k * (n + 3) + nr + MARGIN, dtype=b.dtype)
        memory[MARGIN : MARGIN + k * (n + 3)].reshape(k, n + 3)[:, :n] = b
        return memory, MARGIN, n + 3
    panels = [np.empty(0, b.dtype)]
    for j in range(0, n, nr):
        part = b[:, j : j + nr]
        panel = nan(k, -(-part.shape[1] // lanes) * lanes, dtype=b.dtype)
        panel[:, : part.shape[1]] = part
        panels.append(panel.ravel())
    return within_nan(np.concatenate(panels)), MARGIN, 0


def multiplied(
    a: Array,
    b: Array,
    first: Array | None = None,
    *,
    left: str = "rows",
    right: str = "direct",
    start: str = "zeros",
    fused_relu: bool = False,
    sums: Array | None = None,
) -> tuple[Array, Array]:
    """C and C0; what lies around C stays NaN.

    C begins with zeros, or with what `first` holds: all of it, its first row or first vectors.
    With room for `sums`, few rows are made in runs of k.
    """
    (m, k), n, dtype = a.shape, b.shape[1], a.dtype
    ldc = n + 4
    memory = nan(m + 2, ldc, dtype=dtype)
    first = np.zeros((m, n), dtype) if first is None else first
    at, ld0, step0, c0 = MARGIN, n, 1, first
    source = within_nan(first)
    if start == "zeros":
        source, ld0, step0, c0 = within_nan(np.zeros(ZEROS, dtype)), 0, 0, np.zeros((m, n), dtype)
    elif start == "one row":
        ld0, c0 = 0, np.broadcast_to(first[:1], (m, n))
    elif start == "a column":  # the same vectors for all columns of C
        width = max(widest(TILES[dtype], h) for h in (1, 2, 3)) * TILES[dtype].lanes
        column = np.repeat(first[:, :1], width, axis=1) if n else nan(m, width, dtype=dtype)
        source, ld0, step0, c0 = within_nan(column), width, 0, column[:, :1].repeat(n, axis=1)
    elif start == "C":
        memory[1 : 1 + m, 2 : 2 + n] = first
        source, at, ld0 = memory.reshape(-1), ldc + 2, ldc
    multiply(
        dtype, 1, *left_operand(a, left), *right_operand(b, right), k, source, at, ld0, step0,
        memory.reshape(-1), ldc + 2, ldc, m, n, fused_relu,
        nan(0, dtype=dtype) if sums is None else sums,
    )  # fmt: skip
    inside = np.zeros(memory.shape, bool)
    inside[1 : 1 + m, 2 : 2 + n] = True
    assert np.isnan(memory[~inside]).all()
    return memory[1 : 1 + m, 2 : 2 + n], c0


def widths(dtype: Any) -> list[int]:
    t = TILES[dtype]
    few = (t.lanes - 1, t.lanes, t.lanes + 1, t.narrow, t.narrow + 1)
    return sorted({0, 1, *few, t.nr - 1, t.nr, t.nr + 1, 2 * t.nr + t.lanes + 1})


def whole_numbers(seed: int, *shape: int, dtype: Any) -> Array:
    """Numbers whose sums are exact."""
    return np.random.default_rng(seed).integers(-9, 9, shape).astype(dtype)
