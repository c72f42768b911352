"""Optimizers: hyper-parameters, and from them the coefficients of each step's update rule.

theta is any parameter, g its gradient, t = 1, 2, … the number of the step, lr its learning rate.
The rules themselves are the entries of ``kernels/elementwise/update.py``; a class here names its
rule and states, for the steps of a slice, the coefficients that the rule reads. Where these are
nothing but settings, the class follows from the entry.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import as_float
from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.elementwise.update import COEFFICIENTS, UPDATES, Update
from fastdnn.kernels.engine import Rule

from ._checks import check_flag, check_number
from ._closed import closed
from ._config import storable
from ._derived import derived
from .schedules import Schedule

Vector = NDArray[np.float64]
Named = tuple[str, Mapping[str, float | Vector]]
NEGLIGIBLE = 1e-20  # beside 1, in float64


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
        """Return the learning rate of each step, numbered from 0."""
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

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of one step, numbered from 0."""
        if not isinstance(self.learning_rate, Schedule):
            return float(self.learning_rate)
        return float(self.learning_rates(np.array([step]))[0])

    def rule(self, steps: NDArray[np.int64]) -> Rule:
        """Return the update rule of the steps, numbered from 0."""
        name, values = self._rule(self.learning_rates(steps), steps.astype(np.float64) + 1.0)
        table = np.zeros((len(steps), COEFFICIENTS))
        for i, coefficient in enumerate(UPDATES[name].coefficients):
            table[:, i] = values[coefficient]
        if self.clipnorm is not None:
            return Rule(name, table, "tensor", self.clipnorm)
        if self.global_clipnorm is not None:
            return Rule(name, table, "global", self.global_clipnorm)
        return Rule(name, table)

    @abstractmethod
    def _rule(self, lr: Vector, t: Vector) -> Named:
        """Return the rule's name in `UPDATES`, and its coefficients by name."""


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

    def _rule(self, lr: Vector, t: Vector) -> Named:
        if self.momentum == 0.0:
            return "descent", {"lr": lr}
        return "nesterov" if self.nesterov else "momentum", {"lr": lr, "mu": self.momentum}


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
    As in the textbook and PyTorch, epsilon stands outside the root; Keras has it inside.
    """

    _intervals = {"rho": "[0, 1)", "epsilon": "(0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8

    def _rule(self, lr: Vector, t: Vector) -> Named:
        rest = 1.0 - self.rho
        return "rmsprop", {"lr": lr, "rho": self.rho, "rest": rest, "eps": self.epsilon}


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

    def _rule(self, lr: Vector, t: Vector) -> Named:
        return "adam", {**_corrected(self, lr, t), "keep": 1.0}


@storable
@closed()
@dataclass
class UncorrectedAdam(Adam):
    """`Adam` with epsilon added to the root of the uncorrected v, as scikit-learn does.

    theta -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
    """

    def _rule(self, lr: Vector, t: Vector) -> Named:
        step = lr * np.sqrt(1.0 - power(self.beta_2, t)) / (1.0 - power(self.beta_1, t))
        return "adam", {**_moments(self), "step": step, "root": 1.0, "keep": 1.0}


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

    def _rule(self, lr: Vector, t: Vector) -> Named:
        keep = 1.0 - lr * self.weight_decay
        return "adam", {**_corrected(self, lr, t), "keep": keep}


@storable
@closed()
@dataclass
class NAdam(Optimizer):
    """Adam with Nesterov's momentum: theta -= lr m_bar / (sqrt(v_hat) + epsilon).

    m_bar = mu_{t+1} m / (1 - mu_1 … mu_{t+1}) + (1 - mu_t) g / (1 - mu_1 … mu_t) with
    mu_t = b1 (1 - 0.96^(t psi) / 2). Source: Dozat 2016.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
        > 0.
    momentum_decay : float
        psi, >= 0.

    Notes
    -----
    psi is that of the paper and PyTorch; Keras has 1.
    """

    _intervals = {**Adam._intervals, "momentum_decay": "[0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 0.004

    def _rule(self, lr: Vector, t: Vector) -> Named:
        of_t, of_next = self._products(t)
        values = {
            "of_m": lr * self._mu(t + 1.0) / (1.0 - of_next),
            "of_g": lr * (1.0 - self._mu(t)) / (1.0 - of_t),
            "root": 1.0 / np.sqrt(1.0 - power(self.beta_2, t)),
        }
        return "nadam", {**_moments(self), **values}

    def _mu(self, t: Vector) -> Vector:
        return self.beta_1 * (1.0 - 0.5 * power(0.96, t * self.momentum_decay))

    def _products(self, t: Vector) -> tuple[Vector, Vector]:
        """Return mu_1 … mu_t and mu_1 … mu_{t+1}; as each mu is below b1, these are soon 0."""
        many = math.log(NEGLIGIBLE) / math.log(self.beta_1) if self.beta_1 else 1.0
        count = int(min(many, t.max(initial=1.0))) + 1
        products = np.append(np.cumprod(self._mu(np.arange(1.0, count + 1.0))), 0.0)
        at = np.minimum(t.astype(np.int64) - 1, count)
        return products[at], products[np.minimum(at + 1, count)]


@storable
@closed()
@dataclass
class Lion(Optimizer):
    """theta *= 1 - lr weight_decay; theta -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g.

    All parameters change by the same size, so lr is smaller than Adam's. Source: Chen et al. 2023.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta_1, beta_2 : float
        In [0, 1).
    weight_decay : float
        >= 0.
    """

    _intervals = {"beta_1": "[0, 1)", "beta_2": "[0, 1)", "weight_decay": "[0, inf)"}  # noqa: RUF012

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    def _rule(self, lr: Vector, t: Vector) -> Named:
        return "lion", {**_averages(self), "lr": lr, "keep": 1.0 - lr * self.weight_decay}


def power(beta: float, t: Vector) -> Vector:
    """Return beta^t. NumPy takes several times as long for ``beta**t``."""
    return np.exp(t * math.log(beta)) if beta else np.zeros_like(t)


def _averages(of: Adam | AdamW | NAdam | Lion) -> dict[str, float | Vector]:
    b1, b2 = of.beta_1, of.beta_2
    return {"b1": b1, "rest_1": 1.0 - b1, "b2": b2, "rest_2": 1.0 - b2}


def _moments(of: Adam | AdamW | NAdam) -> dict[str, float | Vector]:
    return {**_averages(of), "eps": of.epsilon}


def _corrected(of: Adam | AdamW, lr: Vector, t: Vector) -> dict[str, float | Vector]:
    """Of the moments' estimates without the bias of their start."""
    step = lr / (1.0 - power(of.beta_1, t))
    return {**_moments(of), "step": step, "root": 1.0 / np.sqrt(1.0 - power(of.beta_2, t))}


def _of_rule(name: str, entry: Update) -> type[Optimizer]:
    """Return the class of an optimizer whose settings are all coefficients of its rule."""
    settings = {one: setting for one, setting in entry.settings.items() if one != "lr"}

    def rule(self: Optimizer, lr: Vector, t: Vector) -> Named:
        return name, {"lr": lr, **{one: getattr(self, one) for one in settings}}

    fields = [("learning_rate", float | Schedule, entry.settings["lr"].default)]
    fields += [(one, float, setting.default) for one, setting in settings.items()]
    intervals = {one: setting.interval for one, setting in settings.items()}
    base: Any = Optimizer  # which is abstract
    made = derived(name, base, entry.equation, fields, _intervals=intervals, _rule=rule)
    return storable(closed()(made))


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "lion": Lion,
    **{name: _of_rule(name, entry) for name, entry in UPDATES.items() if entry.settings},
}
Adagrad: Any = OPTIMIZERS["adagrad"]  # whose settings a type checker does not know


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
