"""`MLPClassifier`: classes and labels, their weights, and its outputs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

import fastdnn
from tests.estimators.common import (
    assert_same,
    data,
    multilabel,
    parameters_of,
    quietly,
    small,
    twins,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_labels_that_are_true_together() -> None:
    X, _ = data("wine")
    Y = multilabel(X)
    for settings in ({}, {"early_stopping": True}, {"alpha": 1.0, "batch_size": 50}):
        ours, theirs = twins("MLPClassifier", X, Y, **settings)
        assert_same(ours, theirs, X)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert ours.score(X, Y) == theirs.score(X, Y)
    ours, theirs = twins("MLPClassifier", X, scipy.sparse.csr_array(Y))
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)


def test_classes_are_any_labels() -> None:
    X, y = data("wine")
    names = np.array(["rot", "gelb", "blau"])[y]
    ours, theirs = twins("MLPClassifier", X, names)
    assert_same(ours, theirs, X)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.classes_, ["blau", "gelb", "rot"])


def test_probabilities() -> None:
    for X, y in (data("wine"), data("cancer")):
        one = fastdnn.MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
        P = one.predict_proba(X)
        assert P.shape == (len(X), len(one.classes_))
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_array_equal(one.predict(X), one.classes_[P.argmax(axis=1)])
        np.testing.assert_array_equal(one.predict_log_proba(X), np.log(P))


def test_class_weight_is_a_sample_weight() -> None:
    X, y = small(90)
    y = np.where(X[:, 0] > 1, 2, y)
    shares = np.bincount(y) / len(y)
    cases = [
        ({0: 1.0, 1: 4.0, 2: 0.5}, np.array([1, 4, 0.5])[y]),
        ("balanced", (1 / (3 * shares))[y]),
    ]
    for class_weight, weight in cases:
        for given in (None, weights(90)):
            one = fastdnn.MLPClassifier((5,), max_iter=5, random_state=0, batch_size=40, alpha=0.1)
            both = weight if given is None else weight * given
            plain = clone(one).fit(X, y, both)
            one.set_params(class_weight=class_weight).fit(X, y, given)
            np.testing.assert_allclose(parameters_of(one), parameters_of(plain), rtol=1e-12)
            unweighted = clone(one).set_params(class_weight=None).fit(X, y, given)
            assert abs(unweighted.loss_ / one.loss_ - 1) > 1e-3


def test_class_weight_of_names_and_of_labels() -> None:
    X, y = small()
    names = np.array(["no", "yes"])[y]
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0)
    wanted = clone(one).fit(X, y, np.where(y, 3.0, 1.0))
    one.set_params(class_weight={"yes": 3.0, "no": 1.0}).fit(X, names)
    np.testing.assert_array_equal(parameters_of(one), parameters_of(wanted))
    Y = multilabel(X)
    weighted = clone(one).set_params(class_weight="balanced").fit(X, Y)
    assert weighted.loss_ != clone(one).set_params(class_weight=None).fit(X, Y).loss_


def test_class_weight_of_parts_of_the_samples() -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,), random_state=0, class_weight={0: 1.0, 1: 2.0})
    plain = clone(one).set_params(class_weight=None)
    for part in (slice(0, 30), slice(30, 60)):
        one.partial_fit(X[part], y[part], classes=[0, 1])
        plain.partial_fit(X[part], y[part], np.where(y[part], 2.0, 1.0), classes=[0, 1])
    np.testing.assert_array_equal(parameters_of(one), parameters_of(plain))
    with pytest.raises(ValueError, match="class_weight: partial_fit does not see all samples"):
        one.set_params(class_weight="balanced").partial_fit(X, y)


def test_partial_fit_in_several_calls() -> None:
    X, y = data("wine")
    for solver in ("sgd", "adam"):
        pair = [
            kind((9,), solver=solver, random_state=3, batch_size=30, alpha=0.2)
            for kind in (fastdnn.MLPClassifier, type(twins("MLPClassifier", X, y, max_iter=1)[1]))
        ]
        for part in (slice(0, 100), slice(50, 178), slice(0, 178)):
            for one in pair:
                one.partial_fit(X[part], y[part], classes=[0, 1, 2])
        assert_same(*pair, X)


def test_classes_of_partial_fit() -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        one.partial_fit(X, y)
    one.partial_fit(X, y, classes=[0, 1, 2])
    assert one.predict_proba(X).shape == (60, 3)
    with pytest.raises(ValueError, match=r"classes: want \[0 1 2\] .* got \[0 1\]"):
        one.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="`y` has classes not in"):
        one.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match=r"y: want shape \(60,\) for the classes known"):
        one.partial_fit(X, multilabel(X))
    labels = fastdnn.MLPClassifier((5,)).partial_fit(X, multilabel(X), classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y: want shape \(60, 3\) .* got \(60, 2\)"):
        labels.partial_fit(X, multilabel(X)[:, :2])
    with pytest.raises(ValueError, match="want one class, or 0 and 1 for each label"):
        fastdnn.MLPClassifier().fit(X, np.stack([y, y + 1], axis=1))


def test_a_warm_start_wants_the_same_classes() -> None:
    X, y = data("wine")
    one = fastdnn.MLPClassifier((5,), max_iter=2, warm_start=True).fit(X, y)
    some = y > 0
    with pytest.raises(ValueError, match="warm_start can only be used where"):
        one.fit(X[some], y[some])
    one.fit(X, y, validation_data=(X[some], y[some]))  # these need not have them all
    assert len(one.validation_scores_) == 2


def test_other_losses() -> None:
    X, y = data("wine")
    one = fastdnn.MLPClassifier((9,), max_iter=5, random_state=0, alpha=0)
    plain = quietly(clone(one).fit, X, y)
    named = quietly(clone(one).set_params(loss="sparse_categorical_crossentropy").fit, X, y)
    dense = quietly(clone(one).set_params(loss="categorical_crossentropy").fit, X, y)
    np.testing.assert_array_equal(parameters_of(named), parameters_of(plain))
    np.testing.assert_allclose(parameters_of(dense), parameters_of(plain), rtol=1e-10)
    brier = quietly(clone(one).set_params(loss=fastdnn.losses.MeanSquaredError()).fit, X, y)
    P = brier.predict_proba(X)
    curve = quietly(
        clone(brier).set_params(max_iter=6).fit, X, y, validation_data=(X, y)
    ).validation_curve_
    assert curve[4] == pytest.approx(np.square(P - np.eye(3)[y]).mean(), rel=1e-10)
