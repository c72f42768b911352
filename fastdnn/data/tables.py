"""Tables with a label column, as files hold them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Part:
    """Samples as a file has them: X (m, n), and their labels y (m,) if it has any.

    X is an ndarray of numbers, or a pandas DataFrame of columns of any kind.
    """

    X: Any
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
    decimal_comma : bool
        Whether numbers are likelier written 1,5 than 1.5.
    notes : tuple of str
        What a user should know of how the file was read.
    """

    train: Part | None
    test: Part | None = None
    names: tuple[str, ...] | None = None
    label: int | None = None
    target: str | None = None
    pixel_range: float | None = None
    image_shape: tuple[int, ...] | None = None
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """What is known of a table's columns before it is read.

    Parameters
    ----------
    target : str, int or None
        The label column: its name, or its number from 0, from the end if negative. None is the
        last one.
    n_features : int or None
        How many columns, without the labels, the table had that a model was trained on. A table
        for it may lack the labels.
    features : tuple of str or None
        The names of those that it reads, if the table had a header.
    position : int or None
        The number of the label column where there is no header to look the target up in.
    """

    target: str | int | None = None
    n_features: int | None = None
    features: tuple[str, ...] | None = None
    position: int | None = None

    def label(self, path: Path, names: Sequence[str] | None, n_columns: int) -> int | None:
        """Return the number of the label column, or None if the table has none.

        Raises
        ------
        ValueError
            If there is no such column, or there are others than the model reads.
        """
        if self.n_features is None:
            if n_columns < 2:
                raise ValueError(
                    f"{path}: one column; want one feature or more and a label column, separated"
                    " by commas, semicolons, tabs or spaces in a text file"
                )
            return self._locate(path, names, n_columns)
        if names is not None and self.features is not None:
            absent = [name for name in self.features if name not in names]
            if absent:
                raise ValueError(
                    f"{path}: no column {quoted(absent)}; the model was trained on"
                    f" {quoted(self.features)}"
                )
            known = [i for i, name in enumerate(names) if name == self.target]
            return known[0] if known else None
        if n_columns == self.n_features:
            return None
        if n_columns == self.n_features + 1:
            return self._locate(path, names, n_columns)
        raise ValueError(
            f"{path}: {n_columns} columns; the model takes {self.n_features} features,"
            " which a label column may follow"
        )

    def _locate(self, path: Path, names: Sequence[str] | None, n_columns: int) -> int:
        """Return the number of the label column of a table that has one."""
        target = -1 if self.target is None else self.target
        if self.position is not None and (names is None or target not in names):
            target = self.position
        return locate(path, "target", target, names, n_columns)


def locate(
    path: Path, option: str, column: str | int, names: Sequence[str] | None, n_columns: int
) -> int:
    """Return the number of a column that a user names, or counts from 0 or from the end.

    Raises
    ------
    ValueError
        If there is none, naming the `option`.
    """
    if isinstance(column, str):
        if names is not None and column in names:
            return list(names).index(column)
        if not re.fullmatch(r"-?\d+", column):
            known = "it has no header" if names is None else f"it has {quoted(names)}"
            raise ValueError(f"{path}: {option}: no column {column!r}; {known}")
        column = int(column)
    if not -n_columns <= column < n_columns:
        raise ValueError(f"{path}: {option}: no column {column}; it has {n_columns}, from 0")
    return column % n_columns


def split_label(part: Part, names: tuple[str, ...] | None, label: int) -> Table:
    """Return a table whose label column is known, `names` being those of all columns."""
    if names is None:
        return Table(part, label=label)
    features = names[:label] + names[label + 1 :]
    return Table(part, names=features, label=label, target=names[label])


def check_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Refuse a name that stands twice: nobody could say which column it means."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{path}: two columns named {quoted(twice)}; rename one")
    return tuple(names)


def quoted(names: Sequence[str], most: int = 8) -> str:
    """Return names for a message: ``'a', 'b', … (100)``."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)})"


def pandas(what: str) -> Any:
    """Import pandas.

    Raises
    ------
    ImportError
        If it is not installed, naming what needs it and the command that installs it.
    """
    try:
        import pandas
    except ImportError:
        raise ImportError(f"{what} needs pandas: pip install 'fastdnn[data]'") from None
    return pandas
