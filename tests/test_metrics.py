"""Metrics against scikit-learn's, of every kind of target, and which accuracy is meant."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

import fastdnn
from fastdnn import losses, metrics
from fastdnn.metrics import METRICS, higher_is_better, resolve

RNG = np.random.default_rng(3)
M, N_OUT = 200, 4
CLASSES = RNG.integers(N_OUT, size=M)
ONE_HOT = np.eye(N_OUT)[CLASSES]
LOGITS = RNG.normal(size=(M, N_OUT)) + 1.5 * ONE_HOT
OUTPUTS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TARGETS = RNG.gamma(2, size=(M, N_OUT)) + 0.1
GUESSES = TARGETS * RNG.uniform(0.7, 1.4, size=(M, N_OUT))
YES = RNG.integers(2, size=(M, 3)).astype(float)
P_YES = 1 / (1 + np.exp(-(RNG.normal(size=(M, 3)) + 2 * YES - 1)))
SPARSE, CATEGORICAL, BINARY = (
    f"{kind}_crossentropy" for kind in ("sparse_categorical", "categorical", "binary")
)


def value(metric: Any, loss: Any, y_true: Any, y_pred: Any) -> float:
    loss = losses.get(loss, y_pred.shape[1])
    _, function = resolve(metric, loss, y_pred.shape[1])
    result = function(y_true, y_pred)
    assert type(result) is float
    return result


# ---------------------------------------------------------------------------------------- classes
def of_classes(name: str) -> Any:
    """What scikit-learn's function of the class numbers and probabilities gives."""
    guesses = OUTPUTS.argmax(axis=1)
    stem, _, average = name.rpartition("_")
    if stem in ("f1", "precision", "recall", "jaccard"):
        return getattr(sk, f"{stem}_score")(CLASSES, guesses, average=average)
    if name.startswith("roc_auc"):
        _, _, way, *weighted = name.split("_")
        average = "weighted" if weighted else "macro"
        return sk.roc_auc_score(CLASSES, OUTPUTS, multi_class=way, average=average)
    if name.startswith("top"):
        return sk.top_k_accuracy_score(CLASSES, OUTPUTS, k=int(name.split("_")[1]))
    if name.startswith("average_precision"):
        return sk.average_precision_score(CLASSES, OUTPUTS)
    if name == "log_loss":
        return sk.log_loss(CLASSES, OUTPUTS)
    functions = {
        "accuracy": sk.accuracy_score,
        "acc": sk.accuracy_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "mcc": sk.matthews_corrcoef,
        "cohen_kappa": sk.cohen_kappa_score,
    }
    return functions.get(name, getattr(sk, name, None))(CLASSES, guesses)  # type: ignore[misc]


MULTICLASS = [
    name
    for name, entry in METRICS.items()
    if entry.needs != "numbers"
    and "multiclass" in entry.kinds
    and name != "top_10_accuracy"
    and name != "top_5_accuracy"
]  # of 4 classes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", MULTICLASS)
def test_metrics_of_classes(metric: str, dtype: Any) -> None:
    wanted = of_classes(metric)
    assert 0.2 < wanted < 1
    rel = 1e-12 if dtype == np.float64 else 1e-6
    y_pred, logits = OUTPUTS.astype(dtype), LOGITS.astype(dtype)
    assert value(metric, SPARSE, CLASSES, y_pred) == pytest.approx(wanted, rel=rel)
    assert value(metric, CATEGORICAL, ONE_HOT, y_pred) == pytest.approx(wanted, rel=rel)
    sparse = fastdnn.SparseCategoricalCrossentropy(from_logits=True)
    assert value(metric, sparse, CLASSES, logits) == pytest.approx(wanted, rel=rel)
    if METRICS[metric].needs == "classes":
        assert value(metric, "mse", ONE_HOT, y_pred) == pytest.approx(wanted, rel=rel)


def of_labels(name: str, y: Any, p: Any) -> Any:
    """The same of yes or no, for one label or several."""
    guesses = p > 0.5
    stem, _, average = name.rpartition("_")
    if average in ("macro", "micro", "weighted", "samples"):
        return getattr(sk, f"{stem}_score")(y, guesses, average=average, zero_division=0)
    if METRICS[name].needs == "classes":
        functions = {
            "accuracy": lambda y, p: np.mean(y == p),
            "acc": lambda y, p: np.mean(y == p),
            "balanced_accuracy": sk.balanced_accuracy_score,
            "mcc": sk.matthews_corrcoef,
            "cohen_kappa": sk.cohen_kappa_score,
        }
        short = f"{name}_score" if hasattr(sk, f"{name}_score") else name
        return functions.get(name, getattr(sk, short, None))(y, guesses)  # type: ignore[misc]
    short = f"{name}_score" if hasattr(sk, f"{name}_score") else name
    return getattr(sk, short)(y, p)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("metric", [m for m, e in METRICS.items() if e.needs != "numbers"])
