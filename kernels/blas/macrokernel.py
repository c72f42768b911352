"""The macro-kernel: a block of C = C0 + A B, by tiles of the micro-kernel."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from fastdnn.kernels.base.constants import NO, ZERO
from fastdnn.kernels.compiler.jit import kernel, leaf, pointer
from fastdnn.kernels.llvm.simd import address, constant, span

from .microkernel import (
    FLAT,
    UNROLL,
    continue_tile,
    l1_elements_of,
    lanes_of,
    line_of,
    mr_of,
    multiply_tile,
    narrow_of,
    nr_of,
    page_of,
    tile_of,
    widest,
)
from .operands import ZEROS, Right, Target, element, moved, zeros_at

LEAST_RUN = 8  # steps of k
FLAT_ROWS = max(FLAT)


@intrinsic
def flat_columns(typing: Any, m: Any, of: Any) -> Any:
    """Columns of the tiles that m rows are cut into, where B is no panels."""
    t = tile_of(of)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        columns = constant(t.nr)
        for h in FLAT:
            few = builder.icmp_signed("==", arguments[0], constant(h))
            columns = builder.select(few, constant(widest(t, h) * t.lanes), columns)
        return columns

    return types.int64(types.int64, of), emit


@kernel
def whole_vectors(n, of):
    """n columns and those that fill up the last vector."""
    return n + lanes_of(of) - 1 & -lanes_of(of)


@kernel
def tiles_of(m, mr):
    """Return how many tiles m rows are cut into."""
    return (m + mr - 1) // mr


@kernel
def tile_rows(height, more, q):
    """Return where tile q begins, and its height; the first `more` are higher by 1."""
    return q * height + min(q, more), height + (1 if q < more else 0)


@leaf(
    lambda t: (
        *(pointer(t), types.int64, types.int64, types.boolean),
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64, pointer(t), types.int64, types.int64, types.int64),
        types.boolean,
    )
)
def multiply(a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, fused_relu):
    """C = C0 + A B by tiles, or max(C0 + A B, 0): a block of C (m x n), all kc deep.

    Rows are cut into as few tiles as mr (2 mr for a narrow C) allows, of heights that differ by one
    at most: even the last has enough independent sums to keep the multipliers busy. A packed block
    of A holds a panel per tile of mr rows, ``panel[k * h + i]``, one behind the other (see
    `pack.pack_A_block`); the strides are not used then. `ldb` is 0 if B is panels (see
    `pack.pack_B_block`). C0's columns lie `step0` apart, where 0 repeats one.

    A block of B that leaves room for a tile's rows in L1 is gone through for each of them; else
    all rows pass each panel of it, and each tile fetches a part of the next one.
    """
    # columns that follow each other in memory may be cut into wider tiles than panels are
    nr = nr_of(c) if ldb == 0 else flat_columns(m, c)
    step = kc if ldb == 0 else 1  # from column to column, of each panel's first step
    mr = 2 * mr_of(c) if n <= narrow_of(c) and not packed else mr_of(c)
    tiles, panels = tiles_of(m, mr), (n + nr - 1) // nr
    if tiles == 0:
        return
    height, more = m // tiles, m % tiles
    rows_outside = kc * n <= l1_elements_of(c)
    outer, inner = (tiles, panels) if rows_outside else (panels, tiles)
    for x in range(outer):
        for y in range(inner):
            q, j = (x, y) if rows_outside else (y, x)
            i, h = tile_rows(height, more, q)
            rows, rs, ks = address(a, i * row_stride), row_stride, k_stride
            if packed:
                rows, rs, ks = address(a, i * kc), 1, h
            at = j * nr
            start, to = address(c0, i * ld0 + at * step0), address(c, i * ldc + at)
            w = min(nr, n - at)
            ld = whole_vectors(w, c) if ldb == 0 else ldb
            following = min(j + 1, panels - 1) * nr * step + q * (kc // UNROLL) * line_of(c)
            columns, ahead = address(b, at * step), address(b, following)
            multiply_tile(
                h, rows, rs, ks, columns, ld, kc, start, ld0, to, ldc, w, ahead, fused_relu
            )


@kernel
def multiply_tiles(a, b, c0, c):
    """`multiply` of operands; C0 is a `Matrix`, whose rows or columns may lie 0 apart."""
    multiply(
        a.at, a.row_stride, a.k_stride, a.packed, b.at, b.ld, b.kc, element(c0, ZERO, ZERO),
        c0.row_stride, c0.column_stride, c.at, c.ld, c.rows, c.columns, c.fused_relu,
    )  # fmt: skip


@kernel
def multiply_by_width(a, b, c0, c):
    """`multiply_tiles`, with the last columns for themselves where they are few: in 2 mr rows.

    In a tile of mr rows, so few sums would wait for themselves.
    """
    rest = c.columns % nr_of(c.at)
    if a.packed or c.rows <= mr_of(c.at) or rest == c.columns or rest > narrow_of(c.at):
        rest = 0
    whole = c.columns - rest
    multiply_tiles(a, b, c0, Target(c.at, c.ld, c.rows, whole, c.fused_relu))
    if rest > 0:
        columns = Right(address(b.at, whole * (b.kc if b.ld == 0 else 1)), b.ld, b.kc)
        last = Target(address(c.at, whole), c.ld, c.rows, rest, c.fused_relu)
        multiply_tiles(a, columns, moved(c0, ZERO, whole), last)


# ---------------------------------------------------------------------------------------- runs of k
@kernel
def run_of(b, c):
    """Steps of k in a run of `multiply_in_runs`; all, if it would not pay."""
    most = mr_of(c.at) if b.ld >= page_of(c.at) else FLAT_ROWS
    if b.ld == 0 or c.rows < 1 or c.rows > most or c.columns <= narrow_of(c.at):
        return b.kc
    return min(max(l1_elements_of(c.at) // c.columns & -UNROLL, LEAST_RUN), b.kc)


@leaf(
    lambda t: (
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64, pointer(t), types.int64, types.int64, types.int64),
        *(types.boolean, pointer(t), types.int64),
    )
)
def continue_product(
    a, row_stride, k_stride, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, fused_relu, sums, lds
):  # fmt: skip
    """C = C0 + (S + A B), or max(that, 0), for at most mr rows, and a B that is no panels.

    S is `sums`, rows of whole vectors that lie `lds` apart. It may be C.
    """
    nr = flat_columns(m, c)
    for at in range(0, n, nr):
        right, start, to = address(b, at), address(c0, at * step0), address(c, at)
        continue_tile(
            m, a, row_stride, k_stride, right, ldb, kc, start, ld0, to, ldc, min(nr, n - at), right,
            fused_relu, address(sums, at), lds,
        )  # fmt: skip


@kernel
def _continue_run(a, b, pc, c0, c, sums):
    # the steps of k from number pc, as many as b says
    continue_product(
        address(a.at, pc * a.k_stride), a.row_stride, a.k_stride, address(b.at, pc * b.ld), b.ld,
        b.kc, element(c0, ZERO, ZERO), c0.row_stride, c0.column_stride, c.at, c.ld, c.rows,
        c.columns, c.fused_relu, sums.at, sums.ld,
    )  # fmt: skip


@kernel
def multiply_in_runs(a, b, c0, c, run, sums):
    """`multiply_tiles` of a few rows and a B that is no panels, in runs of some steps of k.

    Few rows read each element of B once, and a tile would read a short part of row after row, from
    page to page of memory. In a run, all columns pass so many steps of k: the CPU fetches ahead
    along as many rows. There are two runs at least; `sums` has room for `ZEROS` elements and m rows
    of whole vectors.
    """
    none, zeros = span(sums, 0, ZEROS), zeros_at(sums)
    for i in range(ZEROS):
        none[i] = -0.0  # x + -0 is x, whatever sign a 0 has
    kept = Target(address(sums, ZEROS), whole_vectors(c.columns, sums), c.rows, c.columns, NO)
    one = Right(b.at, b.ld, run)
    multiply_tiles(a, one, zeros, kept)
    last = (b.kc - 1) // run * run
    for pc in range(run, last, run):
        _continue_run(a, one, pc, zeros, kept, kept)
    _continue_run(a, Right(b.at, b.ld, b.kc - last), last, c0, c, kept)


@kernel
def multiply_block(a, b, c0, c, sums):
    """C = C0 + A B, or max(that, 0), in the way that pays; `sums` is for `multiply_in_runs`."""
    run = run_of(b, c)
    if run < b.kc:
        multiply_in_runs(a, b, c0, c, run, sums)
    else:
        multiply_by_width(a, b, c0, c)
