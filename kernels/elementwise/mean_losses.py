"""Losses that are a mean over the outputs: l = 1/n sum_j value(a_j, y_j).

Such a loss is two formulas (see `scalar`) of an output a, its target y and the loss's parameters
p, a tuple of `PARAMETERS` numbers: the value, and the slope d value / da. A loss fused with an
activation a = g(z) is two formulas as well: the value of (z, y, p), and d value / dz of (z, a, y,
p). What is made of them are the entries in `LOSSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.blas.reduce import row_sum
from fastdnn.kernels.compiler.jit import kernel
from fastdnn.kernels.llvm.scalar import Value, at_least, at_most, fma, strip, where
from fastdnn.kernels.llvm.simd import span
from fastdnn.kernels.llvm.vmath import exp, expm1, log, log1p, log1p_exp, sigmoid, tanh

from .activations import ACTIVATIONS
from .loss_facts import NOT_NEGATIVE, PROBABILITY, Form

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 where a loss takes their logarithm
PARAMETERS = 3  # that a formula is given; a loss with fewer does not read the others
Parameters = tuple[Value, ...]


class Strip(NamedTuple):
    """What a loss reads and writes of some samples, one after the other; see `losses`."""

    s: Any  # Z
    a: Any
    y: Any  # dense targets
    labels: Any
    d: Any
    rows: int
    n: int
    ps: Any
    l: Any


def _square(a: Value, y: Value, p: Parameters) -> Value:
    return (a - y) * (a - y)


def _square_slope(a: Value, y: Value, p: Parameters) -> Value:
    return 2.0 * (a - y)


def _absolute(a: Value, y: Value, p: Parameters) -> Value:
    return abs(a - y)


def _absolute_slope(a: Value, y: Value, p: Parameters) -> Value:
    # taken as 0 at 0, by 0 * e: a NaN stays a NaN
    e = a - y
    return where(e > 0.0, 1.0, where(e < 0.0, -1.0, 0.0 * e))


def _huber(a: Value, y: Value, p: Parameters) -> Value:
    # e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2); by halves, as e may overflow
    e, half, delta = abs(a - y), abs(0.5 * a - 0.5 * y), p[0]
    return where(e <= delta, 0.5 * e * e, 2.0 * delta * (half - 0.25 * delta))


def _huber_slope(a: Value, y: Value, p: Parameters) -> Value:
    return at_most(at_least(a - y, -p[0]), p[0])


def _log_cosh(a: Value, y: Value, p: Parameters) -> Value:
    # log cosh e = log(1 + t^2 / (2 (1 + t))), t = exp(-|e|) - 1, which is accurate near 0;
    # where t^2 / (1 + t) would overflow, |e| + log(1 + exp(-2 |e|)) - log 2
    e = abs(a - y)
    t = expm1(-e)
    near = log1p(0.5 * t * t / (1.0 + t))
    return where(e < 1.0, near, (e - math.log(2.0)) + log1p_exp(-2.0 * e))


def _log_cosh_slope(a: Value, y: Value, p: Parameters) -> Value:
    return tanh(a - y)


def _poisson(a: Value, y: Value, p: Parameters) -> Value:
    return a - y * log(a + CLIP)


def _poisson_slope(a: Value, y: Value, p: Parameters) -> Value:
    return 1.0 - y / (a + CLIP)


def _poisson_of_exponential(z: Value, y: Value, p: Parameters) -> Value:
    # the same of a = exp(z), and nothing is added to a: exp(z) - y z
    return fma(-z, y, exp(z))


# ------------------------------------------------------------------------------- cross-entropies
def kept(q: Value) -> Value:
    """q, kept in [CLIP, 1 - CLIP]; NaN stays NaN."""
    return at_most(at_least(q, CLIP), 1.0 - CLIP)


def where_kept(q: Value, slope: Value) -> Value:
    """Return the derivative of what is constant outside [CLIP, 1 - CLIP]; a NaN passes."""
    return where(q < CLIP, 0.0, where(q > 1.0 - CLIP, 0.0, slope))


def power(x: Value, exponent: Value) -> Value:
    """x^exponent of x in [0, 1]: 0 to the power 0 is 1, and to a negative one counts as 0.

    Each formula multiplies the latter by a factor that is 0, or as good as 0, at that x.
    """
    result = exp(exponent * at_least(log(x), -1e30))  # finite, so that 0 times it is 0
    return where(result < math.inf, result, where(x > 0.0, result, 0.0 * x))


def _binary(a: Value, y: Value, p: Parameters) -> Value:
    # -y log a - (1 - y) log(1 - a)
    q = kept(a)
    return -y * log(q) - (1.0 - y) * log1p(-q)


def _binary_slope(a: Value, y: Value, p: Parameters) -> Value:
    return where_kept(a, (a - y) / (a * (1.0 - a)))


def _binary_of_sigmoid(z: Value, y: Value, p: Parameters) -> Value:
    # the same of a = sigmoid(z): max(z, 0) - z y + log(1 + exp(-|z|))
    return fma(-z, y, at_least(z, 0.0)) + log1p_exp(-abs(z))


def _difference(z: Value, a: Value, y: Value, p: Parameters) -> Value:
    return a - y


def _focal_weight(y: Value, p: Parameters) -> Value:
    # p: gamma, the weight of y = 1 and that of y = 0
    return y * p[1] + (1.0 - y) * p[2]


def _missing(a: Value, rest: Value, y: Value) -> Value:
    # 1 - p_t: the probability that is given to what y is not; rest = 1 - a
    return y * rest + (1.0 - y) * a


def _focal(a: Value, y: Value, p: Parameters) -> Value:
    # w (1 - p_t)^gamma binary(a, y)
    u = _missing(a, 1.0 - a, y)
    return _focal_weight(y, p) * power(u, p[0]) * _binary(a, y, p)


def _focal_slope(a: Value, y: Value, p: Parameters) -> Value:
    u = _missing(a, 1.0 - a, y)
    of_factor = p[0] * power(u, p[0] - 1.0) * (1.0 - 2.0 * y) * _binary(a, y, p)
    return _focal_weight(y, p) * (of_factor + power(u, p[0]) * _binary_slope(a, y, p))


def _focal_of_sigmoid(z: Value, y: Value, p: Parameters) -> Value:
    u = _missing(sigmoid(z), sigmoid(-z), y)
    return _focal_weight(y, p) * power(u, p[0]) * _binary_of_sigmoid(z, y, p)


def _focal_of_sigmoid_slope(z: Value, a: Value, y: Value, p: Parameters) -> Value:
    # w u^gamma (gamma (1 - 2 y) a (1 - a) / u binary + a - y), u = 1 - p_t
    a, rest = sigmoid(z), sigmoid(-z)
    u = _missing(a, rest, y)
    # at u = 0 all of it is 0: only a 0 / 0 is to be avoided, and not a NaN
    share = a * rest / where(u > 0.0, u, u + 1.0)
    of_factor = p[0] * (1.0 - 2.0 * y) * share * _binary_of_sigmoid(z, y, p)
    return _focal_weight(y, p) * power(u, p[0]) * (of_factor + (a * (1.0 - y) - rest * y))


# ------------------------------------------------------------------------------------- functions
@kernel
def row_means(d, d0, rows, n, l, l0):
    """l_i = 1/n sum_j d_ij."""
    l = span(l, l0, rows)
    if n == 1:
        d = span(d, d0, rows)
        for i in range(rows):
            l[i] = d[i]
    else:
        for i in range(rows):
            l[i] = row_sum(d, d0 + i * n, n) / n


def _terms(term: Callable[..., Value]) -> Callable[..., Any]:
    # (count, out, out0, x, x0, y, y0, p, q, r, share): out = term(x, y, (p, q, r)) / share
    return strip(lambda x, y, p, q, r, share: term(x, y, (p, q, r)) / share, 2)


def _mean(value: Callable[..., Value], slope: Callable[..., Value]) -> Callable[..., None]:
    values, slopes = _terms(value), _terms(slope)

    @kernel
    def mean(x):
        count, ps = x.rows * x.n, x.ps
        values(count, x.d, ZERO, x.a, ZERO, x.y, ZERO, ps[0], ps[1], ps[2], 1)
        row_means(x.d, ZERO, x.rows, x.n, x.l, ZERO)
        slopes(count, x.d, ZERO, x.a, ZERO, x.y, ZERO, ps[0], ps[1], ps[2], x.n)

    return mean  # type: ignore[no-any-return]


def _fused_mean(
    activation: str, value: Callable[..., Value], slope: Callable[..., Value]
) -> Callable[..., None]:
    forward, values = ACTIVATIONS[activation].forward, _terms(value)
    slopes = strip(lambda z, a, y, p, q, r, share: slope(z, a, y, (p, q, r)) / share, 3)

    @kernel
    def fused(x):
        count, ps = x.rows * x.n, x.ps
        values(count, x.d, ZERO, x.s, ZERO, x.y, ZERO, ps[0], ps[1], ps[2], 1)
        row_means(x.d, ZERO, x.rows, x.n, x.l, ZERO)
        forward(x.s, ZERO, x.a, ZERO, x.rows, x.n)
        slopes(count, x.d, ZERO, x.s, ZERO, x.a, ZERO, x.y, ZERO, ps[0], ps[1], ps[2], x.n)

    return fused  # type: ignore[no-any-return]


def _pinball(a: Value, y: Value, q: Value) -> Value:
    # q (y - a) where y > a, else (1 - q) (a - y); by halves, as y - a may overflow
    half = 0.5 * y - 0.5 * a
    return where(half > 0.0, 2.0 * q * half, 2.0 * (q - 1.0) * half)


def _pinball_slope(a: Value, y: Value, q: Value, share: Value) -> Value:
    # taken as 0 at 0, as the absolute error's
    e = y - a
    return where(e > 0.0, -q, where(e < 0.0, 1.0 - q, 0.0 * e)) / share


_pinballs, _pinball_slopes = strip(_pinball, 3), strip(_pinball_slope, 3)


@kernel
def quantile(x):
    """The pinball loss; each output has its own quantile, a parameter."""
    n = x.n
    for i in range(x.rows):
        at = i * n
        _pinballs(n, x.d, at, x.a, at, x.y, at, x.ps, ZERO)
    row_means(x.d, ZERO, x.rows, n, x.l, ZERO)
    for i in range(x.rows):
        at = i * n
        _pinball_slopes(n, x.d, at, x.a, at, x.y, at, x.ps, ZERO, n)


_OF_LABELS: dict[str, Any] = {
    "targets": PROBABILITY,
    "outputs": PROBABILITY,
    "kind": "multilabel",
}
LOSSES = {
    "mean_squared_error": Form(
        equation='mean_j (a_j - y_j)^2; also "mse".',
        strip=_mean(_square, _square_slope),
    ),
    "mean_absolute_error": Form(
        equation="mean_j abs(a_j - y_j), whose derivative is taken as 0 where they are equal; "
        'also "mae".',
        strip=_mean(_absolute, _absolute_slope),
        is_smooth=False,
    ),
    "huber": Form(strip=_mean(_huber, _huber_slope), parameters=(1.0,), is_smooth=False),
    "log_cosh": Form(
        equation="mean_j log(cosh(a_j - y_j)): near 0 half the squared error, far off the absolute "
        "one.",
        strip=_mean(_log_cosh, _log_cosh_slope),
        rare=True,
    ),
    "quantile": Form(
        strip=quantile, rare=True, kind="regression", parameters=(0.5,), is_smooth=False
    ),
    "poisson": Form(
        equation="""mean_j (a_j - y_j log(a_j + 1e-7)), for counts y >= 0 and outputs >= 0.

    After "exponential" it is computed from Z, without the 1e-7: exp(z) - y z and its derivative
    exp(z) - y. The constant log(y!) of the Poisson distribution is left out, as in Keras.
    """,
        strip=_mean(_poisson, _poisson_slope),
        fused={"exponential": _fused_mean("exponential", _poisson_of_exponential, _difference)},
        rare=True,
        targets=NOT_NEGATIVE,
        outputs=NOT_NEGATIVE,
        kind="regression",
    ),
    "binary_crossentropy": Form(
        strip=_mean(_binary, _binary_slope),
        fused={"sigmoid": _fused_mean("sigmoid", _binary_of_sigmoid, _difference)},
        **_OF_LABELS,
    ),
    "binary_focal_crossentropy": Form(
        strip=_mean(_focal, _focal_slope),
        fused={"sigmoid": _fused_mean("sigmoid", _focal_of_sigmoid, _focal_of_sigmoid_slope)},
        rare=True,
        **_OF_LABELS,
        parameters=(2.0, 1.0, 1.0),
    ),
}
