"""Packing: a block of a matrix of any strides becomes panels, read front to back.

::

    A block (rows x kc)  ->  panels of mr rows:     panel[k * mr + i] = A[i, k]
    B block (kc x cols)  ->  panels of nr columns:  panel[k * nr + j] = B[k, j]

Both are one function: a panel's `width` elements are `across` apart, its kc steps `along` apart. A
last panel that is not full is filled up with zeros, so the micro-kernel needs no edges of its own.
"""

from __future__ import annotations

from ._jit import inline_kernel, kernel


@inline_kernel
def pack_panel(source, start, across, along, count, width, kc, panel, p0):
    """Pack `count` <= `width` lines into one panel at ``panel[p0:]``."""
    if count < width:
        for q in range(kc * width):
            panel[p0 + q] = 0
    if across == 1 and count == width:
        for k in range(kc):
            at = start + k * along
            to = p0 + k * width
            for i in range(width):
                panel[to + i] = source[at + i]
    else:
        for i in range(count):
            at = start + i * across
            for k in range(kc):
                panel[p0 + k * width + i] = source[at + k * along]


@kernel
def gather_rows(x, x0, row_stride, column_stride, n, order, first, begin, end, a, a0):
    """A_0[i, :] = X[order[first + i], :], begin <= i < end; an empty `order` is the identity."""
    for i in range(begin, end):
        sample = order[first + i] if order.size else first + i
        at = x0 + sample * row_stride
        to = a0 + i * n
        if column_stride == 1:
            for j in range(n):
                a[to + j] = x[at + j]
        else:
            for j in range(n):
                a[to + j] = x[at + j * column_stride]
