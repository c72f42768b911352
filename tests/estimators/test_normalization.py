"""`normalization`: its layers stand between Dense and g, and go wherever W and b go."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastdnn
from fastdnn.estimators import _compat
from fastdnn.estimators._lbfgs import FullBatch
from fastdnn.normalization import NORMALIZATIONS
from tests.estimators.common import KINDS, data, quietly, small, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each = pytest.mark.parametrize("name", sorted(NORMALIZATIONS))


def classifier(name: str | None, **settings: Any) -> fastdnn.MLPClassifier:
    given = {"max_iter": 6, "random_state": 0, "batch_size": 50, **settings}
    return fastdnn.MLPClassifier((6, 5), normalization=name, **given)


def values_of(one: Any) -> Any:
    """All that is trained, and moving averages, copied."""
    return one.model_.engine.values.copy()


def normalized(Z: Any, layer: Any) -> Any:
    """What a normalisation makes of Z (m, n), by its equation."""
    if isinstance(layer, fastdnn.BatchNormalization):
        x = (Z - layer.moving_mean) / np.sqrt(layer.moving_variance + layer.epsilon)
    else:
        is_rms = isinstance(layer, fastdnn.RMSNormalization)
        centered = Z - (0 if is_rms else Z.mean(axis=1, keepdims=True))
        x = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + layer.epsilon)
    return layer.gamma * x + (0 if layer.beta is None else layer.beta)


@each
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_network_computes_what_its_arrays_say(kind: str, name: str) -> None:
    X, y = data("wine")
    one = KINDS[kind][0](
        hidden_layer_sizes=(6, 5), activation=["tanh", "relu"], normalization=name, dropout=0.2,
        random_state=0, max_iter=5,
    ).fit(X, y)  # fmt: skip
    norm = NORMALIZATIONS[name]
    wanted = [fastdnn.Dense, norm, fastdnn.Activation, fastdnn.Dropout]
    assert [type(layer) for layer in one.model_.layers] == [*wanted, *wanted, fastdnn.Dense]
    assert [W.shape for W in one.coefs_] == [(13, 6), (6, 5), (5, one.n_outputs_)]
    assert [b.shape for b in one.intercepts_] == [(6,), (5,), (one.n_outputs_,)]
    norms = [layer for layer in one.model_.layers if isinstance(layer, norm)]
    assert all((layer.gamma != 1).all() for layer in norms)  # they have been trained
    A = np.tanh(normalized(X @ one.coefs_[0] + one.intercepts_[0], norms[0]))
    A = np.maximum(normalized(A @ one.coefs_[1] + one.intercepts_[1], norms[1]), 0)
    Z = A @ one.coefs_[2] + one.intercepts_[2]
    if kind == "MLPRegressor":
        np.testing.assert_allclose(one.predict(X), Z[:, 0], rtol=1e-9)
    else:
        shares = np.exp(Z - Z.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(one.predict_proba(X), shares, rtol=1e-9)


@each
def test_it_learns_what_unscaled_numbers_hide(name: str) -> None:
    X, y = data("cancer")
    one = classifier(name, max_iter=30, learning_rate_init=0.01).fit(X[:400], y[:400])
    assert one.score(X[400:], y[400:]) > 0.95


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@each
@pytest.mark.parametrize("way", sorted(COPIES))
def test_a_copy_is_the_same(way: str, name: str) -> None:
    X, y = data("wine")
    one = classifier(name, dropout=0.2).fit(X, y)
    wanted = one.predict_proba(X)
    other = COPIES[way](one)
    np.testing.assert_array_equal(other.predict_proba(X), wanted)
    if way != "copy":  # which has the model in common
        other.partial_fit(X, y)
        one.partial_fit(X, y)
        np.testing.assert_array_equal(values_of(other), values_of(one))
        assert (one.predict_proba(X) != wanted).any()


@each
def test_arrays_of_the_users_own(name: str) -> None:
    X, y = data("wine")
    one = classifier(name).fit(X, y)
    wanted, kept = one.predict_proba(X), values_of(one)
    one.coefs_ = [W.copy() for W in one.coefs_]
    for other in (one, *(make(one) for make in COPIES.values())):
        np.testing.assert_array_equal(other.predict_proba(X), wanted)
    one.coefs_[2] = np.zeros((5, 3))
    one.intercepts_ = [*one.intercepts_[:2], np.zeros(3)]
    np.testing.assert_allclose(one.predict_proba(X), 1 / 3, rtol=1e-12)
    np.testing.assert_array_equal(values_of(one), kept)


def test_arrays_without_a_fit() -> None:
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(2,), activation="identity", normalization="rms")
    one.coefs_, one.intercepts_ = [np.eye(2), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]
    one.n_features_in_, one._n_targets = 2, 1
    # (3, 1) by the root of its mean square, and summed
    np.testing.assert_allclose(one.predict([[3.0, 1.0]]), 4 / np.sqrt(5), rtol=1e-6)
    loaded = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(loaded.predict([[3.0, 1.0]]), one.predict([[3.0, 1.0]]))


@each
def test_a_warm_start_goes_on_from_all_values(name: str) -> None:
    X, y = data("wine")
    settings: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "shuffle": False, "tol": 0}
    whole = classifier(name, max_iter=8, **settings).fit(X, y)
    parts = classifier(name, max_iter=4, warm_start=True, **settings).fit(X, y)
    quietly(parts.fit, X, y)
    np.testing.assert_array_equal(values_of(parts), values_of(whole))
    steps = classifier(name, **settings)
    for _ in range(8):
        steps.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(values_of(steps), values_of(whole))
    # a fit without one begins anew
    again = classifier(name, max_iter=8, **settings).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(values_of(again), values_of(whole))


@each
def test_early_stopping_brings_all_values_back(name: str) -> None:
    X, y = data("cancer")
    one = classifier(
        name, early_stopping=True, n_iter_no_change=2, max_iter=40, learning_rate_init=0.05
    ).fit(X, y)
    best = int(np.argmax(one.validation_scores_)) + 1
    assert best < one.n_iter_ < 40
    plain = clone(one).set_params(max_iter=best)
    quietly(plain.fit, X, y)
    np.testing.assert_array_equal(values_of(one), values_of(plain))


@each
def test_another_one_is_another_network(name: str) -> None:
    X, y = small()
    one = classifier(name, warm_start=True).fit(X, y)
    for other in {None, *NORMALIZATIONS} - {name}:
        one.set_params(normalization=other)
        for method in (one.fit, one.partial_fit):
            with pytest.raises(ValueError, match=f"normalization: want {name!r} as in the fit bef"):
                method(X, y)
    wanted = one.predict_proba(X)
    one.coefs_ = list(one.coefs_)  # those that the network has are meant all the same
    one.intercepts_ = [b.copy() for b in one.intercepts_]
    np.testing.assert_array_equal(one.predict_proba(X), wanted)


@each
@pytest.mark.parametrize("weighted", [False, True])
def test_the_penalty_is_that_of_dense_layers(name: str, weighted: bool) -> None:
    X, y = data("wine")
    weight = weights(178) if weighted else None
    one = classifier(name, alpha=3.0, batch_size=178, max_iter=1, tol=0, solver="sgd")
    start = clone(one).set_params(learning_rate_init=1e-30)  # as good as no step
    quietly(start.fit, X, y, weight)
    quietly(one.fit, X, y, weight)
    plain = quietly(clone(one).set_params(alpha=0.0).fit, X, y, weight)
    total = 178 if weight is None else weight.sum()
    squares = sum((W**2).sum() for W in start.coefs_)
    assert one.loss_ - plain.loss_ == pytest.approx(1.5 * squares / total, rel=1e-9)


@pytest.mark.parametrize("name", ["layer", "rms"])
def test_lbfgs(name: str) -> None:
    X, y = data("wine")
    one = classifier(name, solver="lbfgs", max_iter=60, alpha=0.5, activation="tanh").fit(X, y)
    assert one.loss_curve_ == sorted(one.loss_curve_, reverse=True)
    assert one.score(X, y) == 1
    seen = one._checked(X, y, None, np.dtype(float), reset=False)
    of = FullBatch(one.model_.engine, one.model_.lock, seen, one.alpha, 1.0, 1.0)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=of.engine.parameters.size)
    gradient, h = of.loss_and_gradient(theta)[1], 1e-5
    for direction in rng.normal(size=(4, theta.size)):
        above = of.loss_and_gradient(theta + h * direction)[0]
        below = of.loss_and_gradient(theta - h * direction)[0]
        assert gradient @ direction == pytest.approx((above - below) / (2 * h), rel=1e-5)


def test_lbfgs_takes_no_statistics_of_batches() -> None:
    with pytest.raises(ValueError, match=r"normalization: want 'layer', 'rms' or None with solver"):
        classifier("batch", solver="lbfgs").fit(*small())


def test_averages_beyond_the_floats_are_told() -> None:
    X, y = small()
    one = classifier("batch", activation="identity", dtype="float32")
    with pytest.raises(ValueError, match="non-finite"):
        one.fit(1e25 * X, y)


def test_jobs_in_processes_have_the_scores_of_one() -> None:
    X, y = data("wine")
    one = classifier(None, max_iter=15, learning_rate_init=0.01)
    search = GridSearchCV(one, {"normalization": [None, *NORMALIZATIONS]}, cv=2)
    alone = clone(search).fit(X, y)
    jobs = clone(search).set_params(n_jobs=2).fit(X, y)
    for score in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(jobs.cv_results_[score], alone.cv_results_[score])
    assert len(set(alone.cv_results_["mean_test_score"])) > 1


@each
@pytest.mark.skipif(not _compat.HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on")
def test_scikit_learns_callbacks_see_the_same_network(name: str) -> None:
    from tests.estimators.test_compat import Recorder

    X, y = small()
    recorder = Recorder()
    one = classifier(name, max_iter=3, callbacks=None).set_callbacks(recorder).fit(X, y)
    for epochs, (other, outputs) in enumerate(
        zip(recorder.copies, recorder.outputs, strict=True), 1
    ):
        so_far = classifier(name, max_iter=epochs).fit(X, y)
        np.testing.assert_array_equal(outputs, so_far.predict(X))
        np.testing.assert_array_equal(other.predict_proba(X), so_far.predict_proba(X))
    np.testing.assert_array_equal(one.predict_proba(X), recorder.copies[-1].predict_proba(X))
