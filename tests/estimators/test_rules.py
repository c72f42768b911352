"""What is recorded after each epoch, which epoch is the best one, and when the training ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import f1_score, log_loss, make_scorer

import fastdnn
from tests.estimators.common import KINDS, assert_same, data, parameters_of, small, twins, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_loss_ends_the_training(kind: str) -> None:
    X, y = data("wine")
    for tol, patience in ((1e-2, 2), (5e-2, 1)):
        settings = {"tol": tol, "n_iter_no_change": patience, "learning_rate_init": 0.01}
        ours, theirs = twins(kind, X, y, max_iter=200, **settings)
        assert 3 < ours.n_iter_ < 200
        assert_same(ours, theirs, X)


def test_no_patience_at_all() -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((3,), max_iter=30, tol=10.0, n_iter_no_change=np.inf).fit(X, y)
    assert one.n_iter_ == 30


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_validation_records(kind: str) -> None:
    X, y = small(100)
    unseen, target = small(50, seed=1)
    weight = weights(50)
    one = KINDS[kind][0](hidden_layer_sizes=(5,), max_iter=6, random_state=0, alpha=0.5)
    for given in ((unseen, target), (unseen, target, weight), [unseen, target]):
        found = clone(one).fit(X, y, validation_data=given)
        plain = clone(one).fit(X, y)
        # they only watch
        np.testing.assert_array_equal(parameters_of(found), parameters_of(plain))
        assert found.loss_curve_ == plain.loss_curve_
        w = given[2] if len(given) == 3 else None
        assert found.validation_scores_[-1] == pytest.approx(
            found.score(unseen, target, w), rel=1e-9
        )
        if kind == "MLPClassifier":
            wanted = log_loss(target, found.predict_proba(unseen), sample_weight=w)
        else:
            wanted = np.average(np.square(found.predict(unseen) - target), weights=w) / 2
        assert found.validation_curve_[-1] == pytest.approx(wanted, rel=1e-9)
        assert found.best_validation_score_ == max(found.validation_scores_)
        assert found.best_loss_ == min(found.loss_curve_)
        assert plain.validation_scores_ is plain.validation_curve_ is None


def test_scoring() -> None:
    X, y = small(100)
    unseen, target = small(50, seed=1)
    weight = weights(50)

    def by_function(estimator: Any, X: Any, y: Any) -> float:
        return float((estimator.predict(X) == y).sum())

    def of(w: Any) -> dict[str, Any]:
        return {"sample_weight": w}

    def f1(found: Any, w: Any) -> float:
        return float(f1_score(target, found.predict(unseen), **of(w)))

    one = fastdnn.MLPClassifier((5,), max_iter=4, random_state=0)
    for scoring, function in (
        ("f1", f1),
        (make_scorer(f1_score), f1),
        ("neg_log_loss", lambda found, w: -log_loss(target, found.predict_proba(unseen), **of(w))),
        ("loss", lambda found, w: -found.validation_curve_[-1]),
        (by_function, lambda found, w: (found.predict(unseen) == target).sum()),
    ):  # fmt: skip
        for w in (None, weight):
            given = (unseen, target) if w is None else (unseen, target, w)
            found = clone(one).set_params(scoring=scoring).fit(X, y, validation_data=given)
            assert found.validation_scores_[-1] == pytest.approx(function(found, w), rel=1e-9)
            assert len(found.validation_scores_) == 4
    names = np.array(["no", "yes"])
    named = clone(one).set_params(scoring="accuracy", early_stopping=True).fit(X, names[y])
    plain = clone(one).set_params(early_stopping=True).fit(X, names[y])
    assert named.validation_scores_ == plain.validation_scores_


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_best_epoch_without_early_stopping(kind: str) -> None:
    X, y = small(100)
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 30, "tol": 0.0,
        "learning_rate_init": 0.3, "solver": "sgd", "momentum": 0.0, "batch_size": 10,
        "restore_best_weights": True,
    }  # fmt: skip
    one = KINDS[kind][0](**settings, n_iter_no_change=np.inf)
    by_loss = clone(one).fit(X, y)
    by_score = clone(one).set_params(scoring="loss").fit(X, y, validation_data=small(50, seed=1))
    curves = by_loss.loss_curve_, by_score.validation_curve_
    for found, curve in zip((by_loss, by_score), curves, strict=True):
        assert found.n_iter_ == 30  # scores end no training here
        best = int(np.argmin(curve)) + 1
        plain = clone(one).set_params(restore_best_weights=False, max_iter=best).fit(X, y)
        np.testing.assert_array_equal(parameters_of(found), parameters_of(plain))
    assert int(np.argmin(curves[1])) < 29  # it is not the last one anyway
    assert by_score.best_loss_ == min(by_score.loss_curve_)
    assert by_score.best_validation_score_ == -min(curves[1])


def test_early_stopping_that_keeps_the_last_epoch() -> None:
    X, y = small(200)
    one = fastdnn.MLPClassifier(
        (5,), max_iter=40, random_state=0, early_stopping=True, n_iter_no_change=2
    )
    last = clone(one).set_params(restore_best_weights=False).fit(X, y)
    best = one.fit(X, y)
    assert last.n_iter_ == best.n_iter_ < 40
    assert (parameters_of(last) != parameters_of(best)).any()


def test_a_warm_start_may_begin_to_validate() -> None:
    X, y = small(100)
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0, warm_start=True).fit(X, y)
    one.fit(X, y, validation_data=(X, y))
    assert len(one.validation_scores_) == len(one.validation_curve_) == 3
    assert len(one.loss_curve_) == 6
    one.set_params(early_stopping=True).fit(X, y)
    assert len(one.validation_scores_) == 6
    one.set_params(early_stopping=False).fit(X, y)
    assert one.best_loss_ == min(one.loss_curve_[:6] + one.loss_curve_[9:])


@pytest.mark.parametrize("rate", ["invscaling", "adaptive"])
def test_rates_of_partial_fit(rate: str) -> None:
    X, y = data("diabetes")
    pair = [
        make(hidden_layer_sizes=(5,), solver="sgd", learning_rate=rate, random_state=0, tol=10.0,
             n_iter_no_change=1, learning_rate_init=0.05)
        for make in KINDS["MLPRegressor"]
    ]  # fmt: skip
    for _ in range(6):
        for one in pair:
            one.partial_fit(X, y)
        assert_same(*pair, X)
    assert pair[0].model_.optimizer.learning_rate == pair[1]._optimizer.learning_rate < 0.05
