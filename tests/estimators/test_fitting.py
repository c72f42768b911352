"""How a fit goes: early stopping, warm starts, dropout, and its ends before the last epoch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastdnn
from tests.estimators.common import (
    KINDS,
    assert_same,
    data,
    parameters_of,
    quietly,
    small,
    twins,
    weights,
)
from tests.nets import Spy


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_early_stopping(kind: str) -> None:
    for name in ("diabetes",) if kind == "MLPRegressor" else ("cancer", "digits"):
        X, y = data(name)
        for weight in (None, weights(len(y))):
            settings = {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.01}
            ours, theirs = twins(kind, X, y, weight, max_iter=60, **settings)
            assert ours.n_iter_ < 60
            assert_same(ours, theirs, X)
            if kind == "MLPClassifier":  # shares of samples, not sums that round
                assert ours.validation_scores_ == theirs.validation_scores_
            assert ours.best_loss_ is theirs.best_loss_ is None
            best = int(np.argmax(ours.validation_scores_)) + 1
            plain = clone(ours).set_params(max_iter=best)
            quietly(plain.fit, X, y, weight)
            np.testing.assert_array_equal(parameters_of(ours), parameters_of(plain))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_warm_start_twice(kind: str) -> None:
    X, y = data("wine")
    for solver in ("sgd", "adam"):
        settings = {"warm_start": True, "max_iter": 4, "solver": solver, "batch_size": 50}
        pair = twins(kind, X, y, **settings)
        for _ in range(2):
            for one in pair:
                quietly(one.fit, X, y)
            assert_same(*pair, X)
        assert pair[0].n_iter_ == 4
        assert len(pair[0].loss_curve_) == 12


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_regressor_and_classifier_fit_by_parts(kind: str) -> None:
    X, y = data("cancer")
    pair = [make(hidden_layer_sizes=(7,), random_state=1) for make in KINDS[kind]]
    for one in pair:
        first = {"classes": [0, 1]} if kind == "MLPClassifier" else {}
        one.partial_fit(X[:250], y[:250], **first)
        one.partial_fit(X[250:], y[250:])
        one.partial_fit(X, y)
    assert_same(*pair, X)
    for one in pair:  # a fit may be gone on with
        quietly(one.set_params(max_iter=3).fit, X, y)
        one.partial_fit(X, y)
    assert_same(*pair, X)


def test_dropout_follows_the_random_state() -> None:
    X, y = small(200)
    one = fastdnn.MLPClassifier((20,), dropout=0.5, max_iter=5, random_state=0)
    found = [
        parameters_of(quietly(clone(one).set_params(random_state=seed).fit, X, y))
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    without = quietly(clone(one).set_params(dropout=0.0).fit, X, y)
    assert (parameters_of(without) != found[0]).any()
    dropped = quietly(clone(one).fit, X, y)
    kinds = [type(layer).__name__ for layer in dropped.model_.layers]
    assert kinds == ["Dense", "Dropout", "Dense"]
    # predict drops nothing
    np.testing.assert_array_equal(dropped.predict_proba(X), dropped.predict_proba(X))


def test_dropout_may_change_between_calls_of_partial_fit() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, y)
    one.set_params(dropout=0.5).partial_fit(X, y)
    assert [type(layer).__name__ for layer in one.model_.layers] == ["Dense", "Dropout", "Dense"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_validation_samples_of_the_users_own(kind: str) -> None:
    X, y = small(200)
    one = KINDS[kind][0](
        hidden_layer_sizes=(5,), max_iter=40, random_state=0, early_stopping=True, tol=0,
        learning_rate_init=0.01, n_iter_no_change=3,
    )  # fmt: skip
    rng = np.random.RandomState(0)
    strata = y if kind == "MLPClassifier" else None
    # the split comes first of all that random_state makes, but for the start
    quietly(one.fit, X, y)
    for _ in range(2):
        rng.uniform(size=(4 + 1) * 5 if _ == 0 else (5 + 1))
    train, unseen = train_test_split(
        np.arange(200), random_state=rng, test_size=0.1, stratify=strata
    )
    last = KINDS[kind][0](**one.get_params())
    quietly(last.fit, X[train], y[train], validation_data=(X[unseen], y[unseen]))
    assert len(last.validation_scores_) == len(last.validation_curve_) == len(last.loss_curve_)
    assert one.validation_scores_[0] == pytest.approx(last.validation_scores_[0], abs=0.2)
    assert last.best_validation_score_ == max(last.validation_scores_)
    assert last.score(X[unseen], y[unseen]) == pytest.approx(last.best_validation_score_, rel=1e-9)


def test_convergence_warnings() -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="reached max_iter=3 epochs and has not converged"):
        one.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.set_params(tol=10.0, n_iter_no_change=1, max_iter=50).fit(X, y)
        one.partial_fit(X, y)
    assert one.n_iter_ == 1
    with pytest.warns(UserWarning, match="batch_size: got 61, more than the 60 samples"):
        one.set_params(batch_size=61).fit(X, y)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_divergence(kind: str) -> None:
    X, y = small()
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (5,), "activation": "identity", "solver": "sgd", "max_iter": 200,
        "learning_rate_init": 1e3, "random_state": 0, "batch_size": 20,
    }  # fmt: skip
    X = 1e3 * X
    one = KINDS[kind][0](**settings)
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* training diverged"):
        quietly(one.fit, X, y)
    assert np.isnan(one.loss_curve_[-1])
    assert one.n_iter_ == len(one.loss_curve_) < 200
    for more in ({"early_stopping": True}, {"restore_best_weights": True}):
        stops = KINDS[kind][0](**settings, **more)
        with pytest.warns(ConvergenceWarning, match="parameters of the best epoch are kept"):
            stops.fit(X, y)
        assert np.isfinite(parameters_of(stops)).all()
        assert np.isnan(stops.loss_curve_[-1])
        assert np.isfinite(stops.predict(X)).all()


@pytest.mark.parametrize("more", [{}, {"early_stopping": True}])
def test_ctrl_c_leaves_a_usable_model(more: dict[str, Any]) -> None:
    X, y = small(100)

    class Interrupt(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    one = fastdnn.MLPClassifier(
        (5,), max_iter=30, random_state=0, callbacks=[Interrupt()], n_threads=1, **more
    )
    before = fastdnn.get_num_threads()
    with pytest.warns(UserWarning, match="interrupted; the parameters are usable"):
        one.fit(X, y)
    assert fastdnn.get_num_threads() == before
    assert one.n_iter_ == len(one.loss_curve_) == 4
    plain = clone(one).set_params(callbacks=None, max_iter=4)
    quietly(plain.fit, X, y)
    np.testing.assert_array_equal(one.predict_proba(X), plain.predict_proba(X))
    one.set_params(early_stopping=False).partial_fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fastdnns_callbacks(tmp_path: Path) -> None:
    X, y = small(100)
    validation = small(50, seed=1)
    stop = fastdnn.EarlyStopping("val_loss", patience=2, min_delta=10.0)
    spy, history = Spy(), fastdnn.History()
    file = tmp_path / "net-{epoch}-{val_score:.2f}.safetensors"
    one = fastdnn.MLPClassifier(
        (5,), max_iter=20, random_state=0,
        callbacks=[spy, history, fastdnn.ModelCheckpoint(file), stop],
    )  # fmt: skip
    one.fit(X, y, validation_data=validation)
    assert one.n_iter_ == stop.stopped_epoch + 1 == 3  # type: ignore[operator]
    assert spy.model is one.model_
    assert [call[0] for call in spy.calls if call[0] != "batches_end"] == [
        "train_begin", *["epoch_begin", "epoch_end"] * 3, "train_end",
    ]  # fmt: skip
    assert set(history.history) == {"loss", "learning_rate", "val_loss", "val_score"}
    assert history.history["loss"] == one.loss_curve_
    assert history.history["val_loss"] == one.validation_curve_
    assert history.history["val_score"] == one.validation_scores_
    saved = sorted(tmp_path.iterdir())
    assert len(saved) == 3
    np.testing.assert_array_equal(
        fastdnn.load(saved[-1]).predict(X)[:, 0], one.predict_proba(X)[:, 1]
    )
    plateau = fastdnn.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=10.0)
    one.set_params(callbacks=[plateau, history], max_iter=4)
    one.fit(X, y, validation_data=validation)
    assert history.history["learning_rate"][-4:] == [0.001, 0.001, 0.0005, 0.00025]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = small(100)
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0, early_stopping=True)
    one.set_params(verbose=True).fit(X, y)
    shown = capsys.readouterr()
    wanted = [
        line
        for i in range(3)
        for line in (
            f"Iteration {i + 1}, loss = {one.loss_curve_[i]:.8f}",
            f"Validation score: {one.validation_scores_[i]:f}",
        )
    ]
    assert shown.out.splitlines() == wanted
    assert shown.err == ""
    one.set_params(verbose="bar").fit(X, y)
    shown = capsys.readouterr()
    assert shown.out == ""
    for i, loss in enumerate(one.loss_curve_, 1):
        assert f"epoch {i}/3  loss {loss:.4f}" in shown.err
    one.set_params(verbose="bar", early_stopping=False).partial_fit(X, y)
    assert "epoch 1/1" in capsys.readouterr().err
    one.set_params(verbose=False).fit(X, y)
    assert capsys.readouterr() == ("", "")
