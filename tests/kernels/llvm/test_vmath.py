"""The elementary functions against exact ones, in units in the last place of the true result.

Nightly, every float32 there is is tried: a few minutes a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import numba
import numpy as np
import pytest
import scipy.special
from numba import int64

from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import _OPTIONS, FLOATS, kernel, vector
from fastdnn.kernels.llvm import vmath
from fastdnn.kernels.llvm.scalar import Value, strip
from tests import tiers
from tests.kernels.common import DTYPES, Array, compiled, each_dtype, nan

STRIDE = 1 if tiers.NIGHTLY else 4099  # a prime: all kinds of mantissas
CHUNK = 2**20
DOUBLES = 500  # of each kind that are compared with mpmath


class Function(NamedTuple):
    """A function under test."""

    formula: Callable[[Value], Value]
    double: Callable[[Array], Array]  # in float64: exact enough for float32
    exact: Callable[[Any], Any]  # of mpmath
    bound: dict[Any, float]  # in units in the last place, as vmath states it
    below: float = np.inf  # where it is a function at all
    above: float = -np.inf
    widest: float = 1e4  # that mpmath is asked for: it would write out all digits of exp(1e300)


def _distribution(x: Value) -> Value:
    return vmath.normal(x)[0]


def _density(x: Value) -> Value:
    return vmath.normal(x)[1]


def _each(single: float, double: float) -> dict[Any, float]:
    return dict(zip(DTYPES, (single, double), strict=True))


FUNCTIONS = {
    "exp": Function(vmath.exp, np.exp, mpmath.exp, _each(1, 1)),
    "expm1": Function(vmath.expm1, np.expm1, mpmath.expm1, _each(1.5, 2)),
    "tanh": Function(vmath.tanh, np.tanh, mpmath.tanh, _each(2.5, 2.5)),
    "sigmoid": Function(
        vmath.sigmoid, scipy.special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), _each(2.5, 2.5)
    ),
    "log": Function(vmath.log, np.log, mpmath.log, _each(1, 1), above=0, widest=np.inf),
    "log1p": Function(
        vmath.log1p, np.log1p, mpmath.log1p, _each(1.5, 1.5), above=-1, widest=np.inf
    ),
    "log1p_exp": Function(
        vmath.log1p_exp,
        lambda x: np.log1p(np.exp(x)),
        lambda x: mpmath.log1p(mpmath.exp(x)),
        _each(2, 2),
        below=0,
    ),
    "softplus": Function(
        vmath.softplus,
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        lambda x: mpmath.log1p(mpmath.exp(x)),
        _each(2, 2),
    ),
    "distribution": Function(_distribution, scipy.special.ndtr, mpmath.ncdf, _each(3, 2.5)),
    "density": Function(
        _density,
        lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi),
        mpmath.npdf,
        _each(1.5, 1.5),
    ),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def _loop(function: Callable[[Value], Value]) -> Callable[..., None]:
    f = strip(function, 1)

    @kernel
    def loop(x, y, start, n):  # type: ignore[no-untyped-def]
        f(n, y, start, x, start)

    return loop  # type: ignore[no-any-return]


LOOPS = {name: _loop(function.formula) for name, function in FUNCTIONS.items()}
LOOPS["reciprocal"] = _loop(vmath.reciprocal)
_call = switch(list(LOOPS.values()))


@compiled(lambda t: (int64, vector(t), vector(t), int64, int64))
def _run(rank, n_ranks, team, code, x, y, start, n):  # type: ignore[no-untyped-def]
    _call(code, x, y, start, n)


def run(name: str, x: Array, start: int = 0, count: int | None = None) -> Array:
    """f(x[start:start + count]) among NaN."""
    y = nan(x.size, dtype=x.dtype)
    _run(x.dtype, 1, list(LOOPS).index(name), x, y, start, x.size if count is None else count)
    return y


# ------------------------------------------------------------------------------- float32: all of it
def units(got: Array, wanted: Array) -> Array:
    """|got - wanted| in units in the last place that a float32 of wanted's size has."""
    # the powers of 2 at or below |wanted|, times the distance of float32s at 1
    exponent = (wanted.view(np.int64) & (0x7FF << 52)).view(np.float64)
    unit = np.maximum(exponent * 2.0**-23, 2.0**-149)
    error = np.abs(got.astype(np.float64) - wanted) / unit
    # both overflow, or both are NaN
    same = (got == wanted.astype(np.float32)) | (np.isnan(got) & np.isnan(wanted))
    return np.where(same & ~np.isfinite(error), 0, np.where(np.isnan(error), np.inf, error))


