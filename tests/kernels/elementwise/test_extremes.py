"""Every loss at the ends of what it takes, against its formula in 100 digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import exp, log, log1p, mpf, sign

from fastdnn.kernels import LOSSES
from tests.kernels.common import Array, each_dtype, unit
from tests.kernels.elementwise.test_losses import CLIP, fused, plain

DIGITS = 100  # cosh(1e-30) is 1 in 60
TERMS = 8  # roundings of a result, relative to the sizes of what is added up
PROBABILITIES = [0.0, 1e-40, 1e-9, 1e-5, 0.3, 0.5, 0.9999, 1.0]  # 1e-40: a denormal float32
LARGE = [0.0, 1e-30, 1e-3, 1.0, 17.0, 88.0, 89.0, 104.0, 709.0, 710.0, 745.0, 746.0, 1e4]
# What is added up to the loss of one sample, and to each of its derivatives.
Terms = list[Any]
Result = tuple[Terms, list[Terms]]
Formula = Callable[[Terms, Terms, Terms], Result]


def ends(dtype: Any) -> list[float]:
    """Of both signs: where exp over- and underflows, and next to infinity."""
    largest = float(np.finfo(dtype).max)
    return sorted({s * x for x in (*LARGE, largest / 4, largest) for s in (-1, 1)})


# --------------------------------------------------------------------------------- of one output
def squared(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    return [(a - y) ** 2], [2 * (a - y)]


def absolute(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    return [abs(a - y)], [sign(a - y)]


def huber(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    e, delta = a - y, p[0]
    if abs(e) <= delta:
        return [e * e / 2], [e]
    return [delta * (abs(e) - delta / 2)], [delta * sign(e)]


def log_cosh(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    e = abs(a - y)
    t = exp(-2 * min(e, mpf(1000)))
    value = log((exp(e) + exp(-e)) / 2) if e < 1 else e + log1p(t) - log(2)
    return [value], [sign(a - y) * (1 - t) / (1 + t)]


def quantile(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    e, q = y - a, p[0]
    return [max(q * e, (q - 1) * e)], [-q if e > 0 else 1 - q if e < 0 else mpf(0)]


def poisson(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    # the sum a + CLIP is rounded, and log(1 + CLIP) shows it
    return [a, -y * log(a + p[-2]), y, -y], [mpf(1), -y / (a + p[-2])]


def exponential_poisson(z: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    a = exp(min(z, mpf(20000)))
    return [a, -z * y], [a, -y]


def binary(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    q = min(max(a, p[-2]), p[-1])
    return [-y * log(q), -(1 - y) * log(1 - q)], [(q - y) / (q * (1 - q)) if q == a else mpf(0)]


def sigmoid_binary(z: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    return [max(z, mpf(0)) - z * y, log1p(exp(-abs(z)))], [1 / (1 + exp(-z)), -y]


def power(u: Any, gamma: Any) -> Any:
    """u^gamma; where u is 0 a negative power's factor is 0, or as good as 0."""
    return u**gamma if u > 0 or gamma >= 0 else mpf(0)


def focal(u: Any, slope: Any, b: tuple[Terms, Terms], gamma: Any) -> tuple[Terms, Terms]:
    """u^gamma b and its derivative, of u with its own `slope`."""
    values = [power(u, gamma) * x for x in b[0]]
    of_u = gamma * power(u, gamma - 1) * slope
    return values, [*(of_u * x for x in b[0]), *(power(u, gamma) * x for x in b[1])]


