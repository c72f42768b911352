"""Packing: a block of a matrix of any strides becomes panels, read front to back.

::

    A block (m x kc)  ->  a panel per tile, of its height h:  panel[k * h + i] = A[i, k]
    B block (kc x n)  ->  panels of nr columns, the last of   panel[k * w + j] = B[k, j]
                          what is left in whole vectors: w

Both are one function: a panel's `count` lines are `across` apart, its kc steps `along` apart, and
in the panel its steps lie `ld` apart. A vector of lines at a time is read where they lie side by
side, and transposed in registers where each runs along k. Vectors are stored whole. What sticks out
past a step of A's panel is the first vector of the next, so that is written last; some elements
past the panel's end (`SPARE`) are spoilt.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from fastdnn.kernels.compiler.jit import kernel, leaf, other, pointer
from fastdnn.kernels.cpu.targets import Tile
from fastdnn.kernels.llvm.simd import (
    Vectors,
    address,
    constant,
    counted_loop,
    element_of,
    is_not_null,
    span,
)

from .macrokernel import tile_rows, tiles_of, whole_vectors
from .microkernel import (
    lanes_of,
    line_of,
    mr_of,
    nr_of,
    packed_of,
    page_of,
    panels_at_once_of,
    tile_of,
    transposes_of,
)

TOGETHER = 4  # tiles whose rows of A are read at once, if these lie side by side
SPARE = 64  # elements past a packed block that packing may spoil: more than a vector has


class _Lines(NamedTuple):
    """LLVM values: the lines that become a panel, or panels beside each other."""

    stride: Any  # from step to step along k, or from line to line where each runs along k
    count: Any
    kc: Any
    ld: Any  # from step to step in the panel


def _packing(
    emit_step: Callable[..., Any], along: str | None = None, with_rest: bool = False
) -> Callable[..., Any]:
    """An intrinsic ``(source, stride, count, kc, panel, ld)`` that packs `count` lines.

    `emit_step` writes one step of the loop along k: one k, or as many as the tile's field `along`
    says, of which the last step may have less if they come `with_rest`.
    """

    @intrinsic
    def pack(
        typing: Any, source: Any, stride: Any, count: Any, kc: Any, panel: Any, ld: Any
    ) -> Any:
        t = tile_of(panel)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source_at, stride, count, kc, panel_at, ld = arguments
            vec = Vectors(builder, element_of(panel.dtype), t.lanes, t.fma)
            write_step = emit_step(vec, _Lines(stride, count, kc, ld), t)
            steps, source_step, panel_step = kc, stride, ld
            if along is not None:
                source_step = constant(getattr(t, along))
                steps, panel_step = builder.sdiv(kc, source_step), builder.mul(ld, source_step)

            def step(state: Any) -> Any:
                at, to = state
                write_step(at, to, None)
                return [builder.gep(at, [source_step]), builder.gep(to, [panel_step])]

            at, to = counted_loop(builder, steps, [source_at, panel_at], step)
            if with_rest:
                rest = builder.srem(kc, source_step)
                with builder.if_then(builder.icmp_signed(">", rest, constant(0))):
                    write_step(at, to, rest)
            return context.get_dummy_value()

        i = types.int64
        return types.void(source, i, i, i, panel, i), emit

    return pack  # type: ignore[no-any-return]


def _copy_panels(vec: Vectors, lines: _Lines, width: int, count: int) -> Callable[..., None]:
    """One k of panels of `width` lines that lie side by side, and beside each other."""
    part = Vectors(vec.builder, vec.element, width, fma=False)
    size = vec.builder.mul(lines.kc, lines.ld)
    starts = [vec.builder.mul(size, constant(i)) for i in range(count)]

    def write(at: Any, to: Any, rest: None) -> None:
        for i, start in enumerate(starts):
            part.store(part.load(at, constant(i * width)), to, start)

    return write


def _copy_vector(vec: Vectors, lines: _Lines, t: Tile) -> Callable[..., None]:
    """One k of a vector of lines that lie side by side; those that are not there are not read."""
    mask = vec.mask(lines.count)

    def write(at: Any, to: Any, rest: None) -> None:
        vec.store(vec.load_masked(mask, at, constant(0)), to, constant(0))

    return write


def _transpose_panel(vec: Vectors, lines: _Lines, t: Tile) -> Callable[..., None]:
    """A cache line of k, of a panel's lines that run along k: what is read is used at once."""
    places = [vec.builder.mul(lines.stride, constant(i)) for i in range(t.nr)]
    rows = [vec.builder.mul(lines.ld, constant(k)) for k in range(t.line)]

    def write(at: Any, to: Any, rest: None) -> None:
        for v, k in product(range(0, t.nr, t.lanes), range(0, t.line, t.lanes)):
            begin = vec.builder.gep(at, [constant(k)])
            columns = vec.transpose([vec.load(begin, p) for p in places[v : v + t.lanes]])
            for row, column in zip(rows[k : k + t.lanes], columns, strict=True):
                vec.store(column, vec.builder.gep(to, [row]), constant(v))

    return write


