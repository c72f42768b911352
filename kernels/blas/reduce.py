"""Sums and checks over rows, such as db = sum_i dZ[i, :].

They run in the order of the samples; numbers that lie side by side are added in lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import boolean, float64, int64, types
from numba.extending import intrinsic

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.compiler.jit import kernel, leaf, pointer, sum_kernel
from fastdnn.kernels.llvm.simd import (
    Vectors,
    address,
    constant,
    counted_loop,
    element_of,
    merge,
    span,
)

from .microkernel import lanes_of, tile_of

COLUMNS = 64  # that one rank sums: a few cache lines of each row


@sum_kernel
def row_sum(a, a0, n):
    """sum_j a_j in float64."""
    row, total = span(a, a0, n), 0.0
    for j in range(n):
        total += np.float64(row[j])
    return total


def _sums_of_vectors(count: int, *, weighted: bool) -> Any:
    """An intrinsic that sums the rows of `count` vectors, held in registers; a single one, masked.

    out = scale (out + sum_i w_i z_i), where w_i is 1 unless `weighted`, and out is 0 unless `add`.
    """

    @intrinsic
    def sums(
        typing: Any, width: Any, m: Any, z: Any, ldz: Any, weights: Any, step: Any, scale: Any,
        add: Any, out: Any,
    ) -> Any:  # fmt: skip
        t = tile_of(z)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            width, m, z, ldz, weights, step, scale, add, out = arguments
            vec = Vectors(builder, element_of(signature.args[2].dtype), t.lanes, t.fma, t.masks)
            mask, at = vec.mask(width), [constant(i * t.lanes) for i in range(count)]

            def read(pointer: Any) -> list[Any]:
                if count == 1:
                    return [vec.load_masked(mask, pointer, at[0])]
                return [vec.load(pointer, i) for i in at]

            def row(state: Any) -> list[Any]:
                z, weights, *totals = state
                both = list(zip(read(z), totals, strict=True))
                if weighted:
                    w = vec.broadcast(weights, constant(0))
                    totals = [vec.multiply_add(w, x, total) for x, total in both]
                else:
                    totals = [builder.fadd(total, x) for x, total in both]
                return [builder.gep(z, [ldz]), builder.gep(weights, [step]), *totals]

            before = builder.block
            with builder.if_then(add):
                held, inside = read(out), builder.block
            start = [merge(builder, [(vec.zero, before), (x, inside)]) for x in held]
            totals = counted_loop(builder, m, [z, weights, *start], row)[2:]
            totals = [builder.fmul(x, vec.splat(scale)) for x in totals]
            with builder.if_else(builder.icmp_signed("<", width, constant(t.lanes))) as (
                part,
                full,
            ):
                with part:
                    vec.store_first(width, totals[:1], [out])
                with full:
                    for x, i in zip(totals, at, strict=True):
                        vec.store(x, out, i)
            return context.get_dummy_value()

        i, real = types.int64, z.dtype
        return types.void(i, i, z, i, weights, i, real, types.boolean, out), emit

    return sums


VECTORS = 4  # beside each other whose sums are held at once, or one would wait for the one before


def _sums(*, weighted: bool) -> Callable[..., None]:
    several, single = (_sums_of_vectors(n, weighted=weighted) for n in (VECTORS, 1))

    @kernel
    def sums(m, n, z, ldz, weights, step, scale, add, out):
        lanes, j = lanes_of(z), 0
        width = VECTORS * lanes
        while n - j >= width:
            several(width, m, address(z, j), ldz, weights, step, scale, add, address(out, j))
            j += width
        while j < n:
            width = min(lanes, n - j)
            single(width, m, address(z, j), ldz, weights, step, scale, add, address(out, j))
            j += width

    return sums  # type: ignore[no-any-return]


_plain_sums, _weighted_sums = _sums(weighted=False), _sums(weighted=True)


@leaf(lambda t: (int64, int64, pointer(t), int64, int64, float64, boolean, pointer(t), int64))
def column_sums(m, n, z, z0, ldz, scale, add, out, out0):
    """out[j] = scale * sum_i z[i, j], rows of z `ldz` apart; `add` begins with what `out` holds."""
    if n == 1 and ldz == 1:
        before = np.float64(out[out0]) if add else 0.0
        out[out0] = (before + row_sum(z, z0, m)) * scale
        return
    at, to = address(z, z0), address(out, out0)
    _plain_sums(m, n, at, ldz, at, ZERO, scale, add, to)


@leaf(lambda t: (int64, int64, *(pointer(t), int64) * 2, boolean, pointer(t)))
def weighted_sums(m, n, z, ldz, weights, step, add, out):
    """out[j] = sum_i weights[i step] z[i, j], rows of z `ldz` apart; `add`: to what `out` holds."""
    _weighted_sums(m, n, z, ldz, weights, step, 1.0, add, out)


@leaf(lambda t: (int64, int64, int64, *(pointer(t),) * 2, int64, int64, boolean))
def add_parts(m, n, ld, z, parts, apart, count, fused_relu):
    """Z += each of `count` parts that lie `apart`, or max(that, 0); rows of all are `ld` apart."""
    lowest = -np.inf
    for p in range(count):
        if fused_relu and p == count - 1:
            lowest = 0.0
        for i in range(m):
            to, part = span(z, i * ld, n), span(parts, p * apart + i * ld, n)
            least = to.dtype.type(lowest)
            for j in range(n):
                total = to[j] + part[j]
                to[j] = least if total < least else total  # a NaN stays


@intrinsic
def _largest(typing: Any, of: Any) -> Any:
    """The largest number of an array's type; numba's `finfo` would load half of numba each time."""
    value = float(np.finfo(str(of.dtype)).max)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(signature.return_type, value)

    return of.dtype(of), emit


@sum_kernel
def _count_beyond(values, limit):
    none, one = values.dtype.type(0), values.dtype.type(1)
    total = none
    for i in range(values.size):
        total += none if abs(values[i]) <= limit else one
    return total


@sum_kernel
def _absolutes(values):
    total = values.dtype.type(0)
    for i in range(values.size):
        total += abs(values[i])
    return total


@leaf(lambda t: (int64, int64, pointer(t), *(int64,) * 3, pointer(float64)))
def add_absolutes(m, n, x, x0, row, column, total):
    """total[0] += the sum of |x| of a matrix of any strides; infinite or NaN where an x is."""
    found = 0.0  # `total` may lie in a cache line that other ranks write
    lines, count, step = (m, n, row) if column == 1 else (n, m, column)
    for i in range(lines):
        if column == 1 or row == 1:
            found += _absolutes(span(x, x0 + i * step, count))
        else:
            for j in range(count):
                found += abs(x[x0 + i * step + j * row])
    total[0] += found


@leaf(lambda t: (pointer(t), int64, int64, int64, pointer(float64)))
def add_not_finite(x, start, count, terms, found):
    """found[0] rises where an x of x[start:start + count] is infinite or NaN.

    Or where a sum of so many `terms`, all as large as x, might be infinite.
    """
    values = span(x, start, count)
    limit = _largest(values)
    if terms > 1:  # the sum is rounded, too
        limit /= values.dtype.type(terms + 1)
    found[0] += np.float64(_count_beyond(values, limit))


@leaf(lambda t: (int64, int64, *(pointer(t),) * 3, int64))
def outer_product(m, n, x, y, c, ldc):
    """C[i, j] = x_i y_j, rows of C `ldc` apart."""
    row = span(y, 0, n)
    for i in range(m):
        to, factor = span(c, i * ldc, n), x[i]
        for j in range(n):
            to[j] = factor * row[j]
