"""The elementary functions of activations and losses, as formulas (see `scalar`).

The C library's functions take one element at a time; these have no branches, so a loop over one of
them runs in vectors. Error bounds are in units in the last place of the true result, of which the
denormal ones are smallest_subnormal each. The worst errors of float32 were found by trying every
number, those of float64 by sampling. NaN stays NaN.
"""

from __future__ import annotations

import math

from .scalar import (
    Bits,
    PerDtype,
    Value,
    at_least,
    at_most,
    copysign,
    estimated_reciprocal,
    fma,
    polynomial,
    where,
)

_MANTISSA = PerDtype(23, 52)  # its bits
_MANTISSA_MASK = PerDtype((1 << 23) - 1, (1 << 52) - 1)
_BIAS = PerDtype(127, 1023)  # of its exponent
_ONE = PerDtype(0x3F800000, 0x3FF0000000000000)  # the bits of 1

# ln 2 in two parts: an exponent times the first is exact
_LN2_HIGH = PerDtype(0.693359375, 0.693147180369123816490)
_LN2_LOW = PerDtype(-2.12194440054690583e-4, 1.90821492927058770002e-10)
_LOG2_E = 1.44269504088896340736

# A number added to this is rounded to an integer, which stands in the lowest bits of the sum.
_ROUND = PerDtype(1.5 * 2.0**23, 1.5 * 2.0**52)

# (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2
_EXP = PerDtype(
    (0.5, 0.16666666, 0.04166648, 0.0083335787, 0.0013933345, 0.00019731959),
    (
        0.5000000000000006, 0.16666666666666616, 0.04166666666657402, 0.00833333333337103,
        0.0013888888932213719, 0.00019841269761483357, 2.4801504651070625e-05,
        2.7557368049969474e-06, 2.762624748509651e-07, 2.5066648849717382e-08,
    ),
)  # fmt: skip
_LEAST_EXP = PerDtype(-104.0, -746.0)  # exp of less rounds to 0,
_MOST_EXP = PerDtype(89.0, 710.0)  # of more to infinity

