"""Normalisation: A less its mean, by its standard deviation, times gamma, plus beta.

    x^ = (x - mean) / sqrt(variance + epsilon),  z = gamma x^ + beta

*Layer* normalisation takes mean and variance of each sample's units, or of groups of these,
*batch* normalisation of each unit over the batch. RMS normalisation takes the mean of squares for
the variance, and 0 for the mean. With dx^ = dZ gamma, and means over what these are taken of,

    dA_prev = (dx^ - mean(dx^) - x^ mean(dx^ x^)) / sqrt(variance + epsilon).

Sources: Ba et al. 2016; Ioffe and Szegedy 2015; Zhang and Sennrich 2019. An operation's functions
are described in `operations`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.blas.reduce import column_sums, row_sum
from fastdnn.kernels.compiler.jit import small_kernel, sum_kernel
from fastdnn.kernels.llvm.scalar import Value, copy_strip, fma, sqrt, strip
from fastdnn.kernels.llvm.simd import address, span

from .operations import (
    CONSTANT,
    MOVED,
    TRAINED,
    Operation,
    Tensor,
    cast,
    delta_of,
    details_of,
    inputs_of,
    kept_of,
    outputs_of,
    widths_of,
)

SUMMED_ROWS = 512  # samples whose sum is rounded by itself: a long sum of float32 loses less


# ---------------------------------------------------------------------------- over a sample's units
# The integers of a row: where tensors lie, whether the mean is taken off, and 1 for a gamma that is
# trained, plus 2 for a beta. Batch normalisation has more of them.
_CENTERED, _TRAINED, _GROUPS, _GAMMA, _BETA, _EPSILON = range(6)


@sum_kernel
def squares_about(x, n, mean):
    """sum_j (x_j - mean)^2 in float64."""
    row, total = span(x, 0, n), 0.0
    for j in range(n):
        total += (np.float64(row[j]) - mean) * (np.float64(row[j]) - mean)
    return total


@sum_kernel
def _inner_sums(d, gamma, x, n, mean, scale):
    """sum_j dx^_j and sum_j dx^_j x^_j in float64."""
    d, gamma, x, first, second = span(d, 0, n), span(gamma, 0, n), span(x, 0, n), 0.0, 0.0
    for j in range(n):
        of_one = np.float64(d[j]) * np.float64(gamma[j])
        first += of_one
        second += of_one * ((np.float64(x[j]) - mean) * scale)
    return first, second


def _normalised(x: Value, gamma: Value, beta: Value, mean: Value, scale: Value) -> Value:
    return fma((x - mean) * scale, gamma, beta)


def _back(
    d: Value, gamma: Value, x: Value, mean: Value, scale: Value, first: Value, second: Value
) -> Value:
    return scale * (d * gamma - first - (x - mean) * scale * second)


_normalise = strip(_normalised, 3)
_normalise_back = strip(_back, 3)
_first_gamma = strip(lambda d, x, mean, scale: d * ((x - mean) * scale), 2)
_add_gamma = strip(lambda total, d, x, mean, scale: total + d * ((x - mean) * scale), 3)


def sample_forward(code, table, l, p, ws, top, m, learning):
    """Make z_j = gamma_j (x_j - mean) / sqrt(variance + epsilon) + beta_j of each group."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    groups, epsilon = details[_GROUPS], np.float64(p[details[_EPSILON]])
    width = n // groups
    for number in range(top * groups, (top + m) * groups):
        i, at = number // groups, number % groups * width
        x, kept = address(inputs_of(table, l, ws, i), at), kept_of(table, l, ws, 2 * number)
        mean = row_sum(x, ZERO, width) / width if details[_CENTERED] == 1 else 0.0
        kept[0] = mean
        kept[1] = 1.0 / math.sqrt(squares_about(x, width, mean) / width + epsilon)
        _normalise(
            width, outputs_of(table, l, ws, i), at, x, ZERO, p, details[_GAMMA] + at, p,
            details[_BETA] + at, kept[0], kept[1],
        )  # fmt: skip


def sample_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev, from sums over each group of a sample's units."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    groups = details[_GROUPS]
    width = n // groups
    for number in range(top * groups, (top + m) * groups):
        i, at = number // groups, number % groups * width
        x, d = address(inputs_of(table, l, ws, i), at), address(delta_of(table, l, ws, i), at)
        kept, gamma = kept_of(table, l, ws, 2 * number), address(p, details[_GAMMA] + at)
        first, second = _inner_sums(d, gamma, x, width, np.float64(kept[0]), np.float64(kept[1]))
        if details[_CENTERED] == 0:
            first = 0.0
        _normalise_back(
            width, delta_of(table, l - 1, ws, i), at, d, ZERO, gamma, ZERO, x, ZERO,
            kept[0], kept[1], cast(ws, first / width), cast(ws, second / width),
        )  # fmt: skip


