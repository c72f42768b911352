"""From a table of small functions to one compiled function that picks by a number.

The step is one compiled program for every network, so which activation, loss or update a network
has is a number in an integer table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .jit import kernel


def switch(
    cases: Sequence[Callable[..., Any]], other: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """``f(code, *arguments) = cases[code](*arguments)``; all cases take and return alike.

    Where no case has the code, it is ``other(code, *arguments)``.

    The function is written out as text, a line per case, and compiled: numba cannot index a tuple
    of different functions by a number, and functions nested in functions, one for each case, take
    many times as long to compile.
    """
    arguments = ", ".join(inspect.signature(cases[0]).parameters)
    lines = [f"def call(code, {arguments}):"]
    asked = len(cases) - (other is None)  # else the last case needs no question
    lines += [
        f"    if code == {code}:\n        return case_{code}({arguments})" for code in range(asked)
    ]
    last = f"case_{asked}({arguments})" if other is None else f"other(code, {arguments})"
    lines.append(f"    return {last}")
    scope: dict[str, Any] = {f"case_{code}": case for code, case in enumerate(cases)}
    scope["other"] = other
    exec("\n".join(lines), scope)
    return kernel(scope["call"])  # type: ignore[no-any-return]
