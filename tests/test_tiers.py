from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from tests import tiers


def item(test: str, *, nightly: bool = False, **parameters: Any) -> Any:
    """What the choice reads of pytest's items."""
    found = SimpleNamespace(
        nodeid=f"{test}[{parameters}]" if parameters else test,
        get_closest_marker=lambda name: "mark" if nightly and name == "nightly" else None,
    )
    if parameters:
        found.callspec = SimpleNamespace(params=parameters)
    return found


def test_the_daily_tests_are_pairs_and_none_of_the_nightly_ones() -> None:
    grid = [item("b.py::test", a=a, b=b, c=c) for a, b, c in product((0, 1), (2, 3, 4), (5, 6))]
    others = [item("b.py::other", a=1), item("b.py::other", a=2, nightly=True)]
    alone, slow = item("a.py::test"), item("a.py::slow", nightly=True)
    kept = tiers.daily([alone, slow, *grid, *others])
    assert kept[0] is alone
    assert kept[-1] is others[0]
    assert slow not in kept
    cases = [one.callspec.params for one in kept[1:-1]]
    assert len(cases) == 6
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        met = {(case[a], case[b]) for case in cases}
        assert met == {(one.callspec.params[a], one.callspec.params[b]) for one in grid}


def test_chance_has_more_tries_at_night(monkeypatch: pytest.MonkeyPatch) -> None:
    for nightly, count in ((False, 3), (True, 500)):
        monkeypatch.setattr(tiers, "NIGHTLY", nightly)
        assert tiers.times(3, 500) == count
