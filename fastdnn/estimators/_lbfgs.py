"""L-BFGS over all samples: SciPy's minimizer on the network's flat vector of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastdnn._inputs import Data
from fastdnn.data.rows import parts
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import Engine
from fastdnn.turns import Turns

Array = NDArray[Any]
CONVERGED, STOPPED = 0, 99  # SciPy's status; the second is that of a callback's StopIteration
INTERRUPTED = "the training was interrupted; the parameters are usable"


@dataclass
class FullBatch:
    """The loss of all samples, as a function of the flat vector of parameters.

    Parameters
    ----------
    engine : Engine
        With L2 penalties alpha / 2 / m.
    lock : Turns
        Who holds it may change the engine.
    data : Data
    alpha, outputs_summed, outputs_averaged : float
        As for `EpochTrainer`.
    """

    engine: Engine
    lock: Turns
    data: Data
    alpha: float
    outputs_summed: float
    outputs_averaged: float

    def __post_init__(self) -> None:
        m, weights = len(self.data.y), self.data.weights
        self._total = float(m if weights is None else weights.sum(dtype=np.float64))
        self._weights: Array | None = None
        if weights is not None or self.outputs_summed != 1.0:
            ones = np.ones(m) if weights is None else weights * (m / self._total)
            self._weights = (self.outputs_summed * ones).astype(self.engine.dtype)

    def set_parameters(self, theta: Array) -> None:
        """Make theta the engine's parameters."""
        with self.lock:
            self.engine.parameters[...] = theta

    def loss_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """Return the loss at theta, which becomes the engine's parameters, and its gradient."""
        with self.lock:
            return self._loss_and_gradient(theta)

    def _loss_and_gradient(self, theta: Array) -> tuple[float, Array]:
        engine, data, m = self.engine, self.data, len(self.data.y)
        engine.parameters[...] = theta
        engine.scale_penalties(m / self._total)
        loss, gradient = 0.0, np.zeros(theta.size)
        for part, X in parts(data.X, engine.dtype):
            given = None if self._weights is None else self._weights[part]
            share = len(X) / m
            loss += share * engine.differentiate(X, data.targets.rows(part), weights=given)
            gradient += share * engine.gradient
        engine.scale_penalties(1.0)
        if self.outputs_averaged != 1.0:
            penalty = self.alpha / 2 * sum_of_squares(engine) / self._total
            loss = (loss - penalty) / self.outputs_averaged + penalty
        return loss, gradient


def minimise(
    of: FullBatch, *, max_iter: int, max_fun: int, tol: float, after: Callable[[float], bool]
) -> tuple[int, float]:
    """Minimise the loss; its engine has the start as its parameters, and in the end the minimum.

    Parameters
    ----------
    after : function
        Is told the loss after each iteration; a True return ends the training.

    Returns
    -------
    n_iter : int
    loss : float

    Warns
    -----
    ConvergenceWarning
        If the number of iterations or evaluations ran out, or no step could be found.
    UserWarning
        If Ctrl-C ended the training; the parameters are those of the last iteration.
    """
    reached = of.engine.parameters.astype(np.float64), nan, 0

    def callback(intermediate_result: Any) -> None:
        nonlocal reached
        loss = float(intermediate_result.fun)
        reached = intermediate_result.x.copy(), loss, reached[2] + 1
        if after(loss):
            raise StopIteration

    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    try:
        with threads.run():
            found = minimize(
                of.loss_and_gradient, reached[0], jac=True, method="L-BFGS-B", options=options,
                callback=callback,
            )  # fmt: skip
    except KeyboardInterrupt:
        theta, loss, n_iter = reached
        of.set_parameters(theta)
        warnings.warn(INTERRUPTED, stacklevel=5)
        return n_iter, loss
    of.set_parameters(found.x)
    _warn_unless_converged(found, max_iter)
    return min(int(found.nit), max_iter), float(found.fun)


def _warn_unless_converged(found: Any, max_iter: int) -> None:
    if found.status in (CONVERGED, STOPPED):
        return
    warnings.warn(
        f"lbfgs did not converge in {min(found.nit, max_iter)} iterations ({found.message}). "
        "Increase max_iter or max_fun, or scale the data.",
        ConvergenceWarning,
        stacklevel=6,
    )


def sum_of_squares(engine: Any) -> float:
    """Return sum W^2 over all dense layers."""
    total = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.is_dense:
            W = engine.weights(l).T.ravel()
            total += float(np.dot(W, W))
    return total
