"""Metrics against scikit-learn's, and which accuracy is meant."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from fastdnn.metrics import SPARSE_LOSS, resolve

RNG = np.random.default_rng(3)
M, N_OUT = 200, 4
CLASSES = RNG.integers(N_OUT, size=M)
ONE_HOT = np.eye(N_OUT)[CLASSES]
OUTPUTS = RNG.random((M, N_OUT)) + 0.5 * ONE_HOT
TARGETS = RNG.normal(size=(M, N_OUT))
GUESSES = TARGETS + 0.3 * RNG.normal(size=(M, N_OUT))


def value(metric: Any, loss: str, y_true: Any, y_pred: Any) -> float:
    _, function = resolve(metric, loss, y_pred.shape[1])
    result = function(y_true, y_pred)
    assert type(result) is float
    return result


@pytest.mark.parametrize("metric", ["accuracy", "acc"])
@pytest.mark.parametrize(
    ("loss", "y_true"),
    [
        (SPARSE_LOSS, CLASSES),
        ("categorical_crossentropy", ONE_HOT),
        ("mean_squared_error", ONE_HOT),
    ],
)
def test_accuracy_of_classes(metric: str, loss: str, y_true: Any) -> None:
    wanted = sklearn.metrics.accuracy_score(CLASSES, OUTPUTS.argmax(axis=1))
    assert 0.3 < wanted < 0.9
    assert value(metric, loss, y_true, OUTPUTS) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mean_squared_error"])
def test_accuracy_of_one_output(loss: str) -> None:
    y_true = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    y_pred = np.array([[0.1], [0.9], [0.4], [0.5], [0.51]])
    assert value("accuracy", loss, y_true, y_pred) == 0.8
    # what is just 0.5 is not above it, in the targets either
    assert value("accuracy", loss, np.array([[0.5]]), np.array([[0.4]])) == 1.0


def test_accuracy_of_several_labels_counts_each_output() -> None:
    y_true = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    y_pred = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    assert value("accuracy", "binary_crossentropy", y_true, y_pred) == pytest.approx(4 / 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("mse", "mean_squared_error"), sklearn.metrics.mean_squared_error),
        (("mae", "mean_absolute_error"), sklearn.metrics.mean_absolute_error),
        (("rmse",), lambda y, p: sklearn.metrics.mean_squared_error(y, p) ** 0.5),
        (("r2",), sklearn.metrics.r2_score),
    ],
)
def test_regression(names: tuple[str, ...], reference: Any, dtype: Any) -> None:
    y_true, y_pred = TARGETS.astype(dtype), GUESSES.astype(dtype)
    wanted = reference(y_true.astype(np.float64), y_pred.astype(np.float64))
    for name in names:
        got = value(name, "huber", y_true, y_pred)
        assert got == pytest.approx(wanted, rel=1e-6 if name == "r2" else 1e-12)


def test_a_name_stays_as_it_was_given() -> None:
    names = ["acc", "accuracy", "mse", "mean_squared_error", "mae", "rmse", "r2"]
    assert [resolve(name, "huber", 2)[0] for name in names] == names


def largest_error(y_true: Any, y_pred: Any) -> float:
    return float(np.abs(y_true - y_pred).max())


class Constant:
    def __call__(self, y_true: Any, y_pred: Any) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (largest_error, "largest_error"),
        (partial(largest_error), "partial"),
        (Constant(), "Constant"),
    ],
)
def test_callables_pass_through(metric: Any, name: str) -> None:
    assert resolve(metric, SPARSE_LOSS, 3) == (name, metric)


@pytest.mark.parametrize(
    ("metric", "loss", "error", "message"),
    [
        ("acuracy", "huber", ValueError, "metrics: .*'acuracy'.*'accuracy'"),
        (3, "huber", TypeError, "metrics: .*got 3"),
        (None, "huber", TypeError, "metrics: .*got None"),
        ("mse", SPARSE_LOSS, ValueError, "metrics: 'mse' .*class labels"),
        ("r2", SPARSE_LOSS, ValueError, "metrics: 'r2' .*class labels"),
    ],
)
def test_bad_metrics(metric: Any, loss: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolve(metric, loss, 3)
