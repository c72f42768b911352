"""scikit-learn's own tests of its multilayer perceptrons, run with fastdnn's estimators."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
from sklearn import neural_network
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastdnn

SUITE = "sklearn.neural_network.tests.test_mlp"
# Tests of scikit-learn's private members, and why fastdnn has none such.
PRIVATE = {
    "test_gradient": "calls _loss_grad_lbfgs: tests/estimators/test_lbfgs.py has its own",
}


def _suite() -> ModuleType:
    """scikit-learn's module of tests, executed with fastdnn's classes under the usual names."""
    spec = importlib.util.find_spec(SUITE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLPClassifier", "MLPRegressor"):
            patch.setattr(neural_network, name, getattr(fastdnn, name))
        spec.loader.exec_module(module)
    assert module.MLPClassifier is fastdnn.MLPClassifier
    return module


suite = _suite()
TESTS = {name: test for name, test in vars(suite).items() if name.startswith("test_")}
globals().update({name: test for name, test in TESTS.items() if name not in PRIVATE})


@pytest.fixture
def global_random_seed() -> int:
    """The seed that scikit-learn's tests ask for."""
    return 42


def test_all_but_few_run() -> None:
    assert set(PRIVATE) <= set(TESTS)
    assert len(TESTS) > 35
    assert len(PRIVATE) < 3
    assert SUITE not in sys.modules


@parametrize_with_checks([fastdnn.MLPClassifier(max_iter=20), fastdnn.MLPRegressor(max_iter=20)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimator_checks(estimator: object, check: object) -> None:
    check(estimator)  # type: ignore[operator]


@parametrize_with_checks(
    [
        fastdnn.MLPClassifier(max_iter=20, normalization="layer"),
        fastdnn.MLPRegressor(max_iter=20, normalization="batch"),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimator_checks_with_a_normalization(estimator: Any, check: Any) -> None:
    if estimator.normalization == "batch" and _makes_samples_of_weights(check):
        # weights weigh losses, and not the statistics of a batch, as in Keras
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            check(estimator)
    else:
        check(estimator)


def _makes_samples_of_weights(check: Any) -> bool:
    name, settings = check.func.__name__, check.keywords
    return name.startswith("check_sample_weight_equivalence") or settings.get("kind") == "zeros"
