"""Packing: a block of a matrix of any strides becomes panels, read front to back.

::

    A block (rows x kc)  ->  panels of mr rows:     panel[k * mr + i] = A[i, k]
    B block (kc x cols)  ->  panels of nr columns:  panel[k * nr + j] = B[k, j]

Both are one function: a panel's `width` elements are `across` apart, its kc steps `along` apart. A
last panel that is not full is filled up with zeros, so the micro-kernel needs no edges of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import kernel
from ._simd import Vectors, constant, counted_loop, data_pointer, span
from .microkernel import lanes_of, mr_of, nr_of
from .targets import tile


def _packing(width: str, emit_step: Callable[..., None], lanes_along: bool) -> Callable[..., Any]:
    """An intrinsic ``(source, start, stride, steps, panel, p0)`` that packs a panel's full lines.

    `emit_step` writes one step of the loop along k: one k, or `lanes` of them (`lanes_along`).
    """

    @intrinsic
    def pack(
        typing: Any, source: Any, start: Any, stride: Any, steps: Any, panel: Any, p0: Any
    ) -> Any:
        t = tile(np.dtype(str(panel.dtype)))
        lines: int = getattr(t, width)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = ir.FloatType() if panel.dtype == types.float32 else ir.DoubleType()
            vec = Vectors(builder, element, t.lanes, t.fma)
            sources = data_pointer(context, builder, signature.args[0], arguments[0])
            panels = data_pointer(context, builder, signature.args[4], arguments[4])
            state = [
                builder.gep(sources, [arguments[1]]),
                builder.gep(panels, [arguments[5]]),
            ]

            def step(state: Any) -> Any:
                at, to = state
                emit_step(vec, at, arguments[2], to, lines)
                if lanes_along:
                    return [
                        builder.gep(at, [constant(t.lanes)]),
                        builder.gep(to, [constant(t.lanes * lines)]),
                    ]
                return [builder.gep(at, [arguments[2]]), builder.gep(to, [constant(lines)])]

            counted_loop(builder, arguments[3], state, step)
            return context.get_dummy_value()

        i = types.int64
        return types.void(source, i, i, i, panel, i), emit

    return pack  # type: ignore[no-any-return]


def _copy_line(vec: Vectors, at: Any, stride: Any, to: Any, width: int) -> None:
    """One k of lines that lie side by side."""
    for i in range(0, width, vec.lanes):
        count = min(vec.lanes, width - i)
        vec.store_first(vec.load_first(count, at, constant(i)), count, to, constant(i))


def _transpose_block(vec: Vectors, at: Any, stride: Any, to: Any, width: int) -> None:
    """`lanes` k of lines that are `stride` apart and run along k."""
    for i in range(0, width, vec.lanes):
        count = min(vec.lanes, width - i)
        rows = [
            vec.load(at, vec.builder.mul(stride, constant(i + r))) if r < count else vec.zero
            for r in range(vec.lanes)
        ]
        for k, column in enumerate(vec.transpose(rows)):
            vec.store_first(column, count, to, constant(k * width + i))


def _packer(width: str, width_of: Any) -> Callable[..., None]:
    copy = _packing(width, _copy_line, lanes_along=False)
    transpose = _packing(width, _transpose_block, lanes_along=True)

    @kernel
    def pack_panel(source, start, across, along, count, kc, panel, p0):
        width, lanes, done = width_of(panel), lanes_of(panel), 0
        if count == width and across == 1:
            copy(source, start, along, kc, panel, p0)
            return
        if count == width and along == 1:
            transpose(source, start, across, kc // lanes, panel, p0)
            done = kc // lanes * lanes
        for k in range(done, kc):
            line = span(panel, p0 + k * width, width)
            at = start + k * along
            for i in range(count):
                line[i] = source[at + i * across]
            for i in range(count, width):
                line[i] = 0

    return pack_panel  # type: ignore[no-any-return]


pack_A_panel, pack_B_panel = _packer("mr", mr_of), _packer("nr", nr_of)


@kernel
def gather_rows(x, x0, row_stride, column_stride, n, order, first, begin, end, a, a0):
    """A_0[i, :] = X[order[first + i], :], begin <= i < end; an empty `order` is the identity."""
    for i in range(begin, end):
        sample = order[first + i] if order.size else first + i
        at = x0 + sample * row_stride
        to = a0 + i * n
        if column_stride == 1:
            row, source = span(a, to, n), span(x, at, n)
            for j in range(n):
                row[j] = source[j]
        else:
            for j in range(n):
                a[to + j] = x[at + j * column_stride]
