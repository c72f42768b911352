"""A layer's three products for samples that one rank keeps in its caches, whatever the shapes.

::

    Z = A_prev W^T + b        dW^T = A_prev^T dZ        dA_prev = dZ W        samples in rows

A layer of one unit has no use for tiles, of which only one lane would count: its Z are dot
products, its dW is a weighted sum of rows, its dA_prev an outer product. Else a product is made by
tiles, of any depth, with A packed where that pays.
"""

from __future__ import annotations

from fastdnn.kernels.base.constants import NO, ONE, ZERO
from fastdnn.kernels.blas.macrokernel import multiply_by_width, whole_vectors
from fastdnn.kernels.blas.operands import (
    Left,
    Right,
    Target,
    element,
    moved,
    rows_from,
    transposed,
    zeros_at,
)
from fastdnn.kernels.blas.pack import has_set_conflicts, packs_A
from fastdnn.kernels.blas.products import dot_products
from fastdnn.kernels.blas.reduce import outer_product, weighted_sums
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.llvm.simd import address

from .gemm import DIRECT_ROWS, block_depth, block_rows, left_block, pack_whole_B

PACKED_ROWS = 24  # of dW^T: as many repay packing dZ
PACKED_SIZE = 128  # rows of A, and steps of k: as many of both repay packing it


# --------------------------------------------------------------------------------------- any depth
@small_kernel
def pack_deep(b, k, n, panels):
    """Pack B, k x n, for a product of any depth."""
    pack_whole_B(b, k, block_depth(k, panels), ZERO, n, panels)
    return Right(panels, ZERO, k)


@small_kernel
def _block(b, pc, kc, n):
    """Return the block of depth that begins with step pc."""
    along = whole_vectors(n, b.at) if b.ld == 0 else b.ld
    return Right(address(b.at, pc * along), b.ld, kc)


@kernel
def multiply_deep(a, b, c0, c):
    """C = C0 + A B of any depth: all of B is one `Right`. A is not packed."""
    k, depth = b.kc, block_depth(b.kc, c.at)
    for pc in range(0, max(k, 1), depth):
        right = _block(b, pc, min(depth, k - pc), c.columns)
        start = moved(c0, ZERO, ZERO) if pc == 0 else rows_from(c.at, c.ld)
        left = Left(element(a, ZERO, pc), a.row_stride, a.column_stride, NO)
        fused_relu = c.fused_relu and pc + depth >= k
        multiply_by_width(left, right, start, Target(c.at, c.ld, c.rows, c.columns, fused_relu))


@kernel
def repays_packing(m, n, k, k_stride, c):
    """Return whether it pays to pack A, m x k, for n columns."""
    if m >= PACKED_SIZE and k >= PACKED_SIZE:
        return packs_A(n, k_stride, c)
    return m >= DIRECT_ROWS and has_set_conflicts(n, k_stride, c)


@kernel
def multiply(a, b, c0, c, packed):
    """`multiply_deep`, where that pays with A packed at `packed`; a tiny network's is too small."""
    k, n = b.kc, c.columns
    if not repays_packing(c.rows, n, k, a.column_stride, c.at):
        multiply_deep(a, b, c0, c)
        return
    depth, block = block_depth(k, c.at), block_rows(c.rows, c.at)
    for pc in range(0, k, depth):
        kc, fused_relu = min(depth, k - pc), c.fused_relu and pc + depth >= k
        right = _block(b, pc, kc, n)
        for top in range(0, c.rows, block):
            rows, to = min(block, c.rows - top), address(c.at, top * c.ld)
            start = moved(c0, top, ZERO) if pc == 0 else rows_from(to, c.ld)
            left = left_block(moved(a, top, pc), rows, kc, True, packed)
            multiply_by_width(left, right, start, Target(to, c.ld, rows, n, fused_relu))


# ---------------------------------------------------------------------------------------- the layer
@kernel
def outputs(x, w, panels, c0, z, packed):
    """Z = A_prev W^T + b: of `panels`, which hold W^T, or for one unit of W^T as it lies."""
    if z.columns == 1:
        dot_products(panels.kc, x, w, c0, z)
    else:
        multiply(x, panels, c0, z, packed)


@kernel
def unit_gradient(x, dZ, m, add, dW):
    """dW^T = A_prev^T dZ of one unit, added to what is there or in its place."""
    at = element(x, ZERO, ZERO)
    weighted_sums(m, dW.rows, at, x.row_stride, element(dZ, ZERO, ZERO), ONE, add, dW.at)


@small_kernel
def start_of(dW, add, zeros):
    """C0 of a gradient that is added to what is there or put in its place."""
    return rows_from(dW.at, dW.ld) if add else zeros_at(zeros)


@kernel
def weight_gradient(x, dZ, m, add, dW, zeros, panels, packed):
    """dW^T = A_prev^T dZ, added to what is there or in its place."""
    if dW.columns == 1:
        unit_gradient(x, dZ, m, add, dW)
        return
    right = Right(element(dZ, ZERO, ZERO), dZ.row_stride, m)
    if dW.rows >= PACKED_ROWS:
        right = pack_deep(dZ, m, dW.columns, panels)
    multiply(transposed(x), right, start_of(dW, add, zeros), dW, packed)


@kernel
def input_gradient(dZ, w, panels, dA_prev, zeros, packed):
    """dA_prev = dZ W: of `panels`, which hold W, or for one unit of W as it lies."""
    if panels.kc == 1:
        x, y = element(dZ, ZERO, ZERO), element(w, ZERO, ZERO)
        outer_product(dA_prev.rows, dA_prev.columns, x, y, dA_prev.at, dA_prev.ld)
    else:
        multiply(dZ, panels, zeros_at(zeros), dA_prev, packed)
