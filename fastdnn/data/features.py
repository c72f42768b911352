"""The feature columns of a table together: which are read, and X (m, n_0) made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .columns import Column, describe, drop, read_kind
from .headers import NAMELESS
from .scaling import Array, Scaling, check_finite

# Names under which row numbers are written.
_INDEX = re.compile(r"index|level_\d+|rownames?", re.IGNORECASE)
# Names of columns that tell rows apart.
_ID = re.compile(r"(.*[\s_.-])?([iI][dD]|nr|no|key|uuid)|.*(Id|ID)")


def column_of(X: Any, i: int) -> Any:
    """Return column i of a table: an array's, or a frame's as a Series."""
    return X[:, i] if isinstance(X, np.ndarray) else X.iloc[:, i]


def rows_of(X: Any, rows: Array) -> Any:
    """Return some rows of an array, a frame or one of its columns."""
    return X[rows] if isinstance(X, np.ndarray) else X.iloc[rows]


def fit_columns(
    X: Any,
    names: Sequence[str] | None,
    train: Array,
    dropped: Sequence[int] = (),
    *,
    label: int | None = None,
    decimal_comma: bool = False,
    embed_above: int | None = None,
) -> tuple[tuple[Column, ...], dict[int, Any]]:
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
    label : int or None
        Which column of the file held the labels: those after it are one number further on there.
    decimal_comma : bool
        See `values.number_styles`.
    embed_above : int, optional
        Categories of more values are whole numbers, for a `ColumnEmbedding`. None: of no column.

    Returns
    -------
    columns : tuple of Column
    values : dict of int to ndarray or Series
        The columns that are read, by their numbers; text that is numbers as such.

    Raises
    ------
    ValueError
        If a column is neither numbers nor categories, or none is left.
    """
    columns, read = [], {}
    for i in range(X.shape[1]):
        name = str(i + (label is not None and i >= label)) if names is None else names[i]
        values = column_of(X, i)
        if i in dropped:
            columns.append(Column(name, "dropped", "dropped: as --drop says"))
            continue
        column = read_kind(values, name, decimal_comma=decimal_comma)
        if column.kind == "number":
            values = values if isinstance(values, np.ndarray) else column.numbers(values)[0]
            check_finite(values[:, None], (name,), missing=True)
        columns.append(describe(column, rows_of(values, train), embed_above))
        read[i] = values
    for i, column in enumerate(columns):
        n_used = sum(one.kind != "dropped" for one in columns)
        if column.kind == "number" and n_used > 1:  # a table's only feature is no index
            columns[i] = _checked_index(column, read[i], i, named=names is not None)
    if all(column.kind == "dropped" for column in columns):
        notes = "; ".join(f"{column.name!r} {column.note}" for column in columns[:4])
        raise ValueError(f"no feature is left: {notes}")
    return tuple(columns), read


def _checked_index(column: Column, values: Array, i: int, *, named: bool) -> Column:
    """Return the column, dropped if it is an index, or with a word on it if it may be one."""
    m = len(values)
    numbers = np.sort(values)
    if m < 3 or not np.isfinite(numbers[-1]) or (numbers % 1 != 0).any():
        return column
    is_distinct = bool((numbers[1:] > numbers[:-1]).all())
    counts = is_distinct and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == m - 1
    if named and NAMELESS.fullmatch(column.name):
        return drop(column, "whole numbers without a name, as of an index; name it to keep it")
    if named and is_distinct and (_INDEX.fullmatch(column.name) or _ID.fullmatch(column.name)):
        why = "a different whole number in every row, as an index or id has"
        return drop(column, f"{why}; rename it to keep it")
    if not named and counts and i == 0:
        return drop(
            column, "it numbers the rows, as an index does; give the columns names to keep it"
        )
    if counts:
        note = f"{column.note}; it numbers the rows: --drop {column.name} if it is an index"
        return replace(column, note=note)
    return column


class Encoder:
    """Makes X (m, n_0) of a table's columns.

    First come numbers, then marks of missing ones, then categories with an input each, and last the
    columns that are embedded.

    Parameters
    ----------
    columns : sequence of Column
        All feature columns of the file, in its order.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.numeric = [i for i, column in enumerate(columns) if column.fills]
        self.marked = [i for i in self.numeric if columns[i].indicates]
        categorical = [i for i, column in enumerate(columns) if column.categories]
        self.categorical = [i for i in categorical if not columns[i].embedded]
        self.embedded = [i for i in categorical if columns[i].embedded]
        fills = [fill for i in self.numeric for fill in columns[i].fills]
        self.fills = np.array([*fills, *[0.0] * len(self.marked)])

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns that the numbers and marks are made of."""
        made = [self.columns[i].name for i in self.numeric for _ in self.columns[i].fills]
        return (*made, *(self.columns[i].name for i in self.marked))

    @property
    def used(self) -> list[int]:
        """Return the columns that are read."""
        return sorted([*self.numeric, *self.categorical, *self.embedded])

    @property
    def n_outputs(self) -> int:
        """n_0."""
        one_hot = sum(len(self.columns[i].categories) for i in self.categorical)
        return len(self.fills) + one_hot + len(self.embedded)

    @property
    def cardinalities(self) -> dict[int, int]:
        """Return how many whole numbers there may be in each column of X that is to be embedded."""
        first = self.n_outputs - len(self.embedded)
        counts = [len(self.columns[i].categories) + 1 for i in self.embedded]
        return dict(enumerate(counts, first))

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
        """Return scikit-learn's encoder, made of the categories: it has nothing to learn."""
        from sklearn.preprocessing import OneHotEncoder

        categories = [np.array(self.columns[i].categories, object) for i in self.categorical]
        encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)
        return encoder.fit(np.array([[values[0] for values in categories]], object))

    def apply(self, X: dict[int, Any], numbers: Array, scaling: Scaling, dtype: DTypeLike) -> Array:
        """Return X (m, n_0) for the network: what `numbers` gave, scaled, and the categories."""
        m, p = numbers.shape
        out = np.empty((m, self.n_outputs), dtype)
        out[:, :p] = scaling.apply(numbers, dtype)
        if self.categorical and m:
            texts = np.column_stack([self.columns[i].texts(X[i]) for i in self.categorical])
            out[:, p : self.n_outputs - len(self.embedded)] = self._one_hot.transform(texts)
        for j, i in zip(self.cardinalities, self.embedded, strict=True):
            out[:, j] = self._index_of[i].get_indexer(self.columns[i].texts(X[i])) + 1
        return out

    @cached_property
    def _index_of(self) -> dict[int, Any]:
        """Return the categories of each embedded column, for looking up: -1 is none of them."""
        import pandas as pd

        return {i: pd.Index(self.columns[i].categories, dtype=object) for i in self.embedded}
