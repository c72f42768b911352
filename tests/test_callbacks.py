"""Callbacks on a model whose only weight is the number of the epoch it was trained in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.callbacks import Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fastdnn.schedules import StepDecay


class FakeModel:
    def __init__(self) -> None:
        self.optimizer = SimpleNamespace(learning_rate=1.0)
        self.stop_training = False
        self.W = np.array([-1.0])
        self.saved: list[str] = []

    def get_weights(self) -> list[Any]:
        return [self.W]  # no copy: who keeps it must make one

    def set_weights(self, weights: list[Any]) -> None:
        self.W[:] = weights[0]

    def save(self, path: str) -> None:
        self.saved.append(path)
        Path(path).write_text("model", encoding="utf-8")


def fit(
    callback: Callback,
    values: Sequence[float],
    name: str = "val_loss",
    model: FakeModel | None = None,
) -> FakeModel:
    """Train as `fit` does; epoch i logs ``values[i]``."""
    model = model or FakeModel()
    model.stop_training = False
    callback.set_model(model)
    try:
        callback.on_train_begin()
        for epoch, value in enumerate(values):
            callback.on_epoch_begin(epoch)
            model.W[:] = epoch
            callback.on_epoch_end(epoch, {"loss": 1.0, name: value})
            callback.on_safe_point(epoch + 1, 10 * (epoch + 1), model.save)
            if model.stop_training:
                break
    finally:
        callback.on_train_end()
    return model


@pytest.mark.parametrize(
    ("options", "values", "stopped", "best_epoch"),
    [
        ({}, [3, 2, 2, 1], 2, 1),
        ({"patience": 1}, [3, 2, 2, 1], 2, 1),
        ({"patience": 2}, [3, 2, 2, 1], None, 3),
        ({"patience": 2}, [3, 2, 4, 3, 1], 3, 1),
        ({"patience": 2}, [3, 2, 4, 1, 4, 4, 0], 5, 3),
        ({"min_delta": 0.5}, [3, 2.5, 0], 1, 0),
        ({"min_delta": 0.4}, [3, 2.5, 2, 2], 3, 2),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.75, 2.25, 2, 1.9], 4, 2),
        ({"start_from_epoch": 2}, [0, 1, 9, 8, 8], 4, 3),
        ({"mode": "max"}, [1, 2, 2], 2, 1),
        ({"patience": 2}, [math.nan, math.nan, 1], 1, None),
        ({"patience": 2}, [1, math.nan, math.nan], 2, 0),
    ],
)
def test_early_stopping(
    options: dict[str, Any], values: list[float], stopped: int | None, best_epoch: int | None
) -> None:
    callback = EarlyStopping(**options)
    model = fit(callback, values)
    assert (callback.stopped_epoch, callback.best_epoch) == (stopped, best_epoch)
    assert model.stop_training is (stopped is not None)
    if best_epoch is not None:
        assert callback.best == values[best_epoch]


@pytest.mark.parametrize(("values", "last"), [([3, 1, 2, 2, 2], 3), ([3, 1, 2], 2)])
@pytest.mark.parametrize("restore", [True, False])
def test_best_weights_come_back(values: list[float], last: int, restore: bool) -> None:
    model = fit(EarlyStopping(patience=2, restore_best_weights=restore), values)
    assert model.W.tolist() == [1 if restore else last]


def test_best_weights_come_back_after_ctrl_c() -> None:
    class Interrupt(EarlyStopping):
        def on_epoch_begin(self, epoch: int) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    model = FakeModel()
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupt(patience=9, restore_best_weights=True), [3, 1, 2, 0], model=model)
    assert model.W == 1


def test_no_best_epoch_leaves_the_weights() -> None:
    assert fit(EarlyStopping(restore_best_weights=True), [math.nan]).W == 0


def test_early_stopping_forgets_an_earlier_training() -> None:
    callback = EarlyStopping(patience=2, restore_best_weights=True)
    fit(callback, [1, 2, 2])
    assert callback.stopped_epoch == 2
    model = fit(callback, [9, 8])
    found: tuple[object, ...] = callback.stopped_epoch, callback.best, callback.best_epoch
    assert found == (None, 8, 1)
    assert model.W == 1


@pytest.mark.parametrize(
    ("monitor", "higher"),
    [
        ("loss", False),
        ("val_loss", False),
        ("mse", False),
        ("accuracy", True),
        ("val_accuracy", True),
        ("val_acc", True),
        ("r2", True),
        ("val_r2", True),
        ("val_f1_macro", True),
        ("val_roc_auc", True),
        ("val_log_loss", False),
        ("median_absolute_error", False),
    ],
)
@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau, ModelCheckpoint])
def test_mode_auto(make: Any, monitor: str, higher: bool) -> None:
    options = {"path": "x"} if make is ModelCheckpoint else {}
    callback = make(monitor=monitor, **options)
    assert callback._improved(1.0)
    assert callback._improved(2.0) is higher
    assert callback._improved(0.5) is not higher


@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau, ModelCheckpoint])
@pytest.mark.parametrize("monitor", ["mine", "val_mine"])
def test_mode_auto_of_a_metric_of_ones_own(make: Any, monitor: str, tmp_path: Path) -> None:
    options = {"path": tmp_path / "x", "save_best_only": True} if make is ModelCheckpoint else {}
    logs = ["loss", "mine", "val_loss", "val_mine", "learning_rate"]
    wanted = f"^{make.__name__}.mode: want 'min' or 'max' for '{monitor}', .* got 'auto'$"
    with pytest.raises(ValueError, match=wanted):
        make(monitor=monitor, **options).check_logs(logs)
    for mode, higher in (("min", False), ("max", True)):
        callback = make(monitor=monitor, mode=mode, **options)
        callback.check_logs(logs)
        assert callback._improved(1.0)
        assert callback._improved(2.0) is higher


def test_fit_refuses_to_guess_what_is_better() -> None:
    def mine(y: Any, p: Any) -> float:
        return 0.0

    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=2)
    model.compile("sgd", "mse", [mine])
    with pytest.raises(ValueError, match=r"^EarlyStopping.mode: want 'min' or 'max' for 'mine'"):
        model.fit(np.ones((4, 2)), np.ones(4), callbacks=[EarlyStopping("mine")], verbose=0)
    assert not model.history.history


def rates(callback: ReduceLROnPlateau, values: Sequence[float], start: float = 1.0) -> list[float]:
    """The learning rate after each epoch."""
    model = FakeModel()
    model.optimizer.learning_rate = start
    callback.set_model(model)
    callback.on_train_begin()
    seen = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        seen.append(model.optimizer.learning_rate)
    return seen


@pytest.mark.parametrize(
    ("options", "values", "wanted"),
    [
        ({"patience": 1}, [3, 3, 3, 2], [1, 0.5, 0.25, 0.25]),
        ({"patience": 0}, [3, 3, 3, 2], [1, 0.5, 0.25, 0.25]),
        ({"patience": 2}, [3, 3, 2, 2, 2, 2, 2], [1, 1, 1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.75, 2.25], [1, 0.5, 0.5]),
        ({"patience": 1, "cooldown": 1}, [3, 3, 3, 3], [1, 0.5, 0.25, 0.125]),
        ({"patience": 1, "cooldown": 3}, [3, 3, 3, 3, 3, 3], [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_lr": 0.4}, [3, 3, 3, 3], [1, 0.5, 0.4, 0.4]),
        ({"patience": 1, "min_lr": 2.0}, [3, 3, 3], [1, 1, 1]),
        ({"patience": 1, "mode": "max"}, [3, 4, 4], [1, 1, 0.5]),
    ],
)
def test_reduce_on_plateau(
    options: dict[str, Any], values: list[float], wanted: list[float]
) -> None:
    assert rates(ReduceLROnPlateau(factor=0.5, **options), values) == wanted


def test_reduce_on_plateau_starts_afresh() -> None:
    callback = ReduceLROnPlateau(factor=0.5, patience=2, cooldown=5)
    values = [1, 1, 1, 1]
    assert rates(callback, values) == rates(callback, values) == [1, 1, 0.5, 0.5]


def test_reduce_on_plateau_refuses_a_schedule() -> None:
    model = FakeModel()
    model.optimizer.learning_rate = StepDecay(0.1, 0.5, 10)
    with pytest.raises(ValueError, match=r"learning_rate is StepDecay\(.*want a float"):
        fit(ReduceLROnPlateau(), [1], model=model)


def test_checkpoint_saves_every_epoch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "net-{epoch:02d}-{val_loss:.2f}.bin"
    model = fit(ModelCheckpoint(path), [3, 1, 2])
    names = ["net-01-3.00.bin", "net-02-1.00.bin", "net-03-2.00.bin"]
    assert model.saved == [str(tmp_path / "new" / name) for name in names]
    assert all(Path(path).is_file() for path in model.saved)


def test_checkpoint_of_the_best_only(tmp_path: Path) -> None:
    callback = ModelCheckpoint(str(tmp_path / "{epoch}"), save_best_only=True)
    assert fit(callback, [3, 4, 2, 2]).saved == [str(tmp_path / "1"), str(tmp_path / "3")]
    # The best lasts: a second training writes nothing unless it is better.
    assert fit(callback, [2.5, 1]).saved == [str(tmp_path / "2")]


def test_checkpoint_without_validation_data(tmp_path: Path) -> None:
    model = fit(ModelCheckpoint(tmp_path / "net"), [0.5, 0.6], name="accuracy")
    assert model.saved == [str(tmp_path / "net")] * 2


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping("val_los"),
        EarlyStopping("val_los", start_from_epoch=5),
        ReduceLROnPlateau("val_los"),
        ModelCheckpoint("x", "val_los", save_best_only=True),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_unknown_monitor_names_the_logs(callback: Callback) -> None:
    name = type(callback).__name__
    wanted = rf"^{name}.monitor: unknown name 'val_los'; did you mean 'val_loss'\? Known: loss, val"
    with pytest.raises(ValueError, match=wanted):
        fit(callback, [1])


@pytest.mark.parametrize("field", ["val_accuracy", "0", "epochs"])
def test_unknown_field_in_the_path(field: str) -> None:
    with pytest.raises(ValueError, match=f"^ModelCheckpoint.path: unknown name '{field}'.*epoch"):
        fit(ModelCheckpoint(f"net-{{{field}}}"), [1])


@pytest.mark.parametrize("monitor", ["loss", "val_loss", "val_f1", "learning_rate"])
def test_what_the_logs_will_hold_is_monitored(monitor: str, tmp_path: Path) -> None:
    names = ["loss", "f1", "val_loss", "val_f1", "learning_rate"]
    EarlyStopping(monitor).check_logs(names)
    ReduceLROnPlateau(monitor).check_logs(names)
    path = tmp_path / "new" / f"{{epoch:03d}}-{{{monitor}:.4f}}"
    ModelCheckpoint(path, monitor, save_best_only=True).check_logs(names)
    ModelCheckpoint(tmp_path / "x", "not used").check_logs(names)
    assert not list(tmp_path.iterdir())  # nothing is made before there is something to save


COMMON = [
    ({"monitor": 3}, TypeError, "monitor: want a name in the logs, got 3"),
    ({"mode": "most"}, ValueError, "mode: unknown name 'most'.*auto, max, min"),
]
OWN: dict[Callable[..., Callback], list[tuple[dict[str, Any], type[Exception], str]]] = {
    EarlyStopping: [
        ({"min_delta": -1.0}, ValueError, "min_delta"),
        ({"patience": -1}, ValueError, "patience"),
        ({"patience": 1.5}, TypeError, "patience"),
        ({"start_from_epoch": -1}, ValueError, "start_from_epoch"),
        (
            {"restore_best_weights": "no"},
            TypeError,
            "^EarlyStopping.restore_best_weights: want True or False, got 'no'",
        ),
    ],
    ReduceLROnPlateau: [
        ({"min_delta": math.nan}, ValueError, "min_delta"),
        ({"factor": 1.0}, ValueError, "factor"),
        ({"factor": 0}, ValueError, "factor"),
        ({"patience": -1}, ValueError, "patience"),
        ({"cooldown": 0.5}, TypeError, "cooldown"),
        ({"min_lr": -1e-9}, ValueError, "min_lr"),
    ],
    ModelCheckpoint: [
        ({"save_best_only": 1}, TypeError, "^ModelCheckpoint.save_best_only: want True or False"),
        ({"path": "net-{epoch"}, ValueError, "'}'"),
        ({"path": "net-{epoch"}, ValueError, "^ModelCheckpoint.path: want a format as of str.form"),
    ],
}


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [(make, *case) for make, own in OWN.items() for case in itertools.chain(COMMON, own)],
)
def test_bad_arguments(
    make: Callable[..., Callback], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    if make is ModelCheckpoint:
        options = {"path": "x", **options}
    with pytest.raises(error, match=message):
        make(**options)
