"""C = A B^T by tiles, shared among a team's ranks; what follows the product is done on each tile.

A is m x k, B is n x k, both of any strides; C is row-major. Five loops around the micro-kernel:
columns of C by nc, depth by kc (all ranks pack a block of B, then wait for each other), rows of C
by at most mc (each block is one task of one rank, which packs its A), then panels of B and of A.

Which rank computes a tile changes nothing in it: sizes of blocks and the order of all sums follow
from the shape alone, so C has the same bits for any number of ranks.

When a tile's last k is added, it is finished while it is in L1: by the forward pass's bias,
activation and dropout, or the backward pass's dropout and g'. What a layer lacks is skipped, so
fusions combine and none is enumerated. An activation that needs whole rows waits for the last tile
of its rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ._arrays import rounded as _rounded
from ._jit import kernel
from ._simd import span
from .activations import activate, differentiate
from .dropout import drop_range
from .microkernel import edge_tile, full_tile, kc_of, mc_of, mr_of, nc_of, nr_of
from .pack import pack_A_panel, pack_B_panel
from .targets import Tile
from .team import barrier


class Rank(NamedTuple):
    """A rank's place in its team, and the memory that is its own."""

    number: int | np.int64
    of: int  # how many ranks there are
    scratch: NDArray[Any]
    team: NDArray[np.int64]


# A layer's row in the integer table. Offsets count elements; A and S lie in the workspace, W and b
# among the parameters. S is what the backward pass reads: Z, or A before dropout, or (the same
# place as) A.
N_PREV, N, W, B, CODE, FROM_Z, WHOLE_ROW, A, S, DROP = range(10)
FIELDS = 10
# B < 0: no bias. CODE < 0: g is not applied here (the output layer's belongs to the loss).
# DROP: the dropout probability times dropout.LEVELS.

rounded = kernel(_rounded)

# What finishes a tile. NumPy integers: numba compiles a function anew for each literal argument.
PLAIN, FORWARD, BACKWARD = cast(list[int], list(np.arange(3)))
ZERO, ONE = cast(list[int], list(np.arange(2)))
TASKS = 16  # row blocks that a product is cut into, where mc does not ask for more


