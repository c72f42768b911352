"""Read text as numbers, truth values and dates, as tables write them.

Every function takes a pandas Series and leaves what is missing as NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

# What stands for a missing value. It holds all that pandas takes for one, so that a file and the
# frame that pandas reads from it give the same.
MISSING = frozenset(
    {"", "?", "-", "--", ".", "*", "missing", "unknown", "none", "null", "nat", "nan", "-nan"}
    | {"na", "n/a", "<na>", "#na", "#n/a", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
# A class may well be called "-" or "None".
MISSING_LABELS = frozenset(["", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "?"])
TRUTH = {"true": "false", "yes": "no", "t": "f", "y": "n", "on": "off"}

_MONEY = r"[$€£¥₹]"
_UNITS = re.compile(rf"^([+-]?)\s*{_MONEY}\s*([+-]?)|\s*(?:{_MONEY}|%)$")
_GAP = r"[ \u00a0\u202f'’]"  # between thousands, in many countries
_E = r"(?:[eE][+-]?\d+)?"
# How numbers are written: a pattern, what is taken out, and what stands before the decimals.
NUMBER_STYLES: dict[str, tuple[re.Pattern[str], str, str]] = {
    "1,5": (re.compile(rf"[+-]?(?:\d+,?\d*|,\d+){_E}"), "", ","),
    **{
        f"1{shown}234{point}5": (
            re.compile(rf"[+-]?(?:[1-9]\d{{0,2}}(?:{gap}\d{{3}})+|\d+)(?:[{point}]\d+)?"),
            gap,
            point,
        )
        for shown, gap, point in (
            (",", ",", "."),
            (".", r"\.", ","),
            (" ", _GAP, "."),
            (" ", _GAP, ","),
        )
    },
}
PLAIN = "1.5"
_DAYS = "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y"
_TIMES = "", " %H:%M", " %H:%M:%S"
DATE_STYLES = ("ISO8601", *(day + time for day in _DAYS for time in _TIMES))


def as_text(values: pd.Series) -> pd.Series:
    """Return values of any kind as text without spaces around it; what is missing becomes "".

    A whole float is written as the integer: where a value is missing, pandas makes floats of
    integers.
    """
    missing = values.isna()
    if not _is_text(values):
        values = values.astype(object).map(_write, na_action="ignore")
    return values.astype(object).where(~missing, "").map(str.strip)


def _is_text(values: pd.Series) -> bool:
    import pandas as pd

    return isinstance(values.dtype, pd.StringDtype) or (
        values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) == "string"
    )


def _write(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, list | dict | tuple | set | np.ndarray):
        raise TypeError(f"holds a {type(value).__name__}; want one value in each cell")
    return str(value)


def is_missing_cell(cell: str) -> bool:
    """Return whether a cell of a text file stands for a missing value."""
    return cell.strip().lower() in MISSING


def is_missing(text: pd.Series, tokens: frozenset[str] = MISSING) -> pd.Series:
    """Return where text, of `as_text`, stands for a missing value."""
    return text.str.lower().isin(tokens)


def is_number_dtype(values: pd.Series) -> bool:
    """Return whether the values are numbers or truth values already, not text or objects."""
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(values) and values.dtype.kind != "c")


def plain_numbers(values: pd.Series) -> Array:
    """Return numbers (m,) as float64, with NaN for what is missing."""
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))


def read_numbers(text: pd.Series, style: str) -> Array:
    """Return text as float64; NaN where it is missing or not a number of this style.

    Signs of currencies and percents are left out: 12.5 % is 12.5.
    """
    text = text.where(~is_missing(text), "")
    numbers = _numeric(text)
    if style == PLAIN and not (np.isnan(numbers) & (text != "").to_numpy()).any():
        return numbers
    text = text.str.replace("\u2212", "-").str.replace(_UNITS, r"\1\2", regex=True)
    if style == PLAIN:
        return _numeric(text)
    pattern, gap, point = NUMBER_STYLES[style]
    text = text.where(text.map(pattern.fullmatch).notna(), "")
    if gap:
        text = text.str.replace(gap, "", regex=True)
    return _numeric(text.str.replace(point, "."))


def _numeric(text: pd.Series) -> Array:
    import pandas as pd

    return np.asarray(pd.to_numeric(text, errors="coerce").to_numpy(np.float64))


def read_truth(text: pd.Series, style: str) -> Array:
    """Text as 1 where it is `style`, one of `TRUTH`, and 0 where it is its contrary; else NaN."""
    return np.asarray(text.str.lower().map({style: 1.0, TRUTH[style]: 0.0}).to_numpy(np.float64))


def read_dates(values: pd.Series, style: str) -> pd.Series:
    """Return dates and times without a zone, UTC where there was one; NaT where it is none.

    Parameters
    ----------
    values : Series
        Dates, or text of `as_text`.
    style : str
        One of `DATE_STYLES`.
    """
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(values):
        values = values.where(~is_missing(values), None)
        values = pd.to_datetime(values, format=style, errors="coerce", utc=True)
    return values if values.dt.tz is None else values.dt.tz_convert("UTC").dt.tz_localize(None)


def date_numbers(dates: pd.Series, hours: bool) -> list[Array]:
    """Days since 1970, the month, the day of the week from 0 for Monday, and with `hours` the hour.

    Each is float64 (m,), and NaN where the date is missing.
    """
    import pandas as pd

    day = pd.Timedelta(days=1)
    parts = [
        (dates - pd.Timestamp("1970-01-01")) / day,
        dates.dt.month,
        dates.dt.day_of_week,
    ]
    if hours:
        parts.append((dates - dates.dt.normalize()) / (day / 24))
    return [np.asarray(part.to_numpy(np.float64)) for part in parts]


def number_styles(decimal_comma: bool) -> tuple[str, ...]:
    """Return the ways to write numbers, the likelier first.

    Parameters
    ----------
    decimal_comma : bool
        What a single comma before three digits means where nothing else tells.
    """
    comma, point = ("1,5", "1.234,5"), ("1,234.5",)
    return (PLAIN, *(comma + point if decimal_comma else point + comma), "1 234.5", "1 234,5")


def first_style(
    text: pd.Series, styles: Iterable[str], read: Callable[[pd.Series, str], Any]
) -> str | None:
    """Return the first style in which `read` understands all of `text`, or None."""
    sample = text.iloc[:100]
    for style in styles:
        if all(not not_read(read(part, style)).any() for part in (sample, text)):
            return style
    return None


def not_read(found: Any) -> Array:
    """Return where one of the readers above found nothing."""
    return np.asarray(found.isna() if hasattr(found, "isna") else np.isnan(found))
