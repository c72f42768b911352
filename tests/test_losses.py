"""Losses' names and settings; what they compute, test_gradients and tests/kernels show too."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import kernels, losses
from fastdnn.losses import LOSSES
from tests import naive
from tests.kernels.common import draw

RNG = np.random.default_rng(0)
FROM_LOGITS = [name for name, entry in LOSSES.items() if hasattr(entry(), "label_smoothing")]


def test_every_entry_of_the_kernels_has_its_class() -> None:
    assert set(LOSSES) == set(kernels.LOSSES)
    assert all(hasattr(fastdnn, kind.__name__) for kind in LOSSES.values())


@pytest.mark.parametrize("name", LOSSES)
def test_a_name_stands_for_its_loss(name: str) -> None:
    found = losses.get(name, 2)
    assert type(found) is LOSSES[name]
    assert found == LOSSES[name]() == losses.get(LOSSES[name](), 2)
    assert found.name == name
    # a class's defaults are those of the kernel
    given, own = found.parameters(), kernels.LOSSES[name].parameters
    assert given in ((), own)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("mse", "mean_squared_error"),
        ("mae", "mean_absolute_error"),
        ("logcosh", "log_cosh"),
    ],
)
def test_other_names(alias: str, name: str) -> None:
    assert losses.get(alias, 1) == losses.get(name, 1)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (fastdnn.Huber(2), "Huber(delta=2)"),
        (fastdnn.Quantile([0.1, 0.9]), "Quantile(q=(0.1, 0.9))"),
        (fastdnn.Poisson(), "Poisson()"),
        (
            fastdnn.BinaryCrossentropy(label_smoothing=0.1),
            "BinaryCrossentropy(from_logits=False, label_smoothing=0.1)",
        ),
    ],
)
def test_a_loss_reads_as_it_is_written(loss: Any, text: str) -> None:
    assert repr(loss) == text
    assert eval(text, vars(fastdnn).copy()) == loss
    assert len({loss, eval(text, vars(fastdnn).copy())}) == 1


def test_losses_are_frozen() -> None:
    assert fastdnn.Huber(2) != fastdnn.Huber() == losses.get("huber", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fastdnn.Huber().delta = 3.0  # type: ignore[misc]


def linear(n: int, loss: Any, activation: str | None = None) -> fastdnn.Sequential:
    """A model of one layer whose Z are its inputs."""
    model = fastdnn.Sequential([fastdnn.Dense(n, activation)], input_size=n, dtype="float64")
    model.compile("sgd", loss)
    model.layers[0].W[...] = np.eye(n)  # type: ignore[union-attr]
    return model


def check(loss: Any, Z: Any, y: Any, Y: Any, activation: str, name: str, **settings: Any) -> None:
    """The model's loss and dZ are the specification's of Y (n, m)."""
    output = None if getattr(loss, "from_logits", False) else activation
    model = linear(Z.shape[1], loss, output)
    wanted, dZ = naive.loss_and_dZ(Z.T, Y, activation, name, **settings)
    found, [(_, db)] = model.loss_and_gradients(Z, y)
    assert found == pytest.approx(wanted.mean(), rel=1e-12)
    np.testing.assert_allclose(db, dZ.mean(axis=1), rtol=1e-10, atol=1e-14)
    logs = model.evaluate(Z, y)
    assert logs["loss"] == pytest.approx(wanted.mean(), rel=1e-12)


@pytest.mark.parametrize("delta", [0.25, 1.0, 4.0])
def test_huber_delta_is_used(delta: float) -> None:
    # errors of 1/2 and 3; the loss is quadratic up to delta, then linear
    expected = [e**2 / 2 if e <= delta else delta * (e - delta / 2) for e in (0.5, 3.0)]
    found = linear(1, fastdnn.Huber(delta)).evaluate([[0.5], [-3.0]], [0, 0])["loss"]
    assert found == pytest.approx(sum(expected) / 2)


# --------------------------------------------------------------------------------------- quantile
@pytest.mark.parametrize("column", [False, True])
def test_several_quantiles_of_one_target(column: bool) -> None:
    Z, y = draw(1, 50, 3), draw(2, 50)
    given = y[:, None] if column else y
    q = [0.1, 0.5, 0.9]
    check(fastdnn.Quantile(q), Z, given, np.tile(y, (3, 1)), "identity", "quantile", q=q)


def test_quantiles_of_several_targets_lie_side_by_side() -> None:
    Z, y = draw(1, 50, 6), draw(2, 50, 2)
    Y = np.repeat(y, 3, axis=1).T
    q = [0.2, 0.5, 0.7]
    check(fastdnn.Quantile(q), Z, y, Y, "identity", "quantile", q=q * 2)
    check(fastdnn.Quantile(0.3), Z[:, :2], y, y.T, "identity", "quantile", q=0.3)


def test_quantiles_are_learnt() -> None:
    y = RNG.exponential(size=4000)
    model = fastdnn.Sequential([fastdnn.Dense(3)], input_size=1, seed=0)
    model.compile(fastdnn.Adam(0.02), fastdnn.Quantile([0.1, 0.5, 0.9]))
    model.fit(np.zeros((4000, 1)), y, epochs=30, batch_size=100, verbose=0)
    model.fit(np.zeros((4000, 1)), y, epochs=10, batch_size=4000, verbose=0)
    (found,) = model.predict([[0.0]])
    shares = [(y < one).mean() for one in found]
    assert shares == pytest.approx([0.1, 0.5, 0.9], abs=0.03)


def test_quantiles_need_an_output_each() -> None:
    with pytest.raises(ValueError, match=r"^loss: Quantile\(q=\(0.1, 0.9\)\) needs 2 outputs for "):
        losses.get(fastdnn.Quantile([0.1, 0.9]), 3)
    model = linear(4, fastdnn.Quantile((0.1, 0.9)))
    with pytest.raises(ValueError, match=r"^y: want shape \(5, 2\).*'quantile', got \(5, 4\)"):
        model.evaluate(np.zeros((5, 4)), np.zeros((5, 4)))


# ------------------------------------------------------------------------- smoothing and logits
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("name", FROM_LOGITS)
def test_smoothing_and_logits(name: str, from_logits: bool, smoothing: float) -> None:
    Z, labels = 3 * draw(1, 50, 4), RNG.integers(4, size=50)
    Y = naive.one_hot(labels, 4)
    entry = kernels.LOSSES[name]
    n = 2 if entry.kind == "multilabel" else 4
    loss = LOSSES[name](from_logits=from_logits, label_smoothing=smoothing)  # type: ignore[call-arg]
    y = labels if entry.labels else Y.T
    (activation,) = entry.fused
    check(loss, Z, y, naive.smooth(Y, smoothing, n), activation, name)


@pytest.mark.parametrize("y_type", [bool, np.int8, np.float16, np.float32])
def test_smoothed_targets_do_not_depend_on_the_dtype_that_they_came_in(y_type: Any) -> None:
    loss, X = fastdnn.CategoricalCrossentropy(label_smoothing=0.1), np.ones((3, 1))
    model = fastdnn.Sequential([fastdnn.Dense(3, "softmax")], input_size=1, seed=0, dtype="float64")
    model.compile("sgd", loss)
    assert model.evaluate(X, np.eye(3, dtype=y_type)) == model.evaluate(X, np.eye(3))


@pytest.mark.parametrize("name", FROM_LOGITS)
def test_from_logits_the_outputs_are_logits_and_training_is_the_same(name: str) -> None:
    (activation,) = kernels.LOSSES[name].fused
    X, labels = draw(1, 50, 4), RNG.integers(3, size=50)
    y = labels if kernels.LOSSES[name].labels else np.eye(3)[labels]
    models = []
    for last, loss in ((activation, name), (None, LOSSES[name](from_logits=True))):  # type: ignore[call-arg]
        model = fastdnn.Sequential([fastdnn.Dense(5, "tanh"), fastdnn.Dense(3, last)], seed=0)
        model.compile("adam", loss, ["accuracy", lambda y, p: p.sum()])
        model.fit(X, y, epochs=3, batch_size=16, verbose=0)
        models.append(model)
    np.testing.assert_array_equal(models[0].parameters, models[1].parameters)
    Z = models[1].predict(X)
    A = naive.ACTIVATIONS[activation][0](Z.T.astype(float)).T
    np.testing.assert_allclose(models[0].predict(X), A, rtol=1e-5)
    logs = [model.evaluate(X, y) for model in models]
    assert logs[0]["loss"] == logs[1]["loss"]
    assert logs[0]["accuracy"] == logs[1]["accuracy"]
    # a metric of one's own is given what predict gives
    assert logs[1]["<lambda>"] == pytest.approx(Z.sum(), rel=1e-5)
    histories = [model.history.history["accuracy"] for model in models]
    assert histories[0] == histories[1]


def test_focal_settings_are_used() -> None:
    Z, Y = 2 * draw(1, 50, 3), RNG.integers(2, size=(3, 50)).astype(float)
    settings: dict[str, Any] = {"gamma": 1.5, "alpha": 0.7, "apply_class_balancing": True}
    name = "binary_focal_crossentropy"
    check(fastdnn.BinaryFocalCrossentropy(**settings), Z, Y.T, Y, "sigmoid", name, **settings)
    settings = {"gamma": 1.5, "alpha": 0.7}
    name, Y = "categorical_focal_crossentropy", naive.one_hot(RNG.integers(3, size=50), 3)
    check(fastdnn.CategoricalFocalCrossentropy(**settings), Z, Y.T, Y, "softmax", name, **settings)


def test_metrics_see_the_targets_that_were_given() -> None:
    model = linear(3, fastdnn.CategoricalCrossentropy(label_smoothing=0.5), "softmax")
    seen = []
    model.compile("sgd", model.loss, [lambda y, p: seen.append(y) or 0.0])
    Y = np.eye(3)
    model.evaluate(np.zeros((3, 3)), Y)
    np.testing.assert_array_equal(seen[0], Y)


# ---------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("msee", ValueError, "loss: unknown name 'msee'; did you mean 'mse'"),
        ("binary_crossentropi", ValueError, "loss: .*did you mean 'binary_crossentropy'"),
        ("cross_entropy", ValueError, "loss: .*Known: binary_crossentropy, binary_focal"),
        (None, TypeError, "loss: want one of .* as a string, got None"),
        (fastdnn.Huber, TypeError, "loss: want one of .* as a string, got <class .*Huber"),
        (losses.Loss(), TypeError, "loss: want one of .* or its class's object, got Loss"),
    ],
)
def test_wrong_losses(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        losses.get(wrong, 1)


@pytest.mark.parametrize(
    "name", [name for name, entry in kernels.LOSSES.items() if entry.least_outputs == 2]
)
def test_classes_need_an_output_each(name: str) -> None:
    for loss in (name, LOSSES[name]()):
        with pytest.raises(ValueError, match=f"^loss: '{name}' needs .* use 'binary_crossentropy'"):
            losses.get(loss, 1)


@pytest.mark.parametrize("activation", fastdnn.activations.ACTIVATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_wants_outputs_that_it_can_take(name: str, activation: str) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(3, activation)], input_size=4)
    entry, (lowest, highest) = kernels.LOSSES[name], kernels.ACTIVATIONS[activation].outputs
    low, high = entry.outputs
    if low <= lowest and highest <= high:
        model.compile("sgd", name)
        return
    (wanted,) = entry.fused
    what = "prob.*" if high == 1 else "outputs >= 0"
    message = f"^loss: '{name}' takes {what}: want '{wanted}' as .*, got '{activation}'$"
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", LOSSES[name]())
    assert not hasattr(model, "loss")


@pytest.mark.parametrize("activation", [a for a in kernels.ACTIVATIONS if a != "identity"])
@pytest.mark.parametrize("name", FROM_LOGITS)
def test_logits_want_a_linear_layer(name: str, activation: str) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(3, activation)], input_size=4)
    message = r"^loss: .*from_logits=True.* takes logits: want no activation .*got '" + activation
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", LOSSES[name](from_logits=True))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastdnn.Huber(0.0), ValueError, "Huber.delta: want a number in (0, inf), got 0.0"),
        (lambda: fastdnn.Huber(-1), ValueError, "Huber.delta: want a number in (0, inf), got -1"),
        (lambda: fastdnn.Huber(float("nan")), ValueError, "Huber.delta: want a number in (0, inf)"),
        (lambda: fastdnn.Huber("1"), TypeError, "Huber.delta: want a number in (0, inf), got '1'"),  # type: ignore[arg-type]
        (lambda: fastdnn.Quantile(0), ValueError, "Quantile.q: want a number in (0, 1), got 0"),
        (lambda: fastdnn.Quantile([0.5, 1]), ValueError, "Quantile.q: want a number in (0, 1)"),
        (lambda: fastdnn.Quantile([]), ValueError, "Quantile.q: want at least one quantile"),
        (lambda: fastdnn.Quantile("0.5"), TypeError, "Quantile.q: want a number in (0, 1)"),  # type: ignore[arg-type]
        (
            lambda: fastdnn.BinaryCrossentropy(label_smoothing=1.5),
            ValueError,
            "BinaryCrossentropy.label_smoothing: want a number in [0, 1], got 1.5",
        ),
        (
            lambda: fastdnn.SparseCategoricalCrossentropy(from_logits="no"),  # type: ignore[arg-type]
            TypeError,
            "SparseCategoricalCrossentropy.from_logits: want True or False, got 'no'",
        ),
        (
            lambda: fastdnn.BinaryFocalCrossentropy(gamma=-1),
            ValueError,
            "BinaryFocalCrossentropy.gamma: want a number in [0, inf), got -1",
        ),
        (
            lambda: fastdnn.BinaryFocalCrossentropy(alpha=2),
            ValueError,
            "BinaryFocalCrossentropy.alpha: want a number in [0, 1], got 2",
        ),
        (
            lambda: fastdnn.BinaryFocalCrossentropy(apply_class_balancing=1),  # type: ignore[arg-type]
            TypeError,
            "BinaryFocalCrossentropy.apply_class_balancing: want True or False, got 1",
        ),
        (
            lambda: fastdnn.CategoricalFocalCrossentropy(alpha=0),
            ValueError,
            "CategoricalFocalCrossentropy.alpha: want a number in (0, inf), got 0",
        ),
        (
            lambda: fastdnn.CategoricalFocalCrossentropy(gamma=np.inf),
            ValueError,
            "CategoricalFocalCrossentropy.gamma: want a number in [0, inf), got inf",
        ),
    ],
)
def test_bad_parameters(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cross_entropy", "sparse_categorical_crossentropy"),
        ("log-loss", "binary_crossentropy"),
        ("squared_error", "mean_squared_error"),
        ("L1", "mean_absolute_error"),
        ("MSE", "mse"),
        ("BinaryCrossentropy", "binary_crossentropy"),
    ],
)
def test_names_of_others_lead_to_the_loss_that_is_meant(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"^loss: unknown name '{name}'; did you mean '{near}'"):
        losses.get(name, 1)


def test_every_meaning_is_a_loss() -> None:
    assert set(losses._MEANT.values()) <= set(losses._NAMES)
    assert not set(losses._MEANT) & set(losses._NAMES)
