"""From a table of small functions to one compiled function that picks by a number.

The step is one compiled program for every network, so which activation, loss or update a network
has is a number in an integer table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ._jit import kernel


def switch(cases: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """``f(code, *arguments) = cases[code](*arguments)``; all cases take and return alike.

    The function is written out as text, a line per case, and compiled: numba cannot index a tuple
    of different functions by a number, and functions nested in functions, one for each case, take
    many times as long to compile.
    """
    arguments = ", ".join(inspect.signature(cases[0]).parameters)
    lines = [f"def call(code, {arguments}):"]
    lines += [
        f"    if code == {code}:\n        return case_{code}({arguments})"
        for code in range(len(cases) - 1)
    ]
    lines.append(f"    return case_{len(cases) - 1}({arguments})")
    scope: dict[str, Any] = {f"case_{code}": case for code, case in enumerate(cases)}
    exec("\n".join(lines), scope)
    return kernel(scope["call"])  # type: ignore[no-any-return]
