"""Callbacks that end a training or lower its learning rate; and all others by name."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ._checks import check_flag, check_number
from .actions import LambdaCallback, LearningRateScheduler, TerminateOnNaN, check_rate
from .history import History
from .hooks import Callback
from .loggers import CSVLogger, TensorBoard
from .monitoring import Monitoring
from .progress import ProgressBar
from .saving import ModelCheckpoint

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


class EarlyStopping(Monitoring):
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

    _KEPT = "wait", "best_epoch", "stopped_epoch", "_best_weights"

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


class ReduceLROnPlateau(Monitoring):
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

    _KEPT = "wait", "_cooling"

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
