"""What a call of the engine is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.layers.layout import FINITE, STOPPED

NO_LABELS = np.empty(0, np.int64)
Report = Callable[[int], object]  # is told how many samples are done
Stop = NDArray[np.int64] | None  # one number: the call ends soon after another thread has set it


class StoppedError(Exception):
    """A call has been stopped, and what it was to make is not there."""


class Targets(NamedTuple):
    """What a loss compares outputs with: rows (m, n_L) or labels (m,); the other is empty."""

    y: NDArray[Any]
    labels: NDArray[np.int64] = NO_LABELS

    def rows(self, part: slice | NDArray[np.int64]) -> Targets:
        """Those of some of the samples."""
        if self.labels.size:
            return Targets(self.y, self.labels[part])
        return Targets(self.y[part], self.labels)


CLIPPING = {None: 0, "tensor": 1, "global": 2}  # by their codes in a plan


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
    """What a call did: the loss of each step done, and why it ended (a constant of `layout`).

    Where the steps had factors, these are in the losses, and in the penalties, which the losses
    hold too.
    """

    losses: NDArray[np.float64]
    done: int
    reason: int
    penalties: NDArray[np.float64] | None = None


def outcome_of(
    losses: NDArray[np.float64], factors: NDArray[np.float64] | None, done: int, reason: int
) -> Outcome:
    """Return what a call did, from what it has left in the losses; see `layout.Memory`."""
    told = done + (reason not in (FINITE, STOPPED))
    if factors is None:
        return Outcome(losses[:told], done, reason)
    whole, penalties = factors[:told] * losses.reshape(2, -1)[:, :told]
    return Outcome(whole, done, reason, penalties)


class Arguments(NamedTuple):
    """What the compiled step is given, and what the next call of the same kind finds ready."""

    plan: NDArray[np.int64]
    addresses: NDArray[np.int64]
    used: tuple[Any, ...]  # what lies at the addresses

    def copied(self) -> Arguments:
        """Return the same ones, which the next call does not change."""
        return self._replace(plan=self.plan.copy(), addresses=self.addresses.copy())


class Again(NamedTuple):
    """A forward call that can be made again with other samples of the same shape."""

    key: tuple[Any, ...]
    arguments: Arguments
    losses: NDArray[np.float64]


def mean_loss(losses: NDArray[np.float64], m: int, batch: int) -> float:
    """Return the loss of m samples, from that of each batch; the last one may be smaller."""
    sizes = np.minimum(batch, m - batch * np.arange(len(losses)))
    return float(np.dot(losses, sizes) / m)


def parts_of(m: int, size: int, report: Report | None) -> Iterator[slice]:
    """m samples by `size` at a time; tells `report` how many are done each time."""
    for begin in range(0, m, size):
        yield slice(begin, begin + size)
        if report is not None:
            report(min(size, m - begin))
