"""Names in configurations in the place of a user's own objects."""

from __future__ import annotations

from typing import Any

import pytest

from fastdnn._custom_objects import Custom, missing, refuse_ambiguous, replaced


class One(Custom):
    def __init__(self, name: str) -> None:
        self.name = name


class Other(One):
    """Of another class."""


a, b = One("a"), Other("b")
CONFIG: dict[str, Any] = {"layers": [{"g": a.named(), "n": 3}, {"g": "relu"}], "loss": b.named()}


def test_what_is_missing() -> None:
    assert missing(CONFIG, {}) == ["a", "b"]
    assert missing(CONFIG, {"b": b, "c": a}) == ["a"]
    assert missing(CONFIG, {"a": a, "b": b}) == missing(None, {}) == []


def test_names_are_replaced() -> None:
    got = replaced(CONFIG, {"a": a, "b": b})
    assert got == {"layers": [{"g": a, "n": 3}, {"g": "relu"}], "loss": b}


def test_an_object_of_another_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"custom_objects\['a'\]: want a One, got <.*Other"):
        replaced(CONFIG, {"a": Other("a"), "b": b})


def test_two_objects_of_one_name_are_refused() -> None:
    refuse_ambiguous([a, "a", None, b, a])
    with pytest.raises(ValueError, match="named 'a', and the file keeps only names: give each One"):
        refuse_ambiguous([a, b, One("a")])
