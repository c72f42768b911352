"""Every loss of the table against naive: its value and the derivative that it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels import ACTIVATIONS, LOSSES
from fastdnn.kernels._jit import vector
from fastdnn.kernels.losses import CLIP, loss_rows
from tests import naive
from tests.kernels.common import (
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    roundings,
    unit,
)

_DOUBLES = vector(float64)
AT_ONCE = (1, 5, 32, 1000)  # samples in a strip
WIDTHS = [1, 2, 3, 10, 101]
each_loss = pytest.mark.parametrize("loss", LOSSES)
each_width = pytest.mark.parametrize("n", WIDTHS)
FUSED = [(loss, activation) for loss, entry in LOSSES.items() for activation in entry.fused]
each_fused = pytest.mark.parametrize(("loss", "activation"), FUSED)


@compiled(
    lambda t: (int64, int64, *[vector(t)] * 3, vector(int64), vector(t), int64, float64, _DOUBLES)
)
def _rows(rank, n_ranks, team, code, at_once, s, a, y, labels, d, n, p, losses):  # type: ignore[no-untyped-def]
    for i in range(0, losses.size, at_once):
        at, rows = i * n, min(at_once, losses.size - i)
        loss_rows(code, s, at, a, at, y, at, labels, i, d, at, rows, n, p, losses, i)


def rows(code: int, s: Array, a: Array, Y: Array, p: float, *, labels: bool) -> tuple[Array, Array]:
    """The loss of each sample and the derivatives (n, m); Y may be given to a loss of labels."""
    n, m = a.shape
    dtype = a.dtype
    numbers = Y.argmax(axis=0) if labels else np.empty(0, np.int64)
    y = np.empty(0, dtype) if labels else np.ascontiguousarray(Y.T, dtype).reshape(-1)
    z = np.ascontiguousarray(s.T).reshape(-1)
    found = []
    for at_once in AT_ONCE:
        losses, d = nan(m, dtype=np.float64), nan(m * n, dtype=dtype)
        flat = a.T.reshape(-1).copy()
        _rows(dtype, 1, code, at_once, z, flat, y, numbers, d, n, p, losses)
        found.append((losses, d, flat))
    # the same bits however many samples a strip has
    assert len({(l.tobytes(), d.tobytes(), flat.tobytes()) for l, d, flat in found}) == 1
    a[...] = flat.reshape(m, n).T
    return losses, d.reshape(m, n).T


def plain(loss: str, A: Array, Y: Array, p: float = 1.0) -> tuple[Array, Array]:
    """A loss that reads A; it must not read S nor write A."""
    before = A.copy()
    entry = LOSSES[loss]
    result = rows(entry.code, nan(*A.shape, dtype=A.dtype), A, Y, p, labels=entry.labels)
    np.testing.assert_array_equal(A, before)
    return result


def fused(loss: str, activation: str, Z: Array, Y: Array) -> tuple[Array, Array, Array]:
    """A loss that reads Z and writes A: losses, dZ, A."""
    entry, A = LOSSES[loss], nan(*Z.shape, dtype=Z.dtype)
    losses, dZ = rows(entry.fused[activation], Z, A, Y, 1.0, labels=entry.labels)
    return losses, dZ, A


def targets(loss: str, n: int, m: int, dtype: Any) -> Array:
    """Targets of the kind that the loss wants; dense class targets also spread over classes."""
    if LOSSES[loss].labels:
        return naive.one_hot(np.random.default_rng(1).integers(n, size=m), n)
    if LOSSES[loss].probabilities:
        Y = np.random.default_rng(1).uniform(size=(n, m))
        Y[:, ::2] = np.round(Y[:, ::2])
        return Y.astype(dtype)
    return 2 * draw(1, n, m, dtype=dtype)


def outputs(loss: str, n: int, m: int, dtype: Any) -> Array:
    """Outputs away from where the loss cuts its logarithms."""
    if LOSSES[loss].labels or LOSSES[loss].probabilities:
        return np.random.default_rng(2).uniform(0.05, 0.95, size=(n, m)).astype(dtype)
    return 2 * draw(2, n, m, dtype=dtype)


def test_the_table_is_the_specifications() -> None:
    assert set(LOSSES) == set(naive.LOSSES) - {"mse", "mae"}
    assert {(activation, loss) for loss, activation in FUSED} == set(naive.FUSED)
    codes = [entry.code for entry in LOSSES.values()]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & {code for one in LOSSES.values() for code in one.fused.values()}
    assert all(activation in ACTIVATIONS for _, activation in FUSED)


@each_dtype
@each_loss
@each_width
def test_plain(dtype: Any, loss: str, n: int) -> None:
    m = 37
    A, Y = outputs(loss, n, m, dtype), targets(loss, n, m, dtype)
    losses, dA = plain(loss, A, Y)
    A64, Y64 = A.astype(np.float64), Y.astype(np.float64)
    wanted, derivative = naive.LOSSES[loss](A64, Y64)
    if "categorical" in loss and n == 1:  # the one class has 1 - CLIP: all of the loss is CLIP Y
        assert_within(losses, wanted, unit(dtype) / CLIP * wanted)
        np.testing.assert_array_equal(dA, derivative)
        return
    # outputs and probabilities are at least 0.05: 1 / p <= 20 n
    steep = 20 * n if "categorical" in loss else 20 if "cross" in loss else 8
    size = np.abs(Y64).sum(axis=0) + np.abs(A64).sum(axis=0)
    assert_within(losses, wanted, roundings(n + 8, dtype) * (1 + np.abs(wanted) + size * steep / n))
    largest = np.abs(derivative).max(axis=0) + steep * np.abs(Y64).sum(axis=0) / n + 1 / n
    assert_within(dA, derivative, roundings(n + 16, dtype) * largest)


@each_dtype
@each_fused
@each_width
@pytest.mark.parametrize("spread", [1, 30])
def test_fused(dtype: Any, loss: str, activation: str, n: int, spread: float) -> None:
    m = 37
    Z, Y = spread * draw(3, n, m, dtype=dtype), targets(loss, n, m, dtype)
    losses, dZ, A = fused(loss, activation, Z, Y)
    Z64, Y64 = Z.astype(np.float64), Y.astype(np.float64)
    wanted, derivative = naive.FUSED[activation, loss](Z64, Y64)
    mass = 1 + np.abs(Y64).sum(axis=0)
    size = mass * (1 + np.abs(Z64).max(axis=0))
    assert_within(losses, wanted, roundings(n + 8, dtype) * size)
    assert_within(dZ, derivative, roundings(n + 8, dtype) * mass)
    assert_within(A, naive.ACTIVATIONS[activation][0](Z64), roundings(n + 8, dtype))


@each_dtype
@each_fused
@pytest.mark.parametrize("size", [100, 1000, 1e4, 1e30])
def test_fused_at_extreme_values(dtype: Any, loss: str, activation: str, size: float) -> None:
    Z = np.array([[size, -size, 0, size], [-size, size, 0, size], [0, 0, 0, -size]], dtype)
    Y = naive.one_hot(np.array([0, 2, 1, 1]), 3)
    losses, dZ, A = fused(loss, activation, Z, Y)
    Z64 = Z.astype(np.float64)
    wanted, derivative = naive.FUSED[activation, loss](Z64, Y)
    assert_within(losses, wanted, roundings(8, dtype) * (1 + 3 * size))
    assert_within(dZ, derivative, roundings(8, dtype))
    assert_within(A, naive.ACTIVATIONS[activation][0](Z64), roundings(8, dtype))


@each_dtype
@pytest.mark.parametrize("loss", [name for name in LOSSES if "crossentropy" in name])
def test_probabilities_are_kept_from_0_and_1(dtype: Any, loss: str) -> None:
    # as wide as single precision knows near 1
    outside = [0, 1, CLIP / 2, 1e-30, 1 - 2**-24]
    A = np.array([outside, 1 - np.array(outside)]).astype(dtype)
    for Y in (naive.one_hot(np.zeros(5, int), 2), naive.one_hot(np.ones(5, int), 2)):
        losses, dA = plain(loss, A, Y)
        assert np.isfinite(losses).all()
        wanted, _ = naive.LOSSES[loss](A.astype(np.float64), Y)
        np.testing.assert_allclose(losses, wanted, rtol=unit(dtype) / CLIP, atol=unit(dtype))
        # the loss is constant there
        np.testing.assert_array_equal(dA, np.zeros(A.shape))


def test_categorical_crossentropy_makes_a_distribution_of_its_input() -> None:
    A, Y = np.random.default_rng(4).uniform(0.1, 1, (5, 7)), targets("huber", 5, 7, np.float64)
    Y = naive.softmax(Y)
    losses, dA = plain("categorical_crossentropy", A, Y)
    scaled, dA_scaled = plain("categorical_crossentropy", 4 * A, Y)
    np.testing.assert_allclose(scaled, losses, rtol=1e-14)
    np.testing.assert_allclose(dA_scaled, dA / 4, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose((dA * A).sum(axis=0), 0, atol=1e-14)


@each_dtype
@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_hubers_delta(dtype: Any, delta: float) -> None:
    A, Y = outputs("huber", 10, 37, dtype), targets("huber", 10, 37, dtype)
    Y[0] = A[0] + dtype.type(delta)  # where the two pieces meet
    losses, dA = plain("huber", A, Y, delta)
    wanted, derivative = naive.huber(A.astype(np.float64), Y.astype(np.float64), delta)
    size = (np.abs(A) + np.abs(Y)).max() * max(delta, 1)
    assert_within(losses, wanted, roundings(18, dtype) * (wanted + size))
    assert_within(dA, derivative, roundings(8, dtype) * size)


def test_the_absolute_errors_derivative_at_0_is_0() -> None:
    A = draw(1, 3, 5)
    losses, dA = plain("mean_absolute_error", A, A.copy())
    np.testing.assert_array_equal(losses, np.zeros(5))
    np.testing.assert_array_equal(dA, np.zeros((3, 5)))


@each_dtype
@each_loss
def test_a_nan_output_makes_the_loss_nan(dtype: Any, loss: str) -> None:
    A, Y = outputs(loss, 3, 7, dtype), targets(loss, 3, 7, dtype)
    Y = naive.one_hot(np.zeros(7, int), 3) if "categorical" in loss else Y
    A[0, 4] = np.nan
    losses, _ = plain(loss, A, Y)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(7) == 4)


@each_dtype
@each_fused
def test_a_nan_makes_a_fused_loss_nan(dtype: Any, loss: str, activation: str) -> None:
    Z, Y = draw(3, 3, 7, dtype=dtype), targets(loss, 3, 7, dtype)
    Z[1, 4] = np.nan
    losses, dZ, A = fused(loss, activation, Z, Y)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(7) == 4)
    assert np.isnan(dZ[1, 4])
    assert np.isnan(A[1, 4])
