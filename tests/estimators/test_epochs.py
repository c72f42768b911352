"""An epoch's batches: their order, their weights, their share of the penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import fastdnn
from fastdnn.estimators._lbfgs import sum_of_squares
from tests.estimators.common import KINDS, assert_same, data, parameters_of, small, twins, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_weights_penalty_and_a_smaller_last_batch(kind: str) -> None:
    X, y = data("wine")  # 178 samples: a last batch of 28
    for weight in (None, weights(178)):
        for alpha in (0.0, 2.0):
            for solver in ("sgd", "adam"):
                settings = {"alpha": alpha, "solver": solver, "batch_size": 50}
                assert_same(*twins(kind, X, y, weight, **settings), X)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_without_shuffle(kind: str) -> None:
    X, y = data("wine")
    for weight in (None, weights(178)):
        ours, theirs = twins(kind, X, y, weight, shuffle=False, batch_size=30, alpha=0.5)
        assert_same(ours, theirs, X)
        other = clone(ours).set_params(shuffle=True).fit(X, y, weight)
        assert abs(other.loss_ / ours.loss_ - 1) > 1e-5


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_weight_of_two_is_a_sample_twice(kind: str) -> None:
    X, y = small(40)
    weight = np.where(np.arange(40) % 3 == 0, 2.0, 1.0)
    index = np.repeat(np.arange(40), weight.astype(int))
    one = KINDS[kind][0](
        hidden_layer_sizes=(5,), max_iter=8, random_state=0, shuffle=False, batch_size=1000
    )
    with pytest.warns(UserWarning, match="batch_size: got 1000, more than the 40 samples"):
        one.fit(X, y, 3 * weight)  # a common factor changes the penalty alone
    twice = clone(one).set_params(batch_size=len(index)).fit(X[index], y[index])
    assert one.alpha < 1e-3
    np.testing.assert_allclose(one.loss_curve_, twice.loss_curve_, rtol=1e-4)
    unpenalised = clone(one).set_params(alpha=0.0, batch_size=40).fit(X, y, 3 * weight)
    twice.set_params(alpha=0.0).fit(X[index], y[index])
    np.testing.assert_allclose(parameters_of(unpenalised), parameters_of(twice), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_batch_of_weight_0_has_no_gradient(alpha: float) -> None:
    # scikit-learn divides by its weights' sum
    X, y = small(60)
    weight = np.r_[np.ones(40), np.zeros(20)]
    settings: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "shuffle": False}
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=5, random_state=0, batch_size=20, alpha=alpha, **settings
    )
    without = clone(one).fit(X[:40], y[:40])
    one.fit(X, y, weight)
    np.testing.assert_array_equal(parameters_of(one), parameters_of(without))
    # its loss counts as 0
    np.testing.assert_allclose(one.loss_curve_, np.multiply(without.loss_curve_, 2 / 3), rtol=1e-12)


def test_a_penalty_is_left_as_it_was_made() -> None:
    X, y = small(50)
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=3, random_state=0, batch_size=40, alpha=4.0
    ).fit(X, y)
    error = np.square(one.predict(X) - y).mean()
    squares = sum((W**2).sum() for W in one.coefs_)
    assert sum_of_squares(one.model_.engine) == pytest.approx(squares, rel=1e-12)
    wanted = error + 4.0 / 2 / 40 * squares
    assert one.model_.evaluate(X, y)["loss"] == pytest.approx(wanted, rel=1e-12)
    assert one.model_.loss_and_gradients(X, y)[0] == pytest.approx(wanted, rel=1e-12)


def test_alpha_may_change_between_calls_of_partial_fit() -> None:
    X, y = small()
    for before, after in ((0.0, 3.0), (3.0, 0.0), (1.0, 3.0)):
        pair = [
            kind(hidden_layer_sizes=(5,), solver="sgd", momentum=0.0, random_state=0, alpha=before)
            for kind in KINDS["MLPRegressor"]
        ]
        for one in pair:
            one.partial_fit(X, y).set_params(alpha=after).partial_fit(X, y)
        assert_same(*pair, X)


def test_a_callback_sees_the_epoch_before_the_next_one() -> None:
    X, y = small()
    seen: list[Any] = []

    class Watch(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append((epoch, logs["loss"], logs["learning_rate"]))

        def on_batches_end(self, step: int, n_steps: int, logs: dict[str, float]) -> None:
            assert n_steps == 3

    one = fastdnn.MLPClassifier((5,), max_iter=4, batch_size=25, callbacks=[Watch()]).fit(X, y)
    assert seen == [(i, loss, 0.001) for i, loss in enumerate(one.loss_curve_)]
