"""scikit-learn's solvers, as optimizers of the compiled engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from fastdnn.optimizers import OPTIMIZERS, SGD, Lion, Optimizer, UncorrectedAdam
from fastdnn.schedules import Schedule


def _sgd(of: Any, rate: float | Schedule) -> Optimizer:
    nesterov = bool(of.nesterovs_momentum)
    return SGD(learning_rate=rate, momentum=of.momentum, nesterov=nesterov)


_SHARED = ("beta_1", "beta_2", "epsilon")  # parameters of an estimator that are optimizers' too


def _of(kind: type[Optimizer]) -> Callable[[Any, float | Schedule], Optimizer]:
    """Return how an optimizer is made of an estimator's parameters that it has."""
    known = {one.name for one in fields(kind)}
    shared = [name for name in _SHARED if name in known]
    return lambda of, rate: kind(learning_rate=rate, **{one: getattr(of, one) for one in shared})


# How each solver by name is made of an estimator's parameters and its learning rate.
SOLVERS: dict[str, Callable[[Any, float | Schedule], Optimizer]] = {
    **{name: _of(kind) for name, kind in OPTIMIZERS.items()},
    "sgd": _sgd,
    "adam": _of(UncorrectedAdam),
    "lion": lambda of, rate: Lion(learning_rate=rate),  # its betas mean something else
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
