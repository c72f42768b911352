"""Every loss of the table against naive: its value and the derivative that it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels import ACTIVATIONS, LOSSES
from fastdnn.kernels.compiler import native
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.elementwise.losses import RARE, SPARES, loss_rows, native_code
from fastdnn.kernels.elementwise.mean_losses import CLIP, PARAMETERS
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
Parameters = tuple[float, ...]
Pair = tuple[Array, Array]
AT_ONCE = (1, 5, 32, 1000)  # samples in a strip
WIDTHS = [1, 2, 3, 10, 101]
each_loss = pytest.mark.parametrize("loss", LOSSES)
each_width = pytest.mark.parametrize("n", WIDTHS)
FUSED = [(loss, activation) for loss, entry in LOSSES.items() for activation in entry.fused]
each_fused = pytest.mark.parametrize(("loss", "activation"), FUSED)


@compiled(
    lambda t: (int64, int64, *[vector(t)] * 3, vector(int64), vector(t), int64, vector(t), _DOUBLES)
)
def _rows(rank, n_ranks, team, code, at_once, s, a, y, labels, d, n, ps, losses):  # type: ignore[no-untyped-def]
    for i in range(0, losses.size, at_once):
        at, rows = i * n, min(at_once, losses.size - i)
        loss_rows(code, s, at, a, at, y, at, labels, i, d, at, rows, n, ps, losses, i)


def rows(code: int, s: Array, a: Array, Y: Array, p: Parameters, *, labels: bool) -> Pair:
    """The loss of each sample and the derivatives (n, m); Y may be given to a loss of labels."""
    n, m = a.shape
    dtype = a.dtype
    ps = np.full(max(n, PARAMETERS), p[-1], dtype)
    ps[: len(p)] = p
    numbers = Y.argmax(axis=0) if labels else np.empty(0, np.int64)
    y = np.empty(0, dtype) if labels else np.ascontiguousarray(Y.T, dtype).reshape(-1)
    z = np.ascontiguousarray(s.T).reshape(-1)
    found = []
    for at_once in AT_ONCE:
        losses, d = nan(m, dtype=np.float64), nan(m * n, dtype=dtype)
        flat = a.T.reshape(-1).copy()
        _rows(dtype, 1, native_code(code, dtype), at_once, z, flat, y, numbers, d, n, ps, losses)
        found.append((losses, d, flat))
    # the same bits however many samples a strip has
    assert len({(l.tobytes(), d.tobytes(), flat.tobytes()) for l, d, flat in found}) == 1
    a[...] = flat.reshape(m, n).T
    return losses, d.reshape(m, n).T


def plain(loss: str, A: Array, Y: Array, p: Parameters = ()) -> Pair:
    """A loss that reads A; it must not read S nor write A."""
    before = A.copy()
    entry = LOSSES[loss]
    s = nan(*A.shape, dtype=A.dtype)
    result = rows(entry.code, s, A, Y, p or entry.parameters, labels=entry.labels)
    np.testing.assert_array_equal(A, before)
    return result


def fused(
    loss: str, activation: str, Z: Array, Y: Array, p: Parameters = ()
) -> tuple[Array, Array, Array]:
    """A loss that reads Z and writes A: losses, dZ, A."""
    entry, A = LOSSES[loss], nan(*Z.shape, dtype=Z.dtype)
    code = entry.fused[activation]
    losses, dZ = rows(code, Z, A, Y, p or entry.parameters, labels=entry.labels)
    return losses, dZ, A


def targets(loss: str, n: int, m: int, dtype: Any) -> Array:
    """Targets of the kind that the loss wants; dense class targets also spread over classes."""
    if LOSSES[loss].labels:
        return naive.one_hot(np.random.default_rng(1).integers(n, size=m), n)
    if LOSSES[loss].targets == (0, 1):
        Y = np.random.default_rng(1).uniform(size=(n, m))
        Y[:, ::2] = np.round(Y[:, ::2])
        return Y.astype(dtype)
    Y = 2 * draw(1, n, m, dtype=dtype)
    return Y if LOSSES[loss].targets[0] < 0 else np.abs(Y)


def outputs(loss: str, n: int, m: int, dtype: Any) -> Array:
    """Outputs away from where the loss cuts its logarithms."""
    if LOSSES[loss].outputs[0] == 0:
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
def test_rare_losses_are_known_by_where_they_lie(dtype: Any) -> None:
    dtype = np.dtype(dtype)
    codes = [LOSSES[name].code for name in ("mean_squared_error", "quantile", "log_cosh")]
    common, *rare = [native_code(code, dtype) for code in codes]
    assert common == codes[0] < RARE <= min(codes[1:])
    assert len({*rare, *(native_code(code, np.dtype("float64")) for code in codes[1:])}) == (
        2 if dtype == np.float64 else 4
    )
    # the same place again, though it is compiled once
    assert rare == [native_code(code, dtype) for code in codes[1:]]
    assert len({one.name for one in SPARES}) == len(SPARES)


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
        # a factor 1 - (1 - CLIP) is rounded, and in a focal loss it stands three times
        factors = 3 if "focal" in loss else 1
        assert_within(losses, wanted, ((1 + unit(dtype) / CLIP) ** factors - 1) * np.abs(wanted))
        np.testing.assert_array_equal(dA, derivative)
        return
    # outputs and probabilities are at least 0.05: 1 / p <= 20 n
    steep = 20 * n if "categorical" in loss else 20 if LOSSES[loss].outputs[0] == 0 else 8
    size = np.abs(Y64).sum(axis=0) + np.abs(A64).sum(axis=0)
    assert_within(losses, wanted, roundings(n + 8, dtype) * (1 + np.abs(wanted) + size * steep / n))
    largest = np.abs(derivative).max(axis=0) + steep * np.abs(Y64).sum(axis=0) / n + 1 / n
    assert_within(dA, derivative, roundings(n + 16, dtype) * largest)


@each_dtype
@each_fused
@each_width
@pytest.mark.parametrize("spread", [1, 20])
def test_fused(dtype: Any, loss: str, activation: str, n: int, spread: float) -> None:
    m = 37
    Z, Y = spread * draw(3, n, m, dtype=dtype), targets(loss, n, m, dtype)
    losses, dZ, A = fused(loss, activation, Z, Y)
    Z64, Y64 = Z.astype(np.float64), Y.astype(np.float64)
    wanted, derivative = naive.FUSED[activation, loss](Z64, Y64)
    A64 = naive.ACTIVATIONS[activation][0](Z64)
    largest = A64.max(axis=0)  # more than 1 of exp alone
    mass = 1 + np.abs(Y64).sum(axis=0)
    size = mass * (1 + np.abs(Z64).max(axis=0)) + largest
    # a focal loss adds a power, by exp and log, and its slope holds the cross-entropy
    count, slope = (n + 200, 4 * size) if "focal" in loss else (n + 8, mass + largest)
    assert_within(losses, wanted, roundings(count, dtype) * size)
    assert_within(dZ, derivative, roundings(count, dtype) * slope)
    assert_within(A, A64, roundings(n + 8, dtype) * (1 + A64))


@each_dtype
@each_fused
@pytest.mark.parametrize("size", [100, 800, 1000, 1e4, 1e30])
def test_fused_at_extreme_values(dtype: Any, loss: str, activation: str, size: float) -> None:
    Z = np.array([[size, -size, 0, size], [-size, size, 0, size], [0, 0, 0, -size]], dtype)
    if LOSSES[loss].outputs[1] == np.inf:
        Z = -np.abs(Z)  # exp overflows; `test_poisson_of_large_z` shows where
    Y = naive.one_hot(np.array([0, 2, 1, 1]), 3)
    losses, dZ, A = fused(loss, activation, Z, Y)
    Z64 = Z.astype(np.float64)
    wanted, derivative = naive.FUSED[activation, loss](Z64, Y)
    assert_within(losses, wanted, roundings(8, dtype) * (1 + 3 * size))
    # of a focal loss a power adds more roundings
    assert_within(dZ, derivative, roundings(8 if "focal" not in loss else 32, dtype))
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
        wanted, derivative = naive.LOSSES[loss](A.astype(np.float64), Y)
        rtol = (1 + unit(dtype) / CLIP) ** (3 if "focal" in loss else 1) - 1
        np.testing.assert_allclose(losses, wanted, rtol=rtol, atol=unit(dtype))
        # the loss is constant there, but for the binary focal one's factor, as in Keras
        assert derivative.any() == (loss == "binary_focal_crossentropy")
        np.testing.assert_allclose(dA, derivative, rtol=rtol, atol=0)


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
    losses, dA = plain("huber", A, Y, (delta,))
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
    losses, dA = plain(loss, A, Y)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(7) == 4)
    assert np.isnan(dA[0, 4])
    assert np.isfinite(np.delete(dA, 4, axis=1)).all()


@each_dtype
@each_fused
def test_a_nan_makes_a_fused_loss_nan(dtype: Any, loss: str, activation: str) -> None:
    Z, Y = draw(3, 3, 7, dtype=dtype), targets(loss, 3, 7, dtype)
    Z[1, 4] = np.nan
    losses, dZ, A = fused(loss, activation, Z, Y)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(7) == 4)
    assert np.isnan(dZ[1, 4])
    assert np.isnan(A[1, 4])


# ------------------------------------------------------------------------------ with parameters
@each_dtype
@each_width
def test_every_output_has_its_quantile(dtype: Any, n: int) -> None:
    A, Y = outputs("quantile", n, 37, dtype), targets("quantile", n, 37, dtype)
    A[0, 5] = Y[0, 5]  # where the two pieces meet
    q = np.linspace(0.1, 0.9, n).astype(dtype)
    losses, dA = plain("quantile", A, Y, tuple(q.tolist()))
    wanted, derivative = naive.quantile(A.astype(np.float64), Y.astype(np.float64), q.astype(float))
    assert_within(losses, wanted, roundings(n + 8, dtype) * (np.abs(A) + np.abs(Y)).max(axis=0))
    assert_within(dA, derivative, roundings(4, dtype) / n)
    assert dA[0, 5] == 0


FOCAL = {
    "binary_focal_crossentropy": [(0.0, 1, 1), (0.5, 1, 1), (1.0, 0.3, 0.7), (3.5, 0.9, 0.1)],
    "categorical_focal_crossentropy": [(0.0, 1.0), (0.5, 0.25), (1.0, 2.0), (3.5, 0.7)],
}


@pytest.mark.parametrize(("loss", "p"), [(loss, p) for loss, of in FOCAL.items() for p in of])
@each_width
def test_focal_parameters(loss: str, p: Parameters, n: int) -> None:
    settings: dict[str, Any] = {"gamma": p[0], "alpha": p[1]}
    if "binary" in loss:
        settings["apply_class_balancing"] = p[1] != 1
    Z = 3 * draw(3, n, 37)
    Y = targets(loss, n, 37, np.float64)
    A = outputs(loss, n, 37, np.float64)
    if "categorical" in loss and n == 1:
        Z, A = np.zeros_like(Z), np.ones_like(A)
    for got, wanted in (
        (plain(loss, A, Y, p), naive.LOSSES[loss](A, Y, **settings)),
        (
            fused(loss, *LOSSES[loss].fused, Z, Y, p)[:2],
            naive.loss_and_dZ(Z, Y, *LOSSES[loss].fused, loss, **settings),
        ),
    ):
        for one, right in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, right, rtol=1e-10, atol=1e-13)


def test_focal_losses_with_gamma_0_are_crossentropies() -> None:
    Z, Y = 3 * draw(3, 5, 37), targets("binary_crossentropy", 5, 37, np.float64)
    for focal, p, loss in (
        ("binary_focal_crossentropy", (0.0, 1.0, 1.0), "binary_crossentropy"),
        ("categorical_focal_crossentropy", (0.0, 1.0), "categorical_crossentropy"),
    ):
        (activation,) = LOSSES[loss].fused
        for got, wanted in zip(
            fused(focal, activation, Z, Y, p), fused(loss, activation, Z, Y), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


@each_dtype
@each_width
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_smoothed_labels(dtype: Any, n: int, smoothing: float) -> None:
    loss, categorical = "sparse_categorical_crossentropy", "categorical_crossentropy"
    Y, Z = targets(loss, n, 37, dtype), 3 * draw(3, n, 37, dtype=dtype)
    smooth = naive.smooth(Y, smoothing, n).astype(dtype)
    bound = roundings(2 * n + 16, dtype) * (2 * np.ptp(Z) + 20)
    for got, wanted in zip(
        fused(loss, "softmax", Z, Y, (smoothing,)),
        fused(categorical, "softmax", Z, smooth),
        strict=True,
    ):
        assert_within(got, wanted.astype(np.float64), bound)
    A = outputs(loss, n, 37, dtype)
    for got, wanted in zip(
        plain(loss, A, Y, (smoothing,)), plain(categorical, A, smooth), strict=True
    ):
        assert_within(got, wanted.astype(np.float64), roundings(n + 16, dtype) * (20 * n))


@each_dtype
def test_log_cosh_is_accurate_near_0_and_far_off(dtype: Any) -> None:
    E = np.array([[0, 1e-4, -1e-3, 0.3, -0.999, 1, 1.001, 5, -20, 800, -1e4, 1e30]], dtype)
    losses, dA = plain("log_cosh", E, np.zeros_like(E))
    wanted, derivative = naive.log_cosh(E.astype(np.float64), np.zeros(E.shape))
    assert_within(losses, wanted, roundings(16, dtype) * wanted)
    assert_within(dA, derivative, roundings(8, dtype) * np.abs(derivative))
    assert (losses[1:] > 0).all()


@each_dtype
def test_poisson_of_large_z(dtype: Any) -> None:
    Z = np.array([[-800, 0, 5, 800]], dtype)
    losses, dZ, A = fused("poisson", "exponential", Z, np.full(Z.shape, 3, dtype))
    assert losses.tolist()[:2] == [2400, 1]
    assert dZ[0].tolist()[:2] == [-3, -2]
    assert losses[3] == dZ[0, 3] == A[0, 3] == np.inf  # which ends a training by DivergenceError


@each_dtype
def test_poisson_of_no_output(dtype: Any) -> None:
    A, Y = np.zeros((1, 2), dtype), np.array([[0, 2]], dtype)
    losses, dA = plain("poisson", A, Y)
    np.testing.assert_allclose(losses, [0, -2 * np.log(CLIP)], rtol=4 * unit(dtype))
    np.testing.assert_allclose(dA[0], [1, 1 - 2 / CLIP], rtol=4 * unit(dtype))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("loss", FOCAL)
def test_focal_losses_of_certain_outputs_are_finite(loss: str, gamma: float) -> None:
    A, Y = np.array([[0.0, 1, 1, 0], [1, 0, 0, 1]]), np.array([[0.0, 1, 0, 1], [1, 0, 1, 0]])
    p = (gamma, 1.0, 1.0)
    (activation,) = LOSSES[loss].fused
    for found in (*plain(loss, A, Y, p), *fused(loss, activation, 1600 * A - 800, Y, p)):
        assert np.isfinite(found).all()
    losses, dZ, _ = fused(loss, activation, 1600 * A - 800, Y, p)
    wanted = 800 if "binary" in loss else 1600
    assert losses.tolist() == [0, 0, wanted, wanted]
    assert np.abs(dZ).max(axis=0).tolist() == [0, 0, *[0.5 if "binary" in loss else 1.0] * 2]


def test_two_threads_that_load_a_loss_know_it_by_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of the slower one would be gone while an engine reads it."""
    kept = dict(native._kept)
    native._kept.clear()
    spare, codes, dtype = SPARES[0], list[int](), np.dtype(np.float64)
    address = spare.address

    def slow(kind: Any) -> int:
        if not codes:
            codes.append(0)
            codes[0] = native_code(RARE, dtype)  # the other thread, in the meantime
        return address(kind)

    monkeypatch.setattr(spare, "address", slow)
    try:
        codes.append(native_code(RARE, dtype))
        assert codes == [codes[0], codes[0]]
    finally:
        for key, place in kept.items():
            native._kept[key] = place
