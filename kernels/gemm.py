"""C = C0 + A B on a region of C that one rank owns; what follows the product is done by blocks.

Five loops around the micro-kernel: columns of C by nc, depth by kc (a block of B is packed), rows
of C by mc (a block of A is packed, or read where it lies), then panels of B and tiles. A rank packs
what it needs into memory of its own, so a product has no barriers inside.

How a region is cut changes no bit: each element of C is one sum in the order of k, cut into the
same blocks of depth. So regions may follow the number of ranks (`sharing`). A few rows times
columns that run along k (dA_prev of so many samples) are scalar products, and nothing is packed.

When a block's last k is added, it is finished while it is in L2: by the forward pass's activation
and dropout, or the backward pass's dropout and g'. What a layer lacks is skipped, so fusions
combine and none is enumerated.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from ._jit import kernel, small_kernel
from ._simd import address, exists, span
from .activations import activate, differentiate
from .arrays import ALIGNMENT
from .arrays import rounded as _rounded
from .dropout import drop_range
from .layout import CODE, DROP, FROM_Z, ONE, RECTIFY, WHOLE_ROW, ZERO, A, N, S
from .macrokernel import multiply_by_width, multiply_in_runs, run_of, whole_vectors
from .microkernel import kc_of, mc_of, mr_of, nc_of, pairs_of
from .pack import SPARE, pack_A_block, pack_B_block, packs_A
from .products import scalar_products
from .reduce import outer_product
from .targets import Tile
from .team import is_stopped


class Start(NamedTuple):
    """C0: a matrix whose rows or columns may lie 0 apart."""

    offset: int
    row_stride: int
    column_stride: int


# What finishes a block. NumPy integers: numba compiles a function anew for each literal argument.
PLAIN, FORWARD, BACKWARD = cast(list[int], list(np.arange(3)))
DIRECT_ROWS = 12  # of C: fewer do not repay packing B
SCALAR_ROWS = 4  # of C: so few do not repay packing B where its columns run along k


@small_kernel
def block_rows(m, c):
    """Rows in a block: m cut into equal parts of at most mc, each of whole tiles."""
    if m <= mc_of(c):  # dividing by numbers that are not known yet tells in a step of one sample
        return max((m + mr_of(c) - 1) // mr_of(c) * mr_of(c), 1)
    blocks = (m + mc_of(c) - 1) // mc_of(c)
    return (m + blocks * mr_of(c) - 1) // (blocks * mr_of(c)) * mr_of(c)


@small_kernel
def block_depth(k, c):
    """Steps along k in a block: k cut into equal parts of at most kc, each a multiple of 4."""
    if k <= kc_of(c):
        return max(k + 3 & ~3, 1)
    blocks = (k + kc_of(c) - 1) // kc_of(c)
    return (k + blocks - 1) // blocks + 3 & ~3


def packed_elements(tile: Tile, columns: int, other: int = 0) -> int:
    """Elements of one packed block of A and one of B, where C has so many columns.

    For B there is room for `other` elements at least.
    """
    panels = -(-min(columns, tile.nc) // tile.nr)
    return _rounded(tile.mc * tile.kc + SPARE) + max(panels * tile.nr * tile.kc, other)


@kernel
def pack_whole_B(b, k, depth, left, right, panels):
    """Pack columns [left, right) of B for `product`: all blocks of depth one behind the other."""
    for pc in range(0, k, depth):
        block = address(b.flat, b.offset + pc * b.row_stride + left * b.column_stride)
        to = address(panels, pc * whole_vectors(right - left, panels))
        pack_B_block(block, b.row_stride, b.column_stride, min(depth, k - pc), right - left, to)


@kernel
def packed_B(c):
    """Where the block of B begins, behind that of A."""
    return (mc_of(c) * kc_of(c) + SPARE + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT  # `_rounded`


# --------------------------------------------------------------------------------------- finishing
@small_kernel
def calls_of(rows, columns, n):
    """How often a function of rows is called, and for how many: at once where they are whole."""
    return (ONE, rows) if columns == n else (rows, ONE)


@kernel
def finish_forward(table, l, ws, i0, number, rows, j0, columns, key):
    """A = g(Z), dropout; Z lies at S, or g(Z) where the product has rectified.

    Row i0 of the workspace is row `number` of the batch.
    """
    n, code, drop = table[l, N], table[l, CODE], table[l, DROP]
    s, a = table[l, S] + i0 * n + j0, table[l, A] + i0 * n + j0
    if code < 0:
        return
    g = a if table[l, FROM_Z] else s
    if table[l, RECTIFY] == 0:
        calls, height = calls_of(rows, columns, n)
        for i in range(calls):
            activate(code, ws, s + i * n, ws, g + i * n, height, columns)
    if drop > 0:
        for i in range(rows):
            at, first = i * n, (number + i) * n + j0
            drop_range(ws, g + at, ws, a + at, columns, first, drop, key)


@kernel
def finish_backward(table, l, ws, d0, i0, number, rows, j0, columns, key):
    """dA lies at ws[d0:]: dropped as A was, then dZ = dA * g'(S)."""
    n, code, drop = table[l, N], table[l, CODE], table[l, DROP]
    d, s = d0 + i0 * n + j0, table[l, S] + i0 * n + j0
    if drop > 0:
        for i in range(rows):
            at, first = d + i * n, (number + i) * n + j0
            drop_range(ws, at, ws, at, columns, first, drop, key)
    if code < 0:
        return
    calls, height = calls_of(rows, columns, n)
    for i in range(calls):
        differentiate(code, ws, d + i * n, ws, s + i * n, height, columns)


