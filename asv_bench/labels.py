"""What asv shows of a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def labelled(pretty_name: str, unit: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What asv calls a benchmark, and what it counts."""

    def label(function: Callable[..., Any]) -> Callable[..., Any]:
        function.pretty_name, function.unit = pretty_name, unit  # type: ignore[attr-defined]
        return function

    return label
