"""A step whose gradient comes first, and then its update: machines add theirs in between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.layers.layout import MADE

from .calls import NO_LABELS, Targets


class GradientSteps:
    """What an `Engine` has for that."""

    _call: Any
    _has_statistics: bool

    def step_gradient(
        self,
        X: NDArray[Any],
        targets: Targets,
        *,
        batch: int,
        first: int = 0,
        order: NDArray[np.int64] = NO_LABELS,
        weights: NDArray[Any] | None = None,
        seed: int = 0,
        step_number: int = 0,
        outputs: NDArray[Any] | None = None,
    ) -> float:
        """Return the loss of the step that `train` would take, with its gradient in `gradient`.

        `update` does the rest. The arguments are those of `train`.
        """
        self._has_statistics = True
        outcome = self._call(
            X, targets, batch, weights=weights, outputs=outputs, gradient=MADE, first=first,
            order=order, seed=seed, step_number=step_number, dropout=True, steps=1, learning=True,
        )  # fmt: skip
        return float(outcome.losses[0])
