"""What a call of the engine is given."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.calls import Targets


def test_targets_of_a_part_of_the_samples() -> None:
    part = slice(2, 5)
    y, labels = np.arange(14.0).reshape(7, 2), np.arange(7)
    rows = Targets(y).rows(part)
    np.testing.assert_array_equal(rows.y, y[2:5])
    assert rows.labels.size == 0
    rows = Targets(y[:0], labels).rows(part)
    np.testing.assert_array_equal(rows.labels, [2, 3, 4])
    assert rows.y.shape == (0, 2)
