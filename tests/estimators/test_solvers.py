"""Solvers: scikit-learn's by its parameters, and fastdnn's optimizers and schedules."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import fastdnn
from fastdnn.estimators._solvers import SOLVERS, optimizer_of
from fastdnn.optimizers import UncorrectedAdam
from tests.estimators.common import KINDS, assert_same, data, parameters_of, small, twins

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scikit_learns_descent(kind: str) -> None:
    X, y = data("diabetes" if kind == "MLPRegressor" else "cancer")
    for rate in ("constant", "invscaling", "adaptive"):
        for momentum, nesterov in ((0.0, True), (0.8, True), (0.8, False)):
            settings = {
                "solver": "sgd", "learning_rate": rate, "momentum": momentum, "power_t": 0.3,
                "nesterovs_momentum": nesterov, "learning_rate_init": 0.02,
            }  # fmt: skip
            assert_same(*twins(kind, X, y, **settings), X)


def test_the_adaptive_rate_falls_and_ends_the_training() -> None:
    X, y = data("diabetes")
    settings = {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 5e-3, "n_iter_no_change": 2,
        "max_iter": 300, "learning_rate_init": 0.05,
    }  # fmt: skip
    ours, theirs = twins("MLPRegressor", X, y, **settings)
    assert_same(ours, theirs, X)
    assert 20 < ours.n_iter_ < 300
    assert ours.model_.optimizer.learning_rate == theirs._optimizer.learning_rate < 1e-6


def test_scikit_learns_adam() -> None:
    X, y = data("cancer")
    for settings in (
        {"beta_1": 0.5, "beta_2": 0.9},
        {"epsilon": 0.1},  # far from what the corrected root would give
        {"beta_1": 0.0, "learning_rate_init": 0.01, "learning_rate": "adaptive"},
    ):
        assert_same(*twins("MLPClassifier", X, y, **settings), X)


def test_uncorrected_adam_is_its_formula() -> None:
    optimizer = UncorrectedAdam(learning_rate=0.1, beta_1=0.8, beta_2=0.9, epsilon=0.01)
    rows = optimizer.rule(np.arange(3)).coefficients
    for t, row in enumerate(rows, 1):
        step = 0.1 * np.sqrt(1 - 0.9**t) / (1 - 0.8**t)
        np.testing.assert_allclose(row[:8], [step, 0.8, 0.2, 0.9, 0.1, 1, 1, 0.01], rtol=1e-12)


@pytest.mark.parametrize("name", [*SOLVERS, "object"])
def test_every_solver_is_the_sequentials(name: str) -> None:
    X, y = small(60)
    y = y + 0.5 * X[:, 0]
    objects = {"object": fastdnn.SGD(0.1, momentum=0.5)}
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), solver=objects.get(name, name),
        alpha=0.0, shuffle=False, max_iter=4, random_state=0, batch_size=25, epsilon=0.02,
        loss="mean_squared_error",
    )  # fmt: skip
    start = clone(one).set_params(solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(X, y)
    model = fastdnn.Sequential(
        [fastdnn.Dense(5, "relu"), fastdnn.Dense(1)], input_size=4, dtype="float64"
    )
    model.compile(optimizer_of(one), "mean_squared_error")
    pairs = zip(start.coefs_, start.intercepts_, strict=True)
    model.set_weights([array for pair in pairs for array in pair])
    model.fit(X, y, epochs=4, batch_size=25, shuffle=False, verbose=0)
    one.fit(X, y)
    np.testing.assert_allclose(one.predict(X), model.predict(X)[:, 0], rtol=1e-10)
    assert one.loss_ == pytest.approx(model.history.history["loss"][-1], rel=1e-10)


def test_the_users_optimizer_is_not_changed() -> None:
    X, y = small()
    given = fastdnn.Adam(0.01, clipnorm=0.5)
    before = copy.deepcopy(given)
    plateau = fastdnn.ReduceLROnPlateau("loss", patience=1, min_delta=10.0)
    one = fastdnn.MLPClassifier((5,), solver=given, max_iter=5, callbacks=[plateau]).fit(X, y)
    assert one.solver is given
    assert given == before
    assert one.model_.optimizer.learning_rate < 0.01
    assert one.model_.optimizer.clipnorm == 0.5


def test_a_schedule_with_a_warm_up() -> None:
    X, y = small()
    rates: list[float] = []

    class Watch(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            rates.append(logs["learning_rate"])

    schedule = fastdnn.CosineDecay(0.1, 30, warmup_steps=6)
    for solver in SOLVERS:
        rates.clear()
        one = fastdnn.MLPClassifier(
            (5,), solver=solver, learning_rate=schedule, max_iter=10, batch_size=20,
            callbacks=[Watch()], random_state=0,
        ).fit(X, y)  # fmt: skip
        np.testing.assert_allclose(rates, schedule(np.arange(0, 30, 3)), rtol=1e-12)
        again = clone(one).set_params(learning_rate="constant", learning_rate_init=0.1).fit(X, y)
        assert again.loss_ != one.loss_


@pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
def test_the_gradient_is_clipped(name: str) -> None:
    X, y = small()
    settings: dict[str, Any] = {
        "solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "batch_size": 60,
        "max_iter": 1, "random_state": 0, "hidden_layer_sizes": (5,), "alpha": 0.0,
    }  # fmt: skip
    start = fastdnn.MLPRegressor(**settings | {"learning_rate_init": 1e-300}).fit(X, 100 * y)
    one = fastdnn.MLPRegressor(**settings, **{name: 0.25}).fit(X, 100 * y)
    moved = [
        np.linalg.norm(a - b)
        for a, b in zip(one.coefs_ + one.intercepts_, start.coefs_ + start.intercepts_, strict=True)
    ]
    if name == "clipnorm":
        np.testing.assert_allclose(moved, 0.25, rtol=1e-9)
    else:
        assert np.linalg.norm(moved) == pytest.approx(0.25, rel=1e-9)


def test_a_new_solver_has_no_memory_of_another() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), solver="adam", random_state=0)
    one.partial_fit(X, y)
    fresh = copy.deepcopy(one)
    fresh.coefs_ = [W.copy() for W in fresh.coefs_]  # which makes a new network
    for other in (one, fresh):
        other.set_params(solver="sgd").partial_fit(X, y)
    np.testing.assert_array_equal(parameters_of(one), parameters_of(fresh))
