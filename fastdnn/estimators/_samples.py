"""The loss of samples as scikit-learn's estimators tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn._inputs import Data
from fastdnn.data.rows import is_sparse
from fastdnn.evaluation import loss_and_outputs
from fastdnn.kernels.base.arrays import as_native
from fastdnn.kernels.engine import Engine

Array = NDArray[Any]


def native(X: Any) -> Any:
    """Return X in the machine's byte order: scikit-learn makes float64 of any other float32."""
    if isinstance(X, np.ndarray):
        return as_native(X)
    if is_sparse(X) and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


def evaluate(engine: Engine, data: Data, batch: int) -> tuple[float, Array]:
    """Return the loss without penalties, the weights taken to a mean of 1, and A_L."""
    if data.weights is not None:
        weights = (data.weights * (len(data.y) / data.weights.sum())).astype(engine.dtype)
        data = data._replace(weights=weights)
    return loss_and_outputs(engine, data, batch)
