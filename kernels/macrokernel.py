"""The macro-kernel: a block of C = C0 + A B, by tiles of the micro-kernel."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import kernel, leaf, pointer, small_kernel
from ._simd import address, constant, span
from .layout import ZEROS
from .microkernel import (
    FLAT,
    UNROLL,
    continue_tile,
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


@leaf(
    lambda t: (
        *(pointer(t), types.int64, types.int64, types.boolean),
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64, pointer(t), types.int64, types.int64, types.int64),
        types.boolean,
    )
)
def multiply(a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify):
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
    rows_outside = kc * n <= near_of(c)
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
            multiply_tile(h, rows, rs, ks, columns, ld, kc, start, ld0, to, ldc, w, ahead, rectify)


@small_kernel
def run_of(kc, ldb, m, n, c):
    """Steps of k in a run of `multiply_in_runs`; all, if it would not pay."""
    most = mr_of(c) if ldb >= page_of(c) else FLAT_ROWS
    if m < 1 or m > most or n <= narrow_of(c):
        return kc
    return min(max(near_of(c) // n & -UNROLL, LEAST_RUN), kc)


@leaf(
    lambda t: (
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64),
        *(pointer(t), types.int64, types.int64, pointer(t), types.int64, types.int64, types.int64),
        *(types.boolean, pointer(t), types.int64),
    )
)
def continue_product(
    a, row_stride, k_stride, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify, sums, lds
):  # fmt: skip
    """C = C0 + (S + A B), or max(that, 0), for at most mr rows, and a B that is no panels.

    S is `sums`, rows of whole vectors that lie `lds` apart. It may be C.
    """
    nr = flat_columns(m, c)
    for at in range(0, n, nr):
        right, start, to = address(b, at), address(c0, at * step0), address(c, at)
        continue_tile(
            m, a, row_stride, k_stride, right, ldb, kc, start, ld0, to, ldc, min(nr, n - at), right,
            rectify, address(sums, at), lds,
        )  # fmt: skip


@kernel
def multiply_in_runs(
    a, row_stride, k_stride, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify, run, sums
):  # fmt: skip
    """`multiply` of a few rows and a B that is no panels, in runs of some steps of k.

    Few rows read each element of B once, and a tile would read a short part of row after row, from
    page to page of memory. In a run, all columns pass so many steps of k: the CPU fetches ahead
    along as many rows. There are two runs at least; `sums` has room for `ZEROS` elements and m rows
    of whole vectors.
    """
    none, kept, width = span(sums, 0, ZEROS), address(sums, ZEROS), whole_vectors(n, c)
    for i in range(ZEROS):
        none[i] = -0.0  # x + -0 is x, whatever sign a 0 has
    multiply(
        a, row_stride, k_stride, False, b, ldb, run, sums, 0, 0, kept, width, m, n, False
    )  # fmt: skip
    last = (kc - 1) // run * run
    for pc in range(run, last, run):
        continue_product(
            address(a, pc * k_stride), row_stride, k_stride, address(b, pc * ldb), ldb, run,
            sums, 0, 0, kept, width, m, n, False, kept, width,
        )  # fmt: skip
    continue_product(
        address(a, last * k_stride), row_stride, k_stride, address(b, last * ldb), ldb, kc - last,
        c0, ld0, step0, c, ldc, m, n, rectify, kept, width,
    )  # fmt: skip


@kernel
def multiply_by_width(
    a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify
):  # fmt: skip
    """`multiply`, with the last columns for themselves where they are few: in tiles of 2 mr rows.

    In a tile of mr rows, so few sums would wait for themselves.
    """
    rest = n % nr_of(c)
    if packed or m <= mr_of(c) or rest == n or rest > narrow_of(c):
        rest = 0
    whole = n - rest
    multiply(
        a, row_stride, k_stride, packed, b, ldb, kc, c0, ld0, step0, c, ldc, m, whole, rectify
    )  # fmt: skip
    if rest > 0:
        columns = address(b, whole * (kc if ldb == 0 else 1))
        start, to = address(c0, whole * step0), address(c, whole)
        multiply(
            a, row_stride, k_stride, packed, columns, ldb, kc, start, ld0, step0, to, ldc, m, rest,
            rectify,
        )  # fmt: skip
