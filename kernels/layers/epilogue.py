"""What follows a product on a block of C, while it is in cache.

The forward pass applies the activation and dropout, the backward pass dropout and g'; a plain
product is scaled. What there is none of is skipped, so fusions combine and none is enumerated.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from fastdnn.kernels.base.constants import NO, ONE, ZERO
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.elementwise.activations import activate, differentiate
from fastdnn.kernels.elementwise.dropout import drop_range
from fastdnn.kernels.llvm.simd import address, null, span

# NumPy integers: numba compiles a function anew for each literal argument.
PLAIN, FORWARD, BACKWARD = cast(list[int], list(np.arange(3)))


class Mask(NamedTuple):
    """Which elements dropout keeps; see `dropout`."""

    level: int  # of `LEVELS`; 0: all are kept
    row: int  # of the batch, which is C's first
    key: Any  # of the layer in a step, uint64


class Epilogue(NamedTuple):
    """What is done with C; s and a have its shape, and its rows lie without gaps."""

    mode: int
    code: int  # of the activation; < 0: nothing is done
    rectifies: bool  # forward: the product has made max(C, 0), which is g(C)
    whole_rows: bool  # not before rows of C are whole
    s: Any  # forward: takes g(C), and may be C; backward: what g' is computed from
    a: Any  # forward: takes what dropout makes of g(C), and may be s
    mask: Mask
    scale: float  # plain


@small_kernel
def scaled(scale, like):
    """C *= scale."""
    mask = Mask(ZERO, ZERO, np.uint64(0))
    return Epilogue(PLAIN, -ONE, NO, NO, null(like), null(like), mask, scale)


@small_kernel
def calls_of(rows, columns, n):
    """Return how often a function of rows is called, and for how many each time."""
    return (ONE, rows) if columns == n else (rows, ONE)


@kernel
def _drop(mask, source, target, n, region):
    for i in range(region.bottom - region.top):
        first = (mask.row + region.top + i) * n + region.left
        columns = region.right - region.left
        drop_range(source, i * n, target, i * n, columns, first, mask.level, mask.key)


@kernel
def finish_forward(after, c, n, region):
    """A = g(Z), dropout; C is Z, or g(Z) where the product has rectified."""
    if after.code < 0:
        return
    at, columns = region.top * n + region.left, region.right - region.left
    z, g = address(c, at), address(after.s, at)
    if not after.rectifies:
        calls, height = calls_of(region.bottom - region.top, columns, n)
        for i in range(calls):
            activate(after.code, z, i * n, g, i * n, height, columns)
    if after.mask.level > 0:
        _drop(after.mask, g, address(after.a, at), n, region)


@kernel
def finish_backward(after, c, n, region):
    """C is dA: dropped as A was, then dZ = dA * g'(S)."""
    at, columns = region.top * n + region.left, region.right - region.left
    d, s = address(c, at), address(after.s, at)
    if after.mask.level > 0:
        _drop(after.mask, d, d, n, region)
    if after.code < 0:
        return
    calls, height = calls_of(region.bottom - region.top, columns, n)
    for i in range(calls):
        differentiate(after.code, d, i * n, s, i * n, height, columns)


@kernel
def _scale(scale, c, n, region):
    for i in range(region.top, region.bottom):
        row = span(c, i * n + region.left, region.right - region.left)
        for j in range(region.right - region.left):
            row[j] *= scale


@kernel
def finish(after, c, n, region):
    """Do it on a region of C, whose rows lie n apart."""
    if after.mode == FORWARD:
        finish_forward(after, c, n, region)
    elif after.mode == BACKWARD:
        finish_backward(after, c, n, region)
    elif after.scale != 1.0:
        _scale(after.scale, c, n, region)
