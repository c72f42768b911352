"""How good a network's outputs are, as the commands say it."""

from __future__ import annotations

from fastdnn.data.datasets import Dataset
from fastdnn.data.labels import as_numbers, missing_labels
from fastdnn.data.preparation import Preparation
from fastdnn.data.tables import Array
from fastdnn.metrics import r2, root_mean_squared_error
from fastdnn.model import Sequential


def metric_of(dataset: Dataset) -> str:
    """Return the name of the score: the share of right classes, or R2."""
    return "r2" if dataset.classes is None else "accuracy"


def score_of_test(model: Sequential, dataset: Dataset) -> str:
    """Return how good a trained network is on the test part, in the target's own unit."""
    classes, y = dataset.classes, dataset.y_test
    A = dataset.preparation.outputs(model.predict(dataset.X_test))
    return score(dataset.preparation, A, y if classes is None else classes[y])


def score(preparation: Preparation, A: Array, y: Array) -> str:
    """Return how well outputs A agree with labels y as a file has them, where it has them."""
    known = ~missing_labels(y)
    truth = y[known]
    if preparation.classes is None:
        predicted, numbers = preparation.labels(A)[known], as_numbers(truth)
        if numbers is None:
            raise ValueError(f"labels: {truth[0]!s} is text; the model predicts numbers")
        rmse = root_mean_squared_error(numbers, predicted)
        return f"R2 {r2(numbers, predicted):.4f}, RMSE {rmse:.6g}"
    right = A[known].argmax(axis=1) == preparation.codes(truth)
    return f"accuracy {right.mean():.4f} ({right.sum()} of {len(right)})"
