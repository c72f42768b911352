"""Every activation of the table against naive, also where numbers are extreme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels import ACTIVATIONS, activation_backward, activation_forward
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.elementwise.activations import activate
from tests import naive
from tests.kernels.common import (
    LAYOUTS,
    Array,
    activation_bound,
    assert_within,
    compiled,
    derivative_bound,
    draw,
    each_dtype,
    each_layout,
    nan,
    unit,
)

each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.whole_row]
each_elementwise = pytest.mark.parametrize("activation", ELEMENTWISE)


def extremes(dtype: Any) -> Array:
    """Both signs of 0, the smallest, where exp over- and underflows, the largest, infinity, NaN."""
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, unit(dtype), 1e-4, 0.5, 1, 2, 5, 10, 20, 40]
    sizes += [87, 89, 104, 708, 710, 746, 1e4, 1e10, float(info.max) / 4, np.inf, np.nan]
    return np.array([*sizes, *(-np.array(sizes))], dtype).reshape(1, -1)


def representable(wanted: Array, dtype: Any) -> Array:
    """`wanted`, infinite where it is too large for dtype."""
    return np.where(np.abs(wanted) > np.finfo(dtype).max, np.copysign(np.inf, wanted), wanted)


def test_codes_are_places_in_the_table() -> None:
    assert [entry.code for entry in ACTIVATIONS.values()] == list(range(len(ACTIVATIONS)))


def test_the_table_is_the_specifications() -> None:
    assert set(ACTIVATIONS) == set(naive.ACTIVATIONS) - {"linear"}


@each_dtype
@each_elementwise
@np.errstate(all="ignore")
def test_extreme_values_forward(dtype: Any, activation: str) -> None:
    Z = extremes(dtype)
    wanted = representable(naive.ACTIVATIONS[activation][0](Z.astype(np.float64)), dtype)
    got = activation_forward(Z, activation)
    assert got.dtype == dtype
    assert_within(got, wanted, activation_bound(activation, wanted, 0, dtype))


@each_dtype
@each_elementwise
@np.errstate(all="ignore")
def test_extreme_values_backward(dtype: Any, activation: str) -> None:
    Z = extremes(dtype)
    Z = Z[:, np.isfinite(Z[0]) & np.isfinite(activation_forward(Z, activation)[0])]
    A = activation_forward(Z, activation)
    for dA in (np.ones_like(Z), np.full_like(Z, -1e10), np.zeros_like(Z)):
        wanted = naive.ACTIVATIONS[activation][1](dA.astype(np.float64), Z.astype(np.float64))
        wanted = representable(wanted, dtype)
        got = activation_backward(dA, activation, A=A, Z=Z)
        bound = derivative_bound(activation, dA.astype(np.float64), Z.astype(np.float64), dtype)
        assert_within(got, wanted, bound)


@each_dtype
@each_activation
def test_many_values(dtype: Any, activation: str) -> None:
    Z = np.concatenate(
        [np.linspace(-12, 12, 4001), np.linspace(-1e-3, 1e-3, 999), 50 * draw(1, 1000)]
    )
    if activation == "exponential":
        Z = np.minimum(Z, 80)  # beyond 88 float32 overflows, which the extreme values show
    Z = Z.reshape(-1, 50).astype(dtype)  # for softmax: rows of neighbours
    dA = draw(2, *Z.shape, dtype=dtype)
    g, backward = naive.ACTIVATIONS[activation]
    A = activation_forward(Z, activation)
    wanted = g(Z.astype(np.float64))
    assert_within(A, wanted, activation_bound(activation, wanted, 0, dtype))
    dZ = activation_backward(dA, activation, A=A, Z=Z)
    wanted = backward(dA.astype(np.float64), Z.astype(np.float64))
    bound = derivative_bound(activation, dA.astype(np.float64), Z.astype(np.float64), dtype)
    assert_within(dZ, wanted, bound)


@each_dtype
@each_activation
def test_nan_stays_nan(dtype: Any, activation: str) -> None:
    Z = draw(1, 5, 7, dtype=dtype)
    Z[2, 3] = np.nan
    got = np.isnan(activation_forward(Z, activation))
    wanted = np.isnan(Z)
    if ACTIVATIONS[activation].whole_row:
        wanted[:, 3] = True  # all outputs of that sample
    np.testing.assert_array_equal(got, wanted)
    dA = draw(2, 5, 7, dtype=dtype)
    dA[1, 4] = np.nan
    A = activation_forward(np.ones_like(Z), activation)
    dZ = activation_backward(dA, activation, A=A, Z=np.ones_like(Z))
    assert np.isnan(dZ[1, 4])
    assert np.isnan(dZ).sum() == (5 if ACTIVATIONS[activation].whole_row else 1)


@each_dtype
def test_outputs_stay_in_their_range(dtype: Any) -> None:
    Z = extremes(dtype)[:, np.isfinite(extremes(dtype)[0])]
    for name, entry in ACTIVATIONS.items():
        low, high = entry.outputs
        A = activation_forward(Z.T if entry.whole_row else Z, name)
        assert ((low <= A) & (high >= A)).all()
        # and no smaller interval would do
        assert np.isinf(low) or A.min() == low
        assert np.isinf(high) or A.max() == high


@each_dtype
@pytest.mark.parametrize("n", [1, 2, 3, 10, 101, 5000])
def test_softmax_of_any_width(dtype: Any, n: int) -> None:
    Z = 3 * draw(3, n, 7, dtype=dtype)
    A = activation_forward(Z, "softmax")
    wanted = naive.softmax(Z.astype(np.float64))
    assert_within(A, wanted, activation_bound("softmax", wanted, 0, dtype))
    # the rounding of each of n summands, at most that of a whole
    np.testing.assert_allclose(A.astype(np.float64).sum(axis=0), 1, atol=(n + 8) * unit(dtype))


@each_dtype
def test_softmax_of_extreme_values(dtype: Any) -> None:
    big = float(np.finfo(dtype).max) / 4
    Z = np.array(
        [[big, 0, -big], [1e4, 1e4, 1e4], [-1e4, -1e4 + 1, -1e4], [-np.inf, 0, 0]], dtype
    ).T
    for shift in range(3):  # the largest may be any of them
        given = np.roll(Z, shift, axis=0)
        A = activation_forward(given, "softmax")
        wanted = naive.softmax(given.astype(np.float64))
        assert_within(A, wanted, activation_bound("softmax", wanted, 0, dtype))


@each_dtype
def test_softmax_does_not_feel_a_shift(dtype: Any) -> None:
    Z = np.round(8 * draw(3, 10, 7)).astype(dtype)
    shifted = Z + dtype.type(1024)
    np.testing.assert_array_equal(
        activation_forward(shifted, "softmax"), activation_forward(Z, "softmax")
    )


@each_dtype
@each_activation
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (17, 5), (37, 1000)])
def test_activation_alone(dtype: Any, activation: str, shape: tuple[int, int]) -> None:
    Z, dA = 2 * draw(6, *shape, dtype=dtype), draw(7, *shape, dtype=dtype)
    A = activation_forward(Z, activation)
    dZ = activation_backward(dA, activation, A=A, Z=Z)
    assert A.dtype == dZ.dtype == dtype
    assert A.shape == dZ.shape == shape
    if not Z.size:
        return
    dA64, Z64 = dA.astype(np.float64), Z.astype(np.float64)
    g, backward = naive.ACTIVATIONS[activation]
    wanted, derivative = g(Z64), backward(dA64, Z64)
    assert_within(A, wanted, activation_bound(activation, wanted, 0, dtype))
    assert_within(dZ, derivative, derivative_bound(activation, dA64, Z64, dtype))


@each_layout
def test_activation_alone_in_any_layout(layout: str) -> None:
    change = LAYOUTS[layout]
    Z, dA = draw(6, 37, 43), draw(7, 37, 43)
    A = activation_forward(Z, "tanh")
    np.testing.assert_array_equal(activation_forward(change(Z), "tanh"), A)
    np.testing.assert_array_equal(
        activation_backward(change(dA), "tanh", A=change(A)),
        activation_backward(dA, "tanh", A=A),
    )


@each_dtype
@each_activation
@pytest.mark.parametrize("n", [1, 3, 10, 37])
def test_the_bits_do_not_depend_on_the_samples_beside(dtype: Any, activation: str, n: int) -> None:
    m = 29
    Z, dA = 3 * draw(6, n, m, dtype=dtype), draw(7, n, m, dtype=dtype)
    A = activation_forward(Z, activation)
    dZ = activation_backward(dA, activation, A=A, Z=Z)
    for begin, end in ((0, 1), (3, 4), (1, 20), (5, m)):
        part = np.s_[:, begin:end]
        got = activation_forward(Z[part], activation)
        np.testing.assert_array_equal(got, A[part])
        got = activation_backward(dA[part], activation, A=A[part], Z=Z[part])
        np.testing.assert_array_equal(got, dZ[part])


@compiled(lambda t: (int64, vector(t), int64, vector(t), int64, int64, int64))
def _activate(rank, n_ranks, team, code, z, z0, a, a0, rows, n):  # type: ignore[no-untyped-def]
    activate(code, z, z0, a, a0, rows, n)


@each_dtype
@each_activation
def test_from_one_place_to_another(dtype: Any, activation: str) -> None:
    code, (rows, n) = ACTIVATIONS[activation].code, (7, 11)
    z = draw(8, 3 + rows * n + 2, dtype=dtype)
    wanted = activation_forward(z[3:-2].reshape(rows, n).T, activation).T.reshape(-1)
    apart, before = nan(rows * n + 9, dtype=dtype), z.copy()
    _activate(dtype, 1, code, z, 3, apart, 4, rows, n)
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(apart[4:-5], wanted)
    assert np.isnan(np.delete(apart, np.arange(4, 4 + rows * n))).all()
    _activate(dtype, 1, code, z, 3, z, 3, rows, n)
    before[3:-2] = wanted
    np.testing.assert_array_equal(z, before)
