"""The names of activations; what they compute, test_layers and tests/kernels show."""

from __future__ import annotations

from typing import Any

import pytest

import fastdnn
from fastdnn.activations import ACTIVATIONS, resolve
from tests import naive


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_name_is_itself(name: str) -> None:
    assert resolve(name) == name
    assert fastdnn.Dense(1, name).activation == name
    assert name in naive.ACTIVATIONS


@pytest.mark.parametrize(
    ("alias", "name"),
    [(None, "identity"), ("linear", "identity"), ("swish", "silu"), ("exp", "exponential")],
)
def test_other_names(alias: str | None, name: str) -> None:
    assert resolve(alias) == name


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("rleu", ValueError, r"unknown name 'rleu'; did you mean 'relu'\? Known: .*, swish"),
        ("ReLU", ValueError, "unknown name 'ReLU'.*relu"),
        ("", ValueError, "unknown name ''; Known:"),
        (abs, TypeError, "want one of .* as a string, got <built-in function abs>"),
        (1, TypeError, "want one of .* as a string, got 1"),
    ],
)
def test_wrong_names(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^activation: {message}"):
        resolve(wrong)
    with pytest.raises(error, match=f"^activation: {message}"):
        fastdnn.Dense(3, wrong)
