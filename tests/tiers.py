"""Which tests run: the suite of every day, or nightly all of it (`python -m pytest --nightly`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from tests import pairs

NIGHTLY = False  # `conftest.py` sets it before any test is imported


def times(daily: int, nightly: int) -> int:
    """Return how often to try something that chance decides."""
    return nightly if NIGHTLY else daily


def daily(items: Sequence[Any]) -> list[Any]:
    """Return pytest's items but for those marked nightly, and of each test's cases the pairs."""
    kept = []
    wanted = [item for item in items if item.get_closest_marker("nightly") is None]
    for _, group in groupby(wanted, key=lambda item: item.nodeid.partition("[")[0]):
        cases = list(group)
        if hasattr(cases[0], "callspec"):
            cases = [cases[i] for i in pairs.needed([case.callspec.params for case in cases])]
        kept += cases
    return kept