def patterns() -> Iterator[Array]:
    """Float32s by their bits: at a stride, and all that are near where a formula changes."""
    for first in range(0, 2**32, CHUNK):
        offset = -first % STRIDE
        yield np.arange(first + offset, first + CHUNK, STRIDE, dtype=np.uint64).astype(np.uint32)
    sizes = [0, 2.0**-126, 2.0**-25, 2.0**-12, 0.2928932, 0.34657359, 0.41421356, 0.5, 1, 1.4142135]
    sizes += [0.70710677, 1.0397208, 2, 5, 9.01, 10, 14.5, 17.33, 87.33, 88.72, 89, 103.97, 104]
    bits = np.array([*sizes, 2.0**24, np.inf], np.float32).view(np.uint32).astype(np.int64)
    near = (bits[:, None] + np.arange(-1000, 1000)).ravel()
    near = near[near >= 0]
    yield np.concatenate([near, near + 2**31]).astype(np.uint32)


@each_function
@np.errstate(all="ignore")
def test_float32(name: str) -> None:
    function = FUNCTIONS[name]
    worst, at = 0.0, np.float32(0)
    for bits in patterns():
        x = bits.view(np.float32)
        if function.below == 0:
            x = -np.abs(x)
        error = units(run(name, x), function.double(x.astype(np.float64)))
        if error.max(initial=0) > worst:
            worst, at = error.max(), x[error.argmax()]
    print(f"{name}: {worst:.3f} units at {at}")
    assert worst <= function.bound[np.dtype(np.float32)], at


