"""Steps whose loss is a Python function of arrays: they are the table's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.stepwise import Stepwise
from fastdnn.kernels.layers import layout
from tests import naive, own
from tests.kernels import networks, regimes
from tests.kernels.common import Array, assert_near, draw, each_dtype, for_each_count, nan
from tests.kernels.networks import evaluated
from tests.kernels.regimes import each_regime

LOSS, M, BATCH = "mean_squared_error", 150, 64
pytestmark = pytest.mark.usefixtures("share_small_work")


def squares(y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
    losses, dA = own.square_of_arrays(y, A.astype(np.float64))
    y += np.nan  # what it is given is its own
    A += np.nan
    return float(np.mean(losses if weights is None else losses * weights)), dA


def net_of(dtype: Any, **of: Any) -> Engine:
    settings: dict[str, Sequence[Any]] = {"dropout": [0.25, 0.0, 0.0], "l2": [0.01, 0.0, 0.0]}
    names = ["silu", "tanh", "tanh"]
    return networks.make([7, 13, 21, 3], names, LOSS, dtype=dtype, **{**settings, **of})


@each_regime
@each_dtype
def test_steps_are_those_of_the_table(
    regime: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    left: list[list[Any]] = []
    for make in (lambda net: net, lambda net: Stepwise(net, squares)):
        net = net_of(dtype, input_dropout=0.1)
        X, _, given = networks.data(net, M, LOSS)
        order = np.random.default_rng(1).permutation(M)
        outputs = nan(M * 3, dtype=dtype)
        outcome = make(net).train(
            X, given, networks.rule("momentum", 5), batch=BATCH, first=1, order=order,
            weights=np.linspace(0.5, 1.5, M).astype(dtype), seed=3, step_number=7, outputs=outputs,
        )  # fmt: skip
        assert (outcome.done, outcome.reason) == (5, layout.FINITE)
        left.append([net.parameters, outcome.losses, outputs])
    for got, wanted in zip(left[1], left[0], strict=True):
        assert_near(got, wanted.astype(np.float64), dtype)


@each_dtype
def test_the_same_bits_for_any_number_of_threads(dtype: Any) -> None:
    def trained() -> Array:
        net = net_of(dtype)
        X, _, given = networks.data(net, M, LOSS)
        outcome = Stepwise(net, squares).train(X, given, networks.rule("adam", 6), batch=BATCH)
        return np.concatenate([net.parameters, outcome.losses])

    assert len(set(for_each_count(trained))) == 1


@each_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_are_the_specifications(dtype: Any, weighted: bool) -> None:
    net = net_of(dtype, dropout=[0.0] * 3)
    X, Y, given = networks.data(net, 67, LOSS)
    weights = np.linspace(0.5, 1.5, 67).astype(dtype) if weighted else None
    wanted, pairs = networks.gradients(net, LOSS, X, Y, weights=weights)
    engine = Stepwise(net, squares)
    assert_near(engine.differentiate(X, given, weights=weights), wanted, dtype)
    networks.assert_gradient(net, pairs)
    value, outputs = evaluated(engine, X, given, weights=weights, batch=20)
    penalty = naive.penalty(networks.parameters(net)[0][0], 0.0, 0.01)[0]
    assert_near(value, wanted - penalty, dtype)
    np.testing.assert_array_equal(outputs, net.forward(X, batch=67))


def test_a_prediction_after_a_step_is_without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "AWAKE_FLOPS", 2**40)  # a small prediction's arguments are kept
    net = net_of(np.float32)
    X, _, given = networks.data(net, 30, LOSS)
    Stepwise(net, squares).train(X, given, networks.still(), batch=30)
    got = net.forward(X, batch=30)
    np.testing.assert_array_equal(got, net.forward(X[::-1], batch=30)[::-1])
    networks.assert_outputs(net, X, got)


def test_a_step_that_is_not_finite_changes_no_parameter() -> None:
    net = net_of(np.float64)
    X, _, given = networks.data(net, M, LOSS)
    calls: list[bytes] = []

    def third_is_nan(y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
        calls.append(net.parameters.tobytes())
        loss, dA = squares(y, A, weights)
        return (np.nan if len(calls) == 3 else loss), dA

    outcome = Stepwise(net, third_is_nan).train(X, given, networks.rule("descent", 5), batch=BATCH)
    assert (outcome.done, outcome.reason) == (2, layout.LOSS_NOT_FINITE)
    assert len(outcome.losses) == len(calls) == 3
    assert net.parameters.tobytes() == calls[2] != calls[1]

    def gradient_is_inf(y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
        return 1.0, np.full(A.shape, np.inf)

    before = net.parameters.copy()
    outcome = Stepwise(net, gradient_is_inf).train(
        X, given, networks.rule("descent", 5), batch=BATCH
    )
    assert (outcome.done, outcome.reason) == (0, layout.GRADIENT_NOT_FINITE)
    np.testing.assert_array_equal(net.parameters, before)


def test_targets_of_any_shape_come_as_they_are() -> None:
    net = net_of(np.float32)
    X = draw(1, 20, 7, dtype=np.float32)
    y = np.arange(20 * 2 * 5).reshape(20, 2, 5)
    seen: list[Array] = []

    def function(y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
        seen.append(y)
        return 0.5, np.zeros(A.shape)

    given = networks.data(net, 20, LOSS)[2]._replace(y=y)
    order = np.arange(20)[::-1].copy()
    Stepwise(net, function).train(X, given, networks.rule("descent", 2), batch=10, order=order)
    np.testing.assert_array_equal(np.concatenate(seen), y[::-1])
    assert seen[0].dtype == y.dtype
