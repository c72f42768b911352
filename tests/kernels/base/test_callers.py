"""Warnings point at the user's line, whatever stands between."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fastdnn.kernels.base import callers


def within(module: str, program: str) -> Callable[[], Any]:
    """The function f of a program, as of this module."""
    scope: dict[str, Any] = {"__name__": module, "warn": callers.warn}
    exec(program, scope)
    function: Callable[[], Any] = scope["f"]
    return function


DIRECT = "def f(): warn('look')"
OF_NONE = {"warn": callers.warn}
exec(DIRECT, OF_NONE)  # code made from text, without a module's name


@pytest.mark.parametrize(
    "call",
    [
        within("fastdnn.model", DIRECT),
        within("numba.core.compiler", DIRECT),
        within("sklearn.base", DIRECT),
        OF_NONE["f"],
        lambda: callers.warn("look"),
    ],
)
def test_the_nearest_line_that_is_no_librarys(call: Callable[[], Any]) -> None:
    with pytest.warns(RuntimeWarning, match="^look$") as caught:
        call()
    assert caught[0].filename == __file__


def test_a_users_context_manager_does_not_count_as_a_line() -> None:
    @contextmanager
    def block() -> Iterator[None]:
        within("fastdnn.model", DIRECT)()
        yield

    with pytest.warns(RuntimeWarning, match="look") as caught, block():
        pass
    assert caught[0].filename == __file__


def test_without_a_user_it_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_is_between", lambda module: True)
    with pytest.warns(RuntimeWarning, match="look"):
        callers.warn("look")


def test_a_line_is_told_once_by_default() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            callers.warn("once for this line")
    assert len(caught) == 1
