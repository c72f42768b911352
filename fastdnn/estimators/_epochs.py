"""Training by epochs with scikit-learn's order of samples, weights and share of the penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from fastdnn.kernels.engine import NO_LABELS
from fastdnn.training import Draw, Trainer

Array = NDArray[Any]


@dataclass(kw_only=True)
class EpochTrainer(Trainer):
    """A `Trainer` whose epochs are scikit-learn's.

    With the weights w_i, a batch's loss is sum_i w_i l_i / sum_i w_i, and its penalty
    alpha / 2 sum W^2 / sum_i w_i. The engine divides by the batch's number of samples m_b, so it is
    given the weights w_i m_b / sum w, and the penalty for each batch.

    Parameters
    ----------
    shuffle : bool
    rng : RandomState
        Shuffles the samples, epoch after epoch, if they are to be shuffled.
    alpha : float
    l2 : float
        The engine's penalties are l2 sum W^2 before they are scaled.
    outputs_summed, outputs_averaged : float
        The engine's losses are means over the outputs. They are trained on times the first number,
        and the loss that is told is that sum divided by the second one.
    constants : ndarray, optional
        What is added to the samples' losses where they are told.
    """

    draw: Callable[[int, int], Draw] = field(init=False)
    shuffle: bool
    rng: RandomState
    alpha: float
    l2: float
    outputs_summed: float
    outputs_averaged: float
    constants: Array | None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.draw = self._next
        m = len(self.data.y)
        self._index = np.arange(m)
        self._sums = np.minimum(self.batch, m - np.arange(0, m, self.batch)).astype(np.float64)
        self._sizes = self._sums
        self._weights: Array | None = None
        if self.outputs_summed != 1.0:
            self._weights = np.full(m, self.outputs_summed, self.engine.dtype)
        # W changes from step to step, so its own penalty is known before each one only
        self._by_step = self.alpha > 0 and (
            self.data.weights is not None or self.outputs_averaged != 1.0
        )

    def _may_be_ahead(self) -> bool:
        """Return whether no epoch has weights, penalties or constants of its own."""
        own = self._by_step or self.data.weights is not None or self.constants is not None
        return not own and super()._may_be_ahead()

    def _next(self, first: int, passes: int) -> Draw:
        """Draw the samples of some epochs; of one, where each has weights of its own."""
        orders = [self._shuffled() for _ in range(passes if self.shuffle else 0)]
        if self.data.weights is not None:
            self._normalise(self.data.weights[self._index].astype(np.float64))
        order = np.concatenate(orders) if passes > 1 and orders else self._index
        return Draw(order if self.shuffle else NO_LABELS, self._weights)

    def _shuffled(self) -> NDArray[np.int64]:
        """Shuffle the samples once more, as scikit-learn does."""
        order = np.arange(len(self.data.y))
        self.rng.shuffle(order)
        self._index = self._index[order]
        return self._index

    def _normalise(self, weight: Array) -> None:
        """Take the weights, in the epoch's order, to a mean of 1 in each batch."""
        self._sums = np.add.reduceat(weight, np.arange(0, len(weight), self.batch))
        means = np.where(self._sums > 0, self._sums, 1.0) / self._sizes
        scaled = self.outputs_summed * weight / np.repeat(means, self._sizes.astype(np.int64))
        self._weights = np.empty(len(weight), self.engine.dtype)
        self._weights[self._index] = scaled

    def _losses(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Run the steps, one by one if the penalty needs it; returns the sums of their losses."""
        if self._by_step:
            epoch, done = at
            losses = np.concatenate(
                [self._penalised(first + i, (epoch, done + i)) for i in range(count)]
            )
        else:
            if self.alpha > 0:
                self.engine.scale_penalties(self.alpha / 2 / self.l2, per_sample=True)
            losses = super()._losses(first, count, at) / self.outputs_averaged
        if len(losses):  # a signal or a divergence may have come before the first step
            losses[0] += self._constant(slice(first * self.batch, (first + count) * self.batch))
        return losses

    def _penalised(self, step: int, at: tuple[int, int]) -> Array:
        """Run one step, whose penalty is divided by its weights; returns the sum of its losses."""
        total, penalty = self._sums[step], 0.0
        if total > 0:
            self.engine.scale_penalties(self.alpha / 2 / total / self.l2)
            penalty = self.alpha / 2 * sum_of_squares(self.engine) / total * self._sizes[step]
        else:
            self.engine.scale_penalties(0.0)
        losses = super()._losses(step, 1, at)
        return (losses - penalty) / self.outputs_averaged + penalty

    def _constant(self, part: slice) -> float:
        """Return what these samples of the epoch add to the sum of losses."""
        if self.constants is None:
            return 0.0
        rows = self._index[part]
        if self._weights is None:
            return float(self.constants[rows].sum())
        return float(np.dot(self.constants[rows], self._weights[rows]) / self.outputs_summed)


def sum_of_squares(engine: Any) -> float:
    """Return sum W^2 over all dense layers."""
    total = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.is_dense:
            W = engine.weights(l).T.ravel()
            total += float(np.dot(W, W))
    return total
