"""fastdnn's losses in the estimators: what the outputs become, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import d2_pinball_score, mean_pinball_loss

import fastdnn
from fastdnn import MLPClassifier, MLPRegressor, Quantile
from fastdnn.estimators import _losses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4))
y = X[:, 0] - X[:, 1] ** 2 + 0.3 * rng.normal(size=300)
CLASSES = np.array(["a", "b", "c"])[np.digitize(y, [-1.0, 0.0])]


def test_quantiles_have_an_output_each() -> None:
    q = [0.1, 0.5, 0.9]
    model = MLPRegressor(
        Quantile(q), (20,), random_state=0, max_iter=200, learning_rate_init=0.01, tol=0
    ).fit(X, y)
    A = model.predict(X)
    assert A.shape == (300, 3)
    assert model.n_outputs_ == 3
    # each output is the best of the three for its own quantile
    losses = [[mean_pinball_loss(y, A[:, j], alpha=alpha) for j in range(3)] for alpha in q]
    assert np.argmin(losses, axis=1).tolist() == [0, 1, 2]
    wanted = np.mean([d2_pinball_score(y, A[:, i], alpha=q[i]) for i in range(3)])
    assert model.score(X, y) == pytest.approx(wanted, rel=1e-12)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), A)


def test_quantiles_of_several_targets() -> None:
    both = np.stack([y, -2 * y], axis=1)
    loss = Quantile([0.25, 0.75])
    model = MLPRegressor(loss, (8,), random_state=0, max_iter=5, alpha=0, batch_size=300)
    A = model.fit(X, both).predict(X)
    assert A.shape == (300, 4)
    # outputs 0 and 1 belong to the first target; the loss is their mean before the last step
    losses = [
        mean_pinball_loss(both[:, i // 2], A[:, i], alpha=[0.25, 0.75][i % 2]) for i in range(4)
    ]
    model.set_params(warm_start=True, max_iter=1).fit(X, both)
    assert model.loss_curve_[-1] == pytest.approx(np.mean(losses), rel=1e-12)


@pytest.mark.parametrize("loss", ["huber", "mae", "log_cosh", fastdnn.Huber(0.5), Quantile(0.5)])
def test_losses_of_numbers_learn(loss: Any) -> None:
    model = MLPRegressor(loss, (20,), random_state=0, max_iter=80, learning_rate_init=0.02).fit(
        X, y
    )
    assert model.out_activation_ == "identity"
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        fastdnn.SparseCategoricalCrossentropy(label_smoothing=0.1),
        fastdnn.CategoricalFocalCrossentropy(gamma=1.0),
        "mean_squared_error",
    ],
)
def test_losses_of_one_class_out_of_several(loss: Any) -> None:
    model = MLPClassifier((20,), loss=loss, random_state=0, max_iter=80, learning_rate_init=0.02)
    model.fit(X, CLASSES)
    assert model.out_activation_ == "softmax"
    assert model.score(X, CLASSES) > 0.75


def test_smoothed_class_numbers_are_smoothed_rows() -> None:
    curves = [
        MLPClassifier((5,), loss=loss(label_smoothing=0.2), random_state=0, max_iter=5)
        .fit(X, CLASSES)
        .loss_curve_
        for loss in (fastdnn.SparseCategoricalCrossentropy, fastdnn.CategoricalCrossentropy)
    ]
    np.testing.assert_allclose(*curves, rtol=1e-12)


def test_the_cross_entropy_by_name_is_the_default() -> None:
    for labels, name in ((CLASSES, "categorical_crossentropy"), (y > 0, "binary_crossentropy")):
        curves = [
            MLPClassifier((5,), loss=loss, random_state=0, max_iter=5).fit(X, labels).loss_curve_
            for loss in ("log_loss", name)
        ]
        np.testing.assert_allclose(*curves, rtol=1e-12)


def test_a_loss_of_ones_own() -> None:
    own = fastdnn.ScalarLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="own")
    curves = [
        MLPRegressor(loss, (5,), random_state=0, max_iter=5).fit(X, y).loss_curve_
        for loss in (own, "mean_squared_error")
    ]
    np.testing.assert_allclose(*curves, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (fastdnn.BinaryCrossentropy(from_logits=True), y > 0, "loss: want from_logits=False"),
        ("binary_crossentropy", CLASSES, "loss: want one for targets that are one of 3 classes"),
        ("categorical_crossentropy", y > 0, "needs an output per class"),
        ("poisson", CLASSES, "loss: want one for targets that are one of 3 classes"),
        ("log_los", y > 0, "loss: unknown name 'log_los'"),
        (
            fastdnn.ArrayLoss(lambda y, a: (((a - y) ** 2).mean(1), 2 * (a - y)), name="o"),
            y > 0,
            "loss: want a ScalarLoss or a loss by name",
        ),
    ],
)
def test_what_does_not_suit_classes_is_refused(loss: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(loss=loss).fit(X, labels)


def test_what_does_not_suit_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="loss: want one for targets that are numbers"):
        MLPRegressor("sparse_categorical_crossentropy").fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match=r"y: want values >= 0 with the loss 'poisson', got -"):
        MLPRegressor("poisson").fit(X, y)
    with pytest.raises(ValueError, match=r"y: want values in \[0, 1\]"):
        MLPRegressor("binary_crossentropy").fit(X, y)


def test_d2_of_quantiles_weighs() -> None:
    loss, weights = Quantile([0.2, 0.8]), rng.uniform(size=300)
    A = np.stack([y - 0.5, y + 0.25], axis=1)
    found = _losses.d2_of_quantiles(loss, y.reshape(-1, 1), A, weights)
    wanted = [
        d2_pinball_score(y, a, alpha=q, sample_weight=weights)
        for a, q in zip(A.T, loss.parameters(), strict=True)
    ]
    assert found == pytest.approx(np.mean(wanted), rel=1e-12)
