"""The macro-kernel: a block of C = C0 + A B, by tiles of the micro-kernel."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import kernel, leaf, pointer, small_kernel
from ._simd import address, constant, exists
from .microkernel import (
    FLAT,
    UNROLL,
    lanes_of,
    line_of,
    mr_of,
    multiply_tile,
    narrow_of,
    near_of,
    nr_of,
    page_of,
    tile_of,
    widest,
)

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
    """How many tiles m rows are cut into."""
    return (m + mr - 1) // mr


@kernel
def tile_rows(height, more, q):
    """Where tile q begins and its height; the first `more` tiles are higher than `height` by 1."""
    return q * height + min(q, more), height + (1 if q < more else 0)


@small_kernel
def run_of(kc, ldb, m, n, sums):
    """Steps of k in a run, of which `multiply` makes a block; its rows are one tile's then."""
    is_flat, is_far = m <= FLAT_ROWS, ldb >= page_of(sums)
    if not exists(sums) or not (is_flat or is_far) or m > mr_of(sums) or n <= narrow_of(sums):
        return max(kc, 1)
    return min(max(near_of(sums) // n & -UNROLL, LEAST_RUN), max(kc, 1))


@leaf(
    lambda t: (
        *(pointer(t), types.int64, types.int64, types.boolean),
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64, pointer(t), types.int64, types.int64, types.int64),
        *(types.boolean, pointer(t)),
    )
)
def multiply(
    a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify, sums
):  # fmt: skip
    """C = C0 + A B by tiles, or max(C0 + A B, 0): a block of C (m x n), all kc deep.

    Rows are cut into as few tiles as mr (2 mr for a narrow C) allows, of heights that differ by one
    at most: even the last has enough independent sums to keep the multipliers busy. A packed block
    of A holds a panel per tile of mr rows, ``panel[k * h + i]``, one behind the other (see
    `pack.pack_A_block`); the strides are not used then. `ldb` is 0 if B is panels (see
    `pack.pack_B_block`). C0's columns lie `step0` apart, where 0 repeats one.

    A block of B that leaves room for a tile's rows in L1 is gone through for each of them; else
    all rows pass each panel of it, and each tile fetches a part of the next one.

    Few rows read each element of B once, and if B is no panels, a tile reads a short part of row
    after row, from page to page of memory. So a tile of them is made in runs of some steps of k,
    through which all columns pass: the CPU fetches ahead along as many rows. `sums` has room for m
    rows of whole vectors then; elsewhere it is the address 0.
    """
    # columns that follow each other in memory may be cut into wider tiles than panels are
    nr = nr_of(c) if ldb == 0 else flat_columns(m, c)
    step = kc if ldb == 0 else 1  # from column to column, of each panel's first step
    mr = 2 * mr_of(c) if n <= narrow_of(c) and not packed else mr_of(c)
    tiles, panels = tiles_of(m, mr), (n + nr - 1) // nr
    if tiles == 0:
        return
    height, more = m // tiles, m % tiles
    run = run_of(kc, ldb, m, n, sums)
    for pc in range(0, max(kc, 1), run):
        depth = min(run, kc - pc)
        rows_outside = depth * n <= near_of(c)
        outer, inner = (tiles, panels) if rows_outside else (panels, tiles)
        for x in range(outer):
            for y in range(inner):
                q, j = (x, y) if rows_outside else (y, x)
                i, h = tile_rows(height, more, q)
                rows, rs, ks = address(a, i * row_stride + pc * k_stride), row_stride, k_stride
                if packed:
                    rows, rs, ks = address(a, i * kc), 1, h
                at = j * nr
                start, to = address(c0, i * ld0 + at * step0), address(c, i * ldc + at)
                w = min(nr, n - at)
                ld = whole_vectors(w, c) if ldb == 0 else ldb
                following = min(j + 1, panels - 1) * nr * step + q * (kc // UNROLL) * line_of(c)
                columns, ahead = address(b, pc * ldb + at * step), address(b, pc * ldb + following)
                multiply_tile(
                    h, rows, rs, ks, columns, ld, depth, start, ld0, to, ldc, w, ahead, rectify,
                    address(sums, at * h), pc == 0, pc + depth == kc,
                )  # fmt: skip


@kernel
def multiply_by_width(
    a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify, sums
):  # fmt: skip
    """`multiply`, with the last columns for themselves where they are few: in tiles of 2 mr rows.

    In a tile of mr rows, so few sums would wait for themselves.
    """
    rest = n % nr_of(c)
    if packed or m <= mr_of(c) or rest == n or rest > narrow_of(c):
        rest = 0
    whole = n - rest
    multiply(
        a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, whole, rectify,
        sums,
    )  # fmt: skip
    if rest > 0:
        columns = address(b, whole * (kc if ldb == 0 else 1))
        start, to = address(c0, whole * step0), address(c, whole)
        multiply(
            a, row_stride, k_stride, packed, columns, ldb, kc, start, ld0, step0, to, ldc, m, rest,
            rectify, sums,
        )  # fmt: skip
