"""A factor of each step: that of its gradient, with the penalties, before the norm is clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.engine.calls import Targets
from tests.kernels.common import each_dtype, for_each_count
from tests.kernels.networks import data, make, rule

pytestmark = pytest.mark.usefixtures("in_every_regime")
FACTORS = np.array([2.0, 0.5, 0.0, 1.0, 4.0, 0.25])  # which no product rounds
M, BATCH = 70, 32
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tensor": {"clip": "tensor", "limit": 0.05},
    "global": {"clip": "global", "limit": 0.05},
}


def net_of(dtype: Any, penalty: float) -> Any:
    l1, l2 = [0.25 * penalty, 0.0], [0.5 * penalty, 0.125 * penalty]
    return make([5, 37, 3], ["tanh", "identity"], "mean_squared_error", dtype=dtype, l1=l1, l2=l2)


@each_dtype
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("name", ["descent", "adam"])
def test_a_factor_is_that_of_the_weights_and_the_penalties(
    dtype: Any, way: str, penalty: float, name: str
) -> None:
    X, _, targets = data(net_of(dtype, penalty), M, "mean_squared_error")
    steps = rule(name, len(FACTORS), **WAYS[way])

    def together() -> Any:
        net = net_of(dtype, penalty)
        outcome = net.train(X, targets, steps, batch=BATCH, factors=FACTORS)
        assert outcome.done == len(FACTORS)
        return np.concatenate([outcome.losses, outcome.penalties, net.parameters])

    assert len(set(for_each_count(together))) == 1
    losses, penalties, parameters = np.split(together(), [len(FACTORS), 2 * len(FACTORS)])
    own, plain = net_of(dtype, penalty), net_of(dtype, 0.0)
    for step, factor in enumerate(FACTORS):
        own.scale_penalties(factor)
        part = steps._replace(coefficients=steps.coefficients[step : step + 1])
        plain.parameters[...] = own.parameters
        weights = np.full(M, factor, dtype)
        outcome = own.train(X, targets, part, batch=BATCH, first=step, weights=weights)
        assert losses[step] == pytest.approx(outcome.losses[0], rel=1e-14, abs=0)
        begin = step % 3 * BATCH
        rows = slice(begin, begin + BATCH)
        bare = plain.differentiate(
            X[rows], Targets(targets.y[rows], targets.labels), weights=weights[rows]
        )
        assert penalties[step] == pytest.approx(outcome.losses[0] - bare, abs=1e-6)
        assert (penalties[step] > 0) == (penalty > 0 and factor > 0)
    np.testing.assert_array_equal(parameters, own.parameters)


@each_dtype
def test_a_step_that_is_not_finite_ends_the_losses(dtype: Any) -> None:
    net = net_of(dtype, 1.0)
    X, _, targets = data(net, M, "mean_squared_error")
    X[40] = np.inf
    outcome = net.train(X, targets, rule("descent", 6), batch=BATCH, factors=FACTORS)
    assert outcome.done == 1
    assert (len(outcome.losses), len(outcome.penalties)) == (2, 2)
    assert np.isfinite(outcome.losses[0])
    assert not np.isfinite(outcome.losses[1])
