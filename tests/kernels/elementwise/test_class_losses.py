"""Cross-entropies of classes: what holds of them whatever naive says; see also `test_losses`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels import LOSSES
from tests import naive
from tests.kernels.common import draw, each_dtype, roundings
from tests.kernels.elementwise.test_losses import fused, plain

CLASSES = [name for name, entry in LOSSES.items() if entry.kind == "multiclass"]
each_loss = pytest.mark.parametrize("loss", CLASSES)


@each_dtype
@each_loss
def test_derivatives_by_z_sum_to_0(dtype: Any, loss: str) -> None:
    """A shift of all z changes nothing."""
    Y = naive.one_hot(np.random.default_rng(1).integers(7, size=37), 7)
    _, dZ, _ = fused(loss, "softmax", 3 * draw(3, 7, 37, dtype=dtype), Y)
    assert np.abs(dZ).max() > 0.1
    assert np.abs(dZ.astype(np.float64).sum(axis=0)).max() < roundings(64, dtype)


@each_loss
def test_a_factor_of_the_outputs_changes_nothing(loss: str) -> None:
    A = np.random.default_rng(4).uniform(0.1, 1, (5, 37))
    Y = naive.one_hot(np.random.default_rng(1).integers(5, size=37), 5)
    losses, dA = plain(loss, A, Y)
    scaled, dA_scaled = plain(loss, 4 * A, Y)
    np.testing.assert_allclose(scaled, losses, rtol=1e-14)
    np.testing.assert_allclose(dA_scaled, dA / 4, rtol=1e-12, atol=1e-15)


@each_loss
def test_fused_is_plain_of_softmax(loss: str) -> None:
    Z = draw(3, 5, 37)
    Y = naive.one_hot(np.random.default_rng(1).integers(5, size=37), 5)
    losses, dZ, A = fused(loss, "softmax", Z, Y)
    again, dA = plain(loss, A, Y)
    np.testing.assert_allclose(losses, again, rtol=1e-12)
    np.testing.assert_allclose(dZ, A * (dA - (dA * A).sum(axis=0)), rtol=1e-10, atol=1e-14)
