"""Shift and scale numbers; refuse those that are not finite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Scaling:
    """Shift and scale: (X - mean) / deviation.

    Parameters
    ----------
    mean, deviation : ndarray
        One a column, or one for all.
    """

    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, X: Array, names: tuple[str, ...] | None = None) -> Scaling:
        """Mean and standard deviation of each column; a constant column is only shifted.

        Raises
        ------
        ValueError
            If float64 cannot hold them, naming the first such column.
        """
        from sklearn.preprocessing import StandardScaler

        columns = X.reshape(len(X), -1).astype(np.float64, copy=False)
        low, high = columns.min(axis=0), columns.max(axis=0)
        with np.errstate(all="ignore"):  # it is refused below
            scaler = StandardScaler().fit(columns)
            mean, deviation = scaler.mean_, np.where(high > low, np.sqrt(scaler.var_), 1.0)
        bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(deviation) & (deviation > 0)))
        if len(bad):
            column = int(bad[0])
            raise ValueError(
                f"column {named(column, names)}: want numbers whose mean and standard deviation"
                f" float64 can hold, got {low[column]} to {high[column]}; choose another unit"
            )
        shape = X.shape[1:]
        return cls(mean.reshape(shape), deviation.reshape(shape))

    def apply(self, X: Array, dtype: npt.DTypeLike) -> Array:
        """Scale X (m, …), computed in float64: a float32 time stamp would lose its last minutes."""
        out = np.empty(X.shape, dtype)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            out[rows] = (X[rows] - self.mean) / self.deviation
        return out

    def undo(self, X: Array) -> Array:
        """Return what `apply` was given, as float64."""
        return np.asarray(X * self.deviation + self.mean, np.float64)


def check_finite(X: Array, names: tuple[str, ...] | None, *, missing: bool = False) -> None:
    """Refuse NaN and infinity, naming the first; with `missing`, NaN stands for a missing value."""
    if X.dtype.kind != "f":
        return
    for start in range(0, len(X), _ROWS_AT_ONCE):
        part = X[start : start + _ROWS_AT_ONCE]
        bad = np.isinf(part) if missing else ~np.isfinite(part)
        if bad.any():
            row, column = np.unravel_index(bad.argmax(), bad.shape)
            value = part[row, column]
            raise ValueError(
                f"data row {start + row + 1}, column {named(int(column), names)}: {value};"
                " want finite numbers: fill or drop such values first"
            )


def named(column: int, names: tuple[str, ...] | None) -> str:
    """A column's name in quotes, or its number from 0, as ``--target`` and ``--drop`` count."""
    return f"{column} (from 0)" if names is None else repr(names[column])