def test_reciprocal_in_float32() -> None:
    # of all positive normal numbers, 1 / x depends on the mantissa alone, but for its own end
    worst = 0.0
    for exponent in (1, 126, 127, 128, 251):  # 2^-126 to 2^124
        for first in range(0, 2**23, CHUNK):
            bits = np.arange(first, first + CHUNK, 1 if tiers.NIGHTLY else 37, dtype=np.uint32)
            x = (bits + np.uint32(exponent << 23)).view(np.float32)
            worst = max(worst, units(run("reciprocal", x), 1 / x.astype(np.float64)).max())
    print(f"reciprocal: {worst:.4f} units")
    assert worst <= 0.51
    beyond = np.array([2.0**125 * 1.0001, 2.0**127, 3.4e38, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(run("reciprocal", beyond), [0, 0, 0, 0, np.nan])


# ------------------------------------------------------------------------------- float64: a sample
def doubles(function: Function) -> Array:
    """Numbers of all sizes, and more of those where the function bends, over- or underflows."""
    rng = np.random.default_rng(1)
    sign = rng.choice([-1.0, 1.0], DOUBLES)
    x = np.concatenate(
        [
            *(rng.normal(scale=scale, size=DOUBLES) for scale in (0.1, 0.3, 1, 3, 10)),
            sign * 2.0 ** rng.uniform(-1074, 1023, DOUBLES),
            sign * 2.0 ** rng.uniform(-60, 10, DOUBLES),
            1 + rng.normal(scale=1e-3, size=DOUBLES),
            rng.uniform(-746, 710, DOUBLES),
            rng.uniform(-746, -708, DOUBLES),
            rng.uniform(-39, -37, DOUBLES),
            2.0 ** rng.uniform(-53, 0, DOUBLES) - 1,
        ]
    )
    return x[(x > function.above) & (x < function.below) & (np.abs(x) < function.widest)]


@each_function
def test_float64(name: str) -> None:
    function = FUNCTIONS[name]
    x = doubles(function)
    worst, at = 0.0, 0.0
    with mpmath.workprec(200):
        for number, got in zip(x, run(name, x), strict=True):
            wanted = function.exact(mpmath.mpf(number))
            power = mpmath.frexp(wanted)[1] if wanted else -2000
            if power > 1024:
                assert got == np.inf
                continue
            unit = mpmath.ldexp(1, max(power, -1021) - 53)
            error = float(abs(mpmath.mpf(got) - wanted) / unit)
            if error > worst:
                worst, at = error, number
    print(f"{name}: {worst:.3f} units at {at}")
    assert worst <= function.bound[np.dtype(np.float64)], at


# ------------------------------------------------------------------------------------------- ends
INF, NAN = np.inf, np.nan
ENDS = {  # f(-infinity), f(-0), f(0), f(infinity)
    "exp": (0.0, 1.0, 1.0, INF),
    "expm1": (-1.0, -0.0, 0.0, INF),
    "tanh": (-1.0, -0.0, 0.0, 1.0),
    "sigmoid": (0.0, 0.5, 0.5, 1.0),
    "log": (NAN, -INF, -INF, INF),
    "log1p": (NAN, -0.0, 0.0, INF),
    "softplus": (0.0, np.log(2), np.log(2), INF),
    "distribution": (0.0, 0.5, 0.5, 1.0),
    "density": (0.0, 1 / np.sqrt(2 * np.pi), 1 / np.sqrt(2 * np.pi), 0.0),
}


@each_dtype
@pytest.mark.parametrize("name", ENDS)
def test_ends(dtype: Any, name: str) -> None:
    x = np.array([-INF, -0.0, 0.0, INF], dtype)
    wanted = np.array(ENDS[name], dtype)
    np.testing.assert_allclose(run(name, x), wanted, rtol=2 * np.finfo(dtype).eps)
    signed = wanted == 0
    np.testing.assert_array_equal(np.signbit(run(name, x))[signed], np.signbit(wanted)[signed])


@each_dtype
@pytest.mark.parametrize("name", sorted(set(ENDS) - {"log", "log1p", "softplus"}))
def test_far_out(dtype: Any, name: str) -> None:
    largest = float(np.finfo(dtype).max)
    x = np.array([-largest, -1e10, 1e10, largest], dtype)
    ends = run(name, np.array([-INF, -INF, INF, INF], dtype))
    np.testing.assert_array_equal(run(name, x), ends)


@each_dtype
@each_function
def test_nan_stays_nan(dtype: Any, name: str) -> None:
    assert np.isnan(run(name, np.array([NAN, -NAN] * 20, dtype))).all()


@each_dtype
def test_logarithms_of_what_has_none(dtype: Any) -> None:
    x = np.array([-1.5, -1e30, -float(np.finfo(dtype).max)], dtype)
    assert np.isnan(run("log", x)).all()
    assert np.isnan(run("log1p", x)).all()
    assert np.isnan(run("log", np.array([-np.finfo(dtype).smallest_subnormal]))).all()
    assert run("log1p", np.array([-1], dtype))[0] == -INF


@each_dtype
def test_exp_overflows_where_it_must(dtype: Any) -> None:
    last = np.log(np.finfo(dtype).max)
    x = np.array([last, np.nextafter(last, dtype.type(INF))], dtype)
    with np.errstate(over="ignore"):
        wanted = np.exp(x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(run("exp", x), wanted, rtol=np.finfo(dtype).eps)


# --------------------------------------------------------------------------------------- code
@each_dtype
@each_function
def test_the_bits_do_not_depend_on_the_place_in_a_loop(dtype: Any, name: str) -> None:
    # a loop's whole vectors take most elements and a masked one the others
    rng = np.random.default_rng(2)
    x = (rng.normal(size=48) * 2.0 ** rng.integers(-12, 7, 48)).astype(dtype)
    x[FUNCTIONS[name].below < x] *= -1
    alone = np.concatenate([run(name, x, i, 1)[i : i + 1] for i in range(x.size)])
    for start in range(8):
        for count in range(41):
            got = run(name, x, start, count)
            inside = slice(start, start + count)
            assert got[inside].tobytes() == alone[inside].tobytes()
            assert np.isnan(np.delete(got, np.arange(x.size)[inside])).all()


@each_dtype
@each_function
def test_a_loop_runs_in_vectors(dtype: Any, name: str) -> None:
    # a kernel is not optimised by itself
    loop: Any = numba.njit(**_OPTIONS)(LOOPS[name].py_func)
    data = vector(FLOATS[dtype])
    signature = (data, data, int64, int64)
    loop.compile(signature)
    code = loop.inspect_llvm(signature)
    of = {4: "float", 8: "double"}[dtype.itemsize]
    assert re.search(rf"fmul [^\n]*<\d+ x {of}>", code)
    called = set(re.findall(r"call [^\n]*@([\w.]+)\(", code))
    assert not {f for f in called if re.match(r"(exp|log|tanh|erf|fma)", f)}
