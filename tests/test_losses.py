"""The names of losses; their values and derivatives, test_gradients and tests/kernels show."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

import fastdnn
from fastdnn import kernels, losses
from fastdnn.losses import Huber, Loss


@pytest.mark.parametrize("name", kernels.LOSSES)
def test_a_name_stands_for_its_loss(name: str) -> None:
    assert losses.get(name, 2) == Loss(name) == losses.LOSSES[name]
    assert losses.get(Loss(name), 2) == Loss(name)


@pytest.mark.parametrize(
    ("alias", "name"), [("mse", "mean_squared_error"), ("mae", "mean_absolute_error")]
)
def test_other_names(alias: str, name: str) -> None:
    assert losses.get(alias, 1) is losses.get(name, 1)


def test_huber_has_a_parameter() -> None:
    assert Huber(2) == Loss("huber", 2.0) != Huber() == losses.get("huber", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Huber().parameter = 3.0  # type: ignore[misc]


@pytest.mark.parametrize("delta", [0.25, 1.0, 4.0])
def test_huber_delta_is_used(delta: float) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=1, dtype="float64")
    model.compile("sgd", Huber(delta))
    model.layers[0].W = 1.0  # type: ignore[union-attr]
    # errors of 1/2 and 3; the loss is quadratic up to delta, then linear
    errors = [0.5, 3.0]
    expected = [e**2 / 2 if e <= delta else delta * (e - delta / 2) for e in errors]
    assert model.evaluate([[0.5], [-3.0]], [0, 0])["loss"] == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("msee", ValueError, "loss: unknown name 'msee'; did you mean 'mse'"),
        ("binary_crossentropi", ValueError, "loss: .*did you mean 'binary_crossentropy'"),
        ("cross_entropy", ValueError, "loss: .*Known: binary_crossentropy, categorical_cross"),
        (None, TypeError, "loss: want one of .* as a string, got None"),
        (Huber, TypeError, "loss: want one of .* as a string, got <function Huber"),
    ],
)
def test_wrong_losses(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        losses.get(wrong, 1)


@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("make", [str, Loss])
def test_classes_need_an_output_each(name: str, make: Any) -> None:
    with pytest.raises(ValueError, match=f"^loss: '{name}' needs .* use 'binary_crossentropy'"):
        losses.get(make(name), 1)


@pytest.mark.parametrize("activation", fastdnn.activations.ACTIVATIONS)
@pytest.mark.parametrize("name", kernels.LOSSES)
def test_a_loss_of_probabilities_wants_them(name: str, activation: str) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(3, activation)], input_size=4)
    if "crossentropy" not in name or activation in ("sigmoid", "softmax"):
        model.compile("sgd", name)
        return
    wanted = "sigmoid" if "binary" in name else "softmax"
    message = f"^loss: '{name}' takes prob.*: want '{wanted}' as .*, got '{activation}'$"
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", Loss(name))
    assert not hasattr(model, "loss")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Huber(0.0), ValueError, "Huber.delta: want a number in (0, inf), got 0.0"),
        (lambda: Huber(-1), ValueError, "Huber.delta: want a number in (0, inf), got -1"),
        (lambda: Huber(float("nan")), ValueError, "Huber.delta: want a number in (0, inf)"),
        (lambda: Huber("1"), TypeError, "Huber.delta: want a number in (0, inf), got '1'"),  # type: ignore[arg-type]
        (lambda: Loss("huber", -1.0), ValueError, "Loss.parameter: want a number in (0, inf)"),
        (lambda: Loss("hubert"), ValueError, "loss: unknown name 'hubert'; did you mean 'huber'"),
    ],
)
def test_bad_parameters(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make()
