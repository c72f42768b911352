"""CSV files and their like, as people have them: pandas reads them, and is told here how."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .headers import NAMELESS, has_header, is_value
from .labels import as_numbers
from .tables import Array, Columns, Part, Table, check_names, pandas, split_label
from .texts import Layout, find_layout, first_lines, read_text, reader, rows
from .values import MISSING

_WRITTEN = sorted(
    {"NaN", "NaT", "-NaN"}
    | {way(token) for token in MISSING for way in (str.lower, str.upper, str.title)}
)


class Head(NamedTuple):
    """What the first rows say of a table."""

    names: tuple[str, ...] | None
    n_rows: int  # how many of them are the header: 0 or 1
    width: int  # cells in a row
    kept: list[int]  # the columns but for empty ones at the end, as trailing delimiters make


def read_csv(path: Path, columns: Columns) -> Table:
    """Read a CSV file, with a header or without, in any usual encoding.

    Cells are separated by commas, semicolons, tabs, bars or spaces. Labels stay text unless Python
    would write them the same as numbers.

    Raises
    ------
    ValueError
        If it is no text or no table, naming the line.
    ImportError
        If pandas is not installed.
    """
    pandas(f"{path}: reading a table")
    text, encoding = read_text(path)
    try:
        return _table(path, text, encoding, columns)
    except csv.Error as error:
        raise ValueError(f"{path}: not a table of text ({error})") from None


def _table(path: Path, text: str, encoding: str, columns: Columns) -> Table:
    """Return what a text holds."""
    layout = find_layout(text)
    head = _head(path, text, layout, columns)
    label = columns.label(path, head.names, len(head.kept))
    frame = _frame(path, text, layout, head, label)
    notes = [] if encoding.startswith("utf-8") else [f"read as {encoding}, as it is not UTF-8"]
    if head.names is None:
        notes.append("it has no header: columns are numbered from 0")
    if label is None:
        table = Table(Part(frame), names=head.names)
    else:
        y = as_written(frame.iloc[:, label], decimal_comma=layout.delimiter == ";")
        features = frame.drop(columns=frame.columns[label])
        if head.names is None:
            features.columns = range(features.shape[1])
        table = split_label(Part(features, y), head.names, label)
    return replace(table, decimal_comma=layout.delimiter == ";", notes=tuple(notes))


def as_written(cells: Any, *, decimal_comma: bool = False) -> Array:
    """Return labels of a text file: integers where Python would write them the same, else text.

    So 02139 and 1e2 stay what they are. With `decimal_comma`, 0,5 is the number 0.5.
    """
    text = [cell.strip() for cell in cells]
    try:
        numbers = [int(cell) for cell in text]
    except ValueError:
        numbers = []
    if list(map(str, numbers)) == text and np.array(numbers).dtype.kind == "i":
        return np.array(numbers)
    labels = np.array(text, dtype=str)
    if decimal_comma and any("," in cell for cell in text):
        found = as_numbers(labels, decimal_comma=True)
        return labels if found is None else found
    return labels


def _head(path: Path, text: str, layout: Layout, columns: Columns) -> Head:
    """Read the names, if there are any, and how many cells a row has."""
    sample = list(rows(list(first_lines(text, layout.start)), layout.delimiter))
    if not sample:
        raise ValueError(f"{path}: all of its cells are empty")
    first, rest = [cell.strip() for cell in sample[0]], sample[1:]
    given = _named(first)
    known = columns.features is not None and set(columns.features) <= set(given)
    known |= isinstance(columns.target, str) and columns.target in given and not _is_int(columns)
    names = given if known or has_header(first, rest) else None
    n_rows = 0 if names is None else 1
    comment = list(layout.comment)
    if names is None and len(comment) == len(first) > 1 and has_header(comment, sample):
        names = _named(comment)
    width = Counter(map(len, rest or sample)).most_common(1)[0][0]
    if names is not None and set(map(len, rest)) == {len(names) + 1}:
        if not any(row[-1] for row in rest):  # a delimiter at the end of each row
            names = _named([*names, ""])
        elif _are_row_names([row[0] for row in rest]):
            names = _named(["", *names])
    width = max(width, len(first)) if names is None else len(names)
    kept = list(range(width))
    body = sample[n_rows:]
    while len(kept) > 1 and (names is None or NAMELESS.fullmatch(names[kept[-1]])):
        if any(row[kept[-1]].strip() for row in body if len(row) > kept[-1]):
            break
        kept.pop()
    checked = None if names is None else check_names(path, [names[i] for i in kept])
    return Head(checked, n_rows, width, kept)


def _named(cells: list[str]) -> list[str]:
    """Return names, with pandas' own where there is none."""
    return [cell or f"Unnamed: {i}" for i, cell in enumerate(cells)]


