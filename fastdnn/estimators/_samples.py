"""The loss of samples as scikit-learn's estimators tell it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastdnn._inputs import Data
from fastdnn.evaluation import loss_and_outputs
from fastdnn.kernels.engine import Engine

Array = NDArray[Any]


def evaluate(engine: Engine, data: Data, batch: int) -> tuple[float, Array]:
    """Return the loss without penalties, the weights taken to a mean of 1, and A_L."""
    if data.weights is not None:
        weights = (data.weights * (len(data.y) / data.weights.sum())).astype(engine.dtype)
        data = data._replace(weights=weights)
    return loss_and_outputs(engine, data, batch)