@kernel
def scale_block(c, c0, ldc, rows, n, scale):
    """C *= scale."""
    for i in range(rows):
        row = span(c, c0 + i * ldc, n)
        for j in range(n):
            row[j] *= scale


@kernel
def finish(mode, table, l, ws, c, c0, n, i0, rows, j0, columns, scale, key):
    """Do what follows the product on a block of C, which is `ws` but in the plain mode."""
    if mode == FORWARD:
        finish_forward(table, l, ws, i0, i0, rows, j0, columns, key)
    elif mode == BACKWARD:
        finish_backward(table, l, ws, c0, i0, i0, rows, j0, columns, key)
    elif scale != 1.0:
        scale_block(c, c0 + i0 * n + j0, n, rows, columns, scale)


# -------------------------------------------------------------------------------------- the product
@kernel
def multiply_few(region, m, n, k, a, b, first, start, c, c0, mode, rectify):
    """C = C0 + A B, or max(C0 + A B, 0), if that is best done without tiles; whether it is."""
    if a.column_stride != 1 or b.row_stride != 1:
        return False
    top, left, from_c = region.top, region.left, start.offset + region.top * start.row_stride
    rows, columns = region.bottom - top, region.right - left
    x, y = address(a.flat, a.offset + top * a.row_stride), address(c, c0 + top * n + left)
    if m <= SCALAR_ROWS and b.column_stride != 1:
        # so few columns at once that each is used for two rows, and while it is near
        wide = max(columns, 1) if m == 1 else pairs_of(c)
        for j in range(0, columns, wide):
            w = address(b.flat, b.offset + (left + j) * b.column_stride)
            z = address(first, from_c + (left + j) * start.column_stride)
            scalar_products(
                rows, min(wide, columns - j), k, x, a.row_stride, w, b.column_stride,
                z, start.row_stride, start.column_stride, address(y, j), n, rectify,
            )  # fmt: skip
        return True
    # dA_prev of one unit; C0 is 0
    if mode == BACKWARD and k == a.row_stride == b.column_stride == 1:
        outer_product(rows, columns, x, address(b.flat, b.offset + left), y, n)
        return True
    if region.right == n == 1 and mode != PLAIN:  # one unit: C^T = C0^T + B^T A^T
        scalar_products(
            ONE, rows, k, address(b.flat, b.offset), k, x, a.row_stride,
            address(first, from_c), ZERO, start.row_stride, y, rows, rectify,
        )  # fmt: skip
        return True
    return False


