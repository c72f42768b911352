"""Callbacks that act on a training: end it, set the learning rate, save the model."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from math import inf
from pathlib import Path
from string import Formatter
from typing import Any

from numpy.typing import NDArray

from fastdnn.kernels.lookup import lookup

from ._checks import check_flag, check_number
from ._closed import closed
from ._files import check_writable
from .actions import LambdaCallback, LearningRateScheduler, TerminateOnNaN, check_rate
from .checkpoint import check_suffix
from .history import History
from .hooks import Callback
from .loggers import CSVLogger, TensorBoard
from .metrics import higher_is_better
from .progress import ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]


class _Monitoring(Callback):
    """A callback that asks whether a logged value is better than the best so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"{self._name('monitor')}: want a name in the logs, got {monitor!r}")
        check_number(self._name("min_delta"), min_delta, "[0, inf)")
        higher = lookup(
            self._name("mode"),
            mode,
            {"min": False, "max": True, "auto": higher_is_better(monitor)},
        )
        self._sign = 0.0 if higher is None else 1.0 if higher else -1.0  # 0: nothing improves
        self.monitor = monitor
        self.min_delta = min_delta
        self._forget_best()

    def _name(self, argument: str) -> str:
        return f"{type(self).__name__}.{argument}"

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse to monitor what the logs will not hold."""
        self._check_name("monitor", self.monitor, names)
        if self._sign == 0:
            raise ValueError(
                f"{self._name('mode')}: want 'min' or 'max' for {self.monitor!r}, as whether lower "
                "or higher is better is known of fastdnn's own metrics only; got 'auto'"
            )

    def _check_name(self, argument: str, name: str, names: Collection[str]) -> None:
        if name.startswith("val_") and name not in names and "val_loss" not in names:
            raise ValueError(
                f"{self._name(argument)}: want a name in the logs, got {name!r} without validation "
                "data; give fit validation_data or a validation_split"
            )
        lookup(self._name(argument), name, dict.fromkeys(names))

    def _forget_best(self) -> None:
        self.best = -inf * (self._sign or 1.0)

    def _value(self, logs: Mapping[str, float]) -> float:
        return lookup(self._name("monitor"), self.monitor, logs)

    def _lacks(self, name: str, logs: Mapping[str, float]) -> bool:
        """Return whether the name is of the validation, which this epoch does not have."""
        return name.startswith("val_") and "val_loss" not in logs

    def _improved(self, value: float) -> bool:
        """Return whether `value` beats the best by more than min_delta; if so it is the best."""
        improved = self._sign * (value - self.best) > self.min_delta
        if improved:
            self.best = value
        return improved


@closed()
class EarlyStopping(_Monitoring):
    """End the training when a logged value has stopped improving.

    Parameters
    ----------
    monitor : str
        A name in the logs; `fit` refuses one that they will not hold, as "val_loss" without
        validation data. Epochs without validation are left out of account.
    min_delta : float
        An improvement is a change by more than this, >= 0.
    patience : int
        How many epochs in a row may pass without an improvement before the training ends; the
        first one ends it for 0 as for 1.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better. "auto" takes lower for the loss and knows each metric of
        `fastdnn.metrics.METRICS` (also with "val_" before it); for a metric of your own `fit` wants
        it named.
    restore_best_weights : bool
        At the end, however it comes (by patience, after the last epoch, by an error or Ctrl-C),
        set the model's weights to those of the best epoch.
    start_from_epoch : int
        Epochs before this one are left out of account.

    Attributes
    ----------
    best : float
        The best value of this training so far.
    best_epoch, stopped_epoch : int or None
        Its epoch, and the epoch after which the training was ended, from 0.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        check_number(self._name("patience"), patience, "[0, inf)", whole=True)
        check_number(self._name("start_from_epoch"), start_from_epoch, "[0, inf)", whole=True)
        self.patience = patience
        self.restore_best_weights = check_flag(
            self._name("restore_best_weights"), restore_best_weights
        )
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Forget an earlier training."""
        self._forget_best()
        self._best_weights: list[NDArray[Any]] | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare with the best epoch."""
        if self._lacks(self.monitor, logs):
            return
        value = self._value(logs)
        if epoch < self.start_from_epoch:
            return
        if self._improved(value):
            self.wait = 0
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._best_weights = [weight.copy() for weight in self.model.get_weights()]
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        """Bring the best weights back."""
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)
            self._best_weights = None


