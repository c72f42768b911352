"""Sums and checks over rows, such as db = sum_i dZ[i, :].

They run in the order of the samples; numbers that lie side by side are added in lanes.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float64, int64

from ._jit import leaf, pointer, sum_kernel
from ._simd import span

COLUMNS = 64  # that are summed at a time: a few cache lines of each row


@sum_kernel
def row_sum(a, a0, n):
    """sum_j a_j in float64."""
    row, total = span(a, a0, n), 0.0
    for j in range(n):
        total += np.float64(row[j])
    return total


@leaf(lambda t: (int64, int64, pointer(t), int64, int64, float64, boolean, pointer(t), int64))
def column_sums(m, n, z, z0, ldz, scale, add, out, out0):
    """out[j] = scale * sum_i z[i, j], rows of z `ldz` apart; `add` begins with what `out` holds."""
    if n == 1 and ldz == 1:
        before = np.float64(out[out0]) if add else 0.0
        out[out0] = (before + row_sum(z, z0, m)) * scale
        return
    for begin in range(0, n, COLUMNS):
        width = min(COLUMNS, n - begin)
        sums = span(out, out0 + begin, width)
        if not add:
            for j in range(width):
                sums[j] = 0
        whole = m - m % 4
        for i in range(0, whole, 4):  # four rows at a time, or the sums' way in and out would tell
            at = z0 + begin + i * ldz
            row0, row1 = span(z, at, width), span(z, at + ldz, width)
            row2, row3 = span(z, at + 2 * ldz, width), span(z, at + 3 * ldz, width)
            for j in range(width):
                sums[j] = sums[j] + row0[j] + row1[j] + row2[j] + row3[j]
        for i in range(whole, m):
            row = span(z, z0 + begin + i * ldz, width)
            for j in range(width):
                sums[j] += row[j]
        for j in range(width):
            sums[j] *= scale


@leaf(lambda t: (int64, int64, int64, *(pointer(t),) * 2, int64, int64, boolean))
def add_parts(m, n, ld, z, parts, apart, count, rectify):
    """Z += each of `count` parts that lie `apart`, or max(that, 0); rows of all are `ld` apart."""
    lowest = -np.inf
    for p in range(count):
        if rectify and p == count - 1:
            lowest = 0.0
        for i in range(m):
            to, part = span(z, i * ld, n), span(parts, p * apart + i * ld, n)
            least = to.dtype.type(lowest)
            for j in range(n):
                total = to[j] + part[j]
                to[j] = least if total < least else total  # a NaN stays


@sum_kernel
def _zeros(values):
    # 0 x is NaN where x is infinite or NaN
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i] * values.dtype.type(0)
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


@leaf(lambda t: (pointer(t), int64, int64, pointer(float64)))
def add_not_finite(x, start, count, found):
    """found[0] becomes NaN if any of x[start:start + count] is infinite or NaN, else stays."""
    found[0] += np.float64(_zeros(span(x, start, count)))


@leaf(lambda t: (int64, int64, *(pointer(t), int64) * 2, boolean, pointer(t)))
def weighted_sums(m, n, z, ldz, weights, step, add, out):
    """out[j] = sum_i weights[i step] z[i, j], rows of z `ldz` apart; `add`: to what `out` holds."""
    for begin in range(0, n, COLUMNS):
        width = min(COLUMNS, n - begin)
        sums = span(out, begin, width)
        if not add:
            for j in range(width):
                sums[j] = 0
        whole = m - m % 4
        for i in range(0, whole, 4):  # four rows at a time, or the sums' way in and out would tell
            at, w = begin + i * ldz, i * step
            row0, row1 = span(z, at, width), span(z, at + ldz, width)
            row2, row3 = span(z, at + 2 * ldz, width), span(z, at + 3 * ldz, width)
            w0, w1 = weights[w], weights[w + step]
            w2, w3 = weights[w + 2 * step], weights[w + 3 * step]
            for j in range(width):
                total = sums[j] + w0 * row0[j]
                total += w1 * row1[j]
                total += w2 * row2[j]
                sums[j] = total + w3 * row3[j]
        for i in range(whole, m):
            row, weight = span(z, begin + i * ldz, width), weights[i * step]
            for j in range(width):
                sums[j] += weight * row[j]


@leaf(lambda t: (int64, int64, *(pointer(t),) * 3, int64))
def outer_product(m, n, x, y, c, ldc):
    """C[i, j] = x_i y_j, rows of C `ldc` apart."""
    row = span(y, 0, n)
    for i in range(m):
        to, factor = span(c, i * ldc, n), x[i]
        for j in range(n):
            to[j] = factor * row[j]
