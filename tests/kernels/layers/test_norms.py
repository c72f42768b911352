"""What a table of cases does not show of norms: long sums, large means, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.parameters import Layer
from fastdnn.kernels.layers import norms
from tests.kernels.common import draw
from tests.kernels.networks import rule
from tests.kernels.stacks import BATCH, NORM, engine_of


@pytest.mark.parametrize("m", [norms.SUMMED_ROWS - 1, norms.SUMMED_ROWS + 1, 40_000])
def test_statistics_of_many_samples_lose_no_more_than_of_few(m: int) -> None:
    layers = [Layer(3, 3, operation="batch_normalization", settings=BATCH), Layer(3, 1)]
    engine = engine_of(layers, np.float32)
    X = (draw(1, m, 3) + 100).astype(np.float32)
    engine.differentiate(X, Targets(np.zeros((m, 1), np.float32)))
    own, exact = engine.tensors(1), X.astype(np.float64)
    np.testing.assert_allclose(own["mean"], exact.mean(0), rtol=2e-6)
    np.testing.assert_allclose(own["variance"], exact.var(0), rtol=2e-5)


def test_a_large_mean_does_not_drown_the_variance_of_a_sample() -> None:
    layers = [Layer(64, 64, operation="layer_normalization", settings=NORM), Layer(64, 64)]
    engine = engine_of(layers, np.float32)
    engine.tensors(1)["gamma"][...], engine.tensors(1)["beta"][...] = 1, 0
    engine.weights(2)[...], engine.bias(2)[...] = np.eye(64), 0  # type: ignore[index]
    X = (1000 + draw(2, 5, 64)).astype(np.float32)
    exact = X.astype(np.float64)
    wanted = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(engine.forward(X, batch=5), wanted, atol=2e-4)


def test_moving_averages_follow_updates_alone() -> None:
    layers = [Layer(3, 3, operation="batch_normalization", settings=BATCH), Layer(3, 1)]
    engine = engine_of(layers)
    X, y = draw(1, 50, 3), Targets(draw(2, 50, 1))
    moving = {name: view.copy() for name, view in engine.tensors(1).items() if "moving" in name}
    engine.differentiate(X, y)
    engine.forward(X, batch=50)
    engine.batch_losses(X, y, batch=50)
    for name, before in moving.items():
        np.testing.assert_array_equal(engine.tensors(1)[name], before)
    engine.train(X, y, rule("descent", 1), batch=50)
    for name, of_batch in (("moving_mean", X.mean(0)), ("moving_variance", X.var(0))):
        wanted = 0.75 * moving[name] + 0.25 * of_batch
        np.testing.assert_allclose(engine.tensors(1)[name], wanted, rtol=1e-12)
