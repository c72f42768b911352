"""Tables that are no text: Parquet files, frames of pandas and polars, rows of Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastdnn._files import is_of_system

from .bounds import check_unpacked
from .tables import Array, Columns, Part, Table, check_names, pandas, split_label
from .values import as_text, is_number_dtype, plain_numbers


def read_parquet(path: Path, columns: Columns) -> Table:
    """Read a Parquet file, or a folder of them, whose columns are of any kind.

    Raises
    ------
    ValueError
        If it is none, or it has no rows.
    ImportError
        If pandas or pyarrow is not installed.
    """
    try:
        import pandas as pd
        import pyarrow.parquet as pq

        for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
            _check_size(file, pq.ParquetFile(file).metadata)
        frame = pd.read_parquet(path)
    except ImportError:
        raise ImportError(
            f"{path}: reading Parquet files needs pandas and pyarrow: pip install 'fastdnn[data]'"
        ) from None
    except (ValueError, OSError, KeyError, TypeError, OverflowError, MemoryError) as error:
        if is_of_system(error) or str(error).startswith(f"{path}"):
            raise
        raise ValueError(f"{path}: not a Parquet file ({error})") from None
    frame, notes = _without_index(frame)
    names = check_names(path, [str(name) for name in frame.columns])
    frame.columns = list(names)
    label = columns.label(path, names, len(names))
    if len(frame) == 0:
        raise ValueError(f"{path}: no rows")
    if label is None:
        return Table(Part(frame), names=names, notes=notes)
    part = Part(frame.drop(columns=names[label]), labels_of(frame.iloc[:, label]))
    return replace(split_label(part, names, label), notes=notes)


def _check_size(path: Path, facts: Any) -> None:
    """Refuse a file whose description tells of far more than its bytes."""
    cells = facts.num_rows * facts.num_columns
    check_unpacked(path, max(cells, 0) * 8, path.stat().st_size)


def _without_index(frame: Any) -> tuple[Any, tuple[str, ...]]:
    """A frame whose index, if it has a name, is a column; one without a name numbers the rows."""
    import pandas as pd

    if all(name is not None for name in frame.index.names):
        return frame.reset_index(), ()
    is_default = isinstance(frame.index, pd.RangeIndex)
    note = "pandas' index, which has no name, is not read"
    return frame.reset_index(drop=True), () if is_default else (note,)


def labels_of(values: Any) -> Array:
    """A frame's column as labels: float64 or int64 numbers, or text with "" for what is missing."""
    if is_number_dtype(values) and not values.dtype.name.startswith("bool"):
        is_whole = values.dtype.kind == "i" and not values.isna().any()
        return values.to_numpy(np.int64) if is_whole else plain_numbers(values)
    return np.asarray(as_text(values).to_numpy(object).astype(str))


def is_frame(X: Any) -> bool:
    """Return whether X is a DataFrame of pandas or polars; neither is imported."""
    return _is_one_of(X, ("DataFrame",))


def _is_one_of(X: Any, names: tuple[str, ...]) -> bool:
    return any(
        base.__name__ in names and base.__module__.split(".")[0] in ("pandas", "polars")
        for base in type(X).__mro__
    )


def as_frame(X: Any) -> Any:
    """Return a frame as one of pandas, or rows as an array of numbers or a frame without names.

    Parameters
    ----------
    X : DataFrame of pandas or polars, or array_like of shape (m, n)

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if _is_one_of(X, ("LazyFrame",)):
        raise TypeError("got a polars LazyFrame; want X.collect()")
    if is_frame(X):
        return X.to_pandas() if hasattr(X, "to_pandas") else X
    if hasattr(X, "toarray"):
        raise TypeError("got a sparse matrix; want a dense one (X.toarray())")
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError("got a masked array; want NaN where a value is missing (X.filled(np.nan))")
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"want rows of equal length ({error})") from None
    if array.ndim < 2:
        raise ValueError(
            f"want 2 dimensions (samples, columns), got shape {array.shape}; for one sample use [X]"
        )
    if array.dtype.kind in "biuf":
        return array.reshape(len(array), -1)
    if array.ndim > 2:
        raise ValueError(f"want 2 dimensions (samples, columns), got shape {array.shape}")
    rows = array if isinstance(X, np.ndarray) else list(map(list, X))
    return pandas("X: reading rows that are not all numbers").DataFrame(rows)