def sample_gradients(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make dgamma_j, the sum of dz_j x^_j, and dbeta_j, that of dz_j."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    groups = details[_GROUPS]
    width = n // groups
    if details[_TRAINED] & 1:
        for number in range(m * groups):
            i, at = number // groups, number % groups * width
            begin, end = max(left, at), min(right, at + width)
            kept, to = kept_of(table, l, ws, 2 * number), details[_GAMMA] + begin
            x, d = inputs_of(table, l, ws, i), delta_of(table, l, ws, i)
            if begin < end and i == 0 and not add:
                _first_gamma(end - begin, gradient, to, d, begin, x, begin, kept[0], kept[1])
            elif begin < end:
                _add_gamma(
                    end - begin, gradient, to, gradient, to, d, begin, x, begin, kept[0], kept[1]
                )
    if details[_TRAINED] & 2:
        d, to = delta_of(table, l, ws, ZERO), details[_BETA] + left
        column_sums(m, right - left, d, left, n, 1.0, add, gradient, to)


# --------------------------------------------------------------------------------- over the batch
_MOMENTUM, _MOVING_MEAN, _MOVING_VARIANCE, _MEAN, _VARIANCE = range(6, 11)

_square = strip(lambda x, mean: (x - mean) * (x - mean), 2)
_add_square = strip(lambda total, x, mean: total + (x - mean) * (x - mean), 3)
_add = strip(lambda total, x: total + x, 2)
_scale = strip(lambda x, factor: x * factor, 1)
_move = strip(lambda old, new, momentum: momentum * old + (1.0 - momentum) * new, 2)


def _of_batch(
    x: Value, mean: Value, variance: Value, gamma: Value, beta: Value, epsilon: Value
) -> Value:
    return fma((x - mean) / sqrt(variance + epsilon), gamma, beta)


def _product(d: Value, x: Value, mean: Value, variance: Value, epsilon: Value) -> Value:
    # dz x^
    return d * ((x - mean) / sqrt(variance + epsilon))


def _back_of_batch(
    d: Value, x: Value, mean: Value, variance: Value, gamma: Value, first: Value, second: Value,
    epsilon: Value,
) -> Value:  # fmt: skip
    deviation = sqrt(variance + epsilon)
    return gamma / deviation * (d - first - (x - mean) / deviation * second)


_normalise_batch = strip(_of_batch, 5)
_first_product = strip(_product, 4)
_add_product = strip(
    lambda total, d, x, mean, variance, epsilon: total + _product(d, x, mean, variance, epsilon), 5
)
_normalise_batch_back = strip(_back_of_batch, 7)
_scale_back = strip(lambda d, variance, gamma, epsilon: d * (gamma / sqrt(variance + epsilon)), 3)


@small_kernel
def _statistics(table, l, p, learning):
    """Return the addresses of the mean and the variance."""
    details = details_of(table, l)
    if learning:
        return address(p, details[_MEAN]), address(p, details[_VARIANCE])
    return address(p, details[_MOVING_MEAN]), address(p, details[_MOVING_VARIANCE])


def batch_statistics(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make each unit's mean and variance, by sums of blocks of samples."""
    _, n = widths_of(table, l)
    details, width = details_of(table, l), right - left
    mean, variance = address(p, details[_MEAN] + left), address(p, details[_VARIANCE] + left)
    sums, share = kept_of(table, l, ws, 2 * n + left), cast(ws, 1.0 / m)
    for begin in range(0, m, SUMMED_ROWS):
        rows = min(SUMMED_ROWS, m - begin)
        x = inputs_of(table, l, ws, begin)
        column_sums(rows, width, x, left, n, 1.0, False, sums, ZERO)
        if begin == 0:
            copy_strip(width, mean, ZERO, sums, ZERO)
        else:
            _add(width, mean, ZERO, mean, ZERO, sums, ZERO)
    _scale(width, mean, ZERO, mean, ZERO, share)
    for begin in range(0, m, SUMMED_ROWS):
        for i in range(begin, min(begin + SUMMED_ROWS, m)):
            x = address(inputs_of(table, l, ws, i), left)
            if i == begin:
                _square(width, sums, ZERO, x, ZERO, mean, ZERO)
            else:
                _add_square(width, sums, ZERO, sums, ZERO, x, ZERO, mean, ZERO)
        if begin == 0:
            copy_strip(width, variance, ZERO, sums, ZERO)
        else:
            _add(width, variance, ZERO, variance, ZERO, sums, ZERO)
    _scale(width, variance, ZERO, variance, ZERO, share)


def batch_forward(code, table, l, p, ws, top, m, learning):
    """Make z_j = gamma_j (x_j - mean_j) / sqrt(variance_j + epsilon) + beta_j."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    mean, variance = _statistics(table, l, p, learning)
    gamma, beta = address(p, details[_GAMMA]), address(p, details[_BETA])
    for i in range(top, top + m):
        _normalise_batch(
            n, outputs_of(table, l, ws, i), ZERO, inputs_of(table, l, ws, i), ZERO, mean, ZERO,
            variance, ZERO, gamma, ZERO, beta, ZERO, p[details[_EPSILON]],
        )  # fmt: skip


def batch_gradients(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make dgamma_j, the sum of dz_j x^_j, and dbeta_j, that of dz_j; keep their means."""
    _, n = widths_of(table, l)
    details, width = details_of(table, l), right - left
    mean, variance = _statistics(table, l, p, learning)
    mean, variance = address(mean, left), address(variance, left)
    first, second = kept_of(table, l, ws, left), kept_of(table, l, ws, n + left)
    column_sums(m, width, delta_of(table, l, ws, ZERO), left, n, 1.0, False, first, ZERO)
    for i in range(m):
        x = address(inputs_of(table, l, ws, i), left)
        d = address(delta_of(table, l, ws, i), left)
        if i == 0:
            _first_product(
                width, second, ZERO, d, ZERO, x, ZERO, mean, ZERO, variance, ZERO,
                p[details[_EPSILON]],
            )  # fmt: skip
        else:
            _add_product(
                width, second, ZERO, second, ZERO, d, ZERO, x, ZERO, mean, ZERO, variance, ZERO,
                p[details[_EPSILON]],
            )  # fmt: skip
    if details[_TRAINED] & 1:
        copy_strip(width, gradient, details[_GAMMA] + left, second, ZERO)
    if details[_TRAINED] & 2:
        copy_strip(width, gradient, details[_BETA] + left, first, ZERO)
    share = cast(ws, 1.0 / m)
    _scale(width, first, ZERO, first, ZERO, share)
    _scale(width, second, ZERO, second, ZERO, share)


def batch_backward(code, table, l, p, ws, top, m, learning):
    """Make dA_prev, with the means that `batch_gradients` has kept."""
    _, n = widths_of(table, l)
    details = details_of(table, l)
    mean, variance = _statistics(table, l, p, learning)
    gamma, epsilon = address(p, details[_GAMMA]), p[details[_EPSILON]]
    first, second = kept_of(table, l, ws, ZERO), kept_of(table, l, ws, n)
    for i in range(top, top + m):
        to, d = delta_of(table, l - 1, ws, i), delta_of(table, l, ws, i)
        if learning:
            _normalise_batch_back(
                n, to, ZERO, d, ZERO, inputs_of(table, l, ws, i), ZERO, mean, ZERO, variance, ZERO,
                gamma, ZERO, first, ZERO, second, ZERO, epsilon,
            )  # fmt: skip
        else:
            _scale_back(n, to, ZERO, d, ZERO, variance, ZERO, gamma, ZERO, epsilon)


def batch_follow(code, table, l, p, ws, m, left, right, learning, add, gradient):
    """Make the moving statistics momentum times themselves + (1 - momentum) times the batch's."""
    details, width = details_of(table, l), right - left
    momentum = p[details[_MOMENTUM]]
    mean, variance = details[_MOVING_MEAN] + left, details[_MOVING_VARIANCE] + left
    _move(width, p, mean, p, mean, p, details[_MEAN] + left, momentum)
    _move(width, p, variance, p, variance, p, details[_VARIANCE] + left, momentum)


# --------------------------------------------------------------------------------------- the table
def _of_sample(row: Any) -> tuple[Tensor, ...]:
    n, of = row.n, row.settings
    return (
        Tensor("gamma", (n,), 1.0, TRAINED if of["scale"] else CONSTANT),
        Tensor("beta", (n,), 0.0, TRAINED if of["center"] else CONSTANT),
        Tensor("epsilon", (1,), of["epsilon"], CONSTANT),
    )


def _of_all(row: Any) -> tuple[Tensor, ...]:
    n, of = row.n, row.settings
    return (
        *_of_sample(row),
        Tensor("momentum", (1,), of["momentum"], CONSTANT),
        Tensor("moving_mean", (n,), 0.0, MOVED),
        Tensor("moving_variance", (n,), 1.0, MOVED),
        Tensor("mean", (n,), 0.0, CONSTANT),
        Tensor("variance", (n,), 1.0, CONSTANT),
    )


def _details(row: Any, at: dict[str, int]) -> tuple[int, ...]:
    of = row.settings
    return int(of["centered"]), of["scale"] + 2 * of["center"], of["groups"], *at.values()


_SAMPLE = Operation(
    _of_sample,
    sample_forward,
    sample_backward,
    gradients=sample_gradients,
    details=_details,
    kept=lambda row: (2 * row.settings["groups"], 0),
)
OPERATIONS = {
    "layer_normalization": _SAMPLE,
    "batch_normalization": Operation(
        _of_all,
        batch_forward,
        batch_backward,
        statistics=batch_statistics,
        gradients=batch_gradients,
        follow=batch_follow,
        details=_details,
        kept=lambda row: (0, 3 * row.n),
        over_batch=True,
    ),
}
