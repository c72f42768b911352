"""Samples as an estimator's training reads them: dense, or sparse rows made dense by the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn._inputs import Data
from fastdnn.kernels.arrays import as_native
from fastdnn.kernels.engine import Engine

Array = NDArray[Any]
DENSE_BYTES = 16_000_000  # of sparse rows that are dense at a time


def is_sparse(X: Any) -> bool:
    """Return whether X is one of SciPy's sparse matrices or arrays."""
    return hasattr(X, "toarray")


def native(X: Any) -> Any:
    """Return X in the machine's byte order: scikit-learn makes float64 of any other float32."""
    if isinstance(X, np.ndarray):
        return as_native(X)
    if is_sparse(X) and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


def rows_at_once(X: Any, batch: int = 1) -> int:
    """Return how many sparse rows become dense at a time: whole batches, at least one."""
    return int(max(DENSE_BYTES // (X.shape[1] * X.dtype.itemsize * batch), 1)) * batch


def dense_parts(X: Any) -> Iterator[tuple[slice, Array]]:
    """Yield X in parts that are dense and small: of an array, all of it."""
    if not is_sparse(X):
        yield slice(None), X
        return
    size = rows_at_once(X)
    for begin in range(0, X.shape[0], size):
        part = slice(begin, begin + size)
        yield part, X[part].toarray()


def outputs_of(engine: Engine, X: Any, batch: int) -> Array:
    """Return A_L for every row of X."""
    parts = [engine.forward(part, batch=batch) for _, part in dense_parts(X)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def evaluate(engine: Engine, data: Data, batch: int) -> tuple[float, Array]:
    """Return the loss without penalties, the weights taken to a mean of 1, and A_L."""
    m, weights = len(data.y), data.weights
    if weights is not None:
        weights = (weights * (m / weights.sum())).astype(engine.dtype)
    total, outputs = 0.0, []
    for part, X in dense_parts(data.X):
        given = None if weights is None else weights[part]
        loss, A = engine.evaluate(X, data.targets.rows(part), weights=given, batch=batch)
        total += loss * len(X) / m
        outputs.append(A)
    return total, np.concatenate(outputs)