@kernel
def block_rows(m, c):
    """Rows of C in one task: a multiple of mr, at most mc, few enough for many ranks to share."""
    mr = mr_of(c)
    share = (m + TASKS - 1) // TASKS
    return min(mc_of(c), max((share + mr - 1) // mr, 1) * mr)


@kernel
def scratch_size(c):
    """Elements that a rank needs for itself: a block of A, and a tile."""
    return rounded(mc_of(c) * kc_of(c) + mr_of(c) * nr_of(c))


def scratch_elements(tile: Tile) -> int:
    """`scratch_size`, for Python."""
    return _rounded(tile.mc * tile.kc + tile.mr * tile.nr)


def shared_elements(n: int, k: int, tile: Tile) -> int:
    """Elements of the block of B that all ranks share; C has n columns and depth k."""
    panels = -(-min(n, tile.nc) // tile.nr)
    return min(k, tile.kc) * panels * tile.nr


@kernel
def finish_forward(table, l, p, ws, i0, rows, j0, columns, key):
    """Z = C + b, A = g(Z), dropout; C lies at S."""
    n, code, drop = table[l, N], table[l, CODE], table[l, DROP]
    bias = table[l, B] + j0
    for i in range(i0, i0 + rows):
        s = table[l, S] + i * n + j0
        a = table[l, A] + i * n + j0
        if table[l, B] >= 0:
            z, b = span(ws, s, columns), span(p, bias, columns)
            for j in range(columns):
                z[j] += b[j]
        if code >= 0:
            g = a if table[l, FROM_Z] else s
            activate(code, ws, s, ws, g, columns)
            if drop > 0:
                drop_range(ws, g, ws, a, columns, i * n + j0, drop, key)


@kernel
def finish_backward(table, l, ws, c, c0, i0, rows, j0, columns, key):
    """C holds dA: dropped as A was, then dZ = dA * g'(S)."""
    n, code, drop = table[l, N], table[l, CODE], table[l, DROP]
    for i in range(i0, i0 + rows):
        d = c0 + i * n + j0
        if drop > 0:
            drop_range(c, d, c, d, columns, i * n + j0, drop, key)
        if code >= 0:
            differentiate(code, c, d, ws, table[l, S] + i * n + j0, columns)


@kernel
def finish(mode, table, l, p, ws, c, c0, i0, rows, j0, columns, key):
    """Do what follows the product on rows x columns of C."""
    if mode == FORWARD:
        finish_forward(table, l, p, ws, i0, rows, j0, columns, key)
    elif mode == BACKWARD:
        finish_backward(table, l, ws, c, c0, i0, rows, j0, columns, key)


@kernel
def multiply_block(
    a, b, mode, table, l, p, ws, c, c0, ldc, i0, rows, j0, columns, kc, first, last, key
):
    """C[i0:, j0:] += A B of a packed block of each; `first` and `last` of the blocks along k."""
    mr, nr = mr_of(c), nr_of(c)
    spare = mc_of(c) * kc_of(c)
    add = 0 if first else 1
    for j in range(0, columns, nr):
        w = min(nr, columns - j)
        for i in range(0, rows, mr):
            h = min(mr, rows - i)
            at = c0 + (i0 + i) * ldc + j0 + j
            if h == mr and w == nr:
                full_tile(a, i * kc, b, j * kc, kc, c, at, ldc, add)
            else:
                edge_tile(a, i * kc, b, j * kc, kc, c, at, ldc, add, h, w, a, spare)
            if last:
                finish(mode, table, l, p, ws, c, c0, i0 + i, h, j0 + j, w, key)


@kernel
def scale_rows(c, c0, ldc, i0, rows, n, scale):
    """C[i0:i0 + rows] *= scale."""
    for i in range(i0, i0 + rows):
        row = span(c, c0 + i * ldc, n)
        for j in range(n):
            row[j] *= scale


@kernel
def pack_A(x, first, rows, pc, kc, panels):
    """Pack `rows` rows of A into panels of mr."""
    mr = mr_of(panels)
    for q in range(0, rows, mr):
        start = x.offset + (first + q) * x.row_stride + pc * x.column_stride
        lines = min(mr, rows - q)
        pack_A_panel(x.flat, start, x.row_stride, x.column_stride, lines, kc, panels, q * kc)


@kernel
def pack_B(x, first, columns, pc, kc, panels, rank):
    """Pack this rank's share of B's rows, which are C's columns, into panels of nr."""
    nr = nr_of(panels)
    for q in range(rank.number * nr, columns, rank.of * nr):
        start = x.offset + (first + q) * x.row_stride + pc * x.column_stride
        lines = min(nr, columns - q)
        pack_B_panel(x.flat, start, x.row_stride, x.column_stride, lines, kc, panels, q * kc)


@kernel
def block_depth(k, c):
    """Steps along k in a block: k cut into equal parts of at most kc, each a multiple of 4."""
    blocks = (k + kc_of(c) - 1) // kc_of(c)
    return (k + blocks - 1) // blocks + 3 & ~3 if blocks else 1


@kernel
def gemm(m, n, k, a, b, c, c0, scale, mode, table, l, p, ws, key, shared, rank):
    """C = scale * A B^T, finished by `mode`; all ranks call it.

    A (m x k) and B (n x k) are `Matrix`; C lies at ``c[c0:]``, its rows n apart. It begins with a
    barrier and ends without. `scale` is for the PLAIN mode.
    """
    step, depth = block_rows(m, c), block_depth(k, c)
    whole = mode != PLAIN and table[l, WHOLE_ROW] == 1
    for jc in range(0, n, nc_of(c)):
        columns = min(nc_of(c), n - jc)
        for pc in range(0, max(k, 1), depth):
            kc = min(depth, k - pc)
            first, last = pc == 0, pc + kc == k
            barrier(rank.team, rank.of)
            pack_B(b, jc, columns, pc, kc, shared, rank)
            barrier(rank.team, rank.of)
            for i0 in range(rank.number * step, m, rank.of * step):
                rows = min(step, m - i0)
                pack_A(a, i0, rows, pc, kc, rank.scratch)
                multiply_block(
                    rank.scratch, shared, PLAIN if whole else mode, table, l, p, ws,
                    c, c0, n, i0, rows, jc, columns, kc, first, last, key,
                )  # fmt: skip
                if last and jc + columns == n:
                    if scale != 1.0:
                        scale_rows(c, c0, n, i0, rows, n, scale)
                    if whole:
                        finish(mode, table, l, p, ws, c, c0, i0, rows, ZERO, n, key)
