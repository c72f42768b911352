"""Training by epochs with scikit-learn's order of samples, weights and share of the penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from fastdnn.kernels.engine import NO_LABELS, Outcome, Rule, Targets
from fastdnn.training import Draw, Trainer

Array = NDArray[Any]


@dataclass(kw_only=True)
class EpochTrainer(Trainer):
    """A `Trainer` whose epochs are scikit-learn's.

    With the weights w_i and s = sum_i w_i, a batch's loss is sum_i w_i l_i / s, and its penalty
    alpha / 2 sum W^2 / s. The engine divides by the batch's number of samples m_b in the place of
    s. So each step's loss and gradient are multiplied by m_b / s. The weights that it is given have
    the mean 1 over all samples, whatever their unit.

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
        self._sizes = np.minimum(self.batch, m - np.arange(0, m, self.batch)).astype(np.float64)
        self._weight: NDArray[np.float64] | None = None  # of each sample, with the mean 1
        self._weights: Array | None = None  # what the engine is given
        self._of_draw: tuple[Draw, NDArray[np.float64]] | None = None  # its steps' factors
        self._unit = 1.0  # of the weights: s in it is that of the weights of mean 1
        if self.data.weights is not None:
            weight = self.data.weights.astype(np.float64)
            self._unit = 1.0 / float(weight.mean()) if weight.any() else 1.0
            self._weight = self._unit * weight
            self._weights = (self.outputs_summed * self._weight).astype(self.engine.dtype)
        elif self.outputs_summed != 1.0:
            self._weights = np.full(m, self.outputs_summed, self.engine.dtype)

    def _may_be_ahead(self) -> bool:
        """Return whether the losses that are told are those of the native call."""
        return self.constants is None and super()._may_be_ahead()

    def _next(self, first: int, passes: int) -> Draw:
        """Draw the samples of some epochs."""
        if not self.shuffle:
            return Draw(NO_LABELS, self._weights)
        orders = [self._shuffled() for _ in range(passes)]
        return Draw(np.concatenate(orders) if passes > 1 else self._index, self._weights)

    def _shuffled(self) -> NDArray[np.int64]:
        """Shuffle the samples once more, as scikit-learn does."""
        order = np.arange(len(self.data.y))
        self.rng.shuffle(order)
        self._index = self._index[order]
        return self._index

    def _losses(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Run the steps; returns the sums of their losses."""
        if self.alpha > 0:
            self.engine.scale_penalties(self.alpha / 2 / self.l2 * self._unit, per_sample=True)
        losses = super()._losses(first, count, at)
        if len(losses):  # a signal or a divergence may have come before the first step
            losses[0] += self._constant(first, len(losses))
        return losses

    def _native(self, step: int, X: Array, targets: Targets, rule: Rule, **how: Any) -> Outcome:
        """Run steps whose losses are means over the outputs, and whose penalties are not."""
        count = len(rule.coefficients)
        factors = self._factors(step, count)
        if factors is None and self.alpha > 0 and self.outputs_averaged != 1.0:
            factors = np.ones(count)
        outcome = super()._native(step, X, targets, rule, factors=factors, **how)
        if outcome.penalties is None:
            return outcome._replace(losses=outcome.losses / self.outputs_averaged)
        losses = (outcome.losses - outcome.penalties) / self.outputs_averaged + outcome.penalties
        return outcome._replace(losses=losses)

    def _factors(self, first: int, count: int) -> NDArray[np.float64] | None:
        """Return m_b / s of each step from the pass's `first`; 0 where s is; None for all 1."""
        if self._weight is None:
            return None
        if self._of_draw is None or self._of_draw[0] is not self._drawn:
            self._of_draw = self._drawn, self._factors_of(self._weight, self._drawn.order)
        factors = self._of_draw[1]
        return factors[(first + np.arange(count)) % len(factors)]

    def _factors_of(
        self, weight: NDArray[np.float64], order: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return those of all steps that are drawn."""
        m = len(weight)
        order = order if order.size else np.arange(m)
        starts = np.add.outer(np.arange(0, len(order), m), np.arange(0, m, self.batch)).ravel()
        sums = np.add.reduceat(weight[order], starts)
        sizes = np.resize(self._sizes, sums.shape)
        return np.divide(sizes, sums, out=np.zeros_like(sums), where=sums > 0)

    def _constant(self, first: int, count: int) -> float:
        """Return what these samples of the epoch add to the sum of losses."""
        if self.constants is None:
            return 0.0
        rows = self._index[first * self.batch : (first + count) * self.batch]
        factors = self._factors(first, count)
        if self._weight is None or factors is None:
            return float(self.constants[rows].sum())
        sizes = self._sizes[first : first + count].astype(np.int64)
        return float(np.dot(self.constants[rows], self._weight[rows] * np.repeat(factors, sizes)))
