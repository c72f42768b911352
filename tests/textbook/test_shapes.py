from __future__ import annotations

import re

import numpy as np
import pytest

from fastdnn.textbook import shapes

RULE = re.escape(shapes.RULE)


def test_a_matrix_is_taken_as_it_is() -> None:
    for dtype in (np.float32, np.float64):
        array = np.ones((2, 3), dtype)
        assert shapes.matrix("A", array) is array
    assert shapes.matrix("A", [[1, 2]]).dtype == np.float64


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"^A: want a matrix, got shape .*{RULE}"):
        shapes.matrix("A", np.ones(shape))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^A: want at least one row and column"):
        shapes.matrix("A", np.ones(shape))


@pytest.mark.parametrize("dtypes", ["fff", "ffd", "dff", "fdf", "ddd", "lfb"])
def test_a_layer_has_one_dtype(dtypes: str) -> None:
    arrays = [np.ones(shape, t) for shape, t in zip([(3, 5), (2, 3), (2, 1)], dtypes, strict=True)]
    found = shapes.layer(*arrays)
    expected = np.float32 if dtypes == "fff" else np.float64
    assert [array.dtype for array in found] == [expected] * 3
    assert [array.shape for array in found] == [(3, 5), (2, 3), (2, 1)]


def test_the_first_number_that_is_not_finite_is_named() -> None:
    X = np.ones((2, 3))
    assert shapes.finite("X", X) is X
    X[1, 2], X[1, 0] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"^X: want finite numbers, got -inf in row 1, column 0"):
        shapes.finite("X", X)


@pytest.mark.parametrize("names", [["W1", "b1"], ["b2", "W2", "b1", "W1"]])
def test_the_depth_is_counted(names: list[str]) -> None:
    assert shapes.parameters(dict.fromkeys(names, np.ones((1, 1)))) == len(names) // 2


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], "W1"),
        (["W1"], "b1"),
        (["W1", "b1", "W3", "b3"], "W2"),
        (["W1", "b1", "learning_rate"], "W2"),
        (["w1", "b1"], "W1"),
    ],
)
def test_the_first_entry_that_is_missing_is_named(names: list[str], missing: str) -> None:
    with pytest.raises(ValueError, match=f"^parameters: {missing} is missing; got "):
        shapes.parameters(dict.fromkeys(names, np.ones((1, 1))))
