"""What `compile(metrics=...)` understands: scikit-learn's metrics by their names, and functions.

A function of your own takes (y_true, y_pred) and returns one number: y_pred is what `predict`
gives, of shape (m, n_L), and y_true is an integer array (m,) for sparse labels, else (m, n_L).
All metrics are taken over a whole data set at once, unweighted, and averaged in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.elementwise.loss_facts import PROBABILITY

from .losses import Loss

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]
BINARY, MULTICLASS, MULTILABEL = "binary", "multiclass", "multilabel"
EVERY = frozenset({BINARY, MULTICLASS, MULTILABEL})


# --------------------------------------------------------------------------------- the functions
def accuracy(y_true: Array, y_pred: Array) -> float:
    """Return the share of equal elements: of classes, or of each label by itself."""
    return float(np.mean(y_true == y_pred))


def mean_squared_error(y_true: Array, y_pred: Array) -> float:
    """Return mean((y_pred - y_true) ** 2)."""
    return float(np.mean(np.square(np.subtract(y_pred, y_true, dtype=np.float64))))


def mean_absolute_error(y_true: Array, y_pred: Array) -> float:
    """Return mean(abs(y_pred - y_true))."""
    return float(np.mean(np.abs(np.subtract(y_pred, y_true, dtype=np.float64))))


def root_mean_squared_error(y_true: Array, y_pred: Array) -> float:
    """Return sqrt(mean((y_pred - y_true) ** 2)), in the units of y."""
    return float(np.sqrt(mean_squared_error(y_true, y_pred)))


def r2(y_true: Array, y_pred: Array) -> float:
    """Return scikit-learn's `r2_score`: 1 - sum((y_true - y_pred)**2) / sum((y_true - mean)**2).

    Several outputs are averaged.
    """
    from sklearn.metrics import r2_score  # takes a second to import

    return float(r2_score(y_true, y_pred))


# ------------------------------------------------------------------------------------- the table
class Entry(NamedTuple):
    """A metric of the table: f(y_true, y_pred), where y_pred is of the kind that f needs."""

    function: Metric
    # "numbers": A_L. "classes": numbers of classes, or 0 and 1. "scores", "probabilities": of the
    # yes, or of each class; scores may be any numbers if there are two classes.
    needs: str
    higher: bool  # is better
    kinds: frozenset[str] = EVERY  # of classification that f is meant for
    one_output: bool = False  # is all that f takes
    quick: bool = False  # for every 0.1 s of an epoch, and of any samples
    mean: bool = False  # over the samples: of parts, it is their weighted mean
    of_quantile: Callable[[float], Metric] | None = None  # f for an output that is this quantile


def _of(name: str, **options: Any) -> Metric:
    """Return a function of ``sklearn.metrics``, which takes a second to import."""

    def function(y_true: Array, y_pred: Array) -> float:
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(y_true, y_pred, **options))

    return function


def _of_classes(name: str, **options: Any) -> Metric:
    """Return one that has to be told the classes, as y_true may not hold all of them."""

    def function(y_true: Array, y_pred: Array) -> float:
        classes = {"labels": np.arange(y_pred.shape[1])} if y_pred.ndim > y_true.ndim else {}
        return _of(name, **options, **classes)(y_true, y_pred)

    return function


def _averaged(name: str, short: str) -> dict[str, Entry]:
    """Return a score of two classes, and its means over classes or labels."""
    table = {
        f"{short}_{average}": Entry(
            _of(name, average=average, zero_division=0),
            "classes",
            True,
            frozenset({MULTILABEL})
            if average == "samples"
            else frozenset({MULTICLASS, MULTILABEL}),
        )
        for average in ("macro", "micro", "weighted", "samples")
    }
    of_two = Entry(_of(name, zero_division=0), "classes", True, frozenset({BINARY}))
    return {short: of_two, name: of_two, **table}


def _of_numbers(higher: bool, *names: str) -> dict[str, Entry]:
    return {name: Entry(_of(name), "numbers", higher) for name in names}


def _pinball(name: str, higher: bool) -> Entry:
    of_quantile = lambda q: _of(name, alpha=q)  # noqa: E731
    return Entry(_of(name), "numbers", higher, of_quantile=of_quantile)


_ONE_LABEL = frozenset({BINARY, MULTICLASS})
_MSE = Entry(mean_squared_error, "numbers", False, quick=True, mean=True)
_MAE = Entry(mean_absolute_error, "numbers", False, quick=True, mean=True)
_RMSE = Entry(root_mean_squared_error, "numbers", False, quick=True)
_ACCURACY = Entry(accuracy, "classes", True, quick=True, mean=True)
_R2 = Entry(r2, "numbers", True)
_EXPLAINED = Entry(_of("explained_variance_score"), "numbers", True)
_LOG_LOSS = Entry(_of_classes("log_loss"), "probabilities", False, _ONE_LABEL)
_MCC = Entry(_of("matthews_corrcoef"), "classes", True, _ONE_LABEL)
_KAPPA = Entry(_of("cohen_kappa_score"), "classes", True, _ONE_LABEL)
_BALANCED = Entry(_of("balanced_accuracy_score"), "classes", True, _ONE_LABEL)
_AUC = Entry(_of("roc_auc_score"), "scores", True, frozenset({BINARY, MULTILABEL}))
_PRECISIONS = Entry(_of("average_precision_score"), "scores", True)
_BRIER = Entry(_of("brier_score_loss"), "probabilities", False, frozenset({BINARY}))

METRICS: dict[str, Entry] = {
    "accuracy": _ACCURACY,
    "acc": _ACCURACY,
    "mse": _MSE,
    "mean_squared_error": _MSE,
    "mae": _MAE,
    "mean_absolute_error": _MAE,
    "rmse": _RMSE,
    "root_mean_squared_error": _RMSE,
    "r2": _R2,
    "r2_score": _R2,
    "explained_variance": _EXPLAINED,
    "explained_variance_score": _EXPLAINED,
    **_of_numbers(
        False,
        "median_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_log_error",
        "root_mean_squared_log_error",
    ),
    **{
        name: Entry(_of(name), "numbers", False, one_output=True)
        for name in ("mean_poisson_deviance", "mean_gamma_deviance")
    },
    **_of_numbers(True, "d2_absolute_error_score"),
    "max_error": Entry(
        lambda y_true, y_pred: float(np.max(np.abs(np.subtract(y_true, y_pred, dtype=float)))),
        "numbers",
        False,
    ),
    "mean_pinball_loss": _pinball("mean_pinball_loss", False),
    "d2_pinball_score": _pinball("d2_pinball_score", True),
    "balanced_accuracy": _BALANCED,
    "balanced_accuracy_score": _BALANCED,
    "matthews_corrcoef": _MCC,
    "mcc": _MCC,
    "cohen_kappa": _KAPPA,
    "cohen_kappa_score": _KAPPA,
    **_averaged("precision_score", "precision"),
    **_averaged("recall_score", "recall"),
    **_averaged("f1_score", "f1"),
    **_averaged("jaccard_score", "jaccard"),
    "log_loss": _LOG_LOSS,
    "brier_score_loss": _BRIER,
    "roc_auc": _AUC,
    "roc_auc_score": _AUC,
    **{
        f"roc_auc_{way}{end}": Entry(
            _of_classes("roc_auc_score", multi_class=way, average=average),
            "probabilities",
            True,
            frozenset({MULTICLASS}),
        )
        for way in ("ovr", "ovo")
        for end, average in (("", "macro"), ("_weighted", "weighted"))
    },
    "average_precision": _PRECISIONS,
    "average_precision_score": _PRECISIONS,
    **{
        f"top_{k}_accuracy": Entry(
            _of_classes("top_k_accuracy_score", k=k), "scores", True, frozenset({MULTICLASS})
        )
        for k in (2, 3, 5, 10)
    },
}
# What others call them.
_MEANT = {
    "auc": "roc_auc",
    **dict.fromkeys(
        ("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"), "accuracy"
    ),
    "top_k_categorical_accuracy": "top_5_accuracy",
    "sparse_top_k_categorical_accuracy": "top_5_accuracy",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_log_error",
    **dict.fromkeys(("f1score", "fbeta", "f_score"), "f1"),
    **dict.fromkeys(("r2score", "r_squared", "rsquared"), "r2"),
    **dict.fromkeys(("logloss", "crossentropy", "cross_entropy"), "log_loss"),
    "binary_crossentropy": "log_loss",
    "categorical_crossentropy": "log_loss",
    "sparse_categorical_crossentropy": "log_loss",
    "kappa": "cohen_kappa",
    "iou": "jaccard",
    "brier": "brier_score_loss",
    **dict.fromkeys(("pr_auc", "map"), "average_precision"),
    "medae": "median_absolute_error",
    "pinball": "mean_pinball_loss",
}


def higher_is_better(name: str) -> bool | None:
    """Return whether a value in the logs is better higher; None of a metric that is unknown."""
    name = name.removeprefix("val_")
    if name in METRICS:
        return METRICS[name].higher
    # the estimators' logs hold scikit-learn's score
    return {"loss": False, "learning_rate": False, "score": True}.get(name)


# ------------------------------------------------------------------------------ names in a model
@dataclass(frozen=True)
class Named:
    """A metric of the table, of a network with this loss and number of outputs.

    It is a function of (y_true, y_pred) as one of your own is.
    """

    name: str
    loss: Loss
    n_outputs: int

    @property
    def entry(self) -> Entry:
        """Return the entry of the table."""
        return METRICS[self.name]

    @property
    def kind(self) -> str:
        """Of classification: the loss says it, or the number of outputs."""
        kind = self.loss.entry.kind
        if self.n_outputs == 1:
            return BINARY
        return MULTILABEL if kind == "multilabel" else MULTICLASS

    def __call__(self, y_true: Array, y_pred: Array) -> float:
        """Return the metric of y_pred (m, n_L), as `predict` gives it."""
        try:
            if self.entry.needs == "numbers":
                return self._of_numbers(y_true, self._probabilities(y_pred))
            y_true = self._classes(y_true, 0.5)
            if self.entry.needs == "classes":
                return self.entry.function(
                    y_true, self._classes(y_pred, 0.0 if self.loss.from_logits else 0.5)
                )
            scores = self._probabilities(y_pred)
            return self.entry.function(y_true, scores[:, 0] if self.n_outputs == 1 else scores)
        except ValueError as error:  # scikit-learn does not say which metric it is
            raise ValueError(f"metrics: {self.name!r}: {error}") from error

    def _of_numbers(self, y_true: Array, y_pred: Array) -> float:
        if self.entry.of_quantile is None:
            return self.entry.function(y_true, y_pred)
        of_outputs = [
            self.entry.of_quantile(q)(y_true[:, j], y_pred[:, j])
            for j, q in enumerate(self.loss.quantiles(self.n_outputs).tolist())
        ]
        return float(np.mean(of_outputs))

    def _classes(self, values: Array, threshold: float) -> Array:
        """Return class numbers (m,), or 0 and 1: (m,) of one output, else (m, n_L)."""
        if values.ndim == 1:
            return values
        if self.kind == MULTICLASS:
            return values.argmax(axis=1)  # type: ignore[no-any-return]
        above = (values > threshold).astype(np.int64)
        return above[:, 0] if self.n_outputs == 1 else above

    def _probabilities(self, outputs: Array) -> Array:
        """Return the outputs, of logits the probabilities, in float64."""
        A = np.asarray(outputs, np.float64)
        if self.loss.from_logits:
            from scipy.special import expit, softmax

            A = softmax(A, axis=1) if self.kind == MULTICLASS else expit(A)
        if self.kind == MULTICLASS and self.entry.needs == "probabilities":
            A = A / A.sum(axis=1, keepdims=True)  # to 1 in float64, too
        return A


def resolve(metric: str | Metric, loss: Loss, n_outputs: int) -> tuple[str, Metric]:
    """Return a metric's name in the logs and its function.

    Parameters
    ----------
    metric : str or callable
        A name of `METRICS`: those of scikit-learn's scorers and functions ("f1", "f1_macro",
        "roc_auc", "roc_auc_ovr", "log_loss", "r2", "median_absolute_error", …), "accuracy" ("acc"),
        "mse", "mae", "rmse"; or a function of (y_true, y_pred) that returns a number. A name stays
        as it was given.
    loss : Loss
        The loss says what y holds, and so which accuracy is meant: of classes for the categorical
        cross-entropies, of each output by itself for the binary ones. Under the squared error and
        its like a single output is one yes or no, and several are one of n_L classes. An output is
        a yes above 0.5, a logit above 0. Where the loss takes logits, the metrics of this table
        take their probabilities.
    n_outputs : int
        n_L.

    Raises
    ------
    TypeError
        If `metric` is neither a string nor callable.
    ValueError
        If the name is unknown (the nearest known one is proposed), or the metric does not suit what
        the loss predicts.
    """
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    lookup("metrics", metric, METRICS, _MEANT)
    found = Named(metric, loss, n_outputs)
    _check_suits(found)
    return metric, found


def _check_suits(metric: Named) -> None:
    """Refuse a metric that does not suit the loss."""
    entry, of_loss = metric.entry, metric.loss.entry
    name, loss = metric.name, metric.loss.name
    if entry.needs == "numbers":
        if of_loss.labels:
            raise ValueError(
                f"metrics: {name!r} compares y with the {metric.n_outputs} outputs, but with the "
                f"loss {loss!r} y holds class labels: want 'accuracy' or another metric of classes"
            )
        if entry.one_output and metric.n_outputs > 1:
            raise ValueError(
                f"metrics: {name!r} is of one output, and the network has {metric.n_outputs}"
            )
        return
    if of_loss.kind == "regression":
        raise ValueError(
            f"metrics: {name!r} is of classes, but the loss {loss!r} predicts numbers: want a "
            "metric of these, as 'mae'"
        )
    if metric.kind not in entry.kinds:
        stem = name.removesuffix("_score")
        other = [one for one, e in METRICS.items() if metric.kind in e.kinds and stem in one]
        hint = f"; want {' or '.join(map(repr, other))}" if other else ""
        raise ValueError(
            f"metrics: {name!r} is of {' or '.join(sorted(entry.kinds))} targets, but the loss "
            f"{loss!r} with {metric.n_outputs} outputs has {metric.kind} ones{hint}"
        )
    if entry.needs == "probabilities" and of_loss.outputs != PROBABILITY:
        raise ValueError(
            f"metrics: {name!r} takes probabilities, which the loss {loss!r} does not ask for: "
            "want a cross-entropy"
        )
