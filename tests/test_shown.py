"""How numbers are printed."""

from __future__ import annotations

import math

import pytest

from fastdnn import _shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.35214, "0.3521"),
        (-0.5, "-0.5000"),
        (12345.678, "12345.6780"),
        (0.001, "0.0010"),
        (0.000999, "9.99e-04"),
        (1e-5, "1.00e-05"),
        (-3e-7, "-3.00e-07"),
        (1e6, "1.00e+06"),
        (1e32, "1.00e+32"),
        (-2.5e32, "-2.50e+32"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert _shown.number(value) == text


def test_logs() -> None:
    assert _shown.logs({"loss": 1e32, "learning_rate": 1e-5}) == (
        "loss 1.00e+32  learning_rate 1.00e-05"
    )
    assert _shown.logs({}) == ""
