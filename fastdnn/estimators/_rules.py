"""scikit-learn's rules after each epoch, as a callback: what is recorded, and when to stop."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring

from fastdnn._inputs import Data
from fastdnn._streams import say
from fastdnn.hooks import Callback
from fastdnn.kernels.engine import Engine
from fastdnn.validation import EVALUATION_BATCH

from ._samples import evaluate

if TYPE_CHECKING:
    from ._base import BaseMLP
    from ._compat import FitContext

Array = NDArray[Any]
SMALLEST_RATE, DIVIDED_BY = 1e-6, 5.0  # of learning_rate="adaptive"


class Rules(Callback):
    """Keeps an estimator's records, and ends its training.

    Parameters
    ----------
    estimator : BaseMLP
    engine : Engine
    data : Data
        The training samples.
    unseen : Data, optional
        The validation samples.
    context : FitContext
    """

    def __init__(
        self,
        estimator: BaseMLP,
        engine: Engine,
        data: Data,
        unseen: Data | None,
        context: FitContext,
    ) -> None:
        self.of = estimator
        self.engine = engine
        self.unseen = unseen
        self.context = context
        self._m = len(data.y)
        wanted = estimator.restore_best_weights
        self._restores = bool(estimator.early_stopping if wanted is None else wanted)
        self._scorer = scorer_of(estimator)
        self.best = engine.values.copy() if self._restores else None
        self._talks = bool(estimator.verbose) and estimator.verbose != "bar"

    def epochs_ahead(self) -> int:
        """Return the number of epochs after which the training can end at the soonest."""
        of = self.of
        looks = self.unseen is not None or self._restores or self.context.looks
        if looks or (of.learning_rate == "invscaling" and of.solver == "sgd"):
            return 1
        return of.n_iter_no_change + 1 - of._no_improvement_count  # type: ignore[no-any-return]

    def on_epoch_begin(self, epoch: int) -> None:
        """Tell scikit-learn's callbacks."""
        self.context.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Record the epoch, and stop or slow down where it is no better than those before."""
        of = self.of
        of.n_iter_ += 1
        of.loss_ = logs["loss"]
        of.t_ += self._m
        of.loss_curve_.append(of.loss_)
        self._say(f"Iteration {of.n_iter_}, loss = {of.loss_:.8f}")
        if self.unseen is not None:
            self._validate(self.unseen, logs)
        self._count()
        if of.learning_rate == "invscaling" and of.solver == "sgd":
            self.model.optimizer.learning_rate = of.learning_rate_init / (of.t_ + 1) ** of.power_t
        if of._no_improvement_count > of.n_iter_no_change:
            self._stop_or_slow_down()
        if self.context.end(lambda: fitted_copy(of)):
            self.model.stop_training = True

    def _say(self, text: str) -> None:
        if self._talks:
            say(text)

    def _validate(self, unseen: Data, logs: dict[str, float]) -> None:
        of = self.of
        with of.model_.lock.using():
            loss, A = evaluate(self.engine, unseen, EVALUATION_BATCH)
        loss = loss * of._summed / of._averaged + of._constant(unseen)
        score = self._score(unseen, A, loss)
        of.validation_curve_.append(loss)
        of.validation_scores_.append(score)
        logs["val_loss"], logs["val_score"] = loss, score
        self._say(f"Validation score: {score:f}")

    def _score(self, unseen: Data, A: Array, loss: float) -> float:
        """Return how good the network is on the validation samples; higher is better."""
        of, weights = self.of, {}
        if of.scoring == "loss":
            return -loss
        if not np.isfinite(A).all():
            return nan
        if self._scorer is None:
            with np.errstate(over="ignore"):  # the square of an error: its score is -inf
                return of._score_outputs(A, unseen)
        if unseen.weights is not None and "sample_weight" in signature(self._scorer).parameters:
            weights["sample_weight"] = unseen.weights
        with warnings.catch_warnings():
            # the samples came as a frame with names, and are an array now
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return float(self._scorer(of, unseen.X, of._labels(unseen), **weights))

    def _count(self) -> None:
        """Count the epochs in a row without an improvement by tol; after a NaN, anew."""
        of, tol = self.of, self.of.tol
        if of.early_stopping:
            is_worse = of.validation_scores_[-1] < of.best_validation_score_ + tol
        else:
            is_worse = of.loss_ > of.best_loss_ - tol
        of._no_improvement_count = of._no_improvement_count + 1 if is_worse else 0
        if self._keep_best() and self._restores:
            self.best = self.engine.values.copy()

    def _keep_best(self) -> bool:
        """Record the best loss and score; return whether this epoch is the best one."""
        of, is_best = self.of, False
        if not of.early_stopping and of.loss_ < of.best_loss_:
            of.best_loss_, is_best = of.loss_, self.unseen is None
        if self.unseen is not None and of.validation_scores_[-1] > of.best_validation_score_:
            of.best_validation_score_, is_best = of.validation_scores_[-1], True
        return is_best

    def _stop_or_slow_down(self) -> None:
        of, optimizer = self.of, self.model.optimizer
        what = "Validation score" if of.early_stopping else "Training loss"
        said = f"{what} did not improve by tol={of.tol:f} for {of.n_iter_no_change} epochs."
        if of.learning_rate == "adaptive" and of.solver == "sgd":
            if optimizer.learning_rate > SMALLEST_RATE:
                optimizer.learning_rate /= DIVIDED_BY
                of._no_improvement_count = 0
                self._say(f"{said} Learning rate set to {optimizer.learning_rate:g}.")
                return
            said += " Learning rate too small."
        self.model.stop_training = True
        self._say(f"{said} Stopping.")

    def diverged(self) -> None:
        """Record an epoch whose loss is not finite."""
        of = self.of
        of.n_iter_ += 1
        of.loss_ = nan
        of.loss_curve_.append(nan)
        if self.unseen is not None:
            of.validation_scores_.append(nan)
            of.validation_curve_.append(nan)

    def on_train_end(self) -> None:
        """Bring the best epoch's parameters back, where they are wanted."""
        self.engine.scale_penalties(1.0)  # the epochs divided them by each batch's samples
        if self.best is not None:
            with self.of.model_.lock:
                self.engine.values[...] = self.best


def scorer_of(of: BaseMLP) -> Callable[..., float] | None:
    """Return the scorer that an estimator's `scoring` names; None where it needs none."""
    if of.scoring is None or of.scoring == "loss":
        return None
    scorer: Callable[..., float] = check_scoring(of, scoring=of.scoring)
    return scorer


def fitted_copy(of: BaseMLP) -> dict[str, Any]:
    """Return what a copy of the estimator needs to predict as it would now."""
    return {
        "coefs_": [W.copy() for W in of.coefs_],
        "intercepts_": [b.copy() for b in of.intercepts_],
        "_normalized": of._normalization,
        "_norms": [view.copy() for view in of._norms],
    }


def forget_records(of: BaseMLP) -> None:
    """Start an estimator's records anew."""
    of.loss_curve_ = []
    of._no_improvement_count = 0
    of.validation_scores_ = of.validation_curve_ = None
    of.best_validation_score_ = of.best_loss_ = None


def open_records(of: BaseMLP, validates: bool) -> None:
    """Have the records that a training will write; a warm start goes on with those there are."""
    if validates and of.validation_scores_ is None:
        of.validation_scores_, of.validation_curve_ = [], []
        of.best_validation_score_ = -inf
    if not of.early_stopping and of.best_loss_ is None:
        of.best_loss_ = inf
