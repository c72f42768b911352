"""Samples that lie in memory or in a mapped file, read by parts where the engine cannot read them.

The engine reads matrices of float32 and float64 where they lie. Other numbers, and sparse rows,
become such a matrix for some batches at a time, so that no second copy of the data is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import DTYPES

Array = NDArray[Any]
Part = slice | NDArray[np.int64]
PART_BYTES = 16_000_000  # of rows that are dense at a time


def is_sparse(X: Any) -> bool:
    """Return whether X is one of SciPy's sparse matrices or arrays."""
    return hasattr(X, "toarray")


def is_readable(X: Any) -> bool:
    """Return whether the engine reads X where it lies."""
    if not isinstance(X, np.ndarray) or X.dtype not in DTYPES:
        return False
    flags = X.flags  # fields of packed records lie between whole elements
    return flags.aligned and (flags.forc or not any(s % X.itemsize for s in X.strides))


def is_small(X: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether all of X in `dtype` is no more than a part."""
    return int(X.shape[0]) * int(X.shape[1]) * dtype.itemsize <= PART_BYTES


def dense(X: Any, dtype: np.dtype[Any]) -> Array:
    """Return X as a matrix that the engine reads: itself, or a copy."""
    if is_readable(X):
        return X  # type: ignore[no-any-return]
    if is_sparse(X):
        X = X.toarray()
        if is_readable(X):
            return X  # type: ignore[no-any-return]
    with np.errstate(over="ignore"):  # who looks for infinity finds it
        return X.astype(dtype)  # type: ignore[no-any-return]


def rows_of(X: Any, part: Part) -> Any:
    """Return some rows of X; consecutive ones share its memory, sparse ones too."""
    if not is_sparse(X) or not isinstance(part, slice):
        return X[part]
    begin, end, _ = part.indices(X.shape[0])
    rows = type(X)((end - begin, X.shape[1]), dtype=X.dtype)
    starts = X.indptr[begin : end + 1]
    inside = slice(int(starts[0]), int(starts[-1]))
    # given to the constructor, they would be copied
    rows.data, rows.indices, rows.indptr = X.data[inside], X.indices[inside], starts - starts[0]
    return rows


def rows_at_once(X: Any, batch: int = 1) -> int:
    """Return how many rows become dense at a time: whole batches, at least one."""
    size = max(X.dtype.itemsize, DTYPES[0].itemsize)
    return int(max(PART_BYTES // (X.shape[1] * size * batch), 1)) * batch


def parts(X: Any, dtype: np.dtype[Any], batch: int = 1) -> Iterator[tuple[slice, Array]]:
    """Yield X as dense matrices of whole batches: all of it where the engine reads it."""
    if is_readable(X):
        yield slice(None), X
        return
    size = rows_at_once(X, batch)
    for begin in range(0, X.shape[0], size):
        part = slice(begin, begin + size)
        yield part, dense(rows_of(X, part), dtype)
