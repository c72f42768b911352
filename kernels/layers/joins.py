"""Operations that pass samples on, join two paths, or bend at 0: see `operations`.

A residual block is a `fork` before its layers and a `join` behind them: the join adds what the fork
has passed, and in the backward pass the fork adds the derivatives of both paths.
"""

from __future__ import annotations

from typing import Any

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.llvm.scalar import Value, at_least, at_most, copy_strip, strip, where
from fastdnn.kernels.llvm.simd import address

from .layout import FIELDS, A
from .operations import (
    Operation,
    Tensor,
    delta_of,
    details_of,
    inputs_of,
    none,
    outputs_of,
    widths_of,
)


def pass_forward(code, table, l, p, ws, top, m, learning):
    """Make Z = A_prev."""
    _, n = widths_of(table, l)
    copy_strip(m * n, outputs_of(table, l, ws, top), ZERO, inputs_of(table, l, ws, top), ZERO)


def pass_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev = dZ."""
    _, n = widths_of(table, l)
    copy_strip(m * n, delta_of(table, l - 1, ws, top), ZERO, delta_of(table, l, ws, top), ZERO)


_sum = strip(lambda x, y: x + y, 2)


def fork_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev = dZ of the fork + dZ of the join."""
    _, n = widths_of(table, l)
    other = delta_of(table, details_of(table, l)[0], ws, top)
    to = delta_of(table, l - 1, ws, top)
    _sum(m * n, to, ZERO, delta_of(table, l, ws, top), ZERO, other, ZERO)


def join_forward(code, table, l, p, ws, top, m, learning):
    """Make Z = A_prev + A of the fork."""
    _, n = widths_of(table, l)
    passed = address(ws, table[details_of(table, l)[0] * FIELDS + A] + top * n)
    to = outputs_of(table, l, ws, top)
    _sum(m * n, to, ZERO, inputs_of(table, l, ws, top), ZERO, passed, ZERO)


def _prelu(x: Value, alpha: Value) -> Value:
    return at_least(x, 0.0) + alpha * at_most(x, 0.0)


def _prelu_prime(d: Value, x: Value, alpha: Value) -> Value:
    return d * where(x > 0.0, 1.0, alpha)


_bend = strip(_prelu, 2)
_bend_back = strip(_prelu_prime, 3)
_add_slope = strip(lambda total, d, x: total + d * at_most(x, 0.0), 3)
_first_slope = strip(lambda d, x: d * at_most(x, 0.0), 2)


def prelu_forward(code, table, l, p, ws, top, m, learning):
    """Make z_j = max(x_j, 0) + alpha_j min(x_j, 0)."""
    _, n = widths_of(table, l)
    alpha = address(p, details_of(table, l)[0])
    for i in range(top, top + m):
        _bend(n, outputs_of(table, l, ws, i), ZERO, inputs_of(table, l, ws, i), ZERO, alpha, ZERO)


def prelu_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev: dz_j where x_j > 0, else alpha_j dz_j."""
    _, n = widths_of(table, l)
    alpha = address(p, details_of(table, l)[0])
    for i in range(top, top + m):
        _bend_back(
            n, delta_of(table, l - 1, ws, i), ZERO, delta_of(table, l, ws, i), ZERO,
            inputs_of(table, l, ws, i), ZERO, alpha, ZERO,
        )  # fmt: skip


def prelu_gradients(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make dalpha_j, the sum of dz_j min(x_j, 0)."""
    to = address(gradient, details_of(table, l)[0] + left)
    for i in range(m):
        d, x = address(delta_of(table, l, ws, i), left), address(inputs_of(table, l, ws, i), left)
        if i == 0 and not add:
            _first_slope(right - left, to, ZERO, d, ZERO, x, ZERO)
        else:
            _add_slope(right - left, to, ZERO, to, ZERO, d, ZERO, x, ZERO)


def _alpha(row: Any) -> tuple[Tensor, ...]:
    return (Tensor("alpha", (row.n,), row.settings["alpha"]),)


OPERATIONS = {
    "identity": Operation(none, pass_forward, pass_backward),
    "fork": Operation(
        none, pass_forward, fork_backward, details=lambda row, at: (row.settings["join"],)
    ),
    "join": Operation(
        none, join_forward, pass_backward, details=lambda row, at: (row.settings["fork"],)
    ),
    "prelu": Operation(
        _alpha,
        prelu_forward,
        prelu_backward,
        gradients=prelu_gradients,
        details=lambda row, at: (at["alpha"],),
        is_smooth=False,
    ),
}
