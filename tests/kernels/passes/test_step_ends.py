"""A training call with dropout, its outputs, and how it ends when numbers are not finite."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine.calls import Outcome, Targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from tests.kernels import networks
from tests.kernels.common import Array, draw, each_dtype, nan
from tests.kernels.networks import assert_outputs, data, evaluated, make, rule, small
from tests.kernels.rules import RULES
from tests.kernels.steps import DROPOUT_RATES, check_dropout

pytestmark = pytest.mark.usefixtures("share_small_work", "in_every_regime")


# ---------------------------------------------------------------------------------------- dropout
@each_dtype
@pytest.mark.parametrize("rates", DROPOUT_RATES, ids=str)
@pytest.mark.parametrize("names", [("tanh", "gelu"), ("softmax", "elu"), ("silu", "softmax")])
def test_dropouts_gradient(
    dtype: Any, rates: tuple[float, float, float], names: tuple[str, str]
) -> None:
    check_dropout(names, rates, dtype)


def test_masks_follow_from_seed_and_step() -> None:
    losses = {}
    for seed, number in ((1, 0), (1, 1), (2, 0)):
        net = small(dropout=[0.5, 0.5, 0.0])
        X, _, given_targets = data(net, 67, "mean_squared_error")
        run = partial(net.train, X, given_targets, batch=67, seed=seed, step_number=number)
        losses[seed, number] = run(networks.still()).losses[0]
        assert run(networks.still()).losses[0] == losses[seed, number]
    assert len(set(losses.values())) == 3


# ------------------------------------------------------------------------------- outputs, the end
@each_dtype
@pytest.mark.parametrize("loss", ["mean_squared_error", "categorical_crossentropy"])
def test_outputs_lie_at_their_samples(dtype: Any, loss: str) -> None:
    net = small(loss, dtype)
    X, _, given_targets = data(net, 67, loss)
    order = np.random.default_rng(3).permutation(67)
    outputs = nan(67 * 3, dtype=dtype)
    net.train(X, given_targets, networks.still(3), batch=16, first=1, order=order, outputs=outputs)
    seen = np.isin(np.arange(67), order[16:64])
    rows = outputs.reshape(67, 3)
    assert np.isnan(rows[~seen]).all()
    assert_outputs(net, X[seen], rows[seen])


def diverge(X: Array, net: Engine, steps: int, n: int) -> tuple[Outcome, Array]:
    """Train on X with targets 0; also the parameters after the steps before the end."""
    given_targets = Targets(np.zeros((len(X), 3), net.dtype))
    before = small(dtype=net.dtype)
    before.parameters[:] = net.parameters
    with fastdnn.num_threads(n):
        outcome = net.train(X, given_targets, rule("momentum", steps), batch=16)
        before.train(X, given_targets, rule("momentum", outcome.done), batch=16)
    return outcome, before.parameters


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_it_before_the_step(
    dtype: Any, n_threads: int, bad: float
) -> None:
    X = draw(7, 67, 7, dtype=dtype)
    X[35, 2] = bad  # in the third batch
    if bad == np.inf:
        X[35, 3] = -bad
    net = small(dtype=dtype)
    outcome, before = diverge(X, net, 7, n_threads)
    assert (outcome.done, outcome.reason) == (2, layout.LOSS_NOT_FINITE)
    assert outcome.losses.shape == (3,)
    assert np.isfinite(outcome.losses[:2]).all()
    assert not np.isfinite(outcome.losses[2])
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isfinite(net.parameters).all()


@each_dtype
def test_a_gradient_that_is_not_finite_ends_it_too(dtype: Any) -> None:
    big = float(np.finfo(dtype).max) / 2
    net = make([2, 1], ["identity"], dtype=dtype)
    net.parameters[:] = 0
    X, y = np.ones((48, 2), dtype), np.ones((48, 1), dtype)
    X[20, 0], y[20] = big, 1000  # W = 0, so Z = 0 and the loss is finite
    outcome = net.train(X, Targets(y), rule("descent", 3), batch=16, first=1)
    assert (outcome.done, outcome.reason) == (0, layout.GRADIENT_NOT_FINITE)
    assert np.isfinite(outcome.losses).all()
    assert not net.parameters.any()


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("clip", [None, "global"])
def test_a_gradient_that_is_finite_in_parts_alone_ends_it_too(
    dtype: Any, n_threads: int, clip: str | None
) -> None:
    m, n = 64, 33
    net = make([40, n], ["identity"], dtype=dtype)
    net.parameters[:] = 0
    big, y = float(np.finfo(dtype).max) / 100, 70 * n
    X, Y = np.full((m, 40), big, dtype), np.full((m, n), y, dtype)  # all dW are -2 big y / n
    with fastdnn.num_threads(n_threads):
        outcome = net.train(X, Targets(Y), rule("descent", 1, clip=clip), batch=m)
    assert (outcome.done, outcome.reason) == (0, layout.GRADIENT_NOT_FINITE)
    assert np.isfinite(outcome.losses).all()
    assert not net.parameters.any()


def test_large_float32_gradients_are_no_divergence() -> None:
    # their squares are beyond float32
    net = make([2, 1], ["identity"], dtype=np.float32)
    net.parameters[:] = 0
    X, y = np.full((16, 2), 1e20, np.float32), np.ones((16, 1), np.float32)
    outcome = net.train(X, Targets(y), rule("descent", 1, clip="global", limit=1.0), batch=16)
    assert (outcome.done, outcome.reason) == (1, layout.FINITE)
    moved = RULES["descent"][2]["learning_rate"]  # a gradient of norm 1
    np.testing.assert_allclose(np.linalg.norm(net.parameters), moved, rtol=1e-6)


def test_the_penalty_of_large_float32_parameters_is_finite() -> None:
    net = make([2, 1], ["identity"], dtype=np.float32, l2=[1e-30])
    net.parameters[:] = 0
    net.weights(1)[...] = 1e20  # whose square is beyond float32
    zeros = np.zeros((16, 2), np.float32)
    np.testing.assert_allclose(
        net.differentiate(zeros, Targets(zeros[:, :1].copy())), 2e10, rtol=1e-6
    )


def test_an_evaluation_does_not_end_at_a_loss_that_is_not_finite() -> None:
    net = small()
    X, _, given_targets = data(net, 67, "mean_squared_error")
    X[3, 3] = np.nan
    value, outputs = evaluated(net, X, given_targets, batch=16)
    assert np.isnan(value)
    assert np.isfinite(outputs[16:]).all()


def test_no_steps_change_nothing() -> None:
    net = small()
    X, _, given_targets = data(net, 67, "mean_squared_error")
    net.train(X, given_targets, rule("adam", 3), batch=16)
    before = net.parameters.copy()
    outcome = net.train(X, given_targets, rule("adam", 0), batch=16)
    assert (outcome.done, outcome.reason, len(outcome.losses)) == (0, layout.FINITE, 0)
    np.testing.assert_array_equal(net.parameters, before)