def test_metrics_of_yes_and_no(metric: str, kind: str) -> None:
    if kind not in METRICS[metric].kinds:
        with pytest.raises(ValueError, match=f"^metrics: '{metric}' is of .* {kind} ones"):
            resolve(metric, losses.get(BINARY, 1), 1 if kind == "binary" else 3)
        return
    n = 1 if kind == "binary" else 3
    y, p = YES[:, :n], P_YES[:, :n]
    wanted = of_labels(metric, y[:, 0] if n == 1 else y, p[:, 0] if n == 1 else p)
    assert 0.1 < wanted < 0.99
    assert value(metric, BINARY, y, p) == pytest.approx(wanted, rel=1e-12)
    logits = np.log(p / (1 - p))
    loss = fastdnn.BinaryCrossentropy(from_logits=True)
    assert value(metric, loss, y, logits) == pytest.approx(wanted, rel=1e-10)


def test_what_is_just_half_is_no_yes() -> None:
    y_true = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    y_pred = np.array([[0.1], [0.9], [0.4], [0.5], [0.51]])
    for loss in (BINARY, "mean_squared_error"):
        assert value("accuracy", loss, y_true, y_pred) == 0.8
        # in the targets neither
        assert value("accuracy", loss, np.array([[0.5]]), np.array([[0.4]])) == 1.0
    logits = fastdnn.BinaryCrossentropy(from_logits=True)
    assert value("accuracy", logits, y_true, np.array([[-1], [9], [-0.1], [0], [1e-30]])) == 0.8


def test_accuracy_of_several_labels_counts_each_output() -> None:
    y_true = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    y_pred = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    for loss in (BINARY, "binary_focal_crossentropy"):
        assert value("accuracy", loss, y_true, y_pred) == pytest.approx(4 / 6)


def test_a_class_may_be_missing() -> None:
    few = CLASSES < 3
    for metric in ("log_loss", "f1_macro", "top_2_accuracy"):
        assert 0 < value(metric, SPARSE, CLASSES[few], OUTPUTS[few]) < 2


# ---------------------------------------------------------------------------------------- numbers
NUMBERS = {
    "mse": sk.mean_squared_error,
    "mae": sk.mean_absolute_error,
    "rmse": lambda y, p: sk.mean_squared_error(y, p) ** 0.5,
    "root_mean_squared_error": lambda y, p: sk.mean_squared_error(y, p) ** 0.5,
    "r2": sk.r2_score,
    "explained_variance": sk.explained_variance_score,
    "max_error": lambda y, p: np.abs(y - p).max(),
}
OF_ONE = ("mean_poisson_deviance", "mean_gamma_deviance")  # output, as scikit-learn has it


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, N_OUT])
@pytest.mark.parametrize("metric", [m for m, e in METRICS.items() if e.needs == "numbers"])
def test_metrics_of_numbers(metric: str, n: int, dtype: Any) -> None:
    y_true, y_pred = TARGETS[:, :n].astype(dtype), GUESSES[:, :n].astype(dtype)
    if n > 1 and metric in OF_ONE:
        with pytest.raises(ValueError, match=f"^metrics: '{metric}' .* one output, .* has {n}"):
            resolve(metric, losses.get("mse", n), n)
        return
    reference = NUMBERS.get(metric, getattr(sk, metric, None))
    wanted = reference(y_true.astype(np.float64), y_pred.astype(np.float64))  # type: ignore[misc]
    for loss in ("huber", "mse", "poisson"):
        assert value(metric, loss, y_true, y_pred) == pytest.approx(wanted, rel=1e-12)


def test_pinball_losses_are_of_the_losses_quantiles() -> None:
    q = [0.1, 0.9]
    y, p = np.repeat(TARGETS[:, :2], 2, axis=1), GUESSES
    for metric in ("mean_pinball_loss", "d2_pinball_score"):
        function = getattr(sk, metric)
        each = [function(y[:, j], p[:, j], alpha=q[j % 2]) for j in range(4)]
        assert value(metric, fastdnn.Quantile(q), y, p) == pytest.approx(np.mean(each), rel=1e-12)


