"""Configurations: every registered class comes back, and nothing else is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense, Dropout, Residual
from fastdnn._config import CLASSES, from_config, is_storable, storable, to_config

STORED = {name: kind for name, kind in CLASSES.items() if isinstance(kind, type)}


@pytest.mark.parametrize("kind", STORED.values(), ids=STORED)
def test_every_class_that_a_file_names_comes_back(kind: type) -> None:
    arguments: dict[str, list[Any]] = {
        "Dense": [3],
        "Dropout": [0.5],
        "Activation": ["relu"],
        "Residual": [[Dense(3), Residual([Dropout(0.5)])]],
        "ColumnEmbedding": [[2, 0], [3, 4], [1, 5]],
        "PiecewiseLinearEmbedding": [[[0.0, 0.5, 1.0]], [2]],
        "Huber": [2.0],
        "Quantile": [(0.25, 0.5)],
        "StepDecay": [0.5, 0.5, 3],
        "ExponentialDecay": [0.5, 3, 0.5],
        "CosineDecay": [0.5, 3],
    }
    value = kind(*arguments.get(kind.__name__, []))
    found = from_config(json.loads(json.dumps(to_config(value))))
    assert type(found) is kind
    assert repr(found) == repr(value)


def test_numbers_of_numpy_are_kept() -> None:
    optimizer = fastdnn.SGD(np.float32(0.5), np.float64(0.25), clipnorm=np.int64(3))  # type: ignore[arg-type]
    config = json.loads(json.dumps(to_config(optimizer)))
    assert from_config(config) == fastdnn.SGD(0.5, 0.25, clipnorm=3)
    staircase = fastdnn.StepDecay(0.5, 0.5, np.int64(3))  # type: ignore[arg-type]
    assert type(from_config(json.loads(json.dumps(to_config(staircase)))).every_steps) is int
    stairs = fastdnn.ExponentialDecay(0.5, 3, 0.5, staircase=np.bool_(True))  # type: ignore[arg-type]
    assert from_config(json.loads(json.dumps(to_config(stairs)))).staircase is True
    layers = [Dropout(np.float32(0.5)), Dense(np.int8(3), use_bias=np.bool_(False))]  # type: ignore[arg-type]
    for layer, expected in zip(layers, [Dropout(0.5), Dense(3, use_bias=False)], strict=True):
        assert json.loads(json.dumps(to_config(layer))) == to_config(expected)


def test_what_a_file_cannot_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^<object .* cannot be kept in a model file: want one of"):
        to_config(object())


def test_a_name_stands_for_one_class() -> None:
    with pytest.raises(ValueError, match=r"^SGD: a configuration has this name for another class"):
        storable(type("SGD", (), {}))
    assert CLASSES["SGD"] is fastdnn.SGD


def test_a_subclass_is_another_class() -> None:
    @dataclass
    class Own(fastdnn.Adam):
        pass

    SGD = type("SGD", (fastdnn.SGD,), {})
    assert is_storable(fastdnn.SGD())
    assert not is_storable(Own())
    assert not is_storable(SGD())


def test_the_first_files_hold_losses_by_their_names() -> None:
    of_huber = {"class": "Loss", "name": "huber", "parameter": 2.0}
    assert from_config(of_huber) == fastdnn.Huber(2.0)
    of_mse = {"class": "Loss", "name": "mean_squared_error", "parameter": 1.0}
    assert from_config(of_mse) == fastdnn.MeanSquaredError()
