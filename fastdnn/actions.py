"""Callbacks that watch no value: a schedule by epochs, an end without an error, functions."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

from ._checks import check_number
from ._closed import closed
from ._streams import standard
from .hooks import Callback, positional

Hook = Callable[..., object]


def check_rate(callback: Callback) -> None:
    """Refuse an optimizer whose learning rate a callback cannot set."""
    rate = callback.model.optimizer.learning_rate
    if not isinstance(rate, Real):
        raise ValueError(
            f"{type(callback).__name__}: the optimizer's learning_rate is {rate!r}, want a float: "
            "take either a schedule or this callback"
        )


@closed()
class LearningRateScheduler(Callback):
    """Set the learning rate before every epoch.

    Parameters
    ----------
    schedule : callable
        Takes the epoch, from 0, or the epoch and the present learning rate; returns the new one.

    Raises
    ------
    TypeError, ValueError
        If it cannot be called, or returns no number >= 0.

    See Also
    --------
    fastdnn.CosineDecay : a schedule by steps, which a model file keeps
    """

    def __init__(self, schedule: Callable[..., float]) -> None:
        if not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler.schedule: want a function of the epoch, got {schedule!r}"
            )
        self.schedule = schedule
        self._takes = positional(schedule)

    def on_train_begin(self) -> None:
        """Refuse a learning rate that is no float."""
        check_rate(self)

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the rate."""
        optimizer = self.model.optimizer
        rate = self.schedule(*(epoch, float(optimizer.learning_rate))[: self._takes])
        check_number("LearningRateScheduler.schedule", rate, "[0, inf)")
        optimizer.learning_rate = float(rate)


@closed()
class TerminateOnNaN(Callback):
    """End the training without an error when a loss or gradient is not finite.

    The step is named on stderr; the parameters are the last finite ones. Without this callback
    `fit` raises `DivergenceError`.
    """

    def on_divergence(self, error: ArithmeticError) -> None:
        """End the training."""
        print(error, file=standard("stderr"))
        self.model.stop_training = True


@closed()
class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end : callable, optional
    on_train_batch_begin, on_train_batch_end : callable, optional
        Take the same arguments as the hooks of `Callback`, with Keras's `logs` at the end, or the
        first of them: ``on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"])``.

    Raises
    ------
    TypeError
        If one cannot be called.
    """

    def __init__(
        self,
        on_epoch_begin: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_train_begin: Hook | None = None,
        on_train_end: Hook | None = None,
        on_train_batch_begin: Hook | None = None,
        on_train_batch_end: Hook | None = None,
    ) -> None:
        given = {name: hook for name, hook in locals().items() if name.startswith("on_")}
        for name, hook in given.items():
            if hook is not None:
                if not callable(hook):
                    raise TypeError(f"LambdaCallback.{name}: want a function, got {hook!r}")
                setattr(self, name, hook)
