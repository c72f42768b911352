"""Checks of numbers and flags: what passes, and what is refused by which error."""

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastdnn._checks import SEED_BITS, check_count, check_flag, check_number


@pytest.mark.parametrize(
    ("value", "interval", "good"),
    [
        (0, "[0, 1)", True),
        (0, "(0, 1)", False),
        (1, "[0, 1)", False),
        (1, "[0, 1]", True),
        (np.float32(0.5), "[0, 1]", True),
        (-1e-9, "[0, inf)", False),
        (1e300, "[0, inf)", True),
        (10**400, "[0, inf)", False),
        (-(10**400), "[0, inf)", False),
        pytest.param(10**5000, "[0, inf)", False, id="many digits"),
        (Fraction(10**400), "[0, inf)", False),
        (Fraction(1, 10**400), "[0, 1]", True),
        (math.inf, "[0, inf)", False),
        (math.nan, "[0, inf)", False),
    ],
)
def test_check_number_interval(value: float, interval: str, good: bool) -> None:
    if good:
        check_number("x", value, interval)
        return
    with pytest.raises(ValueError, match=r"^x: want a number in"):
        check_number("x", value, interval)


@pytest.mark.parametrize("value", ["1", None, True, 1j, [1.0], np.timedelta64(1, "D")])
def test_check_number_type(value: object) -> None:
    with pytest.raises(TypeError, match=r"^x: want a number in"):
        check_number("x", value, "[0, inf)")


def test_check_number_whole() -> None:
    check_number("x", np.int64(3), "[1, inf)", whole=True)
    with pytest.raises(TypeError, match="want an integer in"):
        check_number("x", 3.0, "[1, inf)", whole=True)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "n: want an integer in [0, inf), got -1"),
        (1.0, TypeError, "n: want an integer in [0, inf), got 1.0"),
        ("1", TypeError, "n: want an integer in [0, inf), got '1'"),
        (None, TypeError, "n: want an integer in [0, inf), got None"),
        (True, TypeError, "n: want an integer in [0, inf), got True"),
        (2**63, ValueError, "n: want an integer below 2^63, got 9223372036854775808"),
        pytest.param(
            10**5000, ValueError, "n: want an integer below 2^63, got a larger int", id="digits"
        ),
    ],
)
def test_counts(value: Any, error: type[Exception], message: str) -> None:
    assert check_count("n", np.int16(3), 3) == 3
    assert type(check_count("n", np.int16(3), 3)) is int
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check_count("n", value, 0)


def test_counts_of_more_bits() -> None:
    assert check_count("n", 2**63 - 1, 0) == 2**63 - 1
    assert check_count("seed", 2**256 - 1, 0, SEED_BITS) == 2**256 - 1
    with pytest.raises(ValueError, match=r"^seed: want an integer below 2\^256, got 1157"):
        check_count("seed", 2**256, 0, SEED_BITS)


def test_check_flag() -> None:
    assert check_flag("x", np.True_) is True
    for value in (1, None, "yes"):
        with pytest.raises(TypeError, match=r"^x: want True or False"):
            check_flag("x", value)