@kernel
def product(
    region, m, n, k, depth, a, b, panels, first, start, c, c0, direct, mode, table, l, ws, scale,
    key, rank,
):  # fmt: skip
    """C = (C0 + A B) * scale on a region, finished by `mode`.

    A (m x k) and B (k x n) are `Matrix`, a block of them is `depth` deep; C lies at ``c[c0:]``, its
    rows n apart; C0 is `start` in the flat array `first`. `direct`: B's rows may be read past
    their ends, to fill up a vector. Unless it is the address 0, `panels` holds the region's columns
    of B, as `pack_whole_B` leaves them. Nothing more is made once the rank's call shall end.
    """
    rows = region.bottom - region.top
    block = block_rows(rows, c)
    direct = direct or whole_vectors(n, c) == n
    direct = direct and not exists(panels) and b.column_stride == 1 and rows < DIRECT_ROWS
    rectify = mode == FORWARD and table[l, RECTIFY] == 1
    is_small = multiply_few(region, m, n, k, a, b, first, start, c, c0, mode, rectify)
    whole = is_small or (mode != PLAIN and table[l, WHOLE_ROW] == 1)
    packed_a, packed_b = rank.packed, address(rank.packed, packed_B(c))
    for jc in range(region.left, region.left if is_small else region.right, nc_of(c)):
        columns = min(nc_of(c), region.right - jc)
        pack_rows = rows >= DIRECT_ROWS and packs_A(columns, a.column_stride, c)
        for pc in range(0, max(k, 1), depth):
            kc = min(depth, k - pc)
            at = b.offset + pc * b.row_stride + jc * b.column_stride
            blocks, ldb = address(b.flat, at), b.row_stride
            if exists(panels):
                width = whole_vectors(region.right - region.left, c)
                blocks, ldb = address(panels, pc * width + (jc - region.left) * kc), ZERO
            elif not direct:
                pack_B_block(blocks, b.row_stride, b.column_stride, kc, columns, packed_b)
                blocks, ldb = packed_b, ZERO
            for i0 in range(region.top, region.bottom, block):
                if is_stopped(rank):
                    return
                height = min(block, region.bottom - i0)
                left = address(a.flat, a.offset + i0 * a.row_stride + pc * a.column_stride)
                if pack_rows:
                    pack_A_block(left, a.row_stride, a.column_stride, height, kc, packed_a)
                    left = packed_a
                to_c = address(c, c0 + i0 * n + jc)
                from_c, ld0, step0 = to_c, n, 1
                if pc == 0:
                    at = start.offset + i0 * start.row_stride + jc * start.column_stride
                    from_c, ld0 = address(first, at), start.row_stride
                    step0 = start.column_stride
                rectifies = rectify and pc + kc == k
                run = run_of(kc, ldb, height, columns, c) if direct else kc
                if run < kc:
                    multiply_in_runs(
                        left, a.row_stride, a.column_stride, blocks, ldb, kc, from_c, ld0, step0,
                        to_c, n, height, columns, rectifies, run, packed_b,
                    )  # fmt: skip
                else:
                    multiply_by_width(
                        left, a.row_stride, a.column_stride, pack_rows, blocks, ldb, kc,
                        from_c, ld0, step0, to_c, n, height, columns, rectifies,
                    )  # fmt: skip
                if pc + kc == k and not whole:
                    finish(mode, table, l, ws, c, c0, n, i0, height, jc, columns, scale, key)
    if whole and rows > 0:
        left, columns = region.left, region.right - region.left
        finish(mode, table, l, ws, c, c0, n, region.top, rows, left, columns, scale, key)
