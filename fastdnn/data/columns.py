"""One column of a table: what it holds, and how a network reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .values import (
    DATE_STYLES,
    PLAIN,
    TRUTH,
    Array,
    as_text,
    date_numbers,
    first_style,
    is_missing,
    is_number_dtype,
    not_read,
    number_styles,
    plain_numbers,
    read_dates,
    read_numbers,
    read_truth,
)

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 100  # with an input each
MOST_EMBEDDED = 10_000  # with a vector each: some megabytes
_FEW = 20  # up to so many values, text is categories however few the rows
_AN_EXAMPLE = 30  # characters

Kind = Literal["number", "boolean", "date", "category", "dropped"]
Read = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Column:
    """What the training data fixed for one column.

    Parameters
    ----------
    name : str
        Its name, or its number from 0 where the file has no header.
    kind : {"number", "boolean", "date", "category", "dropped"}
    note : str
        What was done with it, for the report.
    style : str
        How its text is read as numbers, truth values or dates.
    hours : bool
        Whether its dates have a time of day.
    fills : tuple of float
        What stands for a missing value, in each of the numbers that are made of the column.
    indicates : bool
        Whether a further input says where the value is missing.
    categories : tuple of str
        Each is an input of its own, 1 where the column holds it; "" is a missing value. What is
        none of them is 0 in all.
    embedded : bool
        Whether the column is one input instead: the whole numbers 1, 2, … of the categories, and 0
        for what is none of them.
    """

    name: str
    kind: Kind
    note: str = ""
    style: str = PLAIN
    hours: bool = False
    fills: tuple[float, ...] = ()
    indicates: bool = False
    categories: tuple[str, ...] = ()
    embedded: bool = False

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Column:
        """Return the column of which `dataclasses.asdict` and JSON made `facts`."""
        lists = {name: tuple(facts[name]) for name in ("fills", "categories")}
        return cls(**{**facts, **lists})

    def numbers(self, values: Any) -> list[Array]:
        """Return the column as float64 numbers, each (m,), with NaN where a value is missing.

        Parameters
        ----------
        values : ndarray of numbers or pandas Series, shape (m,)

        Raises
        ------
        ValueError
            If a value cannot be read as those of the training data, naming its row.
        """
        if isinstance(values, np.ndarray):
            return [values.astype(np.float64, copy=False)]
        if self.kind == "date":
            if not _is_date(values):
                values = as_text(values)
                style = self._style(values, DATE_STYLES, read_dates, "a date")
                values = read_dates(values, style)
            return date_numbers(read_dates(values, self.style), self.hours)
        if is_number_dtype(values):
            return [plain_numbers(values)]
        text = as_text(values)
        if self.kind == "boolean":
            wanted = f"{self.style} or {TRUTH[self.style]}"
            return [read_truth(text, self._style(text, TRUTH, read_truth, wanted))]
        styles = number_styles(decimal_comma=False)
        return [read_numbers(text, self._style(text, styles, read_numbers, "a number"))]

    def texts(self, values: Any) -> Array:
        """Return the column's values as text (m,), with "" for what is missing."""
        import pandas as pd

        text = as_text(pd.Series(values))
        return np.asarray(text.where(~is_missing(text), "").to_numpy(object))

    def _style(self, text: pd.Series, styles: Iterable[str], read: Read, wanted: str) -> str:
        """Return the style that can read all of `text`, that of the training data before others."""
        present = text[~is_missing(text)]
        style = first_style(present, (self.style, *styles), read)
        if style is not None:
            return style
        bad = not_read(read(text, self.style)) & ~is_missing(text).to_numpy()
        row = int(bad.argmax())
        raise ValueError(
            f"data row {row + 1}, column {self.name!r}: {_shown(text.iloc[row])} is not {wanted},"
            f" as its other values are ({bad.sum()} such cells); leave it empty if it is missing"
        )


def read_kind(values: Any, name: str, *, decimal_comma: bool = False) -> Column:
    """Tell what a column holds, by all of its values.

    Parameters
    ----------
    values : ndarray of numbers or pandas Series, shape (m,)
    name : str
    decimal_comma : bool
        See `values.number_styles`.

    Returns
    -------
    Column
        With its kind and style; what is learned from values is still to be added.

    Raises
    ------
    ValueError
        If it holds numbers and, in a few places, text.
    """
    if isinstance(values, np.ndarray):
        return Column(name, "number", "numbers")
    if _is_date(values):
        return _date(name, values, DATE_STYLES[0])
    if values.dtype.kind == "m":
        raise ValueError(f"column {name!r}: holds times between two moments; want numbers")
    if is_number_dtype(values):
        if values.dtype.name.startswith("bool"):
            return Column(name, "boolean", style="true")
        # Later files of the kind may hold fractions where this one has whole numbers.
        comma = decimal_comma and values.dtype.kind == "i"
        return Column(name, "number", "numbers", "1,5" if comma else PLAIN)
    try:
        text = as_text(values)
    except TypeError as error:
        raise ValueError(f"column {name!r}: {error}") from None
    text = text[~is_missing(text)]
    if text.empty:
        return Column(name, "dropped", "dropped: it is empty")
    style = first_style(text, number_styles(decimal_comma), read_numbers)
    if style is not None:
        note = "numbers" if style == PLAIN else f"numbers written like {style}"
        return Column(name, "number", note, style)
    style = first_style(text, TRUTH, read_truth)
    if style is not None:
        return Column(name, "boolean", style=style)
    style = first_style(text, DATE_STYLES, read_dates)
    if style is not None:
        return _date(name, read_dates(text, style), style)
    _refuse_few_texts(text, name)
    return Column(name, "category")


