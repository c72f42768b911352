"""Tables of numbers with a label column: CSV and Parquet files."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BAD_NUMBER = re.compile(r"could not convert string '(.*)' to float64 at row (\d+), column (\d+)")


@dataclass(frozen=True)
class Part:
    """Samples as a file has them: X (m, n), and their labels y (m,) if it has any."""

    X: Array
    y: Array | None = None


@dataclass(frozen=True)
class Table:
    """What a file holds, before any scaling or encoding.

    Parameters
    ----------
    train, test : Part or None
        A file that makes no difference between the two has all its samples in `train`.
    names : tuple of str or None
        The features' names.
    label : int or None
        Which column the labels were in.
    target : str or None
        That column's name.
    pixel_range : float or None
        The largest value a pixel can have, if the features are pixels.
    image_shape : tuple of int or None
        The shape of one image.
    """

    train: Part | None
    test: Part | None = None
    names: tuple[str, ...] | None = None
    label: int | None = None
    target: str | None = None
    pixel_range: float | None = None
    image_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Columns:
    """What is known of a table's columns before it is read.

    Parameters
    ----------
    target : str, int or None
        The label column: its name, or its number from 0, from the end if negative. None is the
        last one.
    n_features : int or None
        How many features a trained model takes. A table for it may lack the labels.
    features : tuple of str or None
        The names of these features, if it learned them.
    position : int or None
        The number of the label column where there is no header to look the target up in.
    """

    target: str | int | None = None
    n_features: int | None = None
    features: tuple[str, ...] | None = None
    position: int | None = None

    def has_header(self, cells: Sequence[str]) -> bool:
        """Whether a table's first row, `cells`, holds the columns' names."""
        if self.features is not None and set(self.features) <= set(cells):
            return True
        if isinstance(self.target, str) and self.target in cells and not _is_number(self.target):
            return True
        known = self.target if isinstance(self.target, int) else self.position
        label = -1 if known is None else known
        # The labels may be text in every row; the features may not.
        features = [c for i, c in enumerate(cells) if i not in (label, len(cells) + label)]
        return not any(_is_number(cell) for cell in (features or cells))

    def label(self, path: Path, names: Sequence[str] | None, n_columns: int) -> int | None:
        """Return the number of the label column, or None if the table has none."""
        if self.n_features is None:
            if n_columns < 2:
                raise ValueError(f"{path}: one column; want one feature or more and a label column")
            return self._locate(path, names, n_columns)
        if names is not None and self.features is not None:
            absent = [name for name in self.features if name not in names]
            if absent:
                raise ValueError(
                    f"{path}: no column {quoted(absent)}; the model was trained on"
                    f" {quoted(self.features)}"
                )
            return names.index(self.target) if self.target in names else None
        if n_columns == self.n_features:
            return None
        if n_columns == self.n_features + 1:
            return self._locate(path, names, n_columns)
        raise ValueError(
            f"{path}: {n_columns} columns; the model takes {self.n_features} features,"
            " which a label column may follow"
        )

    def _locate(self, path: Path, names: Sequence[str] | None, n_columns: int) -> int:
        """The number of the label column of a table that has one."""
        target = -1 if self.target is None else self.target
        if names is None and self.position is not None:
            target = self.position
        if isinstance(target, str):
            if names is not None and target in names:
                return list(names).index(target)
            if not re.fullmatch(r"-?\d+", target):
                known = "it has no header" if names is None else f"it has {quoted(names)}"
                raise ValueError(f"{path}: target: no column {target!r}; {known}")
            target = int(target)
        if not -n_columns <= target < n_columns:
            raise ValueError(f"{path}: target: no column {target}; it has {n_columns}, from 0")
        return target % n_columns


def read_csv(path: Path, columns: Columns) -> Table:
    """Read a CSV file, with a header or without, separated by commas, semicolons or tabs.

    The features must be numbers. The labels may be text, and are returned as text. A table to train
    on must not begin with pandas' index; a trained model finds its features beside one.
    """
    with _open_text(path) as file:
        skip, first = next(((i, line) for i, line in enumerate(file) if line.strip()), (0, ""))
    if not first:
        raise ValueError(f"{path}: the file is empty")
    delimiter = max(",;\t", key=first.count)
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    header = columns.has_header(cells)
    names = check_names(path, cells) if header else None
    label = columns.label(path, names, len(cells))
    texts: dict[str, int] = {}
    data = _read_numbers(path, skip + header, delimiter, names, label, texts)
    if len(data) == 0:
        raise ValueError(f"{path}: no rows under the header")
    if columns.n_features is None and names is not None and label != 0:
        _refuse_index(path, names[0], data[:, 0])
    if label is None:
        return Table(Part(data), names=names)
    y = np.array(list(texts))[data[:, label].astype(np.int64)]
    return split_label(Part(np.delete(data, label, axis=1), y), names, label)


def read_parquet(path: Path, columns: Columns) -> Table:
    """Read a Parquet file whose columns, but for the labels, are numbers."""
    try:
        import pandas as pd

        frame = pd.read_parquet(path)
    except ImportError:
        raise ImportError(
            f"{path}: reading Parquet files needs pandas and pyarrow: pip install 'fastdnn[data]'"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from None
    names = check_names(path, [str(name) for name in frame.columns])
    label = columns.label(path, names, len(names))
    if len(frame) == 0:
        raise ValueError(f"{path}: no rows")
    features = frame if label is None else frame.drop(columns=frame.columns[label])
    for name, dtype in features.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype):
            raise ValueError(f"{path}: column {name!r} holds {dtype}; {NUMBERS_ONLY}")
    X = features.to_numpy(dtype=np.float64, na_value=np.nan)
    if label is None:
        return Table(Part(X), names=names)
    column = frame.iloc[:, label]
    is_text = pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column)
    if is_text:
        y = column.astype(object).where(column.notna(), "").to_numpy().astype(str)
    else:
        y = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return split_label(Part(X, y), names, label)


NUMBERS_ONLY = "features are numbers: encode text, and fill or drop what is missing, first"


def split_label(part: Part, names: tuple[str, ...] | None, label: int) -> Table:
    """A table whose label column is known, `names` being those of all columns."""
    if names is None:
        return Table(part, label=label)
    features = names[:label] + names[label + 1 :]
    return Table(part, names=features, label=label, target=names[label])


def check_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Refuse a name that stands twice: nobody could say which column it means."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: two columns named {quoted(twice)}; rename one")
    return tuple(names)


def quoted(names: Sequence[str], most: int = 8) -> str:
    """Names for a message: ``'a', 'b', … (100)``."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)})"


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, unpacked on the way, without the byte order mark of some spreadsheets."""
    encoding = "utf-8-sig"
    packed = path.suffix == ".gz"
    try:
        with (
            gzip.open(path, "rt", encoding=encoding)
            if packed
            else path.open(encoding=encoding) as file
        ):
            yield cast(TextIO, file)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged gzip file ({error})") from None


def _read_numbers(
    path: Path,
    skip: int,
    delimiter: str,
    names: tuple[str, ...] | None,
    label: int | None,
    texts: dict[str, int],
) -> Array:
    """All columns as float64; a label becomes its number in `texts`, which grows as need be."""
    encode: dict[int | str, Callable[[str], int]] = {}
    if label is not None:
        encode[label] = lambda text: texts.setdefault(text.strip(), len(texts))
    with _open_text(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data", UserWarning)
        try:
            return np.loadtxt(
                file,
                delimiter=delimiter,
                comments=None,
                quotechar='"',
                skiprows=skip,
                converters=encode,
                ndmin=2,
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ValueError(f"{path}: {_explain(str(error), names)}") from None


def _refuse_index(path: Path, name: str, column: Array) -> None:
    """Refuse row numbers as a feature: pandas writes them before the first column."""
    if name == "" and np.array_equal(column, np.arange(len(column))):
        raise ValueError(
            f"{path}: column 1 has no name and counts the rows, as pandas' index does; write the"
            " file with index=False, or name the column if it is a feature"
        )


def _explain(message: str, names: tuple[str, ...] | None) -> str:
    """NumPy's message in terms of the file: rows count from 1, columns have names."""
    match = _BAD_NUMBER.search(message)
    if match is None:
        return message.split(";")[0]
    text, row, column = match[1], int(match[2]) + 1, int(match[3])
    named = column if names is None else repr(names[column - 1])
    return f"data row {row}, column {named}: {text!r} is not a number; {NUMBERS_ONLY}"


def _is_number(cell: str) -> bool:
    """Whether a cell of a text file reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
