"""`MLPRegressor`: one number or several for each sample, and its losses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

import fastdnn
from tests.estimators.common import KINDS, assert_same, data, small, twins, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_several_numbers() -> None:
    X, y = data("diabetes")
    Y = np.stack([y, X[:, 0] ** 2, -y], axis=1)
    m = len(y)
    for weight in (None, weights(m)):
        for settings in ({"alpha": 1.0}, {"early_stopping": True}, {"solver": "sgd", "alpha": 0.0}):
            ours, theirs = twins("MLPRegressor", X, Y, weight, **settings)
            assert_same(ours, theirs, X)
            assert ours.predict(X).shape == (m, 3)
            assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y), rel=1e-8)


def test_one_column_is_one_number() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0)
    wanted = clone(one).fit(X, y).predict(X)
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        found = one.fit(X, y[:, None]).predict(X)
    np.testing.assert_array_equal(found, wanted)
    assert wanted.shape == (60,)


def test_partial_fit_wants_as_many_numbers() -> None:
    X, y = small()
    one = fastdnn.MLPRegressor(hidden_layer_sizes=(5,)).partial_fit(X, y)
    with pytest.raises(ValueError, match="y: want 1 numbers for each sample as before, got 2"):
        one.partial_fit(X, np.stack([y, y], axis=1))


@pytest.mark.parametrize("loss", ["mean_squared_error", "mae", fastdnn.losses.Huber(0.5)])
def test_other_losses(loss: object) -> None:
    X, y = small()
    y = y + 0.25 * X[:, 1]
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), loss=loss, max_iter=4, random_state=0, alpha=0.0
    )
    one.fit(X, y, validation_data=(X, y))
    error = np.abs(one.predict(X) - y)
    huber = np.where(error <= 0.5, error**2 / 2, 0.5 * (error - 0.25))
    formulas = {"mean_squared_error": error**2, "mae": error}
    wanted = formulas.get(loss, huber) if isinstance(loss, str) else huber
    assert one.validation_curve_[-1] == pytest.approx(wanted.mean(), rel=1e-12)
    assert one.out_activation_ == "identity"


def test_a_loss_of_classes_is_refused() -> None:
    X, y = small()
    for loss in ("categorical_crossentropy", "sparse_categorical_crossentropy"):
        with pytest.raises(ValueError, match=f"loss: .*{loss}"):
            fastdnn.MLPRegressor(loss=loss).fit(X, y)


@pytest.mark.skipif(
    "loss" not in KINDS["MLPRegressor"][1]().get_params(),
    reason="scikit-learn's regressor has losses from 1.7 on",
)
def test_counts_by_poissons_loss() -> None:
    X, y = data("diabetes")
    counts = np.floor(np.exp(y))
    assert counts.min() == 0
    several = np.stack([counts, counts[::-1]], axis=1)
    for target in (counts, several):
        for weight in (None, weights(len(y))):
            for settings in ({"solver": "sgd", "alpha": 1.0}, {"early_stopping": True}):
                ours, theirs = twins(
                    "MLPRegressor", X, target, weight, loss="poisson", batch_size=100, **settings
                )
                assert_same(ours, theirs, X)
                assert ours.out_activation_ == "exp"
            lbfgs = {"solver": "lbfgs", "alpha": 1.0, "loss": "poisson"}
            assert_same(*twins("MLPRegressor", X, target, weight, **lbfgs), X, rtol=1e-6)
    with pytest.raises(ValueError, match="y: want values >= 0 with the loss 'poisson', got -1"):
        fastdnn.MLPRegressor("poisson").fit(X, counts - 1)
    one = fastdnn.MLPRegressor("poisson", (5,), max_iter=3).fit(
        X, counts, validation_data=(X, counts)
    )
    A = one.predict(X)
    deviance = A - counts + np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / A), 0)
    assert one.validation_curve_[-1] == pytest.approx(deviance.mean(), rel=1e-10)
