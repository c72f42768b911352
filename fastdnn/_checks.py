"""Checks of what a user gives: each error names the argument, what is wanted and what came."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from numbers import Integral, Real
from typing import Any

import numpy as np

SEED_BITS = 256  # of a seed, which counts nothing; NumPy draws seeds of 128 bits


def check_number(name: str, value: object, interval: str, *, whole: bool = False) -> None:
    """Refuse what is no number, or lies outside an interval.

    Parameters
    ----------
    name : str
        Whose value it is (``"StepDecay.factor"``): the error's first word.
    value : object
        What the user gave.
    interval : str
        In the usual notation: ``"[0, 1)"`` holds 0 and not 1, ``"[0, inf)"`` no infinity.
    whole : bool
        Whether only integers will do.

    Raises
    ------
    TypeError
        If `value` is no real number, or no integer where `whole` is set. A bool is neither.
    ValueError
        If `value` is NaN or not in the interval.
    """
    # a bool is an int to Python, and a span of time an integer to NumPy
    is_number = isinstance(value, Integral if whole else Real)
    is_number = is_number and not isinstance(value, bool | np.timedelta64)
    if is_number and _lies_in(value, interval, whole):  # type: ignore[arg-type]
        return
    kind = "an integer" if whole else "a number"
    wanted = f"{name}: want {kind} in {interval}, got {shown(value)}"
    raise ValueError(wanted) if is_number else TypeError(wanted)


def shown(value: object) -> str:
    """Return the beginning of a value's text, in one line."""
    try:
        return " ".join(f"{value!r:.80}".split())
    except ValueError:  # Python writes no integer of more than some thousand digits
        return f"a larger {type(value).__name__}"


def check_flag(name: str, value: object) -> bool:
    """Return True or False, NumPy's too, as a bool; whatever else is refused by TypeError."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: want True or False, got {value!r}")
    return bool(value)


def _lies_in(number: float, interval: str, whole: bool) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    if not whole:
        try:
            number = float(number)
        except OverflowError:
            return False  # what is to be a float is beyond every one
    above = number >= low if interval[0] == "[" else number > low
    return above and (number <= high if interval[-1] == "]" else number < high)


def check_count(name: str, value: Any, least: int, bits: int = 63) -> int:
    """Return `value` as an integer of at least `least`, and of so many bits at most."""
    if type(value) is int and least <= value < 1 << bits:
        return value
    check_number(name, value, f"[{least}, inf)", whole=True)
    if value >= 1 << bits:
        raise ValueError(f"{name}: want an integer below 2^{bits}, got {shown(value)}")
    return int(value)


def share_of(share: float, count: int) -> int:
    """Return the whole number that is nearest to a share of a count of at least 2.

    It is that of exact arithmetic, so 0.1 of 30 is 3, and leaves neither part empty.
    """
    nearest = floor(exact_share(share, count) + Fraction(1, 2))
    return min(max(nearest, 1), count - 1)


def exact_share(share: float, count: int) -> Fraction:
    """Return a share of a count as exact arithmetic of decimal numbers has it: 0.1 of 30 is 3."""
    return Fraction(str(float(share))) * count


def check_batch_size(value: Any, default: int) -> int:
    """Return a batch's number of samples; None means the default, as in Keras."""
    return default if value is None else check_count("batch_size", value, 1)
