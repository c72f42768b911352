"""Embeddings: categories and numbers of a table become vectors. See `operations`.

They are made of some columns; the others pass, and lie behind what those have become.

*Columns*: a row of a matrix of its own for each category of a column. *Periodic*: each number x
becomes sin(2 pi c_k x) and cos(2 pi c_k x), k = 1, …, K, with frequencies c_k of its own, which are
trained. *Piecewise linear*: each number becomes T shares of the intervals between T + 1 boundaries,
1 of those below it and 0 of those above it; the first and the last go on beyond their ends.
Source: Gorishniy et al. 2022.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastdnn.kernels.compiler.jit import small_kernel
from fastdnn.kernels.llvm.simd import address

from .operations import (
    CONSTANT,
    Operation,
    Tensor,
    cast,
    delta_of,
    details_of,
    inputs_of,
    outputs_of,
    widths_of,
)

# ----------------------------------------------------------------------------------------- columns
# The integers of a row: how many tables and how many columns that pass; then of each table its
# column, categories, width and place; then the columns that pass.
_TABLES, _PASSING, _FIRST = range(3)
_EACH = 4


@small_kernel
def _category(x, count):
    """Return the number of a category, inside the table whatever X holds."""
    return min(max(np.int64(x), 0), count - 1) if x == x else 0


def columns_forward(code, table, l, p, ws, top, m, learning):
    """Make z = [E_1[x_c1], E_2[x_c2], …, what passes]."""
    details = details_of(table, l)
    tables, passing = details[_TABLES], details[_PASSING]
    others = address(details, _FIRST + _EACH * tables)
    for i in range(top, top + m):
        x, z = inputs_of(table, l, ws, i), outputs_of(table, l, ws, i)
        for t in range(tables):
            of = address(details, _FIRST + _EACH * t)
            source = address(p, of[3] + _category(x[of[0]], of[1]) * of[2])
            for e in range(of[2]):
                z[e] = source[e]
            z = address(z, of[2])
        for j in range(passing):
            z[j] = x[others[j]]


def columns_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev, which is 0 for a category."""
    details = details_of(table, l)
    n_prev, n = widths_of(table, l)
    tables, passing = details[_TABLES], details[_PASSING]
    others = address(details, _FIRST + _EACH * tables)
    for i in range(top, top + m):
        to, d = delta_of(table, l - 1, ws, i), delta_of(table, l, ws, i)
        for j in range(n_prev):
            to[j] = 0.0
        for j in range(passing):
            to[others[j]] = d[n - passing + j]


