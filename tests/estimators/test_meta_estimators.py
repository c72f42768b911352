"""The estimators inside scikit-learn's meta-estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastdnn
from tests.estimators.common import data, parameters_of, small, weights

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:A worker stopped while some jobs were given",
)


def classifier(**settings: Any) -> fastdnn.MLPClassifier:
    return fastdnn.MLPClassifier((5,), max_iter=5, random_state=0, **settings)


def test_pipeline_and_cross_validation() -> None:
    X, y = data("wine")
    pipe = make_pipeline(StandardScaler(), classifier())
    scaled = StandardScaler().fit_transform(X)
    found = pipe.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, classifier().fit(scaled, y).predict_proba(scaled))
    scores = cross_val_score(pipe, X, y, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_by_jobs_has_the_scores_of_one(backend: str) -> None:
    import joblib

    X, y = data("wine")
    grid = {"alpha": [0.0, 1.0], "hidden_layer_sizes": [(3,), (8, 4)]}
    search = GridSearchCV(classifier(learning_rate_init=0.01), grid, cv=3)
    alone = clone(search).fit(X, y)
    with joblib.parallel_config(backend):
        jobs = clone(search).set_params(n_jobs=2).fit(X, y)
    for name in alone.cv_results_:
        if name.endswith("test_score"):
            np.testing.assert_array_equal(jobs.cv_results_[name], alone.cv_results_[name])
    assert jobs.best_params_ == alone.best_params_
    np.testing.assert_array_equal(
        parameters_of(jobs.best_estimator_), parameters_of(alone.best_estimator_)
    )
    assert len(set(alone.cv_results_["mean_test_score"])) > 1


def test_calibration_and_bagging() -> None:
    X, y = small(120)
    calibrated = CalibratedClassifierCV(classifier(), cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    bagged = BaggingClassifier(classifier(), n_estimators=3, random_state=0).fit(X, y)
    members = [one.predict_proba(X) for one in bagged.estimators_]
    np.testing.assert_allclose(bagged.predict_proba(X), np.mean(members, axis=0), rtol=1e-12)


def test_weights_are_routed() -> None:
    X, y = small()
    weight = weights(60)
    with sklearn.config_context(enable_metadata_routing=True):
        one = classifier().set_fit_request(sample_weight=True, validation_data=True)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), one)
        scaled = StandardScaler().fit_transform(X)
        pipe.fit(X, y, sample_weight=weight, validation_data=(scaled, y))
    wanted = classifier().fit(scaled, y, weight)
    np.testing.assert_array_equal(parameters_of(pipe[-1]), parameters_of(wanted))
    assert len(pipe[-1].validation_scores_) == 5


@pytest.mark.skipif(
    sklearn.__version__.startswith("1.5"), reason="scikit-learn has these tags from 1.6 on"
)
def test_tags() -> None:
    from sklearn.utils import get_tags

    one, other = get_tags(fastdnn.MLPClassifier()), get_tags(fastdnn.MLPRegressor())
    assert one.input_tags.sparse
    assert other.input_tags.sparse
    assert one.classifier_tags.multi_label
    assert one.estimator_type == "classifier"
    assert other.estimator_type == "regressor"
    assert one.target_tags.required


def test_kinds() -> None:
    assert is_classifier(fastdnn.MLPClassifier())
    assert is_regressor(fastdnn.MLPRegressor())
