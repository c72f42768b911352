"""Every update rule of gradient descent, one entry in one table: a scalar step on one parameter.

    ``step(p, m, v, g, lr, …) -> p, m, v``

p is the parameter, g its gradient, m and v the rule's slots (it may have none or one), and what
follows g are the coefficients of the step: an optimizer gives them by these names. To add a rule,
write its step and its line in `_RULES`; with its settings it is an optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numba import float64, int64

from fastdnn.kernels.base.constants import ONE, ZERO
from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import kernel, leaf, pointer, sum_kernel
from fastdnn.kernels.llvm.scalar import Value, fma, rows_strip, sqrt, where
from fastdnn.kernels.llvm.simd import address, null, span
from fastdnn.kernels.llvm.vmath import reciprocal

COEFFICIENTS = 8  # the width of a row of coefficients
Values = tuple[Value, ...]


class Setting(NamedTuple):
    """A coefficient that is the same in each step: its default, and the interval of its values."""

    default: float
    interval: str


class Update(NamedTuple):
    """A table entry."""

    code: int
    apply: Callable[..., None]  # (p, g, m, v, rows, c), addresses
    n_slots: int
    coefficients: tuple[str, ...]  # their names, in the order of a row
    # Of a rule that is an optimizer by itself: all coefficients, "lr" the learning rate at first;
    # and what its class says. An optimizer that computes coefficients has a class of its own.
    settings: dict[str, Setting]
    equation: str


def _descent(p: Value, g: Value, lr: Value) -> Values:
    # theta -= lr g
    return (fma(-lr, g, p),)


def _momentum(p: Value, m: Value, g: Value, lr: Value, mu: Value) -> Values:
    # m = mu m - lr g; theta += m
    m = fma(mu, m, -lr * g)
    return p + m, m


def _nesterov(p: Value, m: Value, g: Value, lr: Value, mu: Value) -> Values:
    # m = mu m - lr g; theta += mu m - lr g
    m = fma(mu, m, -lr * g)
    return p + fma(mu, m, -lr * g), m


def _rmsprop(
    p: Value, s: Value, g: Value, lr: Value, rho: Value, rest: Value, eps: Value
) -> Values:
    # s = rho s + (1 - rho) g^2; theta -= lr g / (sqrt(s) + eps)
    s = fma(rho, s, rest * (g * g))
    return fma(-lr * g, reciprocal(sqrt(s) + eps), p), s


def _adagrad(
    p: Value, s: Value, g: Value,
    lr: Value, initial_accumulator_value: Value, epsilon: Value,
) -> Values:  # fmt: skip
    # s += g^2; theta -= lr g / (sqrt(initial + s) + epsilon)
    s = fma(g, g, s)
    root = sqrt(initial_accumulator_value + s)
    return fma(-lr * g, reciprocal(root + epsilon), p), s


def _averages(
    m: Value, v: Value, g: Value, b1: Value, rest_1: Value, b2: Value, rest_2: Value
) -> Values:
    # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
    return fma(b1, m, rest_1 * g), fma(b2, v, rest_2 * (g * g))


def _adam(
    p: Value, m: Value, v: Value, g: Value,
    step: Value, b1: Value, rest_1: Value, b2: Value, rest_2: Value, root: Value, keep: Value,
    eps: Value,
) -> Values:  # fmt: skip
    # theta = keep theta - step m / (root sqrt(v) + eps)
    m, v = _averages(m, v, g, b1, rest_1, b2, rest_2)
    return fma(-step * m, reciprocal(fma(sqrt(v), root, eps)), keep * p), m, v


def _nadam(
    p: Value, m: Value, v: Value, g: Value,
    of_m: Value, of_g: Value, b1: Value, rest_1: Value, b2: Value, rest_2: Value, root: Value,
    eps: Value,
) -> Values:  # fmt: skip
    # theta -= (of_m m + of_g g) / (root sqrt(v) + eps)
    m, v = _averages(m, v, g, b1, rest_1, b2, rest_2)
    return fma(-fma(of_m, m, of_g * g), reciprocal(fma(sqrt(v), root, eps)), p), m, v


def _lion(
    p: Value, m: Value, g: Value,
    lr: Value, b1: Value, rest_1: Value, b2: Value, rest_2: Value, keep: Value,
) -> Values:  # fmt: skip
    # theta = keep theta - lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g
    c = fma(b1, m, rest_1 * g)
    sign = where(c > 0.0, 1.0, where(c < 0.0, -1.0, c))  # 0 and NaN as they are
    return fma(-lr, sign, keep * p), fma(b2, m, rest_2 * g)


class _Rule(NamedTuple):
    """A step, and what `Update` says of a rule that is an optimizer by itself."""

    step: Callable[..., Values]
    equation: str = ""
    settings: dict[str, Setting] = {}  # noqa: RUF012 - nobody changes it


class Rows(NamedTuple):
    """Rows of parameters and of their gradient, and what the gradient is multiplied by."""

    lines: int
    n: int  # elements of a row
    apart: int  # from a row's beginning to the next one's
    gradient_apart: int  # 0: one row of the gradient is that of all
    factor: float
    factors: Any  # unless this is the address 0: a factor for each row, `step` elements apart
    step: int


def _applied(step: Callable[..., Values]) -> tuple[Callable[..., None], int, tuple[str, ...]]:
    """A rule applied to rows of parameters with the gradient times the row's factor; its slots."""
    names = list(signature(step).parameters)
    n_slots, coefficients = names.index("g") - 1, tuple(names[names.index("g") + 1 :])
    count = len(coefficients)
    if n_slots == 0:
        change = rows_strip(lambda p, g, w, c: step(p, w * g, *c[:count]), 1)

        @kernel
        def apply(p, g, m, v, r, c):
            change(r.lines, r.n, p, r.apart, g, r.gradient_apart, r.factor, r.factors, r.step, c)

    elif n_slots == 1:
        change = rows_strip(lambda p, m, g, w, c: step(p, m, w * g, *c[:count]), 2)

        @kernel
        def apply(p, g, m, v, r, c):
            change(
                r.lines, r.n, p, r.apart, m, r.apart, g, r.gradient_apart,
                r.factor, r.factors, r.step, c,
            )  # fmt: skip

    else:
        change = rows_strip(lambda p, m, v, g, w, c: step(p, m, v, w * g, *c[:count]), 3)

        @kernel
        def apply(p, g, m, v, r, c):
            change(
                r.lines, r.n, p, r.apart, m, r.apart, v, r.apart, g, r.gradient_apart,
                r.factor, r.factors, r.step, c,
            )  # fmt: skip

    return apply, n_slots, coefficients


