"""Every loss: its value for each sample and the derivative to start from, one table.

For a sample with target y and output a (n outputs) a loss is l and its derivatives. Each entry
states one function of a strip, `rows` samples one after the other:

    ``strip(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0)``

It writes l to l[l0 + i], float64, and n derivatives to d[d0 + i n:], for each sample i. A *plain*
loss reads a and writes dA = dl/da. Fused with the activation whose inverse link it is, a loss reads
Z from s instead, writes a itself and gives dZ = dl/dz: more accurate (no log of a rounded
probability) and one pass. `y` holds dense targets, `labels` class numbers; p is the loss's
parameter. No two of s, a, y, d and l overlap; d and l serve as scratch.

To add a loss, write its function, put it into `_PLAIN` (or `_FUSED`) and into a line of `LOSSES`; a
mean over the outputs needs only two formulas (see `_scalar`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import float64, int64

from ._dispatch import switch
from ._jit import kernel, leaf, pointer, sum_kernel
from ._scalar import Value, at_least, at_most, copy_strip, fma, formula, strip, where
from ._simd import span
from .activations import (
    ACTIVATIONS,
    divide_row,
    exp_strip,
    inner_product,
    less_top,
)
from .reduce import row_sum
from .vmath import log, log1p, log1p_exp

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 where a loss takes their logarithm


class Loss(NamedTuple):
    """A table entry."""

    code: int
    strip: Callable[..., None]
    labels: bool = False  # targets are class numbers
    probabilities: bool = False  # dense targets lie in [0, 1]
    fused: dict[str, int] = {}  # noqa: RUF012 - output activation -> code of the fused function


# ------------------------------------------------------------------------ means over the outputs
# l = 1/n sum_j value(a_j, y_j), dl/da_j = slope(a_j, y_j) / n
def _square(a: Value, y: Value, p: Value) -> Value:
    return (a - y) * (a - y)


def _square_slope(a: Value, y: Value, p: Value) -> Value:
    return 2.0 * (a - y)


def _absolute(a: Value, y: Value, p: Value) -> Value:
    return abs(a - y)


def _absolute_slope(a: Value, y: Value, p: Value) -> Value:
    # taken as 0 at 0, by 0 * e: a NaN stays a NaN
    e = a - y
    return where(e > 0.0, 1.0, where(e < 0.0, -1.0, 0.0 * e))


def _huber(a: Value, y: Value, p: Value) -> Value:
    # e^2 / 2 where |e| <= p, else p |e| - p^2 / 2
    e = abs(a - y)
    return where(e <= p, 0.5 * e * e, p * e - 0.5 * p * p)


def _huber_slope(a: Value, y: Value, p: Value) -> Value:
    return at_most(at_least(a - y, -p), p)


def _kept(q: Value) -> Value:
    return at_most(at_least(q, CLIP), 1.0 - CLIP)


def _where_kept(q: Value, slope: Value) -> Value:
    # the derivative of what is constant outside [CLIP, 1 - CLIP]; a NaN passes
    return where(q < CLIP, 0.0, where(q > 1.0 - CLIP, 0.0, slope))


def _binary(a: Value, y: Value, p: Value) -> Value:
    # -y log a - (1 - y) log(1 - a)
    q = _kept(a)
    return -y * log(q) - (1.0 - y) * log1p(-q)


def _binary_slope(a: Value, y: Value, p: Value) -> Value:
    return _where_kept(a, (a - y) / (a * (1.0 - a)))


def _binary_of_sigmoid(z: Value, y: Value, p: Value) -> Value:
    # the same of a = sigmoid(z): max(z, 0) - z y + log(1 + exp(-|z|))
    return fma(-z, y, at_least(z, 0.0)) + log1p_exp(-abs(z))


def _difference(a: Value, y: Value, p: Value) -> Value:
    return a - y


@kernel
def _row_means(d, d0, rows, n, l, l0):
    # l_i = 1/n sum_j d_ij
    l = span(l, l0, rows)
    if n == 1:
        d = span(d, d0, rows)
        for i in range(rows):
            l[i] = d[i]
    else:
        for i in range(rows):
            l[i] = row_sum(d, d0 + i * n, n) / n


def _terms(term: Callable[[Value, Value, Value], Value]) -> Callable[..., None]:
    # (count, out, out0, x, x0, y, y0, p, share): out = term(x, y, p) / share
    return strip(lambda x, y, p, share: term(x, y, p) / share, 2)


def _mean(
    value: Callable[[Value, Value, Value], Value], slope: Callable[[Value, Value, Value], Value]
) -> Callable[..., None]:
    values, slopes = _terms(value), _terms(slope)

    @kernel
    def mean(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
        values(rows * n, d, d0, a, a0, y, y0, p, 1)
        _row_means(d, d0, rows, n, l, l0)
        slopes(rows * n, d, d0, a, a0, y, y0, p, n)

    return mean  # type: ignore[no-any-return]


_sigmoid = ACTIVATIONS["sigmoid"].forward
_losses_of_z, _differences = _terms(_binary_of_sigmoid), _terms(_difference)


@kernel
def _sigmoid_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    # dz = (a - y) / n
    _losses_of_z(rows * n, d, d0, s, s0, y, y0, p, 1)
    _row_means(d, d0, rows, n, l, l0)
    _sigmoid(s, s0, a, a0, rows, n)
    _differences(rows * n, d, d0, a, a0, y, y0, p, n)


# ------------------------------------------------------------------------- one class out of many
# Of outputs that are no distribution one is made, as Keras does: q_j = a_j / sum_k a_k
def _log_loss(a: Value, y: Value, total: Value) -> Value:
    return -y * log(_kept(a / total))


def _log_loss_slope(a: Value, y: Value, total: Value) -> Value:
    # by q
    q = a / total
    return _where_kept(q, -y / q)


_log_losses, _log_loss_slopes = strip(_log_loss, 2), strip(_log_loss_slope, 2)
_log_loss_of_one, _log_loss_slope_of_one = formula(_log_loss), formula(_log_loss_slope)
_less_common = strip(lambda d, common, total: (d - common) / total, 1)


@kernel
def _categorical_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    # l = -sum_j y_j log q_j
    for i in range(rows):
        a_i, y_i, d_i = a0 + i * n, y0 + i * n, d0 + i * n
        total = row_sum(a, a_i, n)
        _log_losses(n, d, d_i, a, a_i, y, y_i, total)
        l[l0 + i] = row_sum(d, d_i, n)
        _log_loss_slopes(n, d, d_i, a, a_i, y, y_i, total)
        common = inner_product(d, d_i, a, a_i, n) / total
        _less_common(n, d, d_i, d, d_i, common, total)


@kernel
def _sparse_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    # the same where y is 1 at the label and 0 elsewhere
    one = a.dtype.type(1)
    for i in range(rows):
        at, label = i * n, labels[label0 + i]
        total = a.dtype.type(row_sum(a, a0 + at, n))
        output, slopes = a[a0 + at + label], span(d, d0 + at, n)
        l[l0 + i] = _log_loss_of_one(output, one, total)
        slope = _log_loss_slope_of_one(output, one, total) / total
        common = slope * (output / total)
        for j in range(n):
            slopes[j] = -common
        slopes[label] += slope


_log_strip = strip(log, 1)


@kernel
def _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0):
    # a = softmax(z), d_j = z_j - max z, l = log sum_j exp(d_j)
    copy_strip(rows * n, d, d0, s, s0)
    less_top(d, d0, rows, n)
    exp_strip(rows * n, a, a0, d, d0)
    for i in range(rows):
        l[l0 + i] = row_sum(a, a0 + i * n, n)
        divide_row(a, a0 + i * n, n, l[l0 + i])
    _log_strip(rows, l, l0, l, l0)


@sum_kernel
def _crossentropy_of_logs(y, y0, d, d0, n, log_total):
    # sum_j y_j (log_total - d_j) and sum_j y_j
    y, d, value, mass = span(y, y0, n), span(d, d0, n), 0.0, 0.0
    for j in range(n):
        t = np.float64(y[j])
        value += t * (log_total - np.float64(d[j]))
        mass += t
    return value, mass


_products_less = strip(lambda a, y, mass: fma(a, mass, -y), 2)


@kernel
def _softmax_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    # of a = softmax(z): l = sum_j y_j (log sum_k exp(z_k) - z_j), dz = a sum_j y_j - y
    _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0)
    for i in range(rows):
        at = i * n
        value, mass = _crossentropy_of_logs(y, y0 + at, d, d0 + at, n, l[l0 + i])
        l[l0 + i] = value
        _products_less(n, d, d0 + at, a, a0 + at, y, y0 + at, mass)


@kernel
def _sparse_softmax_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    # the same where y is 1 at the label and 0 elsewhere
    _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0)
    labels, l = span(labels, label0, rows), span(l, l0, rows)
    for i in range(rows):
        l[i] -= d[d0 + i * n + labels[i]]
    copy_strip(rows * n, d, d0, a, a0)
    for i in range(rows):
        d[d0 + i * n + labels[i]] -= 1


_squared_error, _absolute_error = _mean(_square, _square_slope), _mean(_absolute, _absolute_slope)
_huber_loss, _binary_crossentropy = _mean(_huber, _huber_slope), _mean(_binary, _binary_slope)
_FUSED = [_sigmoid_crossentropy, _softmax_crossentropy, _sparse_softmax_crossentropy]
_PLAIN = [
    _squared_error,
    _absolute_error,
    _huber_loss,
    _binary_crossentropy,
    _categorical_crossentropy,
    _sparse_crossentropy,
]
_strip = switch(_FUSED + _PLAIN)


@leaf(
    lambda t: (
        *(int64, pointer(t), int64, pointer(t), int64, pointer(t), int64, pointer(int64), int64),
        *(pointer(t), int64, int64, int64, float64, pointer(float64), int64),
    )
)
def loss_rows(code, s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, p, l, l0):
    """The loss of each sample of a strip, and its derivatives."""
    size = rows * n
    _strip(
        code, span(s, s0, size), 0, span(a, a0, size), 0, span(y, y0, size), 0,
        span(labels, label0, rows), 0, span(d, d0, size), 0, rows, n, p, span(l, l0, rows), 0,
    )  # fmt: skip


def _entry(strip: Callable[..., None], fused: dict[str, Callable[..., None]], **of: bool) -> Loss:
    codes = {activation: _FUSED.index(function) for activation, function in fused.items()}
    return Loss(len(_FUSED) + _PLAIN.index(strip), strip, fused=codes, **of)


LOSSES = {
    "mean_squared_error": _entry(_squared_error, {}),
    "mean_absolute_error": _entry(_absolute_error, {}),
    "huber": _entry(_huber_loss, {}),
    "binary_crossentropy": _entry(
        _binary_crossentropy, {"sigmoid": _sigmoid_crossentropy}, probabilities=True
    ),
    "categorical_crossentropy": _entry(
        _categorical_crossentropy, {"softmax": _softmax_crossentropy}, probabilities=True
    ),
    "sparse_categorical_crossentropy": _entry(
        _sparse_crossentropy, {"softmax": _sparse_softmax_crossentropy}, labels=True
    ),
}