def _transpose_vector(vec: Vectors, lines: _Lines, t: Tile) -> Callable[..., None]:
    """`lanes` k of a vector of lines that run along k, or `rest`; for one not there, the last."""
    builder, last = vec.builder, vec.builder.sub(lines.count, constant(1))

    def place(i: int) -> Any:
        there = builder.icmp_signed("<", constant(i), lines.count)
        return builder.mul(lines.stride, builder.select(there, constant(i), last))

    places = [place(i) for i in range(vec.lanes)]

    def write(at: Any, to: Any, rest: Any) -> None:
        mask = None if rest is None else vec.mask(rest)
        rows = [vec.load(at, p) if rest is None else vec.load_masked(mask, at, p) for p in places]
        for k, column in enumerate(vec.transpose(rows)):
            row = builder.gep(to, [builder.mul(lines.ld, constant(k))])
            if rest is None:
                vec.store(column, row, constant(0))
            else:
                with builder.if_then(builder.icmp_signed("<", constant(k), rest)):
                    vec.store(column, row, constant(0))

    return write


_copy_whole = _packing(lambda vec, lines, t: _copy_panels(vec, lines, t.nr, 1))
_copy_beside = _packing(lambda vec, lines, t: _copy_panels(vec, lines, t.nr, t.panels_at_once))
_copy_high = _packing(lambda vec, lines, t: _copy_panels(vec, lines, t.mr, TOGETHER))
_copy_low = _packing(lambda vec, lines, t: _copy_panels(vec, lines, t.mr - 1, TOGETHER))
_copy_lines = _packing(_copy_vector)
_transpose_whole = _packing(_transpose_panel, along="line")
_transpose_lines = _packing(_transpose_vector, along="lanes", with_rest=True)


@kernel
def _pack_panel(source, across, along, count, kc, panel, ld):
    lanes = lanes_of(panel)
    if across == 1 and count == nr_of(panel):
        _copy_whole(source, along, count, kc, panel, ld)
        return
    done = 0
    if along == 1 and count == nr_of(panel):
        done = kc // line_of(panel) * line_of(panel)
        _transpose_whole(source, across, count, done, panel, ld)
    left = kc - done
    if left == 0:
        return
    for i in range((count - 1) // lanes * lanes, -1, -lanes):
        lines, to = address(source, done * along + i * across), address(panel, done * ld + i)
        there = min(lanes, count - i)
        if across == 1:
            _copy_lines(lines, along, there, left, to, ld)
        elif along == 1:
            _transpose_lines(lines, across, there, left, to, ld)
        else:  # of an array that was given with such strides: neither lies side by side
            for k in range(left):
                for j in range(there):
                    to[k * ld + j] = lines[k * along + j * across]
                for j in range(there, min(lanes, ld - i)):  # a denormal would slow down sums
                    to[k * ld + j] = 0


@kernel
def has_set_conflicts(columns, k_stride, of):
    """Return whether so many columns of C repay packing A because its columns crowd in L1.

    They do if each lies half pages behind the one before: all compete for the same few places.
    """
    return columns > nr_of(of) and k_stride != 0 and k_stride % (page_of(of) // 2) == 0


@kernel
def packs_A(columns, k_stride, of):
    """Return whether so many columns of C repay packing A."""
    if columns >= packed_of(of) and (k_stride != 1 or transposes_of(of) == 1):
        return True
    return has_set_conflicts(columns, k_stride, of)


_BLOCK = (types.int64,) * 4  # strides and sizes


@leaf(lambda t: (pointer(t), *_BLOCK, pointer(t)))
def pack_A_block(source, row_stride, k_stride, m, kc, panels):
    """Pack m rows of A, kc deep, as `macrokernel.multiply` cuts them into tiles.

    Where rows lie side by side, those of some tiles at once: if the next k is a power of 2 away,
    L1 holds few of the cache lines, and each would be fetched anew for the next tile.
    """
    mr, q = mr_of(panels), 0
    tiles = tiles_of(m, mr)
    if tiles == 0:
        return
    height, more = m // tiles, m % tiles
    while q < tiles:
        i, h = tile_rows(height, more, q)
        rows, panel = address(source, i * row_stride), address(panels, i * kc)
        alike = (more if q < more else tiles) - q
        count = TOGETHER if row_stride == 1 and alike >= TOGETHER and h >= mr - 1 else 1
        if count == 1:
            _pack_panel(rows, row_stride, k_stride, h, kc, panel, h)
        elif h == mr:
            _copy_high(rows, k_stride, h, kc, panel, h)
        else:
            _copy_low(rows, k_stride, h, kc, panel, h)
        q += count


@leaf(lambda t: (pointer(t), *_BLOCK, pointer(t)))
def pack_B_block(source, k_stride, column_stride, kc, n, panels):
    """Pack n columns of B, kc deep; where rows lie side by side, some panels at once.

    Of a row that is read for one panel alone, the CPU fetches nothing ahead.
    """
    nr, j = nr_of(panels), 0
    wide = panels_at_once_of(panels) * nr
    while j < n:
        columns, panel = address(source, j * column_stride), address(panels, j * kc)
        if column_stride == 1 and n - j >= wide:
            _copy_beside(columns, k_stride, wide, kc, panel, nr)
            j += wide
        else:
            w = min(nr, n - j)
            _pack_panel(columns, column_stride, k_stride, w, kc, panel, whole_vectors(w, panels))
            j += w


@kernel
def _gather(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end):
    if to_row == 1 and not is_not_null(order):
        for j in range(n):
            target = span(a, a0 + j * to_column + begin, end - begin)
            source = address(x, x0 + first * row + j * column)
            for i in range(end - begin):
                target[i] = source[(begin + i) * row]
        return
    for i in range(begin, end):
        at = x0 + (order[first + i] if is_not_null(order) else first + i) * row
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
    """Gather rows where X has the other float type."""
    _gather(a, a0, to_row, to_column, x, x0, row, column, n, order, first, begin, end)
