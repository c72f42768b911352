"""L-BFGS: its loss and gradient, scikit-learn's numbers, and how it ends."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastdnn
from fastdnn.estimators._lbfgs import FullBatch
from tests.estimators.common import (
    KINDS,
    assert_same,
    data,
    multilabel,
    parameters_of,
    quietly,
    small,
    twins,
    weights,
)


def full_batch(one: Any, X: Any, y: Any, weight: Any) -> FullBatch:
    """The loss that an estimator's `fit` minimises."""
    quietly(one.fit, X, y, weight)
    seen = one._checked(X, y, weight, np.dtype(float), reset=False)
    # scikit-learn tells a squared error averaged over the outputs, whose sum it trains on
    assert one._averaged == (2.0 if np.shape(y) == (40, 2) else 1.0)
    return FullBatch(one.model_.engine, one.model_.lock, seen, one.alpha, one._summed, 1.0)


def test_the_gradient_is_that_of_the_loss() -> None:
    X, y = small(40)
    targets = {
        "MLPClassifier": [y, y + (X[:, 0] > 0), multilabel(X)],
        "MLPRegressor": [X[:, 0], X[:, :2]],
    }
    rng = np.random.default_rng(0)
    for kind, ys in targets.items():
        for Y in ys:
            for weight in (None, weights(40)):
                one = KINDS[kind][0](
                    hidden_layer_sizes=(5, 3), activation="tanh", alpha=0.7, solver="lbfgs",
                    max_iter=1, random_state=0,
                )  # fmt: skip
                of = full_batch(one, X, Y, weight)
                theta = rng.normal(size=of.engine.parameters.size)
                gradient = of.loss_and_gradient(theta)[1]
                h = 1e-5  # near the cube root of the rounding of the loss
                for direction in rng.normal(size=(4, theta.size)):
                    above = of.loss_and_gradient(theta + h * direction)[0]
                    below = of.loss_and_gradient(theta - h * direction)[0]
                    slope = (above - below) / (2 * h)
                    assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["digits", "cancer", "wine", "diabetes", "generated"])
def test_scikit_learns_numbers(name: str) -> None:
    X, y = data(name)
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    ours, theirs = twins(kind, X[:3000], y[:3000], solver="lbfgs")
    assert_same(ours, theirs, X, rtol=1e-6)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_weights_labels_and_penalties(kind: str) -> None:
    X, y = data("wine")
    for target in (y, multilabel(X)):
        for weight in (None, weights(178)):
            for activation in ("logistic", "tanh"):
                settings = {"alpha": 3.0, "activation": activation, "solver": "lbfgs"}
                ours, theirs = twins(kind, X, target, weight, **settings)
                assert_same(ours, theirs, X, rtol=1e-6)


def test_warm_start() -> None:
    X, y = data("wine")
    pair = twins("MLPClassifier", X, y, solver="lbfgs", warm_start=True, max_iter=4)
    for _ in range(2):
        for one in pair:
            quietly(one.fit, X, y)
        assert_same(*pair, X, rtol=1e-6)


def test_float32() -> None:
    X, y = data("diabetes")
    ours, theirs = twins("MLPRegressor", X.astype("float32"), y, solver="lbfgs", max_iter=5)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)
    assert ours.n_iter_ == theirs.n_iter_
    assert (
        ours.coefs_[0].dtype == ours.intercepts_[1].dtype == np.float32
    )  # scikit-learn's: float64


def test_the_curve_of_the_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,), solver="lbfgs", max_iter=6, random_state=0, verbose=True)
    quietly(one.fit, X, y)
    assert one.n_iter_ == len(one.loss_curve_) == 6
    assert one.loss_curve_ == sorted(one.loss_curve_, reverse=True)
    assert one.loss_ == one.best_loss_ == one.loss_curve_[-1]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Iteration {i}, loss = {l:.8f}" for i, l in enumerate(one.loss_curve_, 1)]


def test_how_it_ends() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs did not converge in 3 iterations"):
        one.set_params(max_iter=3).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="Increase max_iter or max_fun"):
        one.set_params(max_iter=200, max_fun=4).fit(X, y)
    assert one.n_iter_ < 5
    one.set_params(max_fun=15000, max_iter=5000, tol=1e-2).fit(X, y)  # without a warning
    assert one.n_iter_ < 5000


def test_ctrl_c_keeps_the_last_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0, max_iter=3)
    quietly(one.fit, X, y)
    other = copy.deepcopy(one).set_params(max_iter=50)
    calls, evaluate = [], FullBatch.loss_and_gradient

    def interrupted(self: FullBatch, theta: Any) -> Any:
        calls.append(theta)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return evaluate(self, theta)

    monkeypatch.setattr(FullBatch, "loss_and_gradient", interrupted)
    with pytest.warns(UserWarning, match="interrupted; the parameters are usable"):
        other.fit(X, y)
    assert 0 < other.n_iter_ == len(other.loss_curve_) < 50
    assert other.loss_ == other.loss_curve_[-1]
    monkeypatch.undo()
    quietly(one.set_params(max_iter=other.n_iter_).fit, X, y)
    np.testing.assert_array_equal(parameters_of(one), parameters_of(other))
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_steps_may_follow() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), solver="lbfgs", random_state=0, max_iter=20, alpha=1.0
    )
    quietly(one.fit, X, y)
    with pytest.raises(AttributeError, match="partial_fit"):
        one.partial_fit(X, y)
    before = one.loss_
    one.set_params(solver="adam").partial_fit(X, y)
    assert one.loss_ == pytest.approx(before, rel=0.05)
