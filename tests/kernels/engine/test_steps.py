"""A step in two parts, gradient and update, is a step of a training but for the last bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.networks import data, make, rule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [4, 40, 700])  # each its way through the kernels
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_two_parts_are_the_step(dtype: Any, units: int, dropout: float) -> None:
    settings: dict[str, Any] = {"dtype": dtype, "dropout": [dropout, 0.0]}
    whole, parts = (make([5, units, 3], ["tanh", "identity"], **settings) for _ in range(2))
    X, _, targets = data(whole, 67, "mean_squared_error")
    order = np.random.default_rng(0).permutation(67)
    of_all = rule("momentum", 8)
    losses = whole.train(X, targets, of_all, batch=16, order=order, seed=3).losses
    found = []
    for s in range(8):
        how: dict[str, Any] = {"batch": 16, "first": s % 5, "order": order}
        found.append(parts.step_gradient(X, targets, seed=3, step_number=s, **how))
        parts.update(of_all._replace(coefficients=of_all.coefficients[s : s + 1]))
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    np.testing.assert_allclose(parts.parameters, whole.parameters, rtol=1e-5, atol=1e-6)
