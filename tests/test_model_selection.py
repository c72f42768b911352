"""Searches in threads: scikit-learn's results, to the bit, and its habits."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from typing import Any, ClassVar

import joblib
import numpy as np
import pytest
import sklearn.model_selection as theirs
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastdnn
from fastdnn import model_selection
from tests.nets import samples

X, y = samples(90)
pytestmark = pytest.mark.filterwarnings("ignore:the training reached max_iter")
GRID: dict[str, Any] = {"mlpclassifier__hidden_layer_sizes": [(3,), (8, 4)]}
GRID["mlpclassifier__learning_rate_init"] = [1e-3, 1e-2]
DRAWN: dict[str, Any] = {"mlpclassifier__alpha": loguniform(1e-6, 1e-1)}


def pipeline(**settings: Any) -> Any:
    given = {"max_iter": 12, "random_state": 0, **settings}
    return make_pipeline(StandardScaler(), fastdnn.MLPClassifier(**given))


SEARCHES: dict[str, dict[str, Any]] = {
    "GridSearchCV": {"param_grid": GRID, "cv": 3, "return_train_score": True},
    "RandomizedSearchCV": {"param_distributions": DRAWN, "n_iter": 4, "random_state": 0, "cv": 3},
    "HalvingGridSearchCV": {"param_grid": GRID, "cv": 3, "random_state": 0, "factor": 2},
    "HalvingRandomSearchCV": {"param_distributions": DRAWN, "random_state": 0, "cv": 3},
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("n", [1, 3])
def test_the_results_are_those_of_scikit_learn(name: str, n: int) -> None:
    settings = SEARCHES[name]
    ours, wanted = getattr(model_selection, name), getattr(theirs, name)
    with fastdnn.num_threads(n):
        found = ours(pipeline(), **settings).fit(X, y)
    own = wanted(pipeline(), n_jobs=1, **settings).fit(X, y)
    assert isinstance(found, wanted)
    assert found.cv_results_.keys() == own.cv_results_.keys()
    for key, values in own.cv_results_.items():
        if not key.endswith("_time"):
            np.testing.assert_array_equal(found.cv_results_[key], values)
    assert found.best_params_ == own.best_params_
    np.testing.assert_array_equal(found.predict_proba(X), own.predict_proba(X))


class Where(fastdnn.MLPClassifier):
    """Notes the threads that fit it."""

    names: ClassVar[set[str]] = set()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.names.add(threading.current_thread().name)
        return super().fit(X, y)


@pytest.mark.parametrize(
    ("n_jobs", "backend"), [(None, None), (1, None), (None, "sequential"), (None, "threading")]
)
def test_who_chooses_where_the_fits_run(n_jobs: int | None, backend: str | None) -> None:
    Where.names.clear()
    search = model_selection.GridSearchCV(
        Where(max_iter=2), {"alpha": [0.1, 0.2, 0.3]}, cv=3, n_jobs=n_jobs, refit=False
    )
    with fastdnn.num_threads(2):
        if backend is None:
            search.fit(X, y)
        else:
            with joblib.parallel_config(backend, n_jobs=1):
                search.fit(X, y)
    in_threads = n_jobs is None and backend is None
    assert (threading.main_thread().name in Where.names) is not in_threads


def test_a_candidate_that_diverges_is_scored_as_scikit_learn_does() -> None:
    grid = {"mlpclassifier__learning_rate_init": [1e-3, 1e300]}
    search = model_selection.GridSearchCV(pipeline(solver="sgd"), grid, cv=3, refit=False)
    # with more threads, scikit-learn's filters of one may hide another's warning
    with fastdnn.num_threads(1), warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        before = list(warnings.filters)
        search.fit(X, y)
        assert warnings.filters == before
    assert any("3 fits failed out of a total of 6" in str(one.message) for one in told)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_it_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, fastdnn; assert 'sklearn' not in sys.modules; "
        "fastdnn.model_selection.GridSearchCV; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
