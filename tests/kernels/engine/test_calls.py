"""What a call of the engine is given."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.engine.calls import Targets, mean_loss


def test_targets_of_a_part_of_the_samples() -> None:
    part = slice(2, 5)
    y, labels = np.arange(14.0).reshape(7, 2), np.arange(7)
    rows = Targets(y).rows(part)
    np.testing.assert_array_equal(rows.y, y[2:5])
    assert rows.labels.size == 0
    rows = Targets(y[:0], labels).rows(part)
    np.testing.assert_array_equal(rows.labels, [2, 3, 4])
    assert rows.y.shape == (0, 2)


def test_the_loss_of_batches_the_last_of_which_is_smaller() -> None:
    assert mean_loss(np.array([1.0, 2.0, 4.0]), 10, 4) == (4 * 1 + 4 * 2 + 2 * 4) / 10
    assert mean_loss(np.array([3.0]), 2, 1024) == 3
