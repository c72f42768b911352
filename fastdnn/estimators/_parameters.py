"""Checks of an estimator's parameters, made by `fit` before any work."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from numbers import Integral
from typing import Any

import numpy as np

from fastdnn import activations
from fastdnn._checks import check_flag, check_number
from fastdnn.kernels.lookup import lookup
from fastdnn.optimizers import Optimizer
from fastdnn.schedules import Schedule

from ._solvers import SOLVERS

# scikit-learn's names of activations that fastdnn calls otherwise
ACTIVATIONS = {"logistic": "sigmoid"}
LEARNING_RATES = ("constant", "invscaling", "adaptive")
_INTERVALS = {
    "alpha": "[0, inf)",
    "power_t": "[0, inf)",
    "tol": "[0, inf)",
    "momentum": "[0, 1]",
    "validation_fraction": "[0, 1)",
    "beta_1": "[0, 1)",
    "beta_2": "[0, 1)",
    "epsilon": "(0, inf)",
    "learning_rate_init": "(0, inf)",
    "dropout": "[0, 1)",
}
_COUNTS = ("max_iter", "max_fun")
_FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


def check_parameters(of: Any) -> None:
    """Refuse a parameter that is none of those known, or out of its range.

    Raises
    ------
    TypeError, ValueError
        The parameter, what is wanted, and what came.
    """
    for name, interval in _INTERVALS.items():
        check_number(name, getattr(of, name), interval)
    for name in _COUNTS:
        check_number(name, getattr(of, name), "[1, inf)", whole=True)
    for name in _FLAGS:
        check_flag(name, getattr(of, name))
    if of.batch_size != "auto":
        check_number("batch_size", of.batch_size, "[1, inf)", whole=True)
    if of.n_iter_no_change != inf:
        check_number("n_iter_no_change", of.n_iter_no_change, "[1, inf)", whole=True)
    for name in ("clipnorm", "global_clipnorm"):
        if getattr(of, name) is not None:
            check_number(name, getattr(of, name), "(0, inf)")
    if of.n_threads is not None:
        check_number("n_threads", of.n_threads, "[1, inf)", whole=True)
    if of.restore_best_weights is not None:
        check_flag("restore_best_weights", of.restore_best_weights)
    _check_solver(of)
    hidden_activations(of)


def _check_solver(of: Any) -> None:
    """Refuse an unknown solver or learning rate, and settings that the solver would not heed."""
    if not isinstance(of.solver, Optimizer):
        lookup("solver", of.solver, {"lbfgs": None, **SOLVERS})
    if not isinstance(of.learning_rate, Schedule):
        lookup("learning_rate", of.learning_rate, dict.fromkeys(LEARNING_RATES))
    if of.solver == "lbfgs" and of.dropout > 0:
        raise ValueError(f"dropout: want 0 with solver='lbfgs', got {of.dropout!r}")
    takes_schedule = of.solver != "lbfgs" and not isinstance(of.solver, Optimizer)
    if isinstance(of.learning_rate, Schedule) and not takes_schedule:
        raise ValueError(
            f"learning_rate: got {of.learning_rate!r} with solver={of.solver!r}; give the "
            "schedule to the optimizer, or name a solver that has steps"
        )


def hidden_units(of: Any) -> list[int]:
    """Return the units of the hidden layers."""
    sizes = of.hidden_layer_sizes
    units = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    for n in units:
        if not isinstance(n, Integral) or isinstance(n, bool | np.bool_) or n < 1:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
    return [int(n) for n in units]


def hidden_activations(of: Any) -> list[str]:
    """Return the activation of each hidden layer by fastdnn's name."""
    units = hidden_units(of)
    given = of.activation
    if isinstance(given, str) or not isinstance(given, Iterable):
        given = [given] * len(units)
    given = list(given)
    if len(given) != len(units):
        raise ValueError(
            f"activation: want one name, or one for each of {len(units)} hidden layers, got {given}"
        )
    return [activations.resolve(ACTIVATIONS.get(g, g)) for g in given]
