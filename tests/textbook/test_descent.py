from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine.engine import Engine
from fastdnn.textbook import descent

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).normal(size=(3, 20))
Y = (X[:1] > 0).astype(float)


def start() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    shapes = {"W1": (4, 3), "b1": (4, 1), "W2": (1, 4), "b2": (1, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_slices_change_no_result(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, expected_costs = descent.descend(X, Y, start(), 0.1, 333, False)
    monkeypatch.setattr(descent, "SLICE", seconds)
    found, costs = descent.descend(X, Y, start(), 0.1, 333, False)
    assert costs == expected_costs
    assert len(costs) == 4
    for name, value in expected.items():
        assert found[name].tobytes() == value.tobytes()


def test_slices_grow_while_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    train = Engine.train

    def counted(self: Any, X: Any, targets: Any, rule: Any, **options: Any) -> Any:
        sizes.append(len(rule.coefficients))
        return train(self, X, targets, rule, **options)

    monkeypatch.setattr(Engine, "train", counted)
    monkeypatch.setattr(descent, "SLICE", 1e9)
    descent.descend(X, Y, start(), 0.1, 20, False)
    assert sizes == [1, 2, 4, 8, 5]
    sizes.clear()
    monkeypatch.setattr(descent, "SLICE", 0.0)
    descent.descend(X, Y, start(), 0.1, 3, False)
    assert sizes == [1, 1, 1]


def test_the_parameters_are_arrays_of_their_own() -> None:
    found, _ = descent.descend(X, Y, start(), 0.1, 1, False)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in start().items()
    }
    assert all(value.base is None and value.flags.c_contiguous for value in found.values())


def test_an_update_that_overflows_is_found_in_the_last_iteration_too() -> None:
    huge = {name: 1e4 * value for name, value in start().items()}
    with pytest.raises(fastdnn.DivergenceError, match="iteration 1: "):
        descent.descend(X, Y, huge, 1e308, 1, False)
