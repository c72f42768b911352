"""Labels as a file has them, as class numbers or as a regression's target, and why."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .tables import Array, pandas
from .values import MISSING_LABELS, first_style, number_styles, read_numbers

Task = Literal["classification", "regression"]

MOST_CLASSES = 10  # of whole numbers that are not counted through from 0
_LEAST_SAMPLES_PER_CLASS = 4
_MOST_UNEVEN = 10  # times as many samples in the largest class as in the smallest
_FEW = 20  # so many classes may have a sample each
_YEARS = 1800, 2200
_CODE = re.compile(r"[+-]?0\d+")  # a number does not begin with 0

# The rule in one sentence, for the command line's help.
RULE = (
    "by default text, two values, up to 10 different whole numbers, and whole numbers that count"
    " 0, 1, 2, … about evenly are classes, if each has 4 samples in the mean; other numbers, and"
    " years, are quantities"
)


def choose_task(y: Array, task: str | None, *, of_images: bool = False) -> tuple[Task, str]:
    """Tell classes from quantities.

    Parameters
    ----------
    y : ndarray, shape (m,)
        Numbers or text, none of them missing.
    task : {"classification", "regression"} or None
        None: by the rule that `RULE` states.
    of_images : bool
        Whether the samples are images, whose whole numbers are classes however many there are.

    Returns
    -------
    task : {"classification", "regression"}
    why : str
        What the labels are, as the end of a sentence that begins with "they are"; empty where the
        task was given.

    Raises
    ------
    ValueError
        If text is given as a regression's target.
    """
    numbers = as_numbers(y)
    if task == "regression" and numbers is None:
        raise ValueError(f"labels: {y[0]!s} is text; a regression's target is numbers")
    if task is not None:
        return ("regression" if task == "regression" else "classification"), ""
    if numbers is None:
        return "classification", "text"
    if y.dtype.kind in "US" and any(map(_CODE.fullmatch, np.unique(y))):
        return "classification", "text: some begin with 0"
    if not _are_whole(y, numbers):
        return "regression", "numbers, not all of them whole"
    values, counts = np.unique(y if y.dtype.kind in "iu" else numbers, return_counts=True)
    what = f"{len(values)} different whole numbers from {values[0]:.0f} to {values[-1]:.0f}"
    if len(values) == 2:
        return "classification", "two whole numbers"
    if values[0] >= _YEARS[0] and values[-1] <= _YEARS[1]:
        return "regression", f"{what}, as years are"
    if len(values) * _LEAST_SAMPLES_PER_CLASS > len(y):
        return "regression", f"{what} in {len(y)} samples"
    if of_images:
        return "classification", f"{what}, of images"
    if len(values) <= MOST_CLASSES:
        return "classification", f"{what}, and up to {MOST_CLASSES} are taken as classes"
    counted = values[0] == 0 and values[-1] == len(values) - 1
    if counted and counts.max() <= _MOST_UNEVEN * counts.min():
        return "classification", f"{what}, without a gap and about as many of each"
    return "regression", f"{what}, and more than {MOST_CLASSES} are taken as quantities"


def encode_labels(y: Array, task: Task) -> tuple[Array, Array | None]:
    """Turn labels into class numbers, or into a regression's target.

    Parameters
    ----------
    y : ndarray, shape (m,)
        Numbers or text.
    task : {"classification", "regression"}

    Returns
    -------
    y : ndarray, shape (m,)
        int64 class numbers, or float64.
    classes : ndarray or None
        The labels of the classes, ascending; None for regression.

    Raises
    ------
    ValueError
        If all are equal, or nearly all of many are different classes.
    """
    values = y
    if y.dtype.kind in "fu" and _are_whole(y, y):
        values = y.astype(np.int64)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) == 1:
        raise ValueError(f"labels: all {len(y)} are {classes[0]!s}; there is nothing to learn")
    if task == "classification" and len(classes) > max(_FEW, len(y) / 2):
        raise ValueError(
            f"labels: {len(classes)} different values in {len(y)} samples are no classes; name"
            " another column as the target, or choose task 'regression' if they are quantities"
        )
    if task == "regression":
        target = as_numbers(y)
        assert target is not None  # choose_task has seen to it
        return target, None
    return codes.astype(np.int64), classes


def _are_whole(y: Array, numbers: Array) -> bool:
    """Return whether labels are whole numbers; large floats are measured, not counted."""
    if y.dtype.kind in "iu":
        return True
    return bool(np.abs(numbers).max() < 2**53 and (numbers % 1 == 0).all())


def refuse_missing(y: Array) -> None:
    """Refuse labels that are missing or infinite, with their number and the first one's row."""
    missing = missing_labels(y)
    if missing.any():
        raise ValueError(
            f"labels: {missing.sum()} of {len(y)} are missing or infinite, the first in data row"
            f" {missing.argmax() + 1}; drop such rows"
        )


