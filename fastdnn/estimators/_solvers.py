"""scikit-learn's solvers, as optimizers of the compiled engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fastdnn.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
    UncorrectedAdam,
)
from fastdnn.schedules import Schedule


def _sgd(of: Any, rate: float | Schedule) -> Optimizer:
    nesterov = bool(of.nesterovs_momentum)
    return SGD(learning_rate=rate, momentum=of.momentum, nesterov=nesterov)


def _with_moments(
    kind: type[Adam] | type[AdamW] | type[NAdam],
) -> Callable[[Any, float | Schedule], Optimizer]:
    return lambda of, rate: kind(
        learning_rate=rate, beta_1=of.beta_1, beta_2=of.beta_2, epsilon=of.epsilon
    )


# How each solver by name is made of an estimator's parameters and its learning rate.
SOLVERS: dict[str, Callable[[Any, float | Schedule], Optimizer]] = {
    "sgd": _sgd,
    "adam": _with_moments(UncorrectedAdam),
    "adamw": _with_moments(AdamW),
    "nadam": _with_moments(NAdam),
    "lion": lambda of, rate: Lion(learning_rate=rate),
    "rmsprop": lambda of, rate: RMSprop(learning_rate=rate, epsilon=of.epsilon),
    "adagrad": lambda of, rate: Adagrad(learning_rate=rate, epsilon=of.epsilon),
}


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that an estimator's parameters describe; the user's own is copied."""
    if isinstance(estimator.solver, Optimizer):
        return copy.deepcopy(estimator.solver)
    rate = estimator.learning_rate
    if not isinstance(rate, Schedule):
        rate = float(estimator.learning_rate_init)
    optimizer = SOLVERS[estimator.solver](estimator, rate)
    optimizer.clipnorm = estimator.clipnorm
    optimizer.global_clipnorm = estimator.global_clipnorm
    return optimizer
