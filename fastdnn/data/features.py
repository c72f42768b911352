"""The feature columns of a table together: which are read, and X (m, n_0) made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Column, describe, drop, read_kind
from .scaling import Array, Scaling, check_finite

# Names under which pandas and others write row numbers.
_INDEX = re.compile(
    r"|unnamed: ?\d+(\.\d+)?|index|(__)?index_level_\d+(__)?|level_\d+|rownames?", re.I
)
# Names of columns that tell rows apart.
_ID = re.compile(r"(.*[\s_.-])?([iI][dD]|nr|no|key|uuid)|.*(Id|ID)")


def column_of(X: Any, i: int) -> Any:
    """Column i of a table: an array's, or a frame's as a Series."""
    return X[:, i] if isinstance(X, np.ndarray) else X.iloc[:, i]


def fit_columns(
    X: Any,
    names: Sequence[str] | None,
    train: Array,
    dropped: Sequence[int] = (),
    *,
    decimal_comma: bool = False,
) -> tuple[Column, ...]:
    """Tell what each column holds by all rows, and learn from the training rows alone.

    Parameters
    ----------
    X : ndarray of numbers or pandas DataFrame, shape (m, n)
        The columns as the file has them, without the labels.
    names : sequence of str or None
        Theirs, if the file has a header.
    train : ndarray of int
        The numbers of the training rows.
    dropped : sequence of int
        The columns that are not to be read.
    decimal_comma : bool
        See `values.number_styles`.

    Raises
    ------
    ValueError
        If a column is neither numbers nor categories, or none is left.
    """
    columns = []
    for i in range(X.shape[1]):
        name = str(i) if names is None else names[i]
        values = column_of(X, i)
        if i in dropped:
            columns.append(Column(name, "dropped", "dropped: as --drop says"))
            continue
        column = read_kind(values, name, decimal_comma=decimal_comma)
        if column.kind == "number":
            check_finite(column.numbers(values)[0][:, None], (name,), missing=True)
        part = values[train] if isinstance(values, np.ndarray) else values.iloc[train]
        columns.append(describe(column, part))
    columns = _without_index(columns, X, named=names is not None)
    if all(column.kind == "dropped" for column in columns):
        notes = "; ".join(f"{column.name!r} {column.note}" for column in columns[:4])
        raise ValueError(f"no feature is left: {notes}")
    return tuple(columns)


def _without_index(columns: list[Column], X: Any, *, named: bool) -> list[Column]:
    """The columns, without those that number the rows; a table's only feature is none."""
    found = list(columns)
    for i, column in enumerate(columns):
        used = sum(one.kind != "dropped" for one in found)
        if column.kind == "number" and used > 1:
            found[i] = _checked_index(column, column_of(X, i), i, named=named)
    return found


def _checked_index(column: Column, values: Any, i: int, *, named: bool) -> Column:
    """The column, dropped if it is an index, or with a word on it if it may be one."""
    numbers = np.sort(column.numbers(values)[0])
    m = len(numbers)
    if m < 3 or not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        return column
    is_distinct = bool((np.diff(numbers) > 0).all())
    is_run = is_distinct and numbers[-1] - numbers[0] == m - 1
    starts_low = numbers[0] in (0, 1)
    if named:
        is_index = _INDEX.fullmatch(column.name) is not None
        if is_distinct and (is_index or _ID.fullmatch(column.name)):
            why = "a different whole number in every row, as an index or id has"
            return drop(column, f"{why}; rename it to keep it")
    elif is_run and starts_low and i == 0:
        return drop(column, "it numbers the rows; give the columns names to keep it")
    if is_run and starts_low:
        note = f"{column.note}; it numbers the rows: --drop {column.name} if it is an index"
        return replace(column, note=note)
    return column


class Encoder:
    """Makes X (m, n_0) of a table's columns: numbers, marks of missing ones, then categories.

    Parameters
    ----------
    columns : sequence of Column
        All feature columns of the file, in its order.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.numeric = [i for i, column in enumerate(columns) if column.fills]
        self.marked = [i for i in self.numeric if columns[i].indicates]
        self.categorical = [i for i, column in enumerate(columns) if column.categories]
        fills = [fill for i in self.numeric for fill in columns[i].fills]
        self.fills = np.array([*fills, *[0.0] * len(self.marked)])

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the numbers and marks are made of."""
        made = [self.columns[i].name for i in self.numeric for _ in self.columns[i].fills]
        return (*made, *(self.columns[i].name for i in self.marked))

    @property
    def used(self) -> list[int]:
        """The columns that are read."""
        return sorted([*self.numeric, *self.categorical])

    @property
    def n_outputs(self) -> int:
        """n_0."""
        return len(self.fills) + sum(len(self.columns[i].categories) for i in self.categorical)

    def numbers(self, X: dict[int, Any], m: int) -> Array:
        """Return the numbers and marks (m, p) of columns, each by its number, before scaling."""
        parts, marks = [], []
        for i in self.numeric:
            made = self.columns[i].numbers(X[i])
            parts += made
            if i in self.marked:
                marks.append(np.isnan(made[0]).astype(np.float64))
        block = np.empty((m, len(self.fills)))
        for j, values in enumerate([*parts, *marks]):
            block[:, j] = values
        check_finite(block, self.names, missing=True)
        np.copyto(block, self.fills, where=np.isnan(block))
        return block

    @cached_property
    def _one_hot(self) -> Any:
        """scikit-learn's encoder, made of the categories: it has nothing to learn."""
        from sklearn.preprocessing import OneHotEncoder

        categories = [np.array(self.columns[i].categories, object) for i in self.categorical]
        encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)
        return encoder.fit(np.array([[values[0] for values in categories]], object))

    def apply(self, X: dict[int, Any], m: int, scaling: Scaling, dtype: npt.DTypeLike) -> Array:
        """Return X (m, n_0) for the network, of the columns that are used by their numbers."""
        out = np.empty((m, self.n_outputs), dtype)
        p = len(self.fills)
        out[:, :p] = scaling.apply(self.numbers(X, m), dtype)
        if self.categorical and m:
            texts = np.column_stack([self.columns[i].texts(X[i]) for i in self.categorical])
            out[:, p:] = self._one_hot.transform(texts)
        return out
