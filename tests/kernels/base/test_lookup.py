"""Names that a user wrote, turned into table entries."""

from __future__ import annotations

import pytest

from fastdnn.kernels.base.lookup import lookup

TABLE = {"relu": 1, "tanh": 2, "sigmoid": 3}


def test_a_known_name() -> None:
    assert lookup("activation", "tanh", TABLE) == 2


def test_the_nearest_name_is_proposed_and_all_are_listed() -> None:
    with pytest.raises(ValueError, match=r"^activation: unknown name 'sigmod'") as error:
        lookup("activation", "sigmod", TABLE)
    assert "did you mean 'sigmoid'?" in str(error.value)
    assert "relu, sigmoid, tanh" in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_nothing_is_proposed_where_nothing_is_near() -> None:
    with pytest.raises(ValueError, match="Known: relu, sigmoid, tanh") as error:
        lookup("loss", "quadratic", TABLE)
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("name", [None, 3, b"relu", ["relu"], {}])
def test_what_is_no_string(name: object) -> None:
    with pytest.raises(TypeError, match="activation: want one of") as error:
        lookup("activation", name, TABLE)
    assert repr(name) in str(error.value)


MEANT = {"rectifier": "relu", "logistic_unit": "sigmoid", "gone": "missing"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("rectifier", "relu"),
        ("Rectifier", "relu"),
        ("Logistic-Unit", "sigmoid"),
        ("ReLU", "relu"),
        ("SIGMOID", "sigmoid"),
    ],
)
def test_names_of_others_are_told_by_their_meaning(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"unknown name '{name}'; did you mean '{near}'"):
        lookup("activation", name, TABLE, MEANT)


def test_a_meaning_that_the_table_lacks_is_not_proposed() -> None:
    with pytest.raises(ValueError, match="unknown name 'gone'; Known"):
        lookup("activation", "gone", TABLE, MEANT)


def test_names_are_exact() -> None:
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        lookup("activation", "Relu", TABLE)