# (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2, for (1 + s) / (1 - s) in [sqrt(1 / 2), sqrt(2)]
_LOG = PerDtype(
    (0.66666776, 0.39977583, 0.29871005),
    (
        0.6666666666666733, 0.39999999999422536, 0.2857142874102452, 0.22222198679291716,
        0.1818356035385911, 0.153141168434788, 0.1479560767934952,
    ),
)  # fmt: skip
_SQRT_HALF = PerDtype(0x3F3504F3, 0x3FE6A09E667F3BCD)  # the bits of sqrt(1 / 2)
_ONE_BY_SQRT_HALF = PerDtype(0x3F800000 - 0x3F3504F3, 0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_SQRT_2_LESS_1 = 0.41421356237309504880
_TINY = PerDtype(2.0**-126, 2.0**-1022)  # below are the denormal numbers:
_DENORMAL_SCALE = PerDtype(2.0**25, 2.0**54)  # this makes them normal
_DENORMAL_SHIFT = PerDtype(-25.0, -54.0)
# A float whose last bit counts 1: an integer in its mantissa's bits is added to it.
_INTEGERS = PerDtype(0x4B000000, 0x4330000000000000)
_INTEGERS_AND_BIAS = PerDtype(2.0**23 + 127, 2.0**52 + 1023)

_BITS_OF_RECIPROCAL = PerDtype(0x7EF311C3, 0)  # less the bits of x: those of nearly 1 / x
_MOST_RECIPROCAL = 2.0**125

_MOST_TANH = PerDtype(10.0, 20.0)  # tanh of more rounds to 1

# (Phi(x) - 1 / 2) / x in x^2 for |x| <= 1, where Phi is the standard normal distribution
_CENTRE = PerDtype(
    (0.39894226, -0.06648957, 0.009967201, -0.001169411, 0.0000942779),
    (
        0.39894228040143265, -0.06649038006690253, 0.009973557009960068, -0.0011873282146218774,
        0.00011543468242524592, -9.444637757570343e-06, 6.659285314350365e-07,
        -4.117019609648659e-08, 2.2256266624098392e-09, -8.995504489447432e-11,
    ),
)  # fmt: skip
# p = (a + c) exp(a^2 / 2) Phi(-a) in t = (a - c) / (a + c) for a >= 1: p(0), and (p - p(0)) / t
_C = PerDtype(3.53125, 5.0)
_HALF_BY_C = PerDtype(*(0.5 / c for c in _C))
_TAIL_0 = PerDtype(0.74520606, 0.769193049750063)
_TAIL = PerDtype(
    (
        -0.568567, 0.3203016, -0.12048387, 0.019729149, 0.0059956093, -0.0033633807,
        -0.00029642932, 0.0004319489,
    ),
    (
        -0.6653825028900574, 0.49530561596997236, -0.3135331566712151,
        0.16502036617059448, -0.06911863870970815, 0.02079506679580899, -0.00299337671119369,
        -0.0007978693628328202, 0.0005448984988664472, -5.937585294323329e-05,
        -4.975961377096485e-05, 1.6681064340781053e-05, 3.969844075949647e-06,
        -2.7665625424236166e-06, -3.1354973253828365e-07, 4.2411025816192664e-07,
        1.512890440827654e-08, -5.262145130302276e-08, 5.579105101030445e-09,
    ),
)  # fmt: skip
_MOST_TAIL = PerDtype(14.5, 38.75)  # the tail beyond rounds to 0
_UPPER_HALF = PerDtype(0xFFFFF000, 0xFFFFFFFFF8000000)  # of a mantissa: its square is exact
_INV_SQRT_2PI = 0.398942280401432677940


def _power_of_2(k: Bits) -> Value:
    # whatever stands above an exponent's bits in k is shifted out
    return ((k << _MANTISSA) + _ONE).value


def _reduced(x: Value, low: Value | None = None) -> tuple[Bits, Value]:
    # k (its low bits) and exp(r) - 1, where x + low = k ln 2 + r, |r| <= ln(2) / 2
    shifted = fma(x, _LOG2_E, _ROUND)
    k = shifted - _ROUND
    r = fma(-k, _LN2_LOW, fma(-k, _LN2_HIGH, x))
    if low is not None:
        r = r + low
    return shifted.bits, fma(r * r, polynomial(r, _EXP), r)


def _halves(k: Bits) -> tuple[Bits, Bits]:
    # 2^k may not be a number where exp(r) 2^k is one: scale by 2^(k / 2) twice
    half = k >> 1
    return half, k - half


def _clamped(x: Value) -> Value:
    return at_most(at_least(x, _LEAST_EXP), _MOST_EXP)


def exp(x: Value) -> Value:
    """exp(x).

    Worst error: 0.98 units in float32, 0.96 in float64, also where the result is denormal.
    """
    k, e = _reduced(_clamped(x))
    first, second = _halves(k)
    return (e + 1.0) * _power_of_2(first) * _power_of_2(second)


def expm1(x: Value) -> Value:
    """exp(x) - 1.

    Worst error: 1.44 units in float32, 1.86 in float64.
    """
    k, e = _reduced(_clamped(x))
    first, second = _halves(k)
    # 2^k (exp(r) - 1) + (2^k - 1), all divided by 2^second
    scale = _power_of_2(first)
    result = fma(e, scale, scale - _power_of_2(0 - second)) * _power_of_2(second)
    return copysign(result, x)  # -0 stays -0


def tanh(x: Value) -> Value:
    """(exp(2 x) - 1) / (exp(2 x) + 1).

    Worst error: 2.42 units in float32, 2.45 in float64.
    """
    a = at_most(abs(x), _MOST_TANH)
    k, e = _reduced(a + a)
    scale = _power_of_2(k)
    e = fma(e, scale, scale - 1.0)  # expm1(2 |x|)
    return copysign(e / (e + 2.0), x)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)).

    Worst error: 2.41 units in float32, 2.03 in float64, also where the result is denormal.
    """
    e = exp(-abs(x))  # of a negative number only: nothing overflows
    return where(x < 0.0, e, 1.0) / (e + 1.0)


def reciprocal(x: Value) -> Value:
    """1 / x of a positive normal x, in float32 without a division; 0 where x > 2^125.

    Worst error: 0.51 units in float32, 0.5 in float64.
    """
    if not x.is_single:
        return 1.0 / x
    y = estimated_reciprocal(x)
    if y is None:
        # by its bits it is right to 12 %, and to 0.2 % after a step
        y = _nearer_to_reciprocal(x, (_BITS_OF_RECIPROCAL - x.bits).value)
    return where(x > _MOST_RECIPROCAL, 0.0, _nearer_to_reciprocal(x, y))


def _nearer_to_reciprocal(x: Value, y: Value) -> Value:
    # y (1 + e + e^2), e = 1 - x y: an error to the third power
    e = fma(-x, y, 1.0)
    return fma(fma(e, e, e), y, y)


def _split(x: Value) -> tuple[Bits, Value]:
    # k + a float's bias and m, x = 2^k m, where sqrt(1 / 2) <= m < sqrt(2); x is positive, normal
    from_sqrt_half = x.bits + _ONE_BY_SQRT_HALF
    return from_sqrt_half >> _MANTISSA, ((from_sqrt_half & _MANTISSA_MASK) + _SQRT_HALF).value


def _as_integer(biased: Bits) -> Value:
    # they are the last bits of the mantissa of a float whose last bit counts 1
    return (biased | _INTEGERS).value - _INTEGERS_AND_BIAS


def _log_of_parts(k: Value, f: Value) -> Value:
    # k ln 2 + log(1 + f), the largest terms last
    s = f / (f + 2.0)
    w = s * s
    square = 0.5 * f * f
    rest = fma(s, fma(w, polynomial(w, _LOG), square), k * _LN2_LOW)
    return fma(k, _LN2_HIGH, f - (square - rest))


def _with_ends(result: Value, x: Value) -> Value:
    # a logarithm of x where x is no positive number; of 0, x - infinity
    beyond = where(x < 0.0, math.nan, x - math.inf)
    return where(x > 0.0, where(x < math.inf, result, x), beyond)


def log(x: Value) -> Value:
    """log(x): -infinity of 0, NaN of less.

    Worst error: 0.83 units in float32, 0.77 in float64.
    """
    denormal = x < _TINY
    k, m = _split(where(denormal, x * _DENORMAL_SCALE, x))
    shift = where(denormal, x.of(_DENORMAL_SHIFT), 0.0)
    return _with_ends(_log_of_parts(_as_integer(k) + shift, m - 1.0), x)


def log1p(x: Value) -> Value:
    """log(1 + x): -infinity of -1, NaN of less.

    Worst error: 1.40 units in float32, 1.34 in float64.
    """
    u = 1.0 + x
    k, _ = _split(u)
    exponent = (k - _BIAS) << _MANTISSA
    # (1 + x) / 2^k - 1 from x, as u is rounded; 2^-k is 0 where it does not count
    scale = at_least((_ONE - exponent).value, 0.0)
    result = _log_of_parts(_as_integer(k), (x.bits - exponent).value + (scale - 1.0))
    return copysign(_with_ends(result, u), x)  # -0 stays -0


def log1p_exp(x: Value) -> Value:
    """log(1 + exp(x)) of x <= 0.

    Worst error: 1.68 units in float32, 1.51 in float64, also where the result is denormal.
    """
    e = exp(x)
    # log1p, but 1 + e is 2^0 or 2^1 times a number near 1
    large = e > _SQRT_2_LESS_1
    return _log_of_parts(where(large, e.of(1.0), 0.0), where(large, fma(e, 0.5, -0.5), e))


def softplus(x: Value) -> Value:
    """log(1 + exp(x)).

    Worst error: 1.68 units in float32, 1.51 in float64, also where the result is denormal.
    """
    return at_least(x, 0.0) + log1p_exp(-abs(x))


def normal(x: Value) -> tuple[Value, Value]:
    """Return the standard normal distribution, that is (1 + erf(x / sqrt(2))) / 2, and its density.

    Worst error: 2.61 units in float32, 2.01 in float64; of the density 1.46 and 1.32;
    also where the result is denormal.
    """
    a = at_most(abs(x), _MOST_TAIL)
    # a^2 = upper^2 + (a - upper) (a + upper), of which the first term is exact
    upper = (a.bits & _UPPER_HALF).value
    k, e = _reduced(-0.5 * upper * upper, -0.5 * (a - upper) * (a + upper))
    first, second = _halves(k)
    # p(t) / (a + c), t = (a - c) / (a + c), with what each rounding loses but those of t and q
    s = a + _C
    t = (a - _C) / s
    q = polynomial(t, _TAIL)
    p = fma(t, q, _TAIL_0)
    share = p / s
    lost = fma(t, q, _TAIL_0 - p) + fma(-share, s, p) - share * (a - (s - _C))
    low = lost * (1.0 - t) * _HALF_BY_C  # 1 / (a + c) = (1 - t) / 2 c
    tail = (fma(e, share, low) + share) * _power_of_2(first) * _power_of_2(second)
    outside = where(x > 0.0, 1.0 - tail, tail)
    inside = fma(x, polynomial(x * x, _CENTRE), 0.5)
    density = fma(e, _INV_SQRT_2PI, _INV_SQRT_2PI)
    return where(a > 1.0, outside, inside), density * _power_of_2(first) * _power_of_2(second)