def missing_labels(y: Array) -> Array:
    """Return which labels (m,) are empty, NaN or infinite."""
    if y.dtype.kind in "iub":
        return np.zeros(len(y), bool)
    if y.dtype.kind == "f":
        return ~np.isfinite(y)
    text = y.astype(str)
    tokens = np.char.lower(np.char.strip(text))
    return np.isin(tokens, [*MISSING_LABELS, "inf", "-inf", "infinity", "-infinity"])


def as_numbers(y: Array, *, decimal_comma: bool = False) -> Array | None:
    """Return labels as float64 with NaN for missing ones, or None if one of them is text."""
    if y.dtype.kind in "biuf":
        return y.astype(np.float64)
    missing = missing_labels(y)
    try:
        numbers = np.full(len(y), np.nan)
        # float takes "1_000" too, which nobody means as a number
        if not any("_" in label for label in y[~missing]):
            numbers[~missing] = y[~missing].astype(np.float64)
            return numbers
    except ValueError:
        pass
    return _styled_numbers(y, missing, decimal_comma)


def _styled_numbers(y: Array, missing: Array, decimal_comma: bool) -> Array | None:
    """Numbers written with decimal commas, between thousands or with units, where pandas is."""
    try:
        text = pandas("").Series(y[~missing].astype(object))
    except ImportError:
        return None
    style = first_style(text, number_styles(decimal_comma), read_numbers)
    if style is None:
        return None
    numbers = np.full(len(y), np.nan)
    numbers[~missing] = read_numbers(text, style)
    return numbers


def match_labels(y: Array, classes: Array) -> Array:
    """Return the number (m,) of each label's class, and -1 where it is none of them.

    Text and numbers are compared as whoever reads the file by other means would have them: pandas
    makes the number 2139 of the only label 02139, 1.0 of 1 and True of TRUE.
    """
    known, given = classes, as_numbers(y)
    if classes.dtype.kind == y.dtype.kind == "i":
        given = y  # floats would merge the largest
    if classes.dtype.kind == "U":
        numbers = None if y.dtype.kind == "U" else as_numbers(classes)
        if numbers is not None and len(np.unique(numbers)) == len(numbers):
            known = numbers
        else:
            given = _whole(y).astype(str)
            if set(np.unique(given)) <= {"True", "False"}:
                known, given = np.char.lower(classes), np.char.lower(given)
    if given is None:
        return np.full(len(y), -1)
    order = np.argsort(known)
    at = order[np.searchsorted(known, given, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[at] == given, at, -1)


def _whole(y: Array) -> Array:
    """Return whole floats as the integers that pandas may have made them of."""
    return y.astype(np.int64) if y.dtype.kind == "f" and (y % 1 == 0).all() else y


def as_labels(y: ArrayLike) -> Array:
    """Return labels that a user hands over, as numbers or text (m,).

    Raises
    ------
    ValueError
        If they are not one label a sample.
    """
    values: Any = y
    if type(values).__module__.split(".")[0] in ("pandas", "polars"):
        from .frames import labels_of

        values = values.to_pandas() if hasattr(values, "to_pandas") else values
        if values.ndim == 2 and values.shape[1] == 1:
            values = values.iloc[:, 0]
        if values.ndim == 1:
            return labels_of(values)
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"want one label a sample, got shape {array.shape}")
    return plain_labels(array)


def plain_labels(y: Array) -> Array:
    """Return labels as numbers or as text, one-dimensional."""
    if y.dtype.kind in "iufU":
        return y.ravel()
    if y.dtype == object and all(type(label) in (int, float) for label in y.flat):
        return y.ravel().astype(np.float64)
    if y.dtype == object:
        return np.array(["" if label is None else str(label) for label in y.flat], dtype=str)
    return y.ravel().astype(str)
