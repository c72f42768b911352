"""Losses of one class out of many: cross-entropies of a distribution over a sample's outputs.

Of outputs that are no distribution one is made, as Keras does: q_j = a_j / sum_k a_k. Fused with
softmax, q is a = softmax(z), and log q_j = z_j - max z - log sum_k exp(z_k - max z) is exact for
any z. The entries are in `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._jit import kernel, sum_kernel
from ._scalar import Value, copy_strip, fma, formula, strip
from ._simd import span
from .activations import divide_row, exp_strip, inner_product, less_top
from .loss_facts import PROBABILITY, Form
from .mean_losses import kept, power, where_kept
from .reduce import row_sum
from .vmath import expm1, log

Formula = Callable[..., Value]


# ------------------------------------------------------------------------- of any outputs, plain
def _log_loss(a: Value, y: Value, total: Value) -> Value:
    return -y * log(kept(a / total))


def _log_loss_slope(a: Value, y: Value, total: Value) -> Value:
    # by q
    q = a / total
    return where_kept(q, -y / q)


def _focal(a: Value, y: Value, total: Value, gamma: Value, alpha: Value) -> Value:
    # -alpha y (1 - q)^gamma log q
    q = kept(a / total)
    return -alpha * y * power(1.0 - q, gamma) * log(q)


def _focal_slope(a: Value, y: Value, total: Value, gamma: Value, alpha: Value) -> Value:
    # by q
    q = a / total
    p = kept(q)
    factor, of_factor = power(1.0 - p, gamma), gamma * power(1.0 - p, gamma - 1.0)
    return where_kept(q, alpha * y * (of_factor * log(p) - factor / p))


_log_losses, _log_loss_slopes = strip(_log_loss, 2), strip(_log_loss_slope, 2)
_log_loss_of_one, _log_loss_slope_of_one = formula(_log_loss), formula(_log_loss_slope)
_focals, _focal_slopes = strip(_focal, 2), strip(_focal_slope, 2)
_less_common = strip(lambda d, common, total: (d - common) / total, 1)


@kernel
def _by_outputs(d, d0, a, a0, n, total):
    # from the derivatives by q to those by a
    common = inner_product(d, d0, a, a0, n) / total
    _less_common(n, d, d0, d, d0, common, total)


@kernel
def categorical_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """l = -sum_j y_j log q_j."""
    for i in range(rows):
        a_i, y_i, d_i = a0 + i * n, y0 + i * n, d0 + i * n
        total = row_sum(a, a_i, n)
        _log_losses(n, d, d_i, a, a_i, y, y_i, total)
        l[l0 + i] = row_sum(d, d_i, n)
        _log_loss_slopes(n, d, d_i, a, a_i, y, y_i, total)
        _by_outputs(d, d_i, a, a_i, n, total)


@kernel
def categorical_focal(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """l = -alpha sum_j y_j (1 - q_j)^gamma log q_j."""
    for i in range(rows):
        a_i, y_i, d_i = a0 + i * n, y0 + i * n, d0 + i * n
        total = row_sum(a, a_i, n)
        _focals(n, d, d_i, a, a_i, y, y_i, total, ps[0], ps[1])
        l[l0 + i] = row_sum(d, d_i, n)
        _focal_slopes(n, d, d_i, a, a_i, y, y_i, total, ps[0], ps[1])
        _by_outputs(d, d_i, a, a_i, n, total)


@kernel
def _smoothed(d, d0, n, label, smoothing):
    # y_j = smoothing / n, and 1 - smoothing more at the label
    row, share = span(d, d0, n), smoothing / n
    for j in range(n):
        row[j] = share
    row[label] += 1 - smoothing


@kernel
def sparse_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """The categorical cross-entropy where y is 1 at the label and 0 elsewhere, or smoothed."""
    one, smoothing = a.dtype.type(1), ps[0]
    for i in range(rows):
        at, label = i * n, labels[label0 + i]
        total = a.dtype.type(row_sum(a, a0 + at, n))
        if smoothing > 0:
            a_i, d_i = a0 + at, d0 + at
            _smoothed(d, d_i, n, label, smoothing)
            _log_losses(n, d, d_i, a, a_i, d, d_i, total)
            l[l0 + i] = row_sum(d, d_i, n)
            _smoothed(d, d_i, n, label, smoothing)
            _log_loss_slopes(n, d, d_i, a, a_i, d, d_i, total)
            _by_outputs(d, d_i, a, a_i, n, total)
            continue
        output, slopes = a[a0 + at + label], span(d, d0 + at, n)
        l[l0 + i] = _log_loss_of_one(output, one, total)
        slope = _log_loss_slope_of_one(output, one, total) / total
        common = slope * (output / total)
        for j in range(n):
            slopes[j] = -common
        slopes[label] += slope


# --------------------------------------------------------------------------- of softmax, from Z
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
def softmax_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """Of a = softmax(z): l = sum_j y_j (log sum_k exp(z_k) - z_j), dz = a sum_j y_j - y."""
    _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0)
    for i in range(rows):
        at = i * n
        value, mass = _crossentropy_of_logs(y, y0 + at, d, d0 + at, n, l[l0 + i])
        l[l0 + i] = value
        _products_less(n, d, d0 + at, a, a0 + at, y, y0 + at, mass)


@kernel
def sparse_softmax_crossentropy(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """The same where y is 1 at the label and 0 elsewhere, or smoothed."""
    _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0)
    labels, l, smoothing = span(labels, label0, rows), span(l, l0, rows), ps[0]
    for i in range(rows):
        at_label = d[d0 + i * n + labels[i]]
        if smoothing > 0:
            l[i] += smoothing * (at_label - row_sum(d, d0 + i * n, n) / n)
        l[i] -= at_label
    copy_strip(rows * n, d, d0, a, a0)
    for i in range(rows):
        if smoothing > 0:
            row, share = span(d, d0 + i * n, n), smoothing / n
            for j in range(n):
                row[j] -= share
        d[d0 + i * n + labels[i]] -= 1 - smoothing


def _focal_of_log(d: Value, y: Value, log_total: Value, gamma: Value, alpha: Value) -> Value:
    # -alpha y u^gamma log q, log q = d - log_total, u = 1 - q = -expm1(log q)
    log_q = d - log_total
    return -alpha * y * power(-expm1(log_q), gamma) * log_q


def _focal_of_log_slope(
    d: Value, a: Value, y: Value, log_total: Value, gamma: Value, alpha: Value
) -> Value:
    # q times the derivative by q: alpha y (gamma q u^(gamma - 1) log q - u^gamma)
    log_q = d - log_total
    u = -expm1(log_q)
    return alpha * y * (gamma * a * power(u, gamma - 1.0) * log_q - power(u, gamma))


_focals_of_log, _focal_of_log_slopes = strip(_focal_of_log, 2), strip(_focal_of_log_slope, 3)
_less_shares = strip(lambda d, a, total: fma(-a, total, d), 2)


@kernel
def softmax_focal(s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    """Of a = softmax(z): dz_k = h_k - a_k sum_j h_j, h_j = a_j dl/da_j."""
    _softmax_of_strip(s, s0, a, a0, d, d0, rows, n, l, l0)
    for i in range(rows):
        at, log_total = i * n, l[l0 + i]
        a_i, y_i, d_i = a0 + at, y0 + at, d0 + at
        _focals_of_log(n, d, d_i, d, d_i, y, y_i, log_total, ps[0], ps[1])
        l[l0 + i] = row_sum(d, d_i, n)
        copy_strip(n, d, d_i, s, s0 + at)
        less_top(d, d_i, 1, n)
        _focal_of_log_slopes(n, d, d_i, d, d_i, a, a_i, y, y_i, log_total, ps[0], ps[1])
        _less_shares(n, d, d_i, d, d_i, a, a_i, row_sum(d, d_i, n))


_OF_CLASSES: dict[str, Any] = {
    "targets": PROBABILITY,
    "outputs": PROBABILITY,
    "kind": "multiclass",
    "least_outputs": 2,
}
_OF_ROWS, _OF_NUMBERS = "categorical_crossentropy", "sparse_categorical_crossentropy"
LOSSES = {
    _OF_ROWS: Form(
        strip=categorical_crossentropy,
        fused={"softmax": softmax_crossentropy},
        other_form=_OF_NUMBERS,
        **_OF_CLASSES,
    ),
    "categorical_focal_crossentropy": Form(
        strip=categorical_focal,
        fused={"softmax": softmax_focal},
        rare=True,
        parameters=(2.0, 0.25),
        **_OF_CLASSES,
    ),
    _OF_NUMBERS: Form(
        strip=sparse_crossentropy,
        fused={"softmax": sparse_softmax_crossentropy},
        labels=True,
        other_form=_OF_ROWS,
        **_OF_CLASSES,
    ),
}
