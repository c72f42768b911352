"""Numbers as a person reads them: one form wherever the values of a training are printed."""

from __future__ import annotations

from collections.abc import Mapping

SMALL, LARGE = 1e-3, 1e6  # what lies between has four places after the point


def number(value: float) -> str:
    """Return "0.3521"; values far from 1 as "1.00e-04" and "3.14e+32"."""
    if value == 0 or SMALL <= abs(value) < LARGE:
        return f"{value:.4f}"
    return f"{value:.2e}"


def logs(values: Mapping[str, float]) -> str:
    """Return "loss 0.3521  accuracy 0.8801"."""
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())
