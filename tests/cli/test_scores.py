"""How good a network is, in words."""

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import scores
from fastdnn.data import datasets


def test_classes_are_counted_and_missing_labels_left_out() -> None:
    digits = datasets.load()
    A, y = np.eye(10)[[0, 1, 2, 3]], np.array(["0", "1", "3", ""])
    assert scores.score(digits.preparation, A, y) == "accuracy 0.6667 (2 of 3)"
    assert scores.metric_of(digits) == "accuracy"


def test_numbers_have_r2_and_an_error_in_their_unit(tmp_path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "n.npz", X=rng.random((50, 2)), y=7 + 3 * rng.random(50))
    numbers = datasets.load(tmp_path / "n.npz", task="regression")
    assert scores.metric_of(numbers) == "r2"
    A, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0])
    wanted = f"R2 {1 - 1 / (14 / 3):.4f}, RMSE {(1 / 3) ** 0.5:.6g}"
    assert scores.score(numbers.preparation, A, y) == wanted
    with pytest.raises(ValueError, match="labels: red is text; the model predicts numbers"):
        scores.score(numbers.preparation, A[:1], np.array(["red"]))


def test_the_test_part_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = datasets.load()
    model = fastdnn.Sequential([fastdnn.Dense(10, "softmax")], input_size=64, seed=0)
    truth = np.eye(10, dtype=np.float32)[digits.y_test]
    truth[:36] = np.roll(truth[:36], 1, axis=1)  # a tenth is wrong
    monkeypatch.setattr(model, "predict", lambda X: truth)
    assert scores.score_of_test(model, digits) == "accuracy 0.9000 (324 of 360)"
