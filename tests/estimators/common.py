"""Data, and fastdnn's estimators beside scikit-learn's of the same parameters."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

import fastdnn

Array = np.ndarray[Any, Any]
# Both sides round every operation differently: 2.2e-16 relative in float64, 1.2e-7 in float32.
# Some hundred steps of a gradient whose curvature is below 100 multiply that by less than 1e7.
ROUNDING = {np.dtype("float64"): 1e-8, np.dtype("float32"): 1e-3}
KINDS = {
    "MLPClassifier": (fastdnn.MLPClassifier, neural_network.MLPClassifier),
    "MLPRegressor": (fastdnn.MLPRegressor, neural_network.MLPRegressor),
}
LOADERS = {
    "digits": datasets.load_digits,
    "cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


@cache
def data(name: str) -> tuple[Array, Array]:
    """One of scikit-learn's data sets, scaled, or 20,000 generated samples; read only."""
    if name == "generated":
        X, y = datasets.make_classification(20_000, 8, random_state=0)
    else:
        X, y = LOADERS[name](return_X_y=True)
        X = StandardScaler().fit_transform(X)
    if name == "diabetes":
        y = (y - y.mean()) / y.std()
    X.flags.writeable = y.flags.writeable = False
    return X, y


def small(m: int = 60, n: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """X (m, n), and two classes for which the net has something to learn."""
    X = np.random.default_rng(seed).normal(size=(m, n))
    return X, (X.sum(axis=1) + 0.3 * X[:, 0] ** 2 > 0).astype(int)


def weights(m: int) -> Array:
    """Weights of m samples, some of them 0."""
    drawn = np.random.default_rng(7).uniform(0.2, 3, m)
    drawn[::5] = 0
    return drawn


def multilabel(X: Array) -> Array:
    """Three labels for each row."""
    return np.stack([X[:, 0] > 0, X[:, 1] > 0.5, X.sum(axis=1) > 0], axis=1).astype(int)


def quietly(method: Any, *arguments: Any, **settings: Any) -> Any:
    """Call a fit whose end before convergence is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # of scikit-learn 1.5's own call
        warnings.filterwarnings("ignore", "scipy.optimize: The `disp` and", DeprecationWarning)
        return method(*arguments, **settings)


def twins(kind: str, X: Any, y: Any, weight: Any = None, /, **parameters: Any) -> tuple[Any, Any]:
    """fastdnn's and scikit-learn's estimators, both fitted with the same parameters."""
    parameters = {"random_state": 3, "max_iter": 20, "hidden_layer_sizes": (9,), **parameters}
    ours, theirs = (make(**parameters) for make in KINDS[kind])
    if weight is not None and not has_fit_parameter(theirs, "sample_weight"):
        pytest.skip("scikit-learn's own take weights from 1.7 on")
    for one in (ours, theirs):
        quietly(one.fit, X, y, *([] if weight is None else [weight]))
    return ours, theirs


def assert_same(ours: Any, theirs: Any, X: Any, rtol: float | None = None) -> None:
    """Compare every fitted attribute of scikit-learn's estimator, and the outputs for X."""
    rtol = ROUNDING[theirs.coefs_[0].dtype] if rtol is None else rtol
    fitted = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    assert {"coefs_", "loss_", "n_iter_", "t_", "n_layers_", "out_activation_"} <= fitted
    for name in sorted(fitted):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name in ("coefs_", "intercepts_"):
            assert len(mine) == len(other)
            for a, b in zip(mine, other, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())
        elif (
            name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_") and other
        ) or isinstance(other, float):
            np.testing.assert_allclose(mine, other, rtol=rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(mine, other, err_msg=name)
    method = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    wanted = getattr(theirs, method)(X)
    np.testing.assert_allclose(
        getattr(ours, method)(X), wanted, rtol=rtol, atol=rtol * np.abs(wanted).max()
    )


def parameters_of(estimator: Any) -> Array:
    """All W and b, copied."""
    return np.concatenate([a.ravel() for a in (*estimator.coefs_, *estimator.intercepts_)])