@closed()
class ReduceLROnPlateau(_Monitoring):
    """Lower the learning rate when a logged value has stopped improving.

    lr = max(lr * factor, min_lr), as Keras does it.

    Parameters
    ----------
    monitor, mode, min_delta
        As in `EarlyStopping`.
    factor : float
        Between 0 and 1.
    patience : int
        How many epochs in a row may pass without an improvement before the rate is lowered.
    cooldown : int
        The epochs without an improvement count again from the `cooldown`-th one after a lowering.
    min_lr : float
        The rate is not lowered below this.
    """

    wait: int

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        check_number(self._name("factor"), factor, "(0, 1)")
        check_number(self._name("patience"), patience, "[0, inf)", whole=True)
        check_number(self._name("cooldown"), cooldown, "[0, inf)", whole=True)
        check_number(self._name("min_lr"), min_lr, "[0, inf)")
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.min_lr = min_lr

    def on_train_begin(self) -> None:
        """Forget an earlier training; refuse a learning rate that is no float."""
        check_rate(self)
        self._forget_best()
        self.wait = 0
        self._cooling = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare with the best epoch."""
        if self._lacks(self.monitor, logs):
            return
        if self._cooling > 0:
            self._cooling -= 1
            self.wait = 0
        if self._improved(self._value(logs)):
            self.wait = 0
        elif self._cooling == 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._lower(self.model.optimizer)

    def _lower(self, optimizer: Any) -> None:
        if optimizer.learning_rate > self.min_lr:
            optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
            self._cooling = self.cooldown
            self.wait = 0


@closed()
class ModelCheckpoint(_Monitoring):
    """Save the model after every epoch, or after every epoch that is the best so far.

    Parameters
    ----------
    path : str or path
        The file. It may hold {epoch} (from 1, as the progress line shows it) and the names in the
        logs, with Python's formats: ``"net-{epoch:03d}-{val_loss:.4f}.safetensors"``. Missing
        folders are made. An epoch without validation is not saved if the path names its values.
    monitor, mode
        As in `EarlyStopping`; of use with `save_best_only` alone. The best value is kept from one
        `fit` to the next, so that a resumed training does not overwrite a better model.
    save_best_only : bool
        Save only when `monitor` has improved.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode)
        self.path = os.fspath(path)
        self.save_best_only = check_flag(self._name("save_best_only"), save_best_only)
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.path)]
        except ValueError as error:  # a lone brace
            raise self._no_format(error) from None
        self._fields = [field for field in fields if field is not None]

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse a path that cannot be made or written, and what the logs will not hold."""
        if self.save_best_only:
            super().check_logs(names)
        for field in self._fields:
            self._check_name("path", field, ["epoch", *names])
        path = Path(self._filled({"epoch": 1, **dict.fromkeys(names, 1.0)}))
        check_suffix(self._name("path"), path)
        folder = next(one for one in path.absolute().parents if one.exists())
        check_writable(self._name("path"), path, folder)

    def _no_format(self, error: Exception) -> ValueError:
        name = self._name("path")
        return ValueError(f"{name}: want a format as of str.format, got {self.path!r} ({error})")

    def _filled(self, values: Mapping[str, float]) -> str:
        """The path of an epoch with these values."""
        for field in self._fields:
            lookup(self._name("path"), field, values)
        try:
            return self.path.format_map(values)
        except (KeyError, ValueError) as error:
            raise self._no_format(error) from None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Save the model."""
        needed = [*self._fields, *([self.monitor] if self.save_best_only else [])]
        if any(self._lacks(name, logs) for name in needed):
            return
        if self.save_best_only and not self._improved(self._value(logs)):
            return
        path = self._filled({"epoch": epoch + 1, **logs})
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.model.save(path)
