"""Every loss: its value for one sample and the derivative to start from, one table.

For a sample with target y and output a (n outputs) each entry states one row function

    ``row(s, s0, a, a0, y, y0, label, d, d0, n, p) -> l``

which returns l and writes n derivatives to d. A *plain* loss reads a and writes dA = dl/da. Fused
with the activation whose inverse link it is, a loss reads Z from s instead, writes a itself and
gives dZ = dl/dz: more accurate (no log of a rounded probability) and one pass. `y` holds dense
targets, `label` a class number; p is the loss's parameter.

To add a loss, write its row function and its line in `LOSSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._dispatch import switch
from ._jit import kernel
from .activations import sigmoid, softmax_row

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 where a loss takes their logarithm


class Loss(NamedTuple):
    """A table entry."""

    code: int
    row: Callable[..., float]
    labels: bool = False  # targets are class numbers
    probabilities: bool = False  # dense targets lie in [0, 1]
    fused: dict[str, int] = {}  # noqa: RUF012 - output activation -> code of the fused row function


@kernel
def _squared_error(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # l = 1/n sum_j (a_j - y_j)^2
    total = 0.0
    for j in range(n):
        e = a[a0 + j] - y[y0 + j]
        total += e * e
        d[d0 + j] = 2.0 * e / n
    return total / n


@kernel
def _absolute_error(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # l = 1/n sum_j |a_j - y_j|; its derivative at 0 is taken as 0
    total = 0.0
    for j in range(n):
        e = a[a0 + j] - y[y0 + j]
        total += abs(e)
        # 0 * e: a NaN stays a NaN
        d[d0 + j] = 1.0 / n if e > 0.0 else (-1.0 / n if e < 0.0 else 0.0 * e)
    return total / n


@kernel
def _huber(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # l = 1/n sum_j (e^2 / 2 where |e| <= p, else p |e| - p^2 / 2), e = a_j - y_j
    total = 0.0
    for j in range(n):
        e = a[a0 + j] - y[y0 + j]
        if abs(e) <= p:
            total += 0.5 * e * e
            d[d0 + j] = e / n
        else:
            total += p * abs(e) - 0.5 * p * p
            d[d0 + j] = p / n if e > 0.0 else (-p / n if e < 0.0 else 0.0 * e)
    return total / n


@kernel
def _log_of_probability(q, weight):
    # -weight log q and its derivative, constant outside [CLIP, 1 - CLIP] (a NaN passes)
    c = min(max(q, CLIP), 1.0 - CLIP)
    if q < CLIP or q > 1.0 - CLIP:
        return -weight * math.log(c), 0.0
    return -weight * math.log(q), -weight / q


@kernel
def _binary_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # l = -1/n sum_j (y_j log a_j + (1 - y_j) log(1 - a_j))
    total = 0.0
    for j in range(n):
        q, t = np.float64(a[a0 + j]), np.float64(y[y0 + j])
        positive, d_positive = _log_of_probability(q, t)
        negative, d_negative = _log_of_probability(1.0 - q, 1.0 - t)
        total += positive + negative
        d[d0 + j] = (d_positive - d_negative) / n
    return total / n


@kernel
def _sigmoid_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # the same of a = sigmoid(z): l = 1/n sum_j (max(z, 0) - z y + log(1 + exp(-|z|))), dz = (a - y)
    # / n
    total = 0.0
    for j in range(n):
        z, t = np.float64(s[s0 + j]), np.float64(y[y0 + j])
        a[a0 + j] = sigmoid(s[s0 + j])
        d[d0 + j] = (a[a0 + j] - t) / n
        total += (z if z > 0.0 else 0.0) - z * t + math.log1p(math.exp(-abs(z)))
    return total / n


@kernel
def _crossentropy_of_sum(a, a0, n, total, q, weight):
    # -weight log(clip(q / total)) and its two derivatives: by q, and by total
    value, slope = _log_of_probability(q / total, weight)
    return value, slope / total, -slope * q / (total * total)


@kernel
def _categorical_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # l = -sum_j y_j log(a_j / sum_k a_k): outputs that are no distribution are made one, as Keras
    # does
    total = 0.0
    for j in range(n):
        total += a[a0 + j]
    value, by_total = 0.0, 0.0
    for j in range(n):
        if y[y0 + j] != 0.0:
            v, slope, change = _crossentropy_of_sum(
                a, a0, n, total, np.float64(a[a0 + j]), np.float64(y[y0 + j])
            )
            value += v
            by_total += change
            d[d0 + j] = slope
        else:
            d[d0 + j] = 0.0
    for j in range(n):
        d[d0 + j] += by_total
    return value


@kernel
def _sparse_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # the same where y is 1 at `label` and 0 elsewhere
    total = 0.0
    for j in range(n):
        total += a[a0 + j]
    value, slope, by_total = _crossentropy_of_sum(a, a0, n, total, np.float64(a[a0 + label]), 1.0)
    for j in range(n):
        d[d0 + j] = by_total
    d[d0 + label] += slope
    return value


@kernel
def _log_sum_exp(z, z0, n):
    top = z[z0]
    for j in range(1, n):
        top = max(top, z[z0 + j])
    total = 0.0
    for j in range(n):
        total += math.exp(z[z0 + j] - top)
    return top + math.log(total)


@kernel
def _softmax_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # of a = softmax(z): l = sum_j y_j (log sum_k exp(z_k) - z_j), dz = a sum_j y_j - y
    softmax_row(s, s0, a, a0, n)
    log_total = _log_sum_exp(s, s0, n)
    value, mass = 0.0, 0.0
    for j in range(n):
        value += y[y0 + j] * (log_total - s[s0 + j])
        mass += y[y0 + j]
    for j in range(n):
        d[d0 + j] = a[a0 + j] * mass - y[y0 + j]
    return value


@kernel
def _sparse_softmax_crossentropy(s, s0, a, a0, y, y0, label, d, d0, n, p):
    # the same where y is 1 at `label` and 0 elsewhere
    softmax_row(s, s0, a, a0, n)
    for j in range(n):
        d[d0 + j] = a[a0 + j]
    d[d0 + label] -= 1.0
    return _log_sum_exp(s, s0, n) - s[s0 + label]


_FUSED = [_sigmoid_crossentropy, _softmax_crossentropy, _sparse_softmax_crossentropy]
_PLAIN = [
    _squared_error,
    _absolute_error,
    _huber,
    _binary_crossentropy,
    _categorical_crossentropy,
    _sparse_crossentropy,
]
# (code, s, s0, a, a0, y, y0, label, d, d0, n, p) -> l
loss_row = switch(_FUSED + _PLAIN)


def _entry(row: Callable[..., float], fused: dict[str, Callable[..., float]], **of: bool) -> Loss:
    codes = {activation: _FUSED.index(function) for activation, function in fused.items()}
    return Loss(len(_FUSED) + _PLAIN.index(row), row, fused=codes, **of)


LOSSES = {
    "mean_squared_error": _entry(_squared_error, {}),
    "mean_absolute_error": _entry(_absolute_error, {}),
    "huber": _entry(_huber, {}),
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
