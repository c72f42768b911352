"""Derivatives that a user wrote, compared with finite differences.

A point where the function is not finite, or has a kink or a jump (its differences to the left and
to the right are not alike), says nothing and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

STEP = 1e-5  # of float64: rounding and curvature both leave about 10 digits
RELATIVE, ABSOLUTE = 1e-4, 1e-6  # the difference that is allowed
KINK = 1e-2  # differences to both sides that are further apart, by their size, tell a kink
POINTS = 64
ENOUGH = 8  # points that say something

Function = Callable[..., Any]


class Mismatch(NamedTuple):
    """Where a derivative is not the function's."""

    x: float
    others: tuple[float, ...]
    value: float
    given: float
    found: float

    def __str__(self) -> str:
        return f"want {self.found:.6g}, as finite differences give, got {self.given:.6g}"


def value_of(function: Function, *arguments: float) -> float:
    """Return the function's value as compiled code would: NaN where Python raises."""
    try:
        with np.errstate(all="ignore"):
            return float(function(*arguments))
    except (ArithmeticError, ValueError, TypeError):  # a TypeError: a complex number
        return math.nan


def compare(function: Function, derivative: Function, x: float, *others: float) -> Mismatch | bool:
    """Compare d function(x, *others) / dx: what differs, or whether the point tells anything."""
    h = STEP * max(1.0, abs(x))
    left, value, right = (value_of(function, x + i * h, *others) for i in (-1, 0, 1))
    before, after, found = (value - left) / h, (right - value) / h, (right - left) / (2 * h)
    size = max(abs(before), abs(after))
    if not abs(before - after) <= KINK * size + RELATIVE:  # NaN too
        return False
    given = value_of(derivative, x, *others)
    rounding = 4 * np.finfo(float).eps * abs(value) / h
    allowed = ABSOLUTE + RELATIVE * max(abs(given), abs(found)) + rounding
    return True if abs(given - found) <= allowed else Mismatch(x, others, value, given, found)


def first_mismatch(
    function: Function, derivative: Function, points: Iterable[Sequence[float]]
) -> tuple[Mismatch | None, int]:
    """Return the first point where the derivative is wrong, and how many told something."""
    told = 0
    for point in points:
        result = compare(function, derivative, *point)
        if isinstance(result, Mismatch):
            return result, told
        told += result
    return None, told


def check_activation(name: str, g: Function, g_prime: Function) -> None:
    """Refuse a g' that is not the derivative of g, by its values in [-6, 6].

    Raises
    ------
    ValueError
        That shows the first value at which it is not.
    """
    points = np.random.default_rng(0).uniform(-6, 6, (POINTS, 1)).tolist()
    found, _ = first_mismatch(g, g_prime, points)
    if found is not None:
        raise ValueError(f"{name}: {found}, at z = {found.x:.6g}, where g(z) = {found.value:.6g}")


def check_loss(name: str, loss: Function, derivative: Function) -> None:
    """Refuse what is not dl/da.

    What the targets will be is not known: so it is enough that the derivative is right for real
    numbers, for numbers in [0, 1], for 0 and 1, for -1 and 1, or for counts. The outputs are real
    numbers, half of them in [0, 1].

    Raises
    ------
    ValueError
        That shows the first output and target at which it is not.
    """
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.normal(0, 2, POINTS), rng.uniform(0, 1, POINTS)])
    targets = (
        rng.normal(0, 2, a.size),
        rng.uniform(0, 1, a.size),
        rng.choice([0.0, 1.0], a.size),
        rng.choice([-1.0, 1.0], a.size),
        rng.poisson(3.0, a.size).astype(float),
    )
    mismatches = []
    for y in targets:
        found, told = first_mismatch(loss, derivative, np.stack([a, y], axis=1).tolist())
        if found is not None:
            mismatches.append(found)
        elif told >= ENOUGH:
            return
    if mismatches:
        first = mismatches[0]
        raise ValueError(
            f"{name}: {first}, at a = {first.x:.6g}, y = {first.others[0]:.6g}, where the loss is "
            f"{first.value:.6g}"
        )
