"""Checks of an estimator's parameters, made by `fit` before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastdnn import activations
from fastdnn._checks import check_flag, check_number
from fastdnn.hooks import check_callbacks
from fastdnn.kernels import ACTIVATIONS
from fastdnn.kernels.base.lookup import lookup
from fastdnn.normalization import check_normalization
from fastdnn.optimizers import Optimizer
from fastdnn.schedules import Schedule

from ._rules import scorer_of
from ._solvers import SOLVERS

# scikit-learn's names of activations that fastdnn calls otherwise
_ACTIVATIONS = {entry.sklearn: name for name, entry in ACTIVATIONS.items() if entry.sklearn}
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
_DTYPES = ("float32", "float64")
# Of no use to L-BFGS, which has neither steps nor validation samples.
_NOT_OF_LBFGS = (
    "dropout",
    "clipnorm",
    "global_clipnorm",
    "scoring",
    "restore_best_weights",
    "callbacks",
)
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
    if of.clipnorm is not None and of.global_clipnorm is not None:
        raise ValueError(
            f"clipnorm: got {of.clipnorm!r} with global_clipnorm set; want one of the two"
        )
    _check_verbose(of.verbose)
    _check_dtype(of.dtype)
    _check_random_state(of.random_state)
    _check_class_weight(getattr(of, "class_weight", None))
    check_normalization(of.normalization)
    _check_solver(of)
    hidden_activations(of)


def _check_verbose(verbose: Any) -> None:
    if isinstance(verbose, str):
        lookup("verbose", verbose, {"bar": None})
    elif not isinstance(verbose, bool | np.bool_):
        check_number("verbose", verbose, "[0, inf)", whole=True)


def _check_dtype(dtype: Any) -> None:
    if dtype is None:
        return
    try:
        name: Any = np.dtype(dtype).name
    except TypeError:
        name = dtype
    lookup("dtype", name, dict.fromkeys(_DTYPES))


def _check_random_state(random_state: Any) -> None:
    try:
        check_random_state(random_state)
    except ValueError:
        raise ValueError(
            f"random_state: want an int, a RandomState or None, got {random_state!r}"
        ) from None


def _check_class_weight(class_weight: Any) -> None:
    if isinstance(class_weight, str):
        lookup("class_weight", class_weight, {"balanced": None})
    elif isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            check_number(f"class_weight[{label!r}]", weight, "[0, inf)")


def _check_solver(of: Any) -> None:
    """Refuse an unknown solver or learning rate, and settings that the solver would not heed."""
    if not isinstance(of.solver, Optimizer):
        lookup("solver", of.solver, {"lbfgs": None, **SOLVERS})
    if not isinstance(of.learning_rate, Schedule):
        lookup("learning_rate", of.learning_rate, dict.fromkeys(LEARNING_RATES))
    unheeded: tuple[str, ...] = ()
    if of.solver == "lbfgs":
        unheeded = _NOT_OF_LBFGS
    elif isinstance(of.solver, Optimizer):
        unheeded = "clipnorm", "global_clipnorm"
    for name in unheeded:
        if getattr(of, name):
            raise ValueError(f"{name}: solver={of.solver!r} takes none, got {getattr(of, name)!r}")
    if of.solver == "lbfgs" and of.normalization == "batch":
        raise ValueError(
            "normalization: want 'layer', 'rms' or None with solver='lbfgs', got 'batch': its "
            "moving averages follow the steps of batches, of which lbfgs takes none"
        )
    if of.solver == "lbfgs" and of.verbose == "bar":
        raise ValueError("verbose: want a bool or an int with solver='lbfgs', got 'bar'")
    if not _heeds_learning_rate(of):
        raise ValueError(
            f"learning_rate: want 'constant' with solver={of.solver!r}, got {of.learning_rate!r}; "
            "an optimizer brings its own rate or schedule, other solvers take a schedule"
        )


def _heeds_learning_rate(of: Any) -> bool:
    """Return whether the solver takes this learning rate, or scikit-learn says it need not."""
    if isinstance(of.solver, Optimizer):
        return bool(of.learning_rate == "constant")
    if isinstance(of.learning_rate, Schedule):
        return bool(of.solver != "lbfgs")
    return of.learning_rate == "constant" or of.solver in ("sgd", "adam", "lbfgs")


def check_use(of: Any, *, incremental: bool, validates: bool) -> None:
    """Refuse parameters of which this call of `fit` or `partial_fit` would make no use."""
    if incremental:
        for name in ("early_stopping", "restore_best_weights"):
            if getattr(of, name):
                raise ValueError(f"partial_fit does not support {name}=True")
        if getattr(of, "class_weight", None) == "balanced":
            raise ValueError(
                "class_weight: partial_fit does not see all samples, as 'balanced' wants; give a "
                "dict of class to weight"
            )
    if of.scoring is not None and not validates:
        raise ValueError(
            f"scoring: got {of.scoring!r} without validation samples; set early_stopping=True or "
            "give fit validation_data"
        )
    scorer_of(of)
    names = ["loss", "learning_rate", *(["val_loss", "val_score"] if validates else [])]
    check_callbacks(of.callbacks, names)


def check_unchanged(of: Any) -> None:
    """Refuse another network than the one that training would go on with."""
    units, before = hidden_units(of), [W.shape[1] for W in of.coefs_[:-1]]
    if units != before:
        raise ValueError(f"hidden_layer_sizes: want {before} as in the fit before, got {units}")
    if of.normalization != of._normalization:
        raise ValueError(
            f"normalization: want {of._normalization!r} as in the fit before, "
            f"got {of.normalization!r}"
        )
    dtype = of.coefs_[0].dtype
    if of.dtype is not None and np.dtype(of.dtype) != dtype:
        raise ValueError(f"dtype: want {dtype.name!r} as in the fit before, got {of.dtype!r}")


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
    if None in given:  # which `Dense` takes as "identity"
        raise TypeError(f"activation: want names, got {of.activation!r}")
    if len(given) != len(units):
        raise ValueError(
            f"activation: want one name, or one for each of {len(units)} hidden layers, got {given}"
        )
    return [activations.resolve(_ACTIVATIONS.get(g, g)) for g in given]


def output_name(activation: str) -> str:
    """Return scikit-learn's name of an activation."""
    return ACTIVATIONS[activation].sklearn or activation


def start_factor(of: Any) -> float:
    """Return scikit-learn's factor of the bounds of W at the start: its one activation says it."""
    given = of.activation
    name = activations.resolve(_ACTIVATIONS.get(given, given)) if isinstance(given, str) else None
    return ACTIVATIONS[name or activations.resolve(None)].sklearn_factor