def _are_row_names(cells: list[str]) -> bool:
    """Return whether a column is R's row names: 1, 2, 3, … or different texts, without a name."""
    counted = cells == [str(i + 1) for i in range(len(cells))]
    texts = not any(map(is_value, cells)) and len(set(cells)) == len(cells)
    return len(cells) > 1 and (counted or texts)


def _is_int(columns: Columns) -> bool:
    return str(columns.target).lstrip("-").isdigit()


def _frame(path: Path, text: str, layout: Layout, head: Head, label: int | None) -> Any:
    """Return the rows below the header: numbers where a column holds nothing else, else text."""
    labels = None if label is None else head.kept[label]
    frame = _parsed(path, text, layout, head, labels)
    missing = frame.isna()
    if labels is not None:
        missing[labels] = frame[labels] == ""
    if missing[head.width - 1].any():  # as a row that is too short makes it
        _check_lengths(path, text, layout, head)
    for i in range(len(head.kept), head.width):
        if not missing[i].all():
            row = int(missing[i].to_numpy().argmin())
            raise ValueError(
                f"{path}: column {i} (from 0) has no name, and its first value in data row"
                f" {row + 1}; name it, or take it away"
            )
    frame = frame[~missing.all(axis=1)][head.kept].reset_index(drop=True)
    if frame.empty:
        raise ValueError(f"{path}: no rows under the header")
    frame.columns = range(len(head.kept)) if head.names is None else list(head.names)
    return frame


def _parsed(path: Path, text: str, layout: Layout, head: Head, labels: int | None) -> Any:
    """Return what pandas makes of the rows, the labels as text."""
    pd = pandas(f"{path}: reading a table")
    file = io.StringIO(text)
    file.seek(layout.start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row is too long
            return pd.read_csv(
                file,
                sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
                header=None,
                skiprows=head.n_rows,
                names=range(head.width),
                index_col=False,
                dtype={} if labels is None else {labels: str},
                na_values={i: _WRITTEN for i in range(head.width) if i != labels},
                keep_default_na=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        _check_lengths(path, text, layout, head)
        reason = str(error).rpartition("error: ")[2].strip()
        if "EOF inside string" in reason:
            reason = "a quotation mark that begins a cell is not closed"
        raise ValueError(f"{path}: {reason}") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: no rows under the header") from None


def _check_lengths(path: Path, text: str, layout: Layout, head: Head) -> None:
    """Refuse the first row that has fewer or more cells than it should."""
    file = io.StringIO(text)
    file.seek(layout.start)
    cells = reader(file, layout.delimiter)
    for number, row in enumerate(row for row in cells if row):
        if number >= head.n_rows and len(row) != head.width and any(map(str.strip, row)):
            line = layout.line + cells.line_num - 1
            others = "the others have" if head.names is None else "the header has"
            raise ValueError(
                f"{path}: line {line}: {len(row)} cells, where {others} {head.width}; put cells"
                f" with {layout.delimiter!r} in them in quotation marks"
            )
