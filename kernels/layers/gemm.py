"""C = C0 + A B on a region of C that one rank owns; what follows the product is done by blocks.

Five loops around the micro-kernel: columns of C by nc, depth by kc (a block of B is packed), rows
of C by mc (a block of A is packed, or read where it lies), then panels of B and tiles. A rank packs
what it needs into memory of its own, so a product has no barriers inside.

How a region is cut changes no bit: each element of C is one sum in the order of k, cut into the
same blocks of depth. So regions may follow the number of ranks (`sharing`). A few rows times
columns that run along k (dA_prev of so many samples) are scalar products, and nothing is packed.

When a block's last k is added, it is finished while it is in L2 (see `epilogue`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastdnn.kernels.base.arrays import ALIGNMENT, Matrix
from fastdnn.kernels.base.arrays import rounded as _rounded
from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.blas.macrokernel import multiply_block, whole_vectors
from fastdnn.kernels.blas.microkernel import kc_of, mc_of, mr_of, nc_of, pairs_of
from fastdnn.kernels.blas.operands import Left, Region, Right, Target, element, moved, rows_from
from fastdnn.kernels.blas.pack import SPARE, pack_A_block, pack_B_block, packs_A
from fastdnn.kernels.blas.products import dot_products
from fastdnn.kernels.blas.reduce import outer_product
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.cpu.targets import Tile
from fastdnn.kernels.llvm.simd import address, is_not_null
from fastdnn.kernels.parallel.team import is_stopped

from .epilogue import BACKWARD, PLAIN, finish


class Size(NamedTuple):
    """C is m x n, a sum has k terms, and a block of them is `depth` deep."""

    m: int
    n: int
    k: int
    depth: int


class Factor(NamedTuple):
    """B, k x n, and how it may be read."""

    matrix: Matrix
    panels: Any  # unless it is the address 0: the region's columns, as `pack_whole_B` leaves them
    may_read_past: bool  # rows may be read past their ends, to fill up a vector


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
        block = element(b, pc, left)
        to = address(panels, pc * whole_vectors(right - left, panels))
        pack_B_block(block, b.row_stride, b.column_stride, min(depth, k - pc), right - left, to)


@kernel
def packed_B(c):
    """Return where the block of B begins, behind that of A."""
    return (mc_of(c) * kc_of(c) + SPARE + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT  # `_rounded`


# -------------------------------------------------------------------------------------- the product
@kernel
def multiply_few(size, region, a, b, c0, c, after):
    """C = C0 + A B, or max(C0 + A B, 0), if that is best done without tiles; whether it is."""
    if a.column_stride != 1 or b.row_stride != 1:
        return False
    n, k, fused_relu = size.n, size.k, after.rectifies
    rows, columns = region.bottom - region.top, region.right - region.left
    x, w = moved(a, region.top, ZERO), moved(b, ZERO, region.left)
    start, to = moved(c0, region.top, region.left), address(c, region.top * n + region.left)
    if size.m <= SCALAR_ROWS and b.column_stride != 1:
        # so few columns at once that each is used for two rows, and while it is near
        wide = max(columns, 1) if size.m == 1 else pairs_of(c)
        for j in range(0, columns, wide):
            target = Target(address(to, j), n, rows, min(wide, columns - j), fused_relu)
            dot_products(k, x, moved(w, ZERO, j), moved(start, ZERO, j), target)
        return True
    # dA_prev of one unit; C0 is 0
    if after.mode == BACKWARD and k == a.row_stride == b.column_stride == 1:
        outer_product(rows, columns, x.flat, w.flat, to, n)
        return True
    if region.right == n == 1 and after.mode != PLAIN:  # one unit
        dot_products(k, x, w, start, Target(to, n, rows, columns, fused_relu))
        return True
    return False


@kernel
def reads_in_place(b, rows, n, c):
    """Return whether B's rows are read where they lie, for so few rows of C."""
    whole = b.may_read_past or whole_vectors(n, c) == n
    x = b.matrix
    return (
        whole
        and not is_not_null(b.panels)
        and x.column_stride == 1
        and x.row_stride != 0  # which would say that B is panels
        and rows < DIRECT_ROWS
    )


@small_kernel
def right_block(b, block, region, in_place, packed):
    """A block of B for the region of C: rows and columns of B."""
    x, kc = b.matrix, block.bottom - block.top
    at, ld = element(x, block.top, block.left), x.row_stride
    if is_not_null(b.panels):
        width = whole_vectors(region.right - region.left, at)
        at = address(b.panels, block.top * width + (block.left - region.left) * kc)
        ld = ZERO
    elif not in_place:
        pack_B_block(at, x.row_stride, x.column_stride, kc, block.right - block.left, packed)
        at, ld = packed, ZERO
    return Right(at, ld, kc)


@small_kernel
def left_block(a, rows, kc, packs, packed):
    """So many rows and steps of k from A's first element; packed, if that repays itself."""
    at = element(a, ZERO, ZERO)
    if packs:
        pack_A_block(at, a.row_stride, a.column_stride, rows, kc, packed)
        at = packed
    return Left(at, a.row_stride, a.column_stride, packs)


@kernel
def product(size, region, a, b, c0, c, after, rank):
    """C = C0 + A B on a region, and what comes `after`: an `Epilogue`.

    A and C0 are a `Matrix`, B a `Factor`; C lies at an address, its rows size.n apart. Nothing more
    is made once the rank's call shall end.
    """
    n, k, rows = size.n, size.k, region.bottom - region.top
    block, in_place = block_rows(rows, c), reads_in_place(b, rows, n, c)
    is_small = multiply_few(size, region, a, b.matrix, c0, c, after)
    whole = is_small or after.whole_rows
    packed_a, packed_b = rank.packed, address(rank.packed, packed_B(c))
    for jc in range(region.left, region.left if is_small else region.right, nc_of(c)):
        columns = min(nc_of(c), region.right - jc)
        packs = rows >= DIRECT_ROWS and packs_A(columns, a.column_stride, c)
        for pc in range(0, max(k, 1), size.depth):
            kc = min(size.depth, k - pc)
            is_last = pc + kc == k
            of_b = Region(pc, pc + kc, jc, jc + columns)
            right = right_block(b, of_b, region, in_place, packed_b)
            for i0 in range(region.top, region.bottom, block):
                if is_stopped(rank):
                    return
                height, to = min(block, region.bottom - i0), address(c, i0 * n + jc)
                left = left_block(moved(a, i0, pc), height, kc, packs, packed_a)
                start = moved(c0, i0, jc) if pc == 0 else rows_from(to, n)
                target = Target(to, n, height, columns, after.rectifies and is_last)
                multiply_block(left, right, start, target, packed_b)
                if is_last and not whole:
                    finish(after, c, n, Region(i0, i0 + height, jc, jc + columns))
    if whole and rows > 0:
        finish(after, c, n, region)
