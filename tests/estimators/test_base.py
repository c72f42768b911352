"""What both estimators share: scikit-learn's numbers, frames, copies, and views into the model."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastdnn
from tests.estimators.common import (
    KINDS,
    assert_same,
    data,
    multilabel,
    parameters_of,
    quietly,
    small,
    twins,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def by_joblib(estimator: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


COPIES: list[Callable[[Any], Any]] = [
    lambda estimator: pickle.loads(pickle.dumps(estimator)),
    by_joblib,
    copy.deepcopy,
]


@pytest.mark.parametrize("name", ["digits", "cancer", "wine", "diabetes", "generated"])
def test_curves_lie_over_scikit_learns(name: str) -> None:
    X, y = data(name)
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    for solver in ("sgd", "adam") if len(X) < 2000 else ("adam",):
        assert_same(*twins(kind, X, y, solver=solver), X)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_and_depth(activation: str) -> None:
    X, y = data("wine")
    for sizes in (5, (8, 4), [7, 6, 5]):
        settings = {"hidden_layer_sizes": sizes, "alpha": 0.1, "activation": activation}
        assert_same(*twins("MLPClassifier", X, y, **settings), X)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_float32_is_kept(kind: str) -> None:
    X, y = data("diabetes" if kind == "MLPRegressor" else "cancer")
    X = X.astype("float32")
    ours, theirs = twins(kind, X, y)
    assert_same(ours, theirs, X)
    assert ours.coefs_[0].dtype == ours.model_.parameters.dtype == np.float32
    assert quietly(clone(ours).set_params(dtype="float64").fit, X, y).coefs_[0].dtype == float
    assert quietly(clone(ours).set_params(dtype="float32").fit, X.astype(float), y).coefs_[
        0
    ].dtype == np.dtype("float32")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_later_X_of_another_dtype(kind: str) -> None:
    X, y = small()
    X = X.astype("float32")  # which float64 holds exactly
    for later in (lambda one, X: one.partial_fit(X, y), lambda one, X: one.fit(X, y)):
        found = []
        for dtype in ("float32", "float64"):
            one = KINDS[kind][0](max_iter=3, random_state=0, warm_start=True).fit(X, y)
            found.append(parameters_of(later(one, X.astype(dtype))))
        np.testing.assert_array_equal(*found)


def test_validation_samples_of_another_dtype() -> None:
    X, y = small()
    X = X.astype("float32")
    curves = [
        fastdnn.MLPRegressor(max_iter=3, random_state=0)
        .fit(X, y, validation_data=(X.astype(dtype), y))
        .validation_curve_
        for dtype in ("float32", "float64")
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_have_names(library: str) -> None:
    X, y = small()
    names = ["a", "b", "c", "d"]
    DataFrame = pytest.importorskip(library).DataFrame
    frame = DataFrame({name: X[:, j] for j, name in enumerate(names)})
    one = fastdnn.MLPClassifier(max_iter=3, random_state=0, early_stopping=True, scoring="accuracy")
    wanted = clone(one).fit(X, y).predict_proba(X)
    one.fit(frame, y)
    np.testing.assert_array_equal(one.feature_names_in_, names)
    np.testing.assert_array_equal(one.predict_proba(frame), wanted)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(one.predict_proba(X), wanted)
    other = DataFrame({name: X[:, j] for j, name in enumerate(["a", "b", "c", "e"])})
    with pytest.raises(ValueError, match="feature names should match"):
        one.predict(other)
    with pytest.raises(ValueError, match="validation_data: The feature names should match"):
        one.fit(frame, y, validation_data=(other, y))
    mixed = DataFrame({"a": X[:, 0], "b": ["text"] * len(X)})
    with pytest.raises(ValueError, match=r"could not convert string to float|text"):
        fastdnn.MLPClassifier().fit(mixed, y)


@pytest.mark.parametrize("make_copy", COPIES)
def test_a_copy_goes_on_with_the_same_bits(make_copy: Callable[[Any], Any]) -> None:
    X, y = small()
    for solver in ("adam", "sgd", "rmsprop"):
        one = fastdnn.MLPClassifier((6,), solver=solver, dropout=0.3, random_state=1, batch_size=16)
        one.partial_fit(X, y, classes=[0, 1])
        other = make_copy(one)
        for _ in range(3):
            one.partial_fit(X, y)
        before = parameters_of(other)
        assert (before != parameters_of(one)).all()
        for _ in range(3):
            other.partial_fit(X, y)
        np.testing.assert_array_equal(parameters_of(other), parameters_of(one))
        assert other.loss_curve_ == one.loss_curve_
        assert all(np.shares_memory(W, other.model_.parameters) for W in other.coefs_)


def test_clone_and_parameters() -> None:
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(3,), solver=fastdnn.SGD(0.1, momentum=0.5), dropout=0.2
    )
    assert fastdnn.MLPRegressor(**one.get_params()).get_params() == one.get_params()
    other = clone(one.fit(*small()))
    assert other.get_params() == one.get_params()
    assert not hasattr(other, "coefs_")
    assert other.set_params(alpha=0.5, hidden_layer_sizes=4).alpha == 0.5
    for kind, (mine, theirs) in KINDS.items():
        assert mine().get_params().items() >= theirs().get_params().items(), kind


def test_parameters_are_views() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, y)
    assert all(np.shares_memory(a, one.model_.parameters) for a in one.coefs_ + one.intercepts_)
    np.testing.assert_array_equal(one.predict(X), one.model_.predict(X)[:, 0])
    before = one.predict(X)
    one.intercepts_[1] += 1.0
    np.testing.assert_allclose(one.predict(X), before + 1, rtol=1e-12)


def test_predict_heeds_arrays_of_the_users_own() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), activation="identity", max_iter=3, random_state=0
    ).fit(X, y)
    kept = one.model_.parameters.copy()
    one.coefs_ = [np.ones((4, 5)), np.ones((5, 1))]
    one.intercepts_ = [np.zeros(5), np.array([2.0])]
    for estimator in (one, *(make_copy(one) for make_copy in COPIES)):
        np.testing.assert_allclose(estimator.predict(X), 5 * X.sum(axis=1) + 2, rtol=1e-12)
        np.testing.assert_array_equal(estimator.model_.parameters, kept)
    one.set_params(learning_rate_init=1e-9).partial_fit(X, y)
    np.testing.assert_allclose(one.coefs_[0], 1, rtol=1e-8)


def test_a_shallow_copy_predicts_the_same() -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(copy.copy(one).predict_proba(X), one.predict_proba(X))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_number_of_threads_gives_the_same_bits(kind: str) -> None:
    X, y = data("digits")
    found = []
    for n in (1, 2, 4):
        one = KINDS[kind][0](
            hidden_layer_sizes=(64, 32), max_iter=2, random_state=0, n_threads=n, batch_size=256
        )
        seen: list[int] = []
        one.set_params(callbacks=[_Threads(seen)]).fit(X, y)
        assert seen == [n, n]
        found.append((parameters_of(one), one.predict(X)))
        assert fastdnn.get_num_threads() != 3
        with fastdnn.num_threads(3):
            one.predict(X)
            assert fastdnn.get_num_threads() == 3
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_array_equal(other[1], found[0][1])


class _Threads(fastdnn.Callback):
    """Notes how many threads an epoch has."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.seen.append(fastdnn.get_num_threads())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_threads_are_restored_after_an_error(kind: str) -> None:
    X, y = small()
    before = fastdnn.get_num_threads()
    diverges = KINDS[kind][0](
        n_threads=before + 1,
        activation="identity",
        solver="sgd",
        max_iter=50,
        learning_rate_init=1e200,
    )
    with pytest.raises(ValueError, match="non-finite"):
        diverges.fit(1e5 * X, y)
    assert fastdnn.get_num_threads() == before


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_wrong_data_are_refused(kind: str) -> None:
    X, y = small()
    one = KINDS[kind][0](max_iter=2, warm_start=True)
    with pytest.raises(NotFittedError):
        one.predict(X)
    holes = X.copy()
    holes[3, 1] = np.nan
    m = len(X)
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((holes, y), {}, "Input X contains NaN"),
        ((X, np.where(y, np.inf, y)), {}, "Input y contains|Unknown label type|infinity"),
        ((X[:5], y), {}, "inconsistent numbers of samples"),
        ((X[:, :2], y), {}, "X has 2 features"),
        ((X[0], y), {}, "Expected 2D array"),
        ((X, y, np.ones(3)), {}, r"sample_weight: want shape \(60,\), got \(3,\)"),
        ((X, y, np.zeros(m)), {}, "sample_weight: want at least one weight other than 0"),
        ((X, y, np.r_[-1.0, np.ones(m - 1)]), {}, "sample_weight: want weights >= 0, got -1"),
        ((X, y, np.full(m, np.nan)), {}, "sample_weight contains NaN"),
        ((X, y), {"validation_data": X}, r"validation_data: want a tuple \(X, y\).* got ndarray"),
        ((X, y), {"validation_data": (X,)}, "validation_data: want a tuple"),
        ((X, y), {"validation_data": (X[:, :2], y)}, "validation_data: X has 2 features"),
        ((X, y), {"validation_data": (holes, y)}, "validation_data: Input X contains NaN"),
        ((X, y), {"validation_data": (X, multilabel(X))}, "validation_data: y: want"),
        ((X, y), {"validation_data": (X, y, [1.0])}, "validation_data: sample_weight: want shape"),
        ((X, multilabel(X)), {}, "y: want"),
    ]
    one.fit(X, y)
    before = parameters_of(one)
    for arguments, settings, message in wrong:
        with pytest.raises(ValueError, match=message):
            one.fit(*arguments, **settings)
        np.testing.assert_array_equal(parameters_of(one), before)