_RULES = {
    "descent": _Rule(_descent),
    "momentum": _Rule(_momentum),
    "nesterov": _Rule(_nesterov),
    "rmsprop": _Rule(_rmsprop),
    "adam": _Rule(_adam),
    "adagrad": _Rule(
        _adagrad,
        """s += g^2; theta -= lr g / (sqrt(s) + epsilon). Source: Duchi, Hazan and Singer 2011.

    Parameters
    ----------
    learning_rate : float or Schedule
    initial_accumulator_value : float
        s before the first step, >= 0.
    epsilon : float
        > 0.

    Notes
    -----
    As in PyTorch, epsilon stands outside the root; Keras has it inside.
    """,
        {
            "lr": Setting(0.001, "[0, inf)"),
            "initial_accumulator_value": Setting(0.1, "[0, inf)"),
            "epsilon": Setting(1e-8, "(0, inf)"),
        },
    ),
    "nadam": _Rule(_nadam),
    "lion": _Rule(_lion),
}
UPDATES = {
    name: Update(code, *_applied(rule.step), rule.settings, rule.equation)
    for code, (name, rule) in enumerate(_RULES.items())
}

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
        factor, null(gradient), ZERO, coefficients,
    )  # fmt: skip


@leaf(lambda t: (pointer(t), pointer(t), *(int64,) * 5))
def sum_ranges(out, parts, start, n, stride, count, group):
    """out[start:start + n] = the sum of the same range of `count` vectors: a tree of neighbours.

    The trees of `group` vectors, 8 or 4, are added in their order; what is left is cut into 4, 2
    and 1. So vectors of which pairs are added already, in groups of 4, give the bits of all in
    groups of 8; and so do twice as many by two processes, each its half (`fastdnn.machines`).
    """
    total, done = span(out, start, n), 0
    while done < count:
        left, at, add = count - done, done * stride + start, done > 0
        a, b = span(parts, at, n), span(parts, at + stride, n)
        c, d = span(parts, at + 2 * stride, n), span(parts, at + 3 * stride, n)
        if left >= 8 and group == 8:
            at += 4 * stride
            e, f = span(parts, at, n), span(parts, at + stride, n)
            g, h = span(parts, at + 2 * stride, n), span(parts, at + 3 * stride, n)
            for i in range(n):
                tree = ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]))
                total[i] = total[i] + tree if add else tree
            done += 8
        elif left >= 4:
            for i in range(n):
                tree = (a[i] + b[i]) + (c[i] + d[i])
                total[i] = total[i] + tree if add else tree
            done += 4
        elif left >= 2:
            for i in range(n):
                total[i] = total[i] + (a[i] + b[i]) if add else a[i] + b[i]
            done += 2
        else:
            for i in range(n):
                total[i] = total[i] + a[i] if add else a[i]
            done += 1


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
