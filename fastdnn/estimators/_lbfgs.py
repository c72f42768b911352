"""L-BFGS over all samples: SciPy's minimizer on the network's flat vector of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastdnn._inputs import Data
from fastdnn.kernels import threads
from fastdnn.kernels.engine import Engine

from ._epochs import sum_of_squares
from ._samples import dense_parts

Array = NDArray[Any]
CONVERGED = 0  # SciPy's status


def minimise(
    engine: Engine,
    data: Data,
    alpha: float,
    summed: float,
    averaged: float,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    after: Callable[[float], bool],
) -> tuple[int, float]:
    """Minimise the loss of all samples; the engine has the parameters that SciPy found.

    Parameters
    ----------
    engine : Engine
        With the start as its parameters, and L2 penalties alpha / 2 / m.
    summed, averaged : float
        As for `EpochTrainer`.
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
    """
    m = len(data.y)
    total = m if data.weights is None else float(data.weights.sum())
    weights = np.full(m, summed) if summed != 1.0 else None
    if data.weights is not None:
        weights = summed * m / total * data.weights
    weights = None if weights is None else weights.astype(engine.dtype)
    engine.scale_penalties(m / total)

    def loss_and_gradient(theta: Array) -> tuple[float, Array]:
        engine.parameters[...] = theta
        loss, gradient = 0.0, np.zeros(theta.size)
        for part, X in dense_parts(data.X):
            given = None if weights is None else weights[part]
            share = len(X) / m
            loss += share * engine.differentiate(X, data.targets.rows(part), weights=given)
            gradient += share * engine.gradient
        if averaged != 1.0:
            penalty = alpha / 2 * sum_of_squares(engine) / total
            loss = (loss - penalty) / averaged + penalty
        return loss, gradient

    def callback(intermediate_result: Any) -> None:
        if after(float(intermediate_result.fun)):
            raise StopIteration

    start = engine.parameters.astype(np.float64)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    with threads.run():
        found = minimize(
            loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options,
            callback=callback,
        )  # fmt: skip
    engine.parameters[...] = found.x
    stopped = found.status == 99  # by `after`
    if found.status != CONVERGED and not stopped:
        reached = f"{max_iter} iterations" if found.nit >= max_iter else f"{found.nit} iterations"
        warnings.warn(
            f"lbfgs did not converge in {reached} ({found.message}). Increase max_iter or max_fun, "
            "or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
    return min(int(found.nit), max_iter), float(found.fun)
