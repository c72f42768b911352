"""Optimizers: hyper-parameters, and from them the coefficients of each step's update rule.

theta is any parameter, g its gradient, t = 1, 2, … the number of the step, lr its learning rate.
The rules themselves are the entries of ``kernels/update.py``; a class here names its rule and
states, for the steps of a slice, the columns that the rule reads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.arrays import as_float
from fastdnn.kernels.calls import Rule
from fastdnn.kernels.lookup import lookup
from fastdnn.kernels.update import COEFFICIENTS

from ._checks import check_flag, check_number
from ._closed import closed
from ._config import storable
from .schedules import Schedule

Vector = NDArray[np.float64]


@dataclass(kw_only=True)
class Optimizer(ABC):
    """What all optimizers share: clipping and the learning rate.

    Parameters
    ----------
    clipnorm : float, optional
        Each W's and each b's gradient is scaled down to at most this norm.
    global_clipnorm : float, optional
        The gradient of all parameters together is scaled down to at most this norm.
    """

    _intervals: ClassVar[dict[str, str]] = {}

    learning_rate: float | Schedule = 0.001
    clipnorm: float | None = None
    global_clipnorm: float | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a hyper-parameter whenever it is set."""
        where = f"{type(self).__name__}.{name}"
        if name == "learning_rate" and not isinstance(value, Schedule):
            check_number(where, value, "[0, inf)")
        elif name in ("clipnorm", "global_clipnorm"):
            if value is not None:
                check_number(where, value, "(0, inf)")
                other = "global_clipnorm" if name == "clipnorm" else "clipnorm"
                if getattr(self, other, None) is not None:
                    raise ValueError(
                        f"{where}: got {value!r} with {other} set; want one of the two"
                    )
        elif name in self._intervals:
            check_number(where, value, self._intervals[name])
        super().__setattr__(name, value)

    def learning_rates(self, steps: NDArray[np.int64]) -> Vector:
        """The learning rate of each step, numbered from 0."""
        if not isinstance(self.learning_rate, Schedule):
            return np.full(len(steps), float(self.learning_rate))
        name = f"{type(self).__name__}.learning_rate"
        rates = as_float(name, self.learning_rate(steps), np.float64, None)
        if rates.shape != steps.shape or not (rates >= 0).all() or np.isinf(rates).any():
            raise ValueError(
                f"{name}: want a finite number >= 0 for each of "
                f"{len(steps)} steps, got {rates} from {self.learning_rate!r}"
            )
        return rates

    def rule(self, steps: NDArray[np.int64]) -> Rule:
        """The update rule of the steps, numbered from 0."""
        name, columns = self._rule(self.learning_rates(steps), steps.astype(np.float64) + 1.0)
        table = np.zeros((len(steps), COEFFICIENTS))
        for i, column in enumerate(columns):
            table[:, i] = column
        if self.clipnorm is not None:
            return Rule(name, table, "tensor", self.clipnorm)
        if self.global_clipnorm is not None:
            return Rule(name, table, "global", self.global_clipnorm)
        return Rule(name, table)

    @abstractmethod
    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        """The rule's name, and its coefficients in the order of ``kernels/update.py``."""


@storable
@closed()
@dataclass
class SGD(Optimizer):
    """Gradient descent: theta -= lr g.

    With momentum mu: v = mu v - lr g, theta += v; Nesterov's: theta += mu v - lr g.

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float
        mu, in [0, 1].
    nesterov : bool
    """

    _intervals = {"momentum": "[0, 1]"}  # noqa: RUF012 - a ClassVar, as the base class says

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a hyper-parameter whenever it is set."""
        if name == "nesterov":
            value = check_flag("SGD.nesterov", value)
        super().__setattr__(name, value)

    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        if self.momentum == 0.0:
            return "descent", [lr]
        return "nesterov" if self.nesterov else "momentum", [lr, self.momentum]


@storable
@closed()
@dataclass
class RMSprop(Optimizer):
    """s = rho s + (1 - rho) g^2; theta -= lr g / (sqrt(s) + epsilon).

    Parameters
    ----------
    learning_rate : float or Schedule
    rho : float
        In [0, 1).
    epsilon : float
        > 0.

    Notes
    -----
    As in the notes and PyTorch, epsilon stands outside the root; Keras has it inside.
    """

    _intervals = {"rho": "[0, 1)", "epsilon": "(0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8

    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        return "rmsprop", [lr, self.rho, 1.0 - self.rho, self.epsilon]


@storable
@closed()
@dataclass
class Adam(Optimizer):
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2; theta -= lr m_hat / (sqrt(v_hat) + epsilon).

    m_hat = m / (1 - b1^t) and v_hat = v / (1 - b2^t). Source: Kingma and Ba 2015, algorithm 1.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        > 0.

    Notes
    -----
    As in the paper and PyTorch, epsilon is added to the corrected root; Keras and scikit-learn add
    it to the uncorrected one, which only tells in the first steps.
    """

    _intervals = {"beta_1": "[0, 1)", "beta_2": "[0, 1)", "epsilon": "(0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        return _adam(self, lr, t, 0.0)


@storable
@closed()
@dataclass
class UncorrectedAdam(Adam):
    """`Adam` with epsilon added to the root of the uncorrected v, as scikit-learn does.

    theta -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
    """

    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        b1, b2 = self.beta_1, self.beta_2
        step = lr * np.sqrt(1.0 - power(b2, t)) / (1.0 - power(b1, t))
        return "adam", [step, b1, 1.0 - b1, b2, 1.0 - b2, 1.0, 1.0, self.epsilon]


@storable
@closed()
@dataclass
class AdamW(Optimizer):
    """Adam after theta *= 1 - lr weight_decay, on all parameters.

    Source: Loshchilov and Hutter 2019.

    Parameters
    ----------
    learning_rate : float or Schedule
    weight_decay : float
        >= 0.
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        > 0.
    """

    _intervals = {**Adam._intervals, "weight_decay": "[0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    weight_decay: float = 0.004
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _rule(self, lr: Vector, t: Vector) -> tuple[str, Sequence[float | Vector]]:
        return _adam(self, lr, t, self.weight_decay)


def power(beta: float, t: Vector) -> Vector:
    """beta^t. NumPy takes several times as long for ``beta**t``."""
    return np.exp(t * math.log(beta)) if beta else np.zeros_like(t)


def _adam(
    of: Adam | AdamW, lr: Vector, t: Vector, weight_decay: float
) -> tuple[str, Sequence[float | Vector]]:
    b1, b2 = of.beta_1, of.beta_2
    step, correction = lr / (1.0 - power(b1, t)), 1.0 / np.sqrt(1.0 - power(b2, t))
    keep = 1.0 - lr * weight_decay
    return "adam", [step, b1, 1.0 - b1, b2, 1.0 - b2, correction, keep, of.epsilon]


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer that is meant; a name stands for its defaults.

    Raises
    ------
    TypeError, ValueError
        If it is neither an `Optimizer` nor a known name; the nearest known one is proposed.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    return lookup("optimizer", optimizer, OPTIMIZERS)()
