"""Learning-rate schedules: the learning rate as a function of the step number t, from 0.

A plain float is the constant schedule. A step is one update of the parameters, so an epoch of m
samples has ceil(m / batch_size) of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_flag, check_number
from ._closed import closed
from ._config import storable


class Schedule(ABC):
    """What may stand for a float as an optimizer's ``learning_rate``.

    Subclass it and write ``__call__`` for a schedule of your own.
    """

    @abstractmethod
    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the learning rates of the steps numbered `steps` (any shape), of that shape."""

    def _check(self, field: str, interval: str, *, whole: bool = False) -> None:
        name = f"{type(self).__name__}.{field}"
        check_number(name, getattr(self, field), interval, whole=whole)


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class StepDecay(Schedule):
    """A staircase: the rate is multiplied by `factor` after every `every_steps` steps.

    lr(t) = initial * factor ** floor(t / every_steps)

    Parameters
    ----------
    initial : float
        The learning rate of the first step, > 0.
    factor : float
        > 0; below 1 the rate falls.
    every_steps : int
        Length of a stair in steps, >= 1.
    """

    initial: float
    factor: float
    every_steps: int

    def __post_init__(self) -> None:
        self._check("initial", "(0, inf)")
        self._check("factor", "(0, inf)")
        self._check("every_steps", "[1, inf)", whole=True)

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return lr(t) for each t in `steps`."""
        return _geometric(self.initial, self.factor, steps // self.every_steps)


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """The rate is multiplied by `decay_rate` over `decay_steps` steps, a little at each step.

    lr(t) = initial * decay_rate ** (t / decay_steps)

    Parameters
    ----------
    initial : float
        The learning rate of the first step, > 0.
    decay_steps : int
        >= 1.
    decay_rate : float
        > 0; below 1 the rate falls, above 1 it rises (for a learning-rate range test).
    staircase : bool
        Take floor(t / decay_steps) as the exponent.
    """

    initial: float
    decay_steps: int
    decay_rate: float
    staircase: bool = False

    def __post_init__(self) -> None:
        self._check("initial", "(0, inf)")
        self._check("decay_steps", "[1, inf)", whole=True)
        self._check("decay_rate", "(0, inf)")
        check_flag("ExponentialDecay.staircase", self.staircase)

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return lr(t) for each t in `steps`."""
        divide = np.floor_divide if self.staircase else np.true_divide
        return _geometric(self.initial, self.decay_rate, divide(steps, self.decay_steps))


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class CosineDecay(Schedule):
    """A linear warm-up, then half a cosine wave down to ``alpha * initial``, then flat.

    With s = warmup_steps and p = min((t - s) / decay_steps, 1):

    t < s:   lr(t) = warmup_start + (initial - warmup_start) * t / s
    t >= s:  lr(t) = initial * (alpha + (1 - alpha) * (1 + cos(pi p)) / 2)

    Parameters
    ----------
    initial : float
        The highest learning rate, reached at t = s; > 0.
    decay_steps : int
        Length of the fall in steps, the warm-up not counted; >= 1.
    alpha : float
        The last learning rate as a share of `initial`, from 0 to 1.
    warmup_steps : int
        Length of the warm-up; 0 for none.
    warmup_start : float
        The learning rate at t = 0 if there is a warm-up, >= 0.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, eq. 5
    (without restarts).
    """

    initial: float
    decay_steps: int
    alpha: float = 0.0
    warmup_steps: int = 0
    warmup_start: float = 0.0

    def __post_init__(self) -> None:
        self._check("initial", "(0, inf)")
        self._check("decay_steps", "[1, inf)", whole=True)
        self._check("alpha", "[0, 1]")
        self._check("warmup_steps", "[0, inf)", whole=True)
        self._check("warmup_start", "[0, inf)")

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return lr(t) for each t in `steps`."""
        p = np.clip((steps - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        fall = self.initial * (self.alpha + (1 - self.alpha) * (1 + np.cos(np.pi * p)) / 2)
        # Without a warm-up no step takes this branch; the 1 only keeps 0 / 0 out of it.
        climb = (self.initial - self.warmup_start) * steps / max(self.warmup_steps, 1)
        return np.where(steps < self.warmup_steps, self.warmup_start + climb, fall)


def _geometric(initial: float, ratio: float, exponent: NDArray[Any]) -> NDArray[np.float64]:
    """Return initial * ratio ** exponent in float64, whatever types the user's numbers have."""
    rates: NDArray[np.float64] = initial * np.power(float(ratio), exponent)
    return rates