def test_numbers_of_probabilities() -> None:
    loss = fastdnn.BinaryCrossentropy(from_logits=True)
    logits = np.log(P_YES / (1 - P_YES))
    wanted = sk.mean_squared_error(YES, P_YES)
    assert value("mse", loss, YES, logits) == pytest.approx(wanted, rel=1e-12)


# ------------------------------------------------------------------------------- names, direction
def test_a_name_stays_as_it_was_given() -> None:
    for name, entry in METRICS.items():
        if entry.needs == "numbers":
            found, function = resolve(name, losses.get("huber", 1), 1)
            assert found == name
            assert pickle.loads(pickle.dumps(function)) == function


@pytest.mark.parametrize("name", METRICS)
def test_better_is_known_of_every_metric(name: str) -> None:
    """A perfect guess is at least as good as a poor one, in the direction of the table."""
    entry = METRICS[name]
    if entry.needs == "numbers":
        loss, y, good, poor = "mse", TARGETS[:, :1], TARGETS[:, :1], GUESSES[:, :1]
    elif "binary" in entry.kinds:
        loss, y, good, poor = BINARY, YES[:, :1], np.clip(YES[:, :1], 0.01, 0.99), P_YES[:, :1]
    elif "multiclass" in entry.kinds:
        classes = RNG.integers(12, size=M)
        y, poor = np.eye(12)[classes], RNG.dirichlet(np.ones(12), size=M)
        loss, good = CATEGORICAL, 0.9 * y + 0.1 / 12
    else:
        loss, y, good, poor = BINARY, YES, YES, P_YES
    better, worse = value(name, loss, y, good), value(name, loss, y, poor)
    assert (better > worse) if entry.higher else (better < worse)
    assert higher_is_better(name) is higher_is_better(f"val_{name}") is entry.higher


def test_better_of_other_logs() -> None:
    assert higher_is_better("loss") is higher_is_better("val_loss") is False
    assert higher_is_better("val_score") is True
    assert higher_is_better("mine") is higher_is_better("val_mine") is None


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
    assert resolve(metric, losses.get(SPARSE, 3), 3) == (name, metric)


# ---------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("metric", "loss", "error", "message"),
    [
        ("acuracy", "huber", ValueError, "metrics: .*'acuracy'.*'accuracy'"),
        (3, "huber", TypeError, "metrics: .*got 3"),
        (None, "huber", TypeError, "metrics: .*got None"),
        ("mse", SPARSE, ValueError, "metrics: 'mse' .*class labels"),
        ("r2", SPARSE, ValueError, "metrics: 'r2' .*class labels"),
        (
            "accuracy",
            "poisson",
            ValueError,
            "metrics: 'accuracy' is of classes.*'poisson' predicts",
        ),
        ("f1", fastdnn.Quantile(), ValueError, "metrics: 'f1' is of classes.*'quantile' predicts"),
        ("f1", SPARSE, ValueError, "metrics: 'f1' is of binary .*multiclass ones; want 'f1_macro'"),
        ("roc_auc", CATEGORICAL, ValueError, "metrics: 'roc_auc' .*; want 'roc_auc_ovr' or"),
        ("mcc", BINARY, ValueError, "metrics: 'mcc' is of .* has multilabel ones$"),
        ("roc_auc_ovr", "mse", ValueError, "metrics: 'roc_auc_ovr' takes probabilities.*'mean_sq"),
    ],
)
def test_bad_metrics(metric: Any, loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        resolve(metric, losses.get(loss, 3), 3)


def test_an_error_of_scikit_learn_names_the_metric() -> None:
    with pytest.raises(ValueError, match=r"^metrics: 'mean_poisson_deviance': .*strictly positive"):
        value("mean_poisson_deviance", "mse", TARGETS[:, :1], -GUESSES[:, :1])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("auc", "roc_auc"),
        ("AUC", "roc_auc"),
        ("sparse_categorical_accuracy", "accuracy"),
        ("mape", "mean_absolute_percentage_error"),
        ("R_squared", "r2"),
        ("f1-score", "f1_score"),
        ("RootMeanSquaredError", "root_mean_squared_error"),
    ],
)
def test_names_of_others_lead_to_the_metric_that_is_meant(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"^metrics: unknown name '{name}'; did you mean '{near}'"):
        resolve(name, losses.get("mse", 1), 1)


def test_every_meaning_is_a_metric() -> None:
    assert set(metrics._MEANT.values()) <= set(metrics.METRICS)
    assert not set(metrics._MEANT) & set(metrics.METRICS)
