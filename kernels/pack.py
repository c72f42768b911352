"""Packing: a block of a matrix of any strides becomes panels, read front to back.

::

    A block (m x kc)  ->  a panel per tile, of its height h:  panel[k * h + i] = A[i, k]
    B block (kc x n)  ->  panels of nr columns:               panel[k * nr + j] = B[k, j]

Both are one function: a panel's `count` lines are `across` apart, its kc steps `along` apart, and
in the panel its steps lie `ld` apart. Lines are read as vectors where they lie side by side, and
transposed in registers where each runs along k. A step's vectors are stored whole: what sticks out
past its end is overwritten by the next step, so a panel is written front to back and some elements
past its end (`SPARE`) are spoilt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import kernel, leaf, other, pointer
from ._simd import Vectors, address, constant, counted_loop, element_of, exists, span
from .microkernel import (
    lanes_of,
    mr_of,
    nr_of,
    packed_of,
    tile_of,
    tile_rows,
    tiles_of,
    transposes_of,
)

SPARE = 64  # elements past a packed block that packing may spoil: more than a tile has rows


def _packing(width: str, emit_step: Callable[..., Any], lanes_along: bool) -> Callable[..., Any]:
    """An intrinsic ``(source, stride, count, kc, panel, ld)`` that packs `count` lines.

    `emit_step` writes one step of the loop along k: one k, or `lanes` of them (`lanes_along`), of
    which the last step may have less. `width` names the tile's field that bounds the lines.
    """

    @intrinsic
    def pack(
        typing: Any, source: Any, stride: Any, count: Any, kc: Any, panel: Any, ld: Any
    ) -> Any:
        t = tile_of(panel)
        lines: int = getattr(t, width)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source_at, stride, count, kc, panel_at, ld = arguments
            vec = Vectors(builder, element_of(panel.dtype), t.lanes, t.fma)
            write_step = emit_step(vec, stride, count, ld, lines)
            steps, source_step, panel_step = kc, stride, ld
            if lanes_along:
                lanes = constant(t.lanes)
                steps, source_step, panel_step = (
                    builder.sdiv(kc, lanes),
                    lanes,
                    builder.mul(ld, lanes),
                )

            def step(state: Any) -> Any:
                at, to = state
                write_step(at, to, None)
                return [builder.gep(at, [source_step]), builder.gep(to, [panel_step])]

            at, to = counted_loop(builder, steps, [source_at, panel_at], step)
            if lanes_along:
                rest = builder.srem(kc, lanes)
                with builder.if_then(builder.icmp_signed(">", rest, constant(0))):
                    write_step(at, to, rest)
            return context.get_dummy_value()

        i = types.int64
        return types.void(source, i, i, i, panel, i), emit

    return pack  # type: ignore[no-any-return]


def _copy_lines(vec: Vectors, stride: Any, count: Any, ld: Any, lines: int) -> Callable[..., None]:
    """One k of lines that lie side by side; those that are not there are not read."""
    groups = range(0, lines, vec.lanes)
    masks = [vec.mask(vec.builder.sub(count, constant(i))) for i in groups]

    def write(at: Any, to: Any, rest: None) -> None:
        for i, mask in zip(groups, masks, strict=True):
            vec.store(vec.load_masked(mask, at, constant(i)), to, constant(i))

    return write


def _transpose_lines(
    vec: Vectors, stride: Any, count: Any, ld: Any, lines: int
) -> Callable[..., None]:
    """`lanes` k of lines that run along k, or `rest`; for a line that is not there, the last."""
    builder, last = vec.builder, vec.builder.sub(count, constant(1))

    def place(i: int) -> Any:
        there = builder.icmp_signed("<", constant(i), count)
        return builder.mul(stride, builder.select(there, constant(i), last))

    places = [place(i) for i in range(-(-lines // vec.lanes) * vec.lanes)]

    def store(k: int, blocks: Sequence[Any], to: Any) -> None:
        row = builder.gep(to, [builder.mul(ld, constant(k))])
        for i, block in enumerate(blocks):
            vec.store(block[k], row, constant(i * vec.lanes))

    def write(at: Any, to: Any, rest: Any) -> None:
        mask = None if rest is None else vec.mask(rest)
        rows = [vec.load(at, p) if rest is None else vec.load_masked(mask, at, p) for p in places]
        groups = range(0, len(rows), vec.lanes)
        blocks = [vec.transpose(rows[i : i + vec.lanes]) for i in groups]
        for k in range(vec.lanes):
            if rest is None:
                store(k, blocks, to)
            else:
                with builder.if_then(builder.icmp_signed("<", constant(k), rest)):
                    store(k, blocks, to)

    return write


def _packer(width: str) -> Callable[..., None]:
    copy = _packing(width, _copy_lines, lanes_along=False)
    transpose = _packing(width, _transpose_lines, lanes_along=True)
    transpose_few = _packing("lanes", _transpose_lines, lanes_along=True)

    @kernel
    def pack_panel(source, across, along, count, kc, panel, ld):
        if across == 1:
            copy(source, along, count, kc, panel, ld)
        elif along == 1 and count <= lanes_of(panel):
            transpose_few(source, across, count, kc, panel, ld)
        elif along == 1:
            transpose(source, across, count, kc, panel, ld)
        else:  # of an array that was given with such strides: neither lies side by side
            whole = (count + lanes_of(panel) - 1) // lanes_of(panel) * lanes_of(panel)
            for k in range(kc):
                for i in range(count):
                    panel[k * ld + i] = source[k * along + i * across]
                for i in range(count, whole):  # memory may hold denormals: sums would be slow
                    panel[k * ld + i] = 0

    return pack_panel  # type: ignore[no-any-return]


@kernel
def packs_A(columns, k_stride, of):
    """Whether so many columns of C repay packing A."""
    return columns >= packed_of(of) and (k_stride != 1 or transposes_of(of) == 1)


_pack_A_panel, _pack_B_panel = _packer("mr"), _packer("nr")
_BLOCK = (types.int64,) * 4  # strides and sizes


@leaf(lambda t: (pointer(t), *_BLOCK, pointer(t)))
def pack_A_block(source, row_stride, k_stride, m, kc, panels):
    """Pack m rows of A, kc deep, as `microkernel.multiply` cuts them into tiles."""
    tiles = tiles_of(m, mr_of(panels))
    for q in range(tiles):
        i, h = tile_rows(m // tiles, m % tiles, q)
        rows = address(source, i * row_stride)
        _pack_A_panel(rows, row_stride, k_stride, h, kc, address(panels, i * kc), h)


@leaf(lambda t: (pointer(t), *_BLOCK, pointer(t)))
def pack_B_block(source, k_stride, column_stride, kc, n, panels):
    """Pack n columns of B, kc deep."""
    nr = nr_of(panels)
    for j in range(0, n, nr):
        columns = address(source, j * column_stride)
        panel = address(panels, j * kc)
        _pack_B_panel(columns, column_stride, k_stride, min(nr, n - j), kc, panel, nr)


@kernel
def _gather(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end):
    if to_row == 1 and not exists(order):
        for j in range(n):
            target = span(a, a0 + j * to_column + begin, end - begin)
            source = address(x, x0 + first * row + j * column)
            for i in range(end - begin):
                target[i] = source[(begin + i) * row]
        return
    for i in range(begin, end):
        at = x0 + (order[first + i] if exists(order) else first + i) * row
        if column == 1 and to_column == 1:
            target, source = span(a, a0 + i * to_row, n), span(x, at, n)
            for j in range(n):
                target[j] = source[j]
        else:
            for j in range(n):
                a[a0 + i * to_row + j * to_column] = x[at + j * column]


_int = types.int64
_TO, _FROM, _ROWS = (_int,) * 3, (_int,) * 4, (pointer(_int), *(_int,) * 3)


@leaf(lambda t: (pointer(t), *_TO, pointer(t), *_FROM, *_ROWS))
def gather_rows(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end):
    """A_0[i, :] = X[order[first + i], :], begin <= i < end; without an `order`, X's own."""
    _gather(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end)


@leaf(lambda t: (pointer(t), *_TO, pointer(other(t)), *_FROM, *_ROWS))
def gather_other_rows(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end):
    """The same where X has the other float type."""
    _gather(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end)
