"""What is told of outputs and losses that are not finite, though the samples are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.callers import warn
from fastdnn.kernels.engine import Engine

from ._inputs import Data
from .data.rows import dense

Array = NDArray[Any]


def warn_of_outputs(engine: Engine, A: Array) -> None:
    """Warn of the first row of outputs, (m, n_L), that is not finite."""
    rows = np.flatnonzero(~np.isfinite(A).all(axis=1))
    first = A[rows[0]]
    got = first[~np.isfinite(first)][0]
    _warn(f"predict: got {got} for row {rows[0]} of X ({len(rows)} such rows)", engine)


def warn_of_loss(engine: Engine, data: Data, loss: float, batch: int, of: str = "") -> None:
    """Warn of the first sample whose loss is not finite, if the loss of all is not."""
    if math.isfinite(loss):
        return
    m = len(data.y)
    for begin in range(0, m, batch):
        part = slice(begin, min(begin + batch, m))
        if not math.isfinite(_losses(engine, data.rows(part), batch)[0]):
            each = _losses(engine, data.rows(part), 1)
            # if every one is finite, their sum is not
            at = int(np.argmin(np.isfinite(each)))
            _warn(
                f"evaluate: got the loss {loss}, not finite from row {begin + at} of X{of}", engine
            )
            return


def _losses(engine: Engine, data: Data, batch: int) -> Array:
    """Return the loss of each batch."""
    X = dense(data.X, engine.dtype)
    return engine.batch_losses(X, data.targets, weights=data.weights, batch=batch)[0]


def _warn(what: str, engine: Engine) -> None:
    if np.isfinite(engine.parameters).all():
        why = f"numbers leave the range of {engine.dtype}; want scaled inputs, smaller parameters"
    else:
        why = "the model's parameters are not finite"
    warn(f"{what}; {why}")
