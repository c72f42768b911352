"""From a table of small functions to one compiled function that picks by a number.

The step is one compiled program for every network, so which activation, loss or update a network has is a
number in an integer table. `switch` makes ``f(code, *arguments)`` out of a table's functions: a few
comparisons, which costs nothing beside the loop that it selects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._jit import kernel


def switch(cases: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """``f(code, *arguments) = cases[code](*arguments)``, compiled; all cases take and return alike."""
    return _between(0, cases)


def _between(first: int, cases: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    # halves, not a chain: a function's code is optimised again in everything that calls it
    if len(cases) == 1:
        return _only(cases[0])
    half = len(cases) // 2
    middle = first + half
    low, high = _between(first, cases[:half]), _between(middle, cases[half:])

    @kernel
    def call(code, *arguments):
        if code < middle:
            return low(code, *arguments)
        return high(code, *arguments)

    return call  # type: ignore[no-any-return]


def _only(case: Callable[..., Any]) -> Callable[..., Any]:
    @kernel
    def call(code, *arguments):
        return case(*arguments)

    return call  # type: ignore[no-any-return]
