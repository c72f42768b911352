"""Steps of a loss that is a Python function of arrays: each step stops at A_L for it.

A step is two calls: a forward pass, which hands out A_L; then, when the function has made dA, a
whole step with the loss `losses.GIVEN`, whose targets are dA. So the forward pass is made twice, to
the same A_L: all lies in the same places, and dropout's masks follow from the seed and the step's
number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.elementwise.losses import GIVEN
from fastdnn.kernels.layers.layout import FINITE, LOSS_NOT_FINITE, STOPPED

from .calls import NO_LABELS, Outcome, Report, Rule, Stop, Targets
from .engine import Engine

Array = NDArray[Any]
# (y, A_L, weights) of some samples -> the sum of w_i l_i / m, and dA of each sample's l_i
Function = Callable[[Array, Array, Array | None], tuple[float, Array]]


class Stepwise:
    """An engine whose loss is a function of arrays.

    Parameters
    ----------
    engine : Engine
        It takes the loss `GIVEN`, and has all that is not named here.
    function : callable
        Maps y, A_L (m, n_L) and the weights of m samples to their loss and dA (m, n_L).
    """

    def __init__(self, engine: Engine, function: Function) -> None:
        engine.set_loss(GIVEN)
        self.engine, self.function = engine, function

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def batch_losses(
        self,
        X: Array,
        targets: Targets,
        *,
        weights: Array | None = None,
        batch: int,
        report: Report | None = None,
        stop: Stop = None,
    ) -> tuple[NDArray[np.float64], Array]:
        """Return each batch's loss without penalties, and A_L; see `Engine.batch_losses`.

        A native call under way is not stopped.
        """
        outputs = self.engine.forward(X, batch=batch, report=report)
        starts = range(0, len(X), batch)
        parts = [slice(begin, min(begin + batch, len(X))) for begin in starts]
        losses = [self._loss_of(rows, targets, outputs, weights)[0] for rows in parts]
        return np.array(losses), outputs

    def differentiate(
        self,
        X: Array,
        targets: Targets,
        *,
        weights: Array | None = None,
        dZ_1: Array | None = None,
        learning: bool = True,
    ) -> float:
        """Return the loss of X as one batch, with penalties; see `Engine.differentiate`."""
        engine = self.engine
        outputs = np.empty((len(X), engine.layers[-1].n), engine.dtype)
        engine._call(X, None, len(X), outputs=outputs, learning=learning)
        loss, dA = self._loss_of(slice(None), targets, outputs, weights)
        given = Targets(np.ascontiguousarray(dA, engine.dtype))
        return loss + engine.differentiate(X, given, weights=weights, dZ_1=dZ_1, learning=learning)

    def step_gradient(
        self,
        X: Array,
        targets: Targets,
        *,
        batch: int,
        first: int = 0,
        order: NDArray[np.int64] = NO_LABELS,
        weights: Array | None = None,
        outputs: Array | None = None,
        **same: Any,
    ) -> float:
        """Return the loss of the step that `train` would take; see `Engine.step_gradient`."""
        engine, shape = self.engine, (len(X), self.engine.layers[-1].n)
        A = np.empty(shape, engine.dtype) if outputs is None else outputs.reshape(shape)
        engine._call(
            X, None, batch, outputs=A, dropout=True, steps=1, learning=True, first=first,
            order=order, **same,
        )  # fmt: skip
        part = slice(first * batch, (first + 1) * batch)
        rows = order[part] if len(order) else part
        loss, dA = self._loss_of(rows, targets, A, weights)
        given = np.zeros(shape, engine.dtype)
        given[rows] = dA
        return loss + engine.step_gradient(
            X, Targets(given), batch=batch, first=first, order=order, weights=weights, **same
        )

    def train(
        self,
        X: Array,
        targets: Targets,
        rule: Rule,
        *,
        batch: int,
        first: int = 0,
        order: NDArray[np.int64] = NO_LABELS,
        weights: Array | None = None,
        seed: int = 0,
        step_number: int = 0,
        outputs: Array | None = None,
        stop: Stop = None,
    ) -> Outcome:
        """One step per row of the rule's coefficients; see `Engine.train`."""
        engine, m = self.engine, len(X)
        shape = m, engine.layers[-1].n
        A = np.empty(shape, engine.dtype) if outputs is None else outputs.reshape(shape)
        given, per_epoch = np.zeros(shape, engine.dtype), -(-m // batch)
        losses: list[float] = []
        for s in range(len(rule.coefficients)):
            epoch, number = divmod(first + s, per_epoch)
            mine = order[epoch * m : (epoch + 1) * m] if len(order) > m else order
            part = slice(number * batch, (number + 1) * batch)
            rows = mine[part] if len(mine) else part
            same: dict[str, Any] = {
                "first": number, "order": mine, "seed": seed, "step_number": step_number + s,
                "stop": stop,
            }  # fmt: skip
            outcome = engine._call(
                X, None, batch, outputs=A, dropout=True, steps=1, learning=True, **same
            )
            if outcome.reason == STOPPED:
                return Outcome(np.array(losses), s, STOPPED)
            loss, dA = self._loss_of(rows, targets, A, weights)
            losses.append(loss)
            if not math.isfinite(loss):
                return Outcome(np.array(losses), s, LOSS_NOT_FINITE)
            given[rows] = dA
            one = rule._replace(coefficients=rule.coefficients[s : s + 1])
            outcome = engine.train(X, Targets(given), one, batch=batch, weights=weights, **same)
            if outcome.reason == STOPPED:
                return Outcome(np.array(losses[:s]), s, STOPPED)
            losses[-1] += outcome.losses[0]  # the penalties
            if outcome.reason != FINITE:
                return Outcome(np.array(losses), s, outcome.reason)
        return Outcome(np.array(losses), len(losses), FINITE)

    def _loss_of(
        self, rows: Array | slice, targets: Targets, outputs: Array, weights: Array | None
    ) -> tuple[float, Array]:
        """Return the function's loss and dA of some samples."""
        of_rows = None if weights is None else weights[rows]
        # copies: the function may change what it is given
        return self.function(targets.y[rows].copy(), outputs[rows].copy(), of_rows)