def binary_focal(a: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    u = y * (1 - a) + (1 - y) * a
    values, slopes = focal(u, 1 - 2 * y, binary(a, y, p), p[0])
    return blurred(values, u, p[0]), blurred(slopes, u, p[0])


def sigmoid_focal(z: Any, y: Any, p: Terms) -> tuple[Terms, Terms]:
    a, rest = 1 / (1 + exp(-z)), 1 / (1 + exp(z))
    u, (values, _) = y * rest + (1 - y) * a, sigmoid_binary(z, y, p)
    b = values, [a * (1 - y), -rest * y]
    values, slopes = focal(u, (1 - 2 * y) * a * rest, b, p[0])
    return blurred(values, u, p[0]), blurred(slopes, u, p[0])


def blurred(terms: Terms, u: Any, gamma: Any, of_u: Any = 0) -> Terms:
    """Terms with a factor exp(gamma log u), which has roundings of gamma log u, and of u itself.

    These are told by two more terms, which add up to 0.
    """
    count = gamma * (abs(log(u)) + of_u / u) if u > 0 else mpf(0)
    more = count * sum(map(abs, terms)) / 2
    return [*terms, more, -more]


ONE: dict[str, Any] = {
    "mean_squared_error": squared,
    "mean_absolute_error": absolute,
    "huber": huber,
    "log_cosh": log_cosh,
    "quantile": quantile,
    "poisson": poisson,
    "binary_crossentropy": binary,
    "binary_focal_crossentropy": binary_focal,
}
FUSED_ONE: dict[str, Any] = {
    "poisson": exponential_poisson,
    "binary_crossentropy": sigmoid_binary,
    "binary_focal_crossentropy": sigmoid_focal,
}


# ----------------------------------------------------------------------------- of several outputs
def softmax(Z: Terms, p: Terms) -> tuple[Terms, Terms]:
    """a, and log a: no z counts as further from the largest than the largest number."""
    D = [max(z - max(Z), -p[-4]) for z in Z]
    total = sum(map(exp, D))
    return [exp(d) / total for d in D], [d - log(total) for d in D]


def of_softmax(Z: Terms, Y: Terms, p: Terms) -> Result:
    A, logs = softmax(Z, p)
    # log(total) is off by a rounding of the total, in float64
    values = [*(-y * l for y, l in zip(Y, logs, strict=True)), p[-3], -p[-3]]
    return values, [[a * sum(Y), -y] for a, y in zip(A, Y, strict=True)]


def focal_of_softmax(Z: Terms, Y: Terms, p: Terms) -> Result:
    A, logs = softmax(Z, p)
    gamma, alpha = p[:2]
    values, H = Terms(), Terms()
    for i, (a, l, y) in enumerate(zip(A, logs, Y, strict=True)):
        u = sum(A[:i] + A[i + 1 :])
        values += blurred([-alpha * y * power(u, gamma) * l], u, gamma, p[-3])
        h = [alpha * y * gamma * a * power(u, gamma - 1) * l, -alpha * y * power(u, gamma)]
        H.append(blurred(h, u, gamma, p[-3]))
    all_of_H = [x for h in H for x in h]
    return values, [[*h, *(-a * x for x in all_of_H)] for a, h in zip(A, H, strict=True)]


def of_outputs(A: Terms, Y: Terms, p: Terms) -> Result:
    lo, hi, total = *p[-2:], sum(A)
    Q = [a / total for a in A]
    # q is rounded, and the logarithm of a q next to 1 shows it
    values = [x for q, y in zip(Q, Y, strict=True) for x in (-y * log(min(max(q, lo), hi)), y, -y)]
    D = [-y / q if lo <= q <= hi else mpf(0) for y, q in zip(Y, Q, strict=True)]
    common = [-d * q / total for d, q in zip(D, Q, strict=True)]
    return values, [[d / total, *common] for d in D]


SEVERAL: dict[str, Formula] = {
    "categorical_crossentropy": of_outputs,
    "sparse_categorical_crossentropy": of_outputs,
}
FUSED_SEVERAL: dict[str, Formula] = {
    "categorical_crossentropy": of_softmax,
    "sparse_categorical_crossentropy": of_softmax,
    "categorical_focal_crossentropy": focal_of_softmax,
}


# -------------------------------------------------------------------------------------- the tests
def rows(loss: str, dtype: Any, X: Sequence[tuple[float, ...]], Y: Any) -> tuple[Array, Array]:
    """Each row of X with each of Y, as columns."""
    x, y = zip(*product(X, Y), strict=True)
    return np.array(x, dtype).T, np.array(y, dtype).T


def targets(loss: str, dtype: Any, n: int) -> list[tuple[float, ...]]:
    """The ends of the domain, and what lies between."""
    low, high = LOSSES[loss].targets
    if n == 1 and high == 1:
        return [(y,) for y in PROBABILITIES]
    if n == 1:
        # exp(z) - y is finite where exp(z) is not, if y is as large: no such counts
        return [(y,) for y in ends(dtype) if y >= low and (low < 0 or y < 1e30)]
    one_hot = [tuple(float(j == k) for j in range(n)) for k in range(n)]
    return (
        one_hot if LOSSES[loss].labels else [*one_hot, (1 / n,) * n, (0.25, 0.75, 0.0), (0.0,) * n]
    )


def check(formula: Any, loss: str, dtype: Any, X: Array, Y: Array, losses: Array, d: Array) -> None:
    """Every loss and derivative, finite where it is: up to roundings of what is added up."""
    largest, rounding = float(np.finfo(dtype).max), unit(np.float64) / unit(dtype)
    others = largest, rounding, CLIP, 1 - CLIP
    p = [mpf(float(dtype.type(x))) for x in (*LOSSES[loss].parameters, *others)]
    wrong = []
    with mpmath.workdps(DIGITS):
        for i in range(X.shape[1]):
            x, y = ([mpf(float(v)) for v in M[:, i]] for M in (X, Y))
            values, slopes = formula(x, y, p)
            for got, terms in zip((losses[i], *d[:, i]), (values, *slopes), strict=True):
                error = error_of(float(got), terms, dtype)
                wrong += [f"x = {X[:, i]}, y = {Y[:, i]}: {error}"] if error else []
    assert not wrong, "\n".join([f"{len(wrong)} such:", *wrong[:20]])


def error_of(got: float, terms: Terms, dtype: Any) -> str | None:
    right, size = sum(terms), sum(map(abs, terms))
    largest = float(np.finfo(dtype).max)
    if abs(right) > largest:
        is_right = not np.isnan(got) and abs(got) >= largest / 2 and (got > 0) == (right > 0)
    else:
        denormal = TERMS * float(np.finfo(dtype).smallest_subnormal)
        is_right = np.isfinite(got) and abs(got - right) <= TERMS * unit(dtype) * size + denormal
    return None if is_right else f"got {got}, want {mpmath.nstr(right, 12)}"


@each_dtype
@pytest.mark.parametrize("loss", ONE)
def test_one_output(dtype: Any, loss: str) -> None:
    low, high = LOSSES[loss].outputs
    numbers = PROBABILITIES if high == 1 else [a for a in ends(dtype) if a >= low]
    A, Y = rows(loss, dtype, [(a,) for a in numbers], targets(loss, dtype, 1))
    one = ONE[loss]
    check(lambda x, y, p: of_one(one(x[0], y[0], p)), loss, dtype, A, Y, *plain(loss, A, Y))


@each_dtype
@pytest.mark.parametrize("loss", FUSED_ONE)
def test_one_z(dtype: Any, loss: str) -> None:
    (activation,) = LOSSES[loss].fused
    Z, Y = rows(loss, dtype, [(z,) for z in ends(dtype)], targets(loss, dtype, 1))
    losses, dZ, A = fused(loss, activation, Z, Y)
    one = FUSED_ONE[loss]
    check(lambda x, y, p: of_one(one(x[0], y[0], p)), loss, dtype, Z, Y, losses, dZ)
    assert not np.isnan(A).any()


def of_one(result: tuple[Terms, Terms]) -> Result:
    """The result of one output as one of a row of them."""
    return result[0], [result[1]]


@each_dtype
@pytest.mark.parametrize("loss", SEVERAL)
def test_several_outputs(dtype: Any, loss: str) -> None:
    X = [(a, b, 1.0) for a, b in product(PROBABILITIES, repeat=2)]
    A, Y = rows(loss, dtype, X, targets(loss, dtype, 3))
    check(SEVERAL[loss], loss, dtype, A, Y, *plain(loss, A, Y))


@each_dtype
@pytest.mark.parametrize("loss", FUSED_SEVERAL)
def test_several_z(dtype: Any, loss: str) -> None:
    X = [(z, 0.0, other) for z in ends(dtype) for other in (z, -z)]
    Z, Y = rows(loss, dtype, X, targets(loss, dtype, 3))
    losses, dZ, A = fused(loss, "softmax", Z, Y)
    check(FUSED_SEVERAL[loss], loss, dtype, Z, Y, losses, dZ)
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=8 * unit(dtype))


def test_every_loss_is_here() -> None:
    assert set(ONE) | set(SEVERAL) | {"categorical_focal_crossentropy"} == set(LOSSES)
    assert set(FUSED_ONE) | set(FUSED_SEVERAL) == {k for k, one in LOSSES.items() if one.fused}
