"""Whether a table's first row names its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .values import is_missing_cell

# Numbers and dates in any style.
_VALUE = re.compile(
    r"[+-]?\s*[$€£¥₹]?\s*[\d.,'’\s]*\d[\d.,'’\s]*(?:[eE][+-]?\d+)?\s*[%€$£¥₹]?"
    r"|[+-]?(?:inf|infinity)|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*",
    re.IGNORECASE,
)
# What pandas and others call a column without a name.
NAMELESS = re.compile(r"|unnamed: ?\d+(\.\d+)?|__index_level_\d+__", re.IGNORECASE)
_YEARS = range(1800, 2201)


def has_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row of a table holds the columns' names.

    Parameters
    ----------
    first : sequence of str
        Its cells.
    rest : sequence of sequences of str
        Rows below it.

    Returns
    -------
    bool
        True if text stands above numbers; if the cells are 0, 1, 2, … as pandas numbers columns, or
        years above other numbers; or if all are text, most of which no row below repeats.
    """
    columns = [[row[i] for row in rest if i < len(row)] for i in range(len(first))]
    columns = [[cell for cell in column if not is_missing_cell(cell)] for column in columns]
    pairs = [pair for pair in zip(first, columns, strict=True) if not is_missing_cell(pair[0])]
    text = [(top, column) for top, column in pairs if not is_value(top)]
    numbers = [(top, column) for top, column in pairs if is_value(top)]
    if any(column and all(map(is_value, column)) for _, column in text):
        return True
    if 2 * sum(top in column for top, column in text) > len(text):
        return False
    if not any(all(map(is_value, column)) for _, column in numbers):
        return not numbers
    starts = (0, 1) if text else (0,)
    return _are_names([top for top, _ in numbers], [column for _, column in numbers], starts)


def _are_names(
    tops: Sequence[str], columns: Sequence[Sequence[str]], starts: Sequence[int]
) -> bool:
    """Return whether numbers are names: 0, 1, 2, … or years, and no row below is alike."""
    if not all(re.fullmatch(r"\d+", top) for top in tops) or not all(columns):
        return False
    numbers = [int(top) for top in tops]
    second = [column[0] for column in columns]
    n = len(numbers)
    if any(numbers == list(range(start, start + n)) for start in starts):
        # Rows of a table may count on; two numbers may be a row of it.
        goes_on = second in ([str(number + n) for number in numbers], list(tops))
        return not goes_on and (n > 2 or not all(map(str.isdigit, second)))
    if len(numbers) < 2 or numbers != sorted(set(numbers)):
        return False
    below = [int(cell) if cell.isdigit() else 0 for cell in second]
    return all(year in _YEARS for year in numbers) and not all(year in _YEARS for year in below)


def is_value(cell: str) -> bool:
    """Return whether a cell holds a number or a date, not a name or a category."""
    return _VALUE.fullmatch(cell) is not None
