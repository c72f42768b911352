"""Whole jobs with fixed seeds, and every option of `fit` means what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import datasets
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

import fastdnn
from tests.kernels.common import LAYOUTS

Array = np.ndarray[Any, Any]


def network(*units: int, n_0: int, output: str, activation: str = "relu", **options: Any) -> Any:
    """A model with dense layers of `units`, the last with the activation `output`."""
    layers = [fastdnn.Dense(n, activation) for n in units[:-1]]
    layers += [fastdnn.Dense(units[-1], output)]
    return fastdnn.Sequential(layers, input_size=n_0, **{"seed": 0, **options})


# ------------------------------------------------------------------------------------- four jobs
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xor_is_learned_exactly(dtype: str) -> None:
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=dtype)
    y = np.array([0, 1, 1, 0])
    model = network(4, 1, n_0=2, activation="tanh", output="sigmoid", dtype=dtype)
    model.compile(fastdnn.Adam(learning_rate=0.05), "binary_crossentropy", ["accuracy"])
    model.fit(X, y, epochs=500, batch_size=4, verbose=0)
    A = model.predict(X)
    assert A.shape == (4, 1)
    assert A.dtype == dtype
    assert np.array_equal(A[:, 0] > 0.5, y == 1)
    assert np.abs(A[:, 0] - y).max() < 0.05
    assert model.evaluate(X, y)["accuracy"] == 1


def test_digits() -> None:
    X, y = datasets.load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=0.25, stratify=y, random_state=0
    )
    layers = [fastdnn.Dense(100, "relu"), fastdnn.Dropout(0.2), fastdnn.Dense(10, "softmax")]
    model = fastdnn.Sequential(layers, input_size=64, seed=0)
    model.compile(fastdnn.Adam(0.003), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(X_train, y_train, epochs=40, batch_size=32, verbose=0)
    result = model.evaluate(X_test, y_test)
    assert result["accuracy"] >= 0.97
    assert result["accuracy"] == np.mean(model.predict(X_test).argmax(axis=1) == y_test)
    assert history.history["loss"][-1] < 0.05 < 0.5 < history.history["loss"][0]


def test_breast_cancer() -> None:
    """Each of the 569 samples is classified by a network that has not seen it."""
    X, y = datasets.load_breast_cancer(return_X_y=True)
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        scaler = StandardScaler().fit(X[train])
        regularizer = fastdnn.L2(0.01)
        layers = [
            fastdnn.Dense(32, "relu", kernel_regularizer=regularizer),
            fastdnn.Dropout(0.2),
            fastdnn.Dense(1, "sigmoid", kernel_regularizer=regularizer),
        ]
        model = fastdnn.Sequential(layers, input_size=30, seed=0)
        model.compile("adam", "binary_crossentropy", ["accuracy"])
        model.fit(scaler.transform(X[train]), y[train], epochs=50, batch_size=32, verbose=0)
        scores.append(model.evaluate(scaler.transform(X[test]), y[test])["accuracy"])
    assert np.mean(scores) >= 0.96


def test_diabetes() -> None:
    """Each of the 442 patients is predicted by a network that has not seen them."""
    X, y = datasets.load_diabetes(return_X_y=True)
    X = X * 21  # the columns come with mean 0 and norm 1, so this makes their deviation 1
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        mean, deviation = y[train].mean(), y[train].std()
        model = network(32, 1, n_0=10, activation="tanh", output="identity")
        model.compile(fastdnn.AdamW(learning_rate=0.003), "mean_squared_error")
        model.fit(
            X[train],
            (y[train] - mean) / deviation,
            epochs=100,
            batch_size=32,
            validation_split=0.15,
            callbacks=[fastdnn.EarlyStopping(patience=10, restore_best_weights=True)],
            verbose=0,
        )
        scores.append(r2_score(y[test], model.predict(X[test])[:, 0] * deviation + mean))
    assert np.mean(scores) >= 0.45


# ------------------------------------------------------------------------------------ the options
@pytest.fixture
def blobs() -> tuple[Array, Array]:
    """Three classes of 40 samples each that overlap, shuffled."""
    X, y = datasets.make_blobs(120, 5, centers=3, cluster_std=4.0, random_state=0)
    return X / 5, y


def classifier(optimizer: Any = "adam", **options: Any) -> Any:
    model = network(8, 3, n_0=5, output="softmax", dtype="float64", **options)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


FIT: dict[str, Any] = {"epochs": 5, "batch_size": 32, "verbose": 0}


def test_samples_of_weight_zero_are_as_good_as_removed(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    keep = np.arange(len(y)) % 3 > 0
    # The divisor is the number of samples, whatever they weigh: what is kept makes up for the rest.
    weights = np.where(keep, len(y) / keep.sum(), 0.0)
    weighted, without = classifier(), classifier()
    options = {**FIT, "batch_size": len(y)}
    history = weighted.fit(X, y, sample_weight=weights, **options)
    expected = without.fit(X[keep], y[keep], **options)
    np.testing.assert_allclose(weighted.parameters, without.parameters, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-9)
    loss = weighted.evaluate(X, y, sample_weight=weights)["loss"]
    assert loss == pytest.approx(without.evaluate(X[keep], y[keep])["loss"], rel=1e-9)


def test_samples_of_weight_two_are_as_good_as_two(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    weights = 1.0 + (np.arange(len(y)) % 2)
    twice = np.repeat(np.arange(len(y)), weights.astype(int))
    weighted, repeated = classifier(), classifier()
    scale = len(y) / len(twice)
    weighted.fit(X, y, sample_weight=weights * scale, **{**FIT, "batch_size": len(twice)})
    repeated.fit(X[twice], y[twice], **{**FIT, "batch_size": len(twice)})
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-9, atol=1e-11)


def test_class_weight_is_a_weight_for_each_sample(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    of_class = {0: 2.0, 1: 0.0, 2: 0.5}
    of_sample = np.array([of_class[label] for label in y])
    by_class, by_sample, both, product, plain = (classifier() for _ in range(5))
    by_class.fit(X, y, class_weight=of_class, **FIT)
    by_sample.fit(X, y, sample_weight=of_sample, **FIT)
    assert np.array_equal(by_class.parameters, by_sample.parameters)
    both.fit(X, y, class_weight=of_class, sample_weight=of_sample, **FIT)
    product.fit(X, y, sample_weight=of_sample**2, **FIT)
    np.testing.assert_allclose(both.parameters, product.parameters, rtol=1e-12)
    plain.fit(X, y, **FIT)
    assert not np.allclose(by_class.parameters, plain.parameters)
    # A class of weight 0 is forgotten, so fewer of its samples are found than without weights.
    longer = {**FIT, "epochs": 100}
    by_class.fit(X, y, class_weight=of_class, **longer)
    plain.fit(X, y, **longer)
    found = [np.sum(model.predict(X).argmax(axis=1) == 1) for model in (by_class, plain)]
    assert found[0] < found[1]


def test_validation_split_is_the_last_samples_and_trains_on_none(
    blobs: tuple[Array, Array],
) -> None:
    X, y = blobs
    split, given = classifier(), classifier()
    history = split.fit(X, y, validation_split=0.25, **FIT).history
    expected = given.fit(X[:90], y[:90], validation_data=(X[90:], y[90:]), **FIT).history
    assert np.array_equal(split.parameters, given.parameters)
    assert history == expected
    assert set(history) >= {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 5 for values in history.values())
    result = split.evaluate(X[90:], y[90:])
    assert history["val_loss"][-1] == pytest.approx(result["loss"], rel=1e-12)
    assert history["val_accuracy"][-1] == result["accuracy"]


def test_validation_changes_no_parameter(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    with_it, without = classifier(), classifier()
    with_it.fit(X, y, validation_data=(X, y), **FIT)
    without.fit(X, y, **FIT)
    assert np.array_equal(with_it.parameters, without.parameters)


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    model, steps = classifier("sgd"), classifier("sgd")
    history = model.fit(X, y, epochs=1, batch_size=50, shuffle=False, verbose=0)
    losses = [
        steps.train_on_batch(X[start : start + 50], y[start : start + 50])["loss"]
        for start in (0, 50, 100)
    ]
    assert history.history["loss"][0] == pytest.approx(np.average(losses, weights=[50, 50, 20]))
    assert np.array_equal(model.parameters, steps.parameters)


def test_shuffling_visits_every_sample_once_in_another_order(blobs: tuple[Array, Array]) -> None:
    """With a learning rate of zero the epoch's loss is the data's, whatever the order."""
    X, y = blobs
    still = classifier(fastdnn.SGD(learning_rate=0.0))
    expected = still.evaluate(X, y)["loss"]
    history = still.fit(X, y, **{**FIT, "epochs": 2}).history
    assert history["loss"] == pytest.approx([expected, expected], rel=1e-12)
    shuffled, in_order = classifier(), classifier()
    shuffled.fit(X, y, **FIT)
    in_order.fit(X, y, shuffle=False, **FIT)
    assert not np.array_equal(shuffled.parameters, in_order.parameters)


def test_the_penalty_is_part_of_the_loss(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    layers = [
        fastdnn.Dense(3, "softmax", kernel_regularizer=fastdnn.L1L2(0.1, 0.2)),
    ]
    model = fastdnn.Sequential(layers, input_size=5, dtype="float64", seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    A, W = model.predict(X), layers[0].W
    plain = -np.mean(np.log(A[np.arange(len(y)), y]))
    penalty = 0.1 * np.abs(W).sum() + 0.2 * (W**2).sum()
    assert model.evaluate(X, y)["loss"] == pytest.approx(plain + penalty, rel=1e-12)


def test_early_stopping_restores_the_best_epoch(blobs: tuple[Array, Array]) -> None:
    X, y = blobs
    model = classifier(fastdnn.Adam(learning_rate=0.1))
    stop = fastdnn.EarlyStopping(patience=4, restore_best_weights=True)
    history = model.fit(
        X, y, epochs=300, batch_size=8, validation_split=0.4, callbacks=[stop], verbose=0
    ).history
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) == best + 1 + 4 < 300
    found = model.evaluate(X[72:], y[72:])["loss"]
    assert found == pytest.approx(history["val_loss"][best], rel=1e-12)


def test_reduce_on_plateau_and_schedules_set_the_learning_rate(
    blobs: tuple[Array, Array],
) -> None:
    X, y = blobs
    model = classifier(fastdnn.SGD(learning_rate=0.5))
    plateau = fastdnn.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=1, min_delta=10.0)
    history = model.fit(X, y, callbacks=[plateau], **FIT).history
    rates = history["learning_rate"]
    assert rates[0] == 0.5
    assert rates[-1] < 0.05
    assert rates == sorted(rates, reverse=True)
    # 4 steps an epoch: from the third epoch on, steps too small to change any parameter.
    step = fastdnn.StepDecay(0.5, 1e-30, every_steps=8)
    frozen, short = (classifier(fastdnn.SGD(learning_rate=rate)) for rate in (step, 0.5))
    frozen.fit(X, y, shuffle=False, **FIT)
    short.fit(X, y, shuffle=False, **{**FIT, "epochs": 2})
    assert np.array_equal(frozen.parameters, short.parameters)


def test_callbacks_are_called_in_order_and_can_stop_the_training(
    blobs: tuple[Array, Array],
) -> None:
    calls: list[str] = []

    class Recorder(fastdnn.Callback):
        def on_train_begin(self) -> None:
            calls.append("train")

        def on_epoch_begin(self, epoch: int) -> None:
            calls.append(f"begin {epoch}")

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            calls.append(f"end {epoch}")
            assert set(logs) >= {"loss", "accuracy", "learning_rate"}
            self.model.stop_training = epoch == 3

        def on_train_end(self) -> None:
            calls.append("trained")

    X, y = blobs
    history = classifier().fit(X, y, epochs=10, initial_epoch=2, callbacks=[Recorder()], verbose=0)
    assert calls == ["train", "begin 2", "end 2", "begin 3", "end 3", "trained"]
    assert history.epoch == [2, 3]


SAME: dict[str, Callable[[Array], Array]] = {
    **LAYOUTS,
    "float32": lambda x: x.astype(np.float32),
    "int": lambda x: x.astype(np.int64),
}


@pytest.mark.parametrize("layout", SAME)
def test_the_layout_of_the_data_changes_nothing(blobs: tuple[Array, Array], layout: str) -> None:
    X, y = np.round(blobs[0] * 4), blobs[1]  # whole numbers: exact in every dtype
    same = SAME[layout](X)
    expected, found = classifier(), classifier()
    expected.fit(X, y, **FIT)
    found.fit(same, y, **FIT)
    assert np.array_equal(found.parameters, expected.parameters)
    assert np.array_equal(found.predict(same), expected.predict(X))
