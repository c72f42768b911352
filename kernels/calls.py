"""What a call of the engine is given, and what it gives back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_LABELS = np.empty(0, np.int64)


class Targets(NamedTuple):
    """What a loss compares outputs with: rows (m, n_L) or labels (m,); the other is empty."""

    y: NDArray[Any]
    labels: NDArray[np.int64] = NO_LABELS

    def rows(self, part: slice | NDArray[np.int64]) -> Targets:
        """Those of some of the samples."""
        if self.labels.size:
            return Targets(self.y, self.labels[part])
        return Targets(self.y[part], self.labels)


class Rule(NamedTuple):
    """An update rule for the next steps.

    `coefficients` has a row per step, in the order that the rule of this name in `update.UPDATES`
    reads them.
    """

    name: str
    coefficients: NDArray[np.float64]
    clip: str | None = None  # None, "tensor" or "global": which norm `limit` bounds
    limit: float = np.inf


class Outcome(NamedTuple):
    """What a call did: the loss of each step done, and why it ended (a constant of `layout`)."""

    losses: NDArray[np.float64]
    done: int
    reason: int
