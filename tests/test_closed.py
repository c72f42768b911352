"""What is set on an object that does not have it is refused, by its name."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense, Sequential, initializers


def model() -> Sequential:
    net = Sequential([Dense(4, "relu"), fastdnn.Dropout(0.1), Dense(1)], input_size=3, seed=0)
    net.compile()
    return net


OBJECTS: dict[str, Callable[[], Any]] = {
    "Dense": lambda: model().layers[0],
    "Dropout": lambda: model().layers[1],
    "Sequential": model,
    "SGD": fastdnn.SGD,
    "RMSprop": fastdnn.RMSprop,
    "Adam": fastdnn.Adam,
    "AdamW": fastdnn.AdamW,
    "MeanSquaredError": fastdnn.MeanSquaredError,
    "Huber": fastdnn.Huber,
    "BinaryCrossentropy": fastdnn.BinaryCrossentropy,
    "SparseCategoricalCrossentropy": fastdnn.SparseCategoricalCrossentropy,
    "ArrayLoss": lambda: fastdnn.ArrayLoss(lambda y, a: (y, a)),
    "StepDecay": lambda: fastdnn.StepDecay(0.1, 0.5, 10),
    "ExponentialDecay": lambda: fastdnn.ExponentialDecay(0.1, 10, 0.5),
    "CosineDecay": lambda: fastdnn.CosineDecay(0.1, 10),
    "L1L2": fastdnn.L1L2,
    "Normal": initializers.Normal,
    "VarianceScaling": initializers.VarianceScaling,
    "EarlyStopping": fastdnn.EarlyStopping,
    "ReduceLROnPlateau": fastdnn.ReduceLROnPlateau,
    "ModelCheckpoint": lambda: fastdnn.ModelCheckpoint("m.safetensors"),
    "LearningRateScheduler": lambda: fastdnn.LearningRateScheduler(lambda epoch: 0.1),
    "TerminateOnNaN": fastdnn.TerminateOnNaN,
    "LambdaCallback": fastdnn.LambdaCallback,
    "CSVLogger": lambda: fastdnn.CSVLogger("log.csv"),
    "History": fastdnn.History,
    "ProgressBar": lambda: fastdnn.ProgressBar(1, 1, 1, 2),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_unknown_setting_is_refused(name: str) -> None:
    one = OBJECTS[name]()
    with pytest.raises(AttributeError, match=rf"^{name}\.surely_not: no such setting; Known: "):
        one.surely_not = 1
    assert not hasattr(one, "surely_not")


@pytest.mark.parametrize(
    ("name", "setting", "hint"),
    [
        ("Dense", "trainable", "layers cannot be frozen here"),
        ("Dropout", "trainable", "layers cannot be frozen here"),
        ("Sequential", "trainable", "layers cannot be frozen here"),
        ("Dense", "activaton", "did you mean 'activation'?"),
        ("Sequential", "learning_rate", "want model.optimizer.learning_rate"),
        ("Sequential", "stop_traning", "did you mean 'stop_training'?"),
        ("Adam", "lr", "want 'learning_rate'"),
        ("SGD", "momentun", "did you mean 'momentum'?"),
        ("Huber", "dleta", "did you mean 'delta'?"),
        ("CosineDecay", "warmup_step", "did you mean 'warmup_steps'?"),
        ("EarlyStopping", "patiense", "did you mean 'patience'?"),
        ("CSVLogger", "seperator", "did you mean 'separator'?"),
    ],
)
def test_the_nearest_name_is_proposed(name: str, setting: str, hint: str) -> None:
    with pytest.raises(
        AttributeError, match=rf"^{name}\.{setting}: no such setting; {hint}".replace("?", r"\?")
    ):
        setattr(OBJECTS[name](), setting, 1)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("Huber", "delta"),
        ("MeanSquaredError", "name"),
        ("ArrayLoss", "function"),
        ("StepDecay", "initial"),
        ("L1L2", "l1"),
        ("Normal", "scale"),
    ],
)
def test_what_has_been_read_cannot_be_changed(name: str, setting: str) -> None:
    with pytest.raises(FrozenInstanceError, match=f"^{name}.{setting}: cannot be changed; make a"):
        setattr(OBJECTS[name](), setting, 1.0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("seed", 1), ("dtype", "float64"), ("layers", ()), ("input_size", 9)],
)
def test_what_a_model_is_made_of_cannot_be_changed(setting: str, value: Any) -> None:
    net = model()
    before = getattr(net, setting)
    with pytest.raises(
        AttributeError, match=rf"^Sequential.{setting}: want {re.escape(repr(before))}"
    ):
        setattr(net, setting, value)
    assert getattr(net, setting) is before


def test_known_settings_can_be_set() -> None:
    net = model()
    net.optimizer.learning_rate = 0.5
    net.layers[0].b = np.ones(4)  # type: ignore[union-attr]
    net.stop_training = True
    stop = fastdnn.EarlyStopping()
    stop.patience = 3
    hooks = fastdnn.LambdaCallback()
    hooks.on_epoch_end = lambda epoch, logs: None  # type: ignore[method-assign]
    assert (net.optimizer.learning_rate, stop.patience) == (0.5, 3)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
@pytest.mark.parametrize("name", ["Dense", "Sequential", "Adam", "Huber", "EarlyStopping"])
def test_copies_are_as_closed(name: str, copied: Callable[[Any], Any]) -> None:
    again = copied(OBJECTS[name]())
    with pytest.raises(AttributeError, match="no such setting"):
        again.surely_not = 1


class OwnModel(Sequential):
    """A user's class with attributes of its own."""

    def __init__(self, units: int) -> None:
        self.early = "before the constructor of fastdnn"
        super().__init__([Dense(units), Dense(1)])
        self.units = units


class OwnStopping(fastdnn.EarlyStopping):
    def __init__(self) -> None:
        super().__init__("loss", patience=1)
        self.seen: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        super().on_epoch_end(epoch, logs)
        self.last = epoch
        self.seen.append(epoch)


class OwnCallback(fastdnn.Callback):
    def on_train_begin(self) -> None:
        self.began = True


class OwnSGD(fastdnn.SGD):
    pass


def test_a_users_subclasses_are_open() -> None:
    net, stop, callback, optimizer = OwnModel(3), OwnStopping(), OwnCallback(), OwnSGD()
    net.note, stop.note, optimizer.note = 1, 2, 3  # type: ignore[attr-defined]
    net.compile(optimizer)
    net.fit(np.ones((4, 2)), np.ones(4), epochs=3, callbacks=[stop, callback], verbose=0)
    assert stop.seen[-1] == stop.last
    assert callback.began
    assert net.units == 3
