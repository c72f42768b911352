"""What `compile(metrics=...)` understands: functions of (y_true, y_pred) that return one number.

y_pred is A_L, of shape (m, n_L). y_true is an integer array (m,) for sparse labels, else (m, n_L).
All of them are taken over a whole data set at once, unweighted, and averaged in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.lookup import lookup

Metric = Callable[[NDArray[Any], NDArray[Any]], float]

SPARSE_LOSS = "sparse_categorical_crossentropy"


def sparse_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return the share of samples whose largest output is their class; y_true is (m,)."""
    return float(np.mean(y_true == np.argmax(y_pred, axis=1)))


def categorical_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return the share of samples whose largest output is where y_true is largest."""
    return sparse_accuracy(np.argmax(y_true, axis=1), y_pred)


def binary_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return the share of outputs on the same side of 0.5 as y_true."""
    return float(np.mean((y_true > 0.5) == (y_pred > 0.5)))


def mean_squared_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return mean((y_pred - y_true) ** 2)."""
    return float(np.mean(np.square(np.subtract(y_pred, y_true, dtype=np.float64))))


def mean_absolute_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return mean(abs(y_pred - y_true))."""
    return float(np.mean(np.abs(np.subtract(y_pred, y_true, dtype=np.float64))))


def root_mean_squared_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return sqrt(mean((y_pred - y_true) ** 2)), in the units of y."""
    return float(np.sqrt(mean_squared_error(y_true, y_pred)))


def r2(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return scikit-learn's `r2_score`: 1 - sum((y_true - y_pred)**2) / sum((y_true - mean)**2).

    Several outputs are averaged.
    """
    from sklearn.metrics import r2_score  # takes a second to import

    return float(r2_score(y_true, y_pred))


REGRESSION_METRICS: dict[str, Metric] = {
    "mse": mean_squared_error,
    "mean_squared_error": mean_squared_error,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "r2": r2,
}
ACCURACIES = ("accuracy", "acc")
HIGHER_IS_BETTER = frozenset({*ACCURACIES, "r2"})


# A few samples are enough for these, so they can be shown while an epoch lasts.
OF_ANY_SAMPLES: frozenset[Metric] = frozenset(
    {
        sparse_accuracy,
        categorical_accuracy,
        binary_accuracy,
        mean_squared_error,
        mean_absolute_error,
        root_mean_squared_error,
    }
)


def resolve(metric: str | Metric, loss_name: str, n_outputs: int) -> tuple[str, Metric]:
    """Return a metric's name in the logs and its function.

    Parameters
    ----------
    metric : str or callable
        "accuracy" ("acc"), "mse" ("mean_squared_error"), "mae" ("mean_absolute_error"), "rmse",
        "r2", or a function of (y_true, y_pred) that returns a number. A name stays as it was given.
    loss_name : str
        The loss says what y holds, and so which accuracy is meant: of classes for the categorical
        cross-entropies, of each output by itself for the binary one. Under any other loss a single
        output is one yes or no, and several are one of n_L classes.
    n_outputs : int
        n_L.

    Raises
    ------
    TypeError
        If `metric` is neither a string nor callable.
    ValueError
        If the name is unknown (the nearest known one is proposed), or the metric compares numbers
        while the loss takes class labels.
    """
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    known = REGRESSION_METRICS | dict.fromkeys(ACCURACIES, _accuracy(loss_name, n_outputs))
    function = lookup("metrics", metric, known)
    if loss_name == SPARSE_LOSS and metric in REGRESSION_METRICS:
        raise ValueError(
            f"metrics: {metric!r} compares y with the {n_outputs} outputs, but with the loss "
            f"{SPARSE_LOSS!r} y holds class labels: want 'accuracy' or a function of your own"
        )
    return metric, function


def _accuracy(loss_name: str, n_outputs: int) -> Metric:
    if loss_name == SPARSE_LOSS:
        return sparse_accuracy
    if loss_name == "binary_crossentropy" or n_outputs == 1:
        return binary_accuracy
    return categorical_accuracy