def columns_gradients(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make dE: dz_i is added to the row of its category, sample after sample."""
    details, at = details_of(table, l), 0
    for t in range(details[_TABLES]):
        of = address(details, _FIRST + _EACH * t)
        column, count, width, place = of[0], of[1], of[2], of[3]
        begin, end = min(max(left - at, 0), width), min(max(right - at, 0), width)
        if begin < end:
            if not add:
                for c in range(count):
                    for e in range(begin, end):
                        gradient[place + c * width + e] = 0.0
            for i in range(m):
                c = _category(inputs_of(table, l, ws, i)[column], count)
                d, to = address(delta_of(table, l, ws, i), at), address(gradient, place + c * width)
                for e in range(begin, end):
                    to[e] += d[e]
        at += width


def _tables(row: Any) -> tuple[Tensor, ...]:
    of = row.settings
    return tuple(
        Tensor(f"E{t}", shape)
        for t, shape in enumerate(zip(of["cardinalities"], of["dims"], strict=True), 1)
    )


def _columns(row: Any, at: dict[str, int]) -> tuple[int, ...]:
    of = row.settings
    passing = [j for j in range(row.n_prev) if j not in of["columns"]]
    each = zip(of["columns"], of["cardinalities"], of["dims"], at.values(), strict=True)
    return len(at), len(passing), *(number for one in each for number in one), *passing


# ----------------------------------------------------------------- numbers: what both kinds share
# The integers of a row: where its tensor lies, how many columns it embeds, how many pass, and these
# columns.
_TENSOR, _EMBEDDED, _OTHERS, _OWN = range(4)


@small_kernel
def _copy_passing(details, x, z):
    """Copy the numbers that pass behind what the others have become."""
    others = address(details, _OWN + details[_EMBEDDED])
    for j in range(details[_OTHERS]):
        z[j] = x[others[j]]


@small_kernel
def _copy_back(details, d, to):
    """Copy their derivatives back."""
    others = address(details, _OWN + details[_EMBEDDED])
    for j in range(details[_OTHERS]):
        to[others[j]] = d[j]


@small_kernel
def _each(details, n):
    """Return how many numbers one becomes."""
    return (n - details[_OTHERS]) // details[_EMBEDDED]


def _numbers(row: Any, at: dict[str, int]) -> tuple[int, ...]:
    own = row.settings["columns"]
    others = [j for j in range(row.n_prev) if j not in own]
    return *at.values(), len(own), len(others), *own, *others


def _each_of(row: Any) -> int:
    own = len(row.settings["columns"])
    return int((row.n - (row.n_prev - own)) // own)


# ---------------------------------------------------------------------------------------- periodic
def periodic_forward(code, table, l, p, ws, top, m, learning):
    """Make [sin v, cos v] of each number, v_k = 2 pi c_k x."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    count, c = _each(details, n) // 2, address(p, details[_TENSOR])
    turn = cast(c, 2.0 * math.pi)
    for i in range(top, top + m):
        x, z = inputs_of(table, l, ws, i), outputs_of(table, l, ws, i)
        for q in range(details[_EMBEDDED]):
            number = x[details[_OWN + q]]
            for k in range(count):
                v = turn * c[q * count + k] * number
                z[2 * q * count + k], z[(2 * q + 1) * count + k] = math.sin(v), math.cos(v)
        _copy_passing(details, x, address(z, 2 * details[_EMBEDDED] * count))


@small_kernel
def _slope(z, d, q, count, k):
    """Return the loss's derivative by v: dsin cos v - dcos sin v."""
    first, second = 2 * q * count + k, (2 * q + 1) * count + k
    return np.float64(d[first]) * z[second] - np.float64(d[second]) * z[first]


def periodic_backward(code, table, l, p, ws, top, m, learning):
    """Make dx = 2 pi sum_k c_k (dsin cos v_k - dcos sin v_k)."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    count, c = _each(details, n) // 2, address(p, details[_TENSOR])
    for i in range(top, top + m):
        z, d = outputs_of(table, l, ws, i), delta_of(table, l, ws, i)
        to = delta_of(table, l - 1, ws, i)
        for q in range(details[_EMBEDDED]):
            total = 0.0
            for k in range(count):
                total += c[q * count + k] * _slope(z, d, q, count, k)
            to[details[_OWN + q]] = 2.0 * math.pi * total
        _copy_back(details, address(d, 2 * details[_EMBEDDED] * count), to)


def periodic_gradients(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make dc_k, the sum of 2 pi x (dsin cos v_k - dcos sin v_k), with the column of its sine."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    count, to = _each(details, n) // 2, address(gradient, details[_TENSOR])
    for at in range(left, min(right, 2 * details[_EMBEDDED] * count)):
        q, k = at // (2 * count), at % (2 * count)
        if k < count:
            total = np.float64(to[q * count + k]) if add else 0.0
            for i in range(m):
                x, z = inputs_of(table, l, ws, i), outputs_of(table, l, ws, i)
                slope = _slope(z, delta_of(table, l, ws, i), q, count, k)
                total += 2.0 * math.pi * x[details[_OWN + q]] * slope
            to[q * count + k] = total


# -------------------------------------------------------------------------------- piecewise linear
def piecewise_forward(code, table, l, p, ws, top, m, learning):
    """Make z_t = (x - b_{t-1}) / (b_t - b_{t-1}), within [0, 1] but at the ends."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    count = _each(details, n)
    for i in range(top, top + m):
        x, z = inputs_of(table, l, ws, i), outputs_of(table, l, ws, i)
        for q in range(details[_EMBEDDED]):
            b, number = address(p, details[_TENSOR] + q * (count + 1)), x[details[_OWN + q]]
            for t in range(count):
                share = (number - b[t]) / (b[t + 1] - b[t])
                if t > 0 and share < 0.0:
                    share = cast(z, 0.0)
                if t < count - 1 and share > 1.0:
                    share = cast(z, 1.0)
                z[q * count + t] = share
        _copy_passing(details, x, address(z, details[_EMBEDDED] * count))


def piecewise_backward(code, table, l, p, ws, top, m, learning):
    """Make dx = sum_t dz_t / (b_t - b_{t-1}), over the intervals that x moves in."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    count = _each(details, n)
    for i in range(top, top + m):
        x, d = inputs_of(table, l, ws, i), delta_of(table, l, ws, i)
        to = delta_of(table, l - 1, ws, i)
        for q in range(details[_EMBEDDED]):
            b, number = address(p, details[_TENSOR] + q * (count + 1)), x[details[_OWN + q]]
            total = 0.0
            for t in range(count):
                below, above = t > 0 and number < b[t], t < count - 1 and number > b[t + 1]
                if not (below or above):
                    total += np.float64(d[q * count + t]) / (b[t + 1] - b[t])
            to[details[_OWN + q]] = total
        _copy_back(details, address(d, details[_EMBEDDED] * count), to)


def _frequencies(row: Any) -> tuple[Tensor, ...]:
    return (Tensor("c", (len(row.settings["columns"]), _each_of(row) // 2)),)


def _boundaries(row: Any) -> tuple[Tensor, ...]:
    given = row.settings["boundaries"]
    return (Tensor("boundaries", np.shape(given), given, CONSTANT),)


OPERATIONS = {
    "column_embedding": Operation(
        _tables, columns_forward, columns_backward, gradients=columns_gradients, details=_columns
    ),
    "periodic_embedding": Operation(
        _frequencies,
        periodic_forward,
        periodic_backward,
        gradients=periodic_gradients,
        details=_numbers,
        keeps_outputs=True,
    ),
    "piecewise_linear_embedding": Operation(
        _boundaries, piecewise_forward, piecewise_backward, details=_numbers, is_smooth=False
    ),
}
