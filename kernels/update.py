"""Every update rule of gradient descent, one entry in one table: a scalar step on one parameter.

    ``step(p, g, m, v, c) -> p, m, v``

p is the parameter, g its gradient, m and v the rule's slots (0, 1 or 2 of them are kept), c the
rule's coefficients of this step, in the order that the optimizer's `coefficients` gives them. To
add a rule, write its step and its line in `_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import float64, int64

from ._dispatch import switch
from ._jit import kernel, leaf, pointer, sum_kernel
from ._scalar import Value, fma, rows_strip, sqrt
from ._simd import address, nowhere, span
from .layout import ONE, ZERO
from .vmath import reciprocal

COEFFICIENTS = 8  # the width of a row of coefficients
Values = tuple[Value, ...]


class Update(NamedTuple):
    """A table entry."""

    code: int
    apply: Callable[..., None]  # (p, g, m, v, rows, c), addresses
    n_slots: int


def _descent(p: Value, g: Value, c: Values) -> Values:
    # theta -= lr g
    return (fma(-c[0], g, p),)


def _momentum(p: Value, m: Value, g: Value, c: Values) -> Values:
    # m = mu m - lr g; theta += m
    m = fma(c[1], m, -c[0] * g)
    return p + m, m


def _nesterov(p: Value, m: Value, g: Value, c: Values) -> Values:
    # m = mu m - lr g; theta += mu m - lr g
    m = fma(c[1], m, -c[0] * g)
    return p + fma(c[1], m, -c[0] * g), m


def _rmsprop(p: Value, m: Value, g: Value, c: Values) -> Values:
    # m = rho m + (1 - rho) g^2; theta -= lr g / (sqrt(m) + eps)
    m = fma(c[1], m, c[2] * (g * g))
    return fma(-c[0] * g, reciprocal(sqrt(m) + c[3]), p), m


def _adam(p: Value, m: Value, v: Value, g: Value, c: Values) -> Values:
    # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
    # theta = (1 - lr wd) theta - lr m_hat / (sqrt(v_hat) + eps)
    m = fma(c[1], m, c[2] * g)
    v = fma(c[3], v, c[4] * (g * g))
    return fma(-c[0] * m, reciprocal(fma(sqrt(v), c[5], c[7])), c[6] * p), m, v


class Rows(NamedTuple):
    """Rows of parameters and of their gradient, and what the gradient is multiplied by."""

    lines: int
    n: int  # elements of a row
    apart: int  # from a row's beginning to the next one's
    gradient_apart: int  # 0: one row of the gradient is that of all
    factor: float
    factors: Any  # unless this is the address 0: a factor for each row, `step` elements apart
    step: int


def _with_slots(step: Callable[..., Values], n_slots: int) -> tuple[Callable[..., None], int]:
    """Apply `step` to rows of parameters, with the gradient times the row's factor."""
    if n_slots == 0:
        change = rows_strip(lambda p, g, w, c: step(p, w * g, c), 1)

        @kernel
        def apply(p, g, m, v, r, c):
            change(r.lines, r.n, p, r.apart, g, r.gradient_apart, r.factor, r.factors, r.step, c)

    elif n_slots == 1:
        change = rows_strip(lambda p, m, g, w, c: step(p, m, w * g, c), 2)

        @kernel
        def apply(p, g, m, v, r, c):
            change(
                r.lines, r.n, p, r.apart, m, r.apart, g, r.gradient_apart,
                r.factor, r.factors, r.step, c,
            )  # fmt: skip

    else:
        change = rows_strip(lambda p, m, v, g, w, c: step(p, m, v, w * g, c), 3)

        @kernel
        def apply(p, g, m, v, r, c):
            change(
                r.lines, r.n, p, r.apart, m, r.apart, v, r.apart, g, r.gradient_apart,
                r.factor, r.factors, r.step, c,
            )  # fmt: skip

    return apply, n_slots


_RULES = {
    "descent": _with_slots(_descent, 0),
    "momentum": _with_slots(_momentum, 1),
    "nesterov": _with_slots(_nesterov, 1),
    "rmsprop": _with_slots(_rmsprop, 1),
    "adam": _with_slots(_adam, 2),
}
UPDATES = {name: Update(code, *rule) for code, (name, rule) in enumerate(_RULES.items())}

_apply = switch([entry.apply for entry in UPDATES.values()])


@leaf(
    lambda t: (
        *(int64, *(pointer(t),) * 3, *(int64,) * 6),
        *(float64, pointer(t), int64, pointer(t)),
    )
)
def update_rows(
    code, p, gradient, slots, size, start, lines, n, apart, gradient_apart,
    factor, factors, step, coefficients,
):  # fmt: skip
    """One step of a rule on `Rows` of parameters, the first of them number `start` of `size`.

    `gradient` begins with that of the first. `slots` holds m in its first half and v in its second,
    each as long as the parameters.
    """
    row = span(coefficients, 0, COEFFICIENTS)
    c = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
    rows = Rows(lines, n, apart, gradient_apart, factor, factors, step)
    m, v = address(slots, start), address(slots, size + start)
    _apply(code, address(p, start), gradient, m, v, rows, c)


@kernel
def update_range(code, p, gradient, slots, size, start, stop, factor, coefficients):
    """One step of a rule on parameters [start, stop), with the gradient times `factor`."""
    update_rows(
        code, p, address(gradient, start), slots, size, start, ONE, stop - start, ZERO, ZERO,
        factor, nowhere(gradient), ZERO, coefficients,
    )  # fmt: skip


@leaf(lambda t: (pointer(t), pointer(t), *(int64,) * 5))
def sum_ranges(out, parts, start, n, stride, count, group):
    """out[start:start + n] = the sum of the same range of `count` vectors, in their order.

    One after the other (`group` is 1), or the sums of two each (2).
    """
    total = span(out, start, n)
    for part in range(0, count, group):
        values = span(parts, part * stride + start, n)
        if group == 2 and part + 1 < count:
            others = span(parts, (part + 1) * stride + start, n)
            if part == 0:
                for i in range(n):
                    total[i] = values[i] + others[i]
            else:
                for i in range(n):
                    total[i] += values[i] + others[i]
        elif part == 0:
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


@sum_kernel
def add_penalty_gradient(p, gradient, start, stop, l1, l2):
    """gradient += l1 sign(p) + 2 l2 p; returns l1 sum |p| + l2 sum p^2 over [start, stop)."""
    p, gradient = span(p, start, stop - start), span(gradient, start, stop - start)
    absolute, square, twice = 0.0, 0.0, p.dtype.type(2.0 * l2)
    for i in range(p.size):
        w = np.float64(p[i])
        square += w * w
        gradient[i] += twice * p[i]
    if l1 != 0.0:
        up, down, none = p.dtype.type(l1), p.dtype.type(-l1), p.dtype.type(0.0)
        for i in range(p.size):
            w = p[i]
            absolute += abs(np.float64(w))
            gradient[i] += up if w > none else (down if w < none else none)
    return l1 * absolute + l2 * square
