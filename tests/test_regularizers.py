"""Regularizers: their fields, their names, what they refuse."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from fastdnn.regularizers import L1, L1L2, L2, get


@pytest.mark.parametrize(
    ("given", "l1", "l2"),
    [
        (None, 0.0, 0.0),
        ("l1", 0.01, 0.0),
        ("l2", 0.0, 0.01),
        (L1(), 0.01, 0.0),
        (L2(), 0.0, 0.01),
        (L1(0.3), 0.3, 0.0),
        (L2(0.4), 0.0, 0.4),
        (L1L2(), 0.0, 0.0),
        (L1L2(l1=0.3, l2=0.4), 0.3, 0.4),
    ],
)
def test_coefficients(given: L1L2 | str | None, l1: float, l2: float) -> None:
    regularizer = get(given)
    assert (regularizer.l1, regularizer.l2) == (l1, l2)


def test_it_is_frozen_and_its_fields_rebuild_it() -> None:
    regularizer = L1L2(0.1, 0.2)
    assert L1L2(**dataclasses.asdict(regularizer)) == regularizer
    with pytest.raises(dataclasses.FrozenInstanceError):
        regularizer.l1 = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("make", [L1, L2, lambda x: L1L2(l1=x), lambda x: L1L2(l2=x)])
@pytest.mark.parametrize(
    ("value", "error"),
    [(-0.1, ValueError), (math.inf, ValueError), (math.nan, ValueError), ("0.1", TypeError)],
)
def test_bad_coefficients(make: Callable[[Any], L1L2], value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^l[12]: want a number in \[0, inf\)"):
        make(value)


@pytest.mark.parametrize(("given", "error"), [("l3", ValueError), (0.01, TypeError)])
def test_unknown(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^kernel_regularizer: .*l2"):
        get(given)
