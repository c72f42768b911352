"""Every update rule of gradient descent, one entry in one table: a scalar step on one parameter.

    ``step(p, g, m, v, c) -> p, m, v``

p is the parameter, g its gradient, m and v the rule's slots (0, 1 or 2 of them are kept), c the
rule's coefficients of this step, in the order that the optimizer's `coefficients` gives them. To
add a rule, write its step and its line in `UPDATES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import float64, int64

from ._dispatch import switch
from ._jit import inline_kernel, kernel, leaf, pointer, sum_kernel
from ._simd import span

COEFFICIENTS = 8  # the width of a row of coefficients


class Update(NamedTuple):
    """A table entry."""

    code: int
    apply: Callable[..., None]  # (p, g, m, v, scale, c), spans of the same length
    n_slots: int


@inline_kernel
def _descent(p, g, m, v, c):
    # theta -= lr g
    return p - c[0] * g, m, v


@inline_kernel
def _momentum(p, g, m, v, c):
    # m = mu m - lr g; theta += m
    m = c[1] * m - c[0] * g
    return p + m, m, v


@inline_kernel
def _nesterov(p, g, m, v, c):
    # m = mu m - lr g; theta += mu m - lr g
    m = c[1] * m - c[0] * g
    return p + (c[1] * m - c[0] * g), m, v


@inline_kernel
def _rmsprop(p, g, m, v, c):
    # m = rho m + (1 - rho) g^2; theta -= lr g / (sqrt(m) + eps)
    m = c[1] * m + c[2] * (g * g)
    return p - c[0] * g / (math.sqrt(m) + c[3]), m, v


@inline_kernel
def _adam(p, g, m, v, c):
    # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
    # theta = (1 - lr wd) theta - lr m_hat / (sqrt(v_hat) + eps)
    m = c[1] * m + c[2] * g
    v = c[3] * v + c[4] * (g * g)
    return c[6] * p - c[0] * m / (math.sqrt(v) * c[5] + c[7]), m, v


def _with_slots(step: Callable[..., Any], n_slots: int) -> tuple[Callable[..., None], int]:
    """Apply `step` to parameters, with the gradient times `scale`."""

    @kernel
    def without(p, g, m, v, scale, c):
        for i in range(p.size):
            p[i] = step(p[i], scale * g[i], scale, scale, c)[0]

    @kernel
    def one(p, g, m, v, scale, c):
        for i in range(p.size):
            p[i], m[i], _ = step(p[i], scale * g[i], m[i], scale, c)

    @kernel
    def two(p, g, m, v, scale, c):
        for i in range(p.size):
            p[i], m[i], v[i] = step(p[i], scale * g[i], m[i], v[i], c)

    return (without, one, two)[n_slots], n_slots


_RULES = {
    "descent": _with_slots(_descent, 0),
    "momentum": _with_slots(_momentum, 1),
    "nesterov": _with_slots(_nesterov, 1),
    "rmsprop": _with_slots(_rmsprop, 1),
    "adam": _with_slots(_adam, 2),
}
UPDATES = {name: Update(code, *rule) for code, (name, rule) in enumerate(_RULES.items())}

_apply = switch([entry.apply for entry in UPDATES.values()])


@leaf(lambda t: (int64, *(pointer(t),) * 3, *(int64,) * 3, float64, pointer(t)))
def update_range(code, p, gradient, slots, size, start, stop, factor, coefficients):
    """One step of a rule on parameters [start, stop) of `size`, with the gradient times `factor`.

    `slots` holds m in its first half and v in its second, each as long as the parameters.
    """
    n, row = stop - start, span(coefficients, 0, COEFFICIENTS)
    m, v = span(slots, start, n), span(slots, size + start, n)
    p, g = span(p, start, n), span(gradient, start, n)
    c = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
    _apply(code, p, g, m, v, row.dtype.type(factor), c)


@leaf(lambda t: (pointer(t), pointer(t), *(int64,) * 4))
def sum_ranges(out, parts, start, n, stride, count):
    """out[start:start + n] = the sum of the same range of `count` vectors, in their order."""
    total = span(out, start, n)
    for part in range(count):
        values = span(parts, part * stride + start, n)
        if part == 0:
            for i in range(n):
                total[i] = values[i]
        else:
            for i in range(n):
                total[i] += values[i]


@sum_kernel
def sum_of_squares(x, start, stop):
    """sum_i x_i^2 in float64: large float32 gradients must not look infinite."""
    x, total = span(x, start, stop - start), 0.0
    for i in range(x.size):
        e = np.float64(x[i])
        total += e * e
    return total


@kernel
def add_penalty_gradient(p, gradient, start, stop, l1, l2):
    """gradient += l1 sign(p) + 2 l2 p; returns l1 sum |p| + l2 sum p^2 over [start, stop)."""
    absolute, square = 0.0, 0.0
    p, gradient = span(p, start, stop - start), span(gradient, start, stop - start)
    for i in range(p.size):
        w = p[i]
        absolute += abs(w)
        square += w * w
        sign = 1.0 if w > 0.0 else (-1.0 if w < 0.0 else 0.0)
        gradient[i] += l1 * sign + 2.0 * l2 * w
    return l1 * absolute + l2 * square