def _date(name: str, dates: pd.Series, style: str) -> Column:
    hours = bool((dates.dropna() != dates.dropna().dt.normalize()).any())
    return Column(name, "date", style=style, hours=hours)


def _refuse_few_texts(text: pd.Series, name: str) -> None:
    """Refuse a column of numbers with some text: as categories it would lose what it says."""
    numbers = read_numbers(text, PLAIN)
    bad = np.isnan(numbers)
    if len(np.unique(numbers[~bad])) > _FEW and bad.mean() < 0.5:
        row = text.index[int(bad.argmax())]
        raise ValueError(
            f"column {name!r}: {_shown(text[row])} in data row {row + 1} is not a number, as"
            f" {len(text) - bad.sum()} of its {len(text)} values are; leave such cells empty if"
            f" they are missing, or --drop {name}"
        )


def describe(column: Column, values: Any, embed_above: int | None = None) -> Column:
    """Add what the training rows say of a column: its categories, and the words of the report.

    Parameters
    ----------
    column : Column
        Of `read_kind`.
    values : ndarray of numbers or pandas Series
        The training rows alone.
    embed_above : int, optional
        See `features.fit_columns`.
    """
    from sklearn.impute import SimpleImputer

    if column.kind == "dropped":
        return column
    if column.kind == "category":
        return _categories(column, column.texts(values), embed_above)
    numbers = column.numbers(values)
    missing = np.isnan(numbers[0])
    present = [part[~missing] for part in numbers]
    if missing.all():
        return drop(column, "it is empty")
    if not missing.any() and all(part.min() == part.max() for part in present):
        return drop(column, f"it is {present[0][0]:g} in every row")
    words = {
        "number": column.note,
        "boolean": f"1 for {column.style}, 0 for {TRUTH.get(column.style)}",
        "date": "dates: days, month and day of the week" + (", hour" if column.hours else ""),
    }[column.kind]
    if column.kind == "date" and column.style != DATE_STYLES[0]:
        words += f", read as {column.style}"
    words += ", scaled"
    if missing.any():
        words += f"; {missing.sum()} missing: the median instead, and an input that marks them"
    with np.errstate(over="ignore"):  # what float64 cannot hold is refused with the scaling
        medians = SimpleImputer(strategy="median").fit(np.column_stack(numbers)).statistics_
    fills = tuple(medians.tolist())
    return replace(column, note=words, fills=fills, indicates=bool(missing.any()))


def _categories(column: Column, texts: Array, embed_above: int | None) -> Column:
    """Return the most frequent values of a column of text, or why there are none worth having."""
    values, counts = np.unique(texts[texts != ""], return_counts=True)
    n, m, missing = len(values), int(counts.sum()), int((texts == "").sum())
    if n == 0:
        return drop(column, "it is empty")
    if n == 1 and not missing:
        return drop(column, f"it is {_shown(values[0])} in every row")
    if n > _FEW and n > m / 2:
        return drop(
            column,
            f"{n} different texts in {m} rows, as of an id, a name or free text; to use it, make"
            " numbers or fewer categories of it",
        )
    embedded = embed_above is not None and n > embed_above
    # Of equally frequent values those that come first in the alphabet.
    most = MOST_EMBEDDED if embedded else MOST_CATEGORIES
    kept = np.sort(values[np.argsort(-counts, kind="stable")[:most]])
    words = f"categories, {'a trained vector' if embedded else 'an input'} for each of "
    words += f"{n} values" if n == len(kept) else f"the {len(kept)} most frequent of {n} values"
    if missing:
        words += f" and one for the {missing} missing"
    categories = (*([""] if missing else []), *kept.tolist())
    return replace(column, note=words, categories=categories, embedded=embedded)


def drop(column: Column, why: str) -> Column:
    """Return the column as one that the network does not read."""
    return Column(column.name, "dropped", f"dropped: {why}")


def _shown(text: str) -> str:
    """Return text for a message, in quotes and not too long."""
    return repr(text if len(text) <= _AN_EXAMPLE else f"{text[:_AN_EXAMPLE]}…")


def _is_date(values: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(values))
