"""fastdnn's losses as an estimator takes them: which suit it, and what its output layer is then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import d2_pinball_score

from fastdnn import losses
from fastdnn._inputs import check_y
from fastdnn.kernels.engine import Targets
from fastdnn.losses import Loss, Quantile

Array = NDArray[Any]
ANY = "any"  # a loss of numbers, which classes as 0 and 1 are too


class Convention(NamedTuple):
    """How a regressor's loss of scikit-learn differs from fastdnn's."""

    loss: str  # fastdnn's name
    factor: float  # scikit-learn's is so many times it, summed over the outputs
    tells_mean: bool = False  # what scikit-learn tells is the mean over the outputs all the same
    constants: Callable[[Array], Array] | None = None  # of y, which fastdnn leaves out


def _poisson_constants(y: Array) -> Array:
    y = y.astype(np.float64)
    terms = y * np.log(np.where(y > 0, y, 1.0)) - y
    return np.asarray(terms.sum(axis=1))


_OF_SKLEARN = {
    "squared_error": Convention("mean_squared_error", 0.5, tells_mean=True),
    "poisson": Convention("poisson", 1.0, constants=_poisson_constants),
}


def convention_of(loss: str | Loss) -> Convention | None:
    """Return scikit-learn's convention, if the loss has one of its names."""
    return _OF_SKLEARN.get(loss) if isinstance(loss, str) else None


def loss_of(given: str | Loss, n: int) -> Loss:
    """Return the loss that an estimator with n outputs was given.

    Raises
    ------
    TypeError, ValueError
        If it is none of fastdnn's losses, takes logits, or is called once a step from Python.
    """
    loss = losses.get(given, n)
    if loss.from_logits:
        raise ValueError(
            f"loss: want from_logits=False, as the outputs are probabilities, got {loss!r}"
        )
    if loss.of_arrays:
        raise ValueError(f"loss: want a ScalarLoss or a loss by name, got {loss!r}; use Sequential")
    return loss


def of_classes(given: str | Loss, n: int, *, together: bool) -> tuple[str, Loss]:
    """Return the output activation and the loss of a classifier with n outputs.

    Parameters
    ----------
    together : bool
        Whether the outputs are probabilities of one class out of several, not of labels by
        themselves.
    """
    loss, activation = loss_of(given, n), "softmax" if together else "sigmoid"
    kind = "multiclass" if together else "multilabel"
    if loss.entry.kind not in (kind, ANY):
        what = f"one of {n} classes" if together else "yes or no"
        raise ValueError(f"loss: want one for targets that are {what}, got {loss!r}")
    return activation, loss


def of_numbers(given: str | Loss, n_targets: int) -> tuple[int, str, Loss]:
    """Return a regressor's number of outputs, their activation and its loss."""
    n = n_targets * (len(given.parameters()) if isinstance(given, Quantile) else 1)
    loss = loss_of(given, n)
    if loss.entry.kind == "multiclass":
        raise ValueError(f"loss: want one for targets that are numbers, got {loss!r}")
    return n, next(iter(loss.entry.fused), "identity"), loss


def targets_of(loss: Loss, y: Array, n: int, dtype: Any) -> Targets:
    """Return y as the engine takes it; y out of the loss's domain is refused."""
    return check_y(y, len(y), n, loss, np.dtype(dtype))[1]


def d2_of_quantiles(loss: Quantile, y: Array, A: Array, weights: Array | None) -> float:
    """Return the mean over the quantiles of D^2, the share of the pinball loss explained.

    Parameters
    ----------
    y : ndarray of shape (m, n_targets)
    A : ndarray of shape (m, n_targets k)
        The k quantiles of each target.
    """
    quantiles = loss.parameters()
    scores = [
        d2_pinball_score(y, A[:, i :: len(quantiles)], sample_weight=weights, alpha=q)
        for i, q in enumerate(quantiles)
    ]
    return float(np.mean(scores))
