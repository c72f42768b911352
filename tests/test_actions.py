"""Callbacks that watch no value, on real models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import LambdaCallback, LearningRateScheduler, TerminateOnNaN
from tests.nets import classifier, regressor, samples

X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 4 steps an epoch


# -------------------------------------------------------------------------- LearningRateScheduler
@pytest.mark.parametrize(
    "schedule",
    [lambda epoch: 0.5 / 2**epoch, lambda epoch, lr: lr / 2 if epoch else lr],
    ids=["epoch", "epoch and rate"],
)
def test_a_rate_for_every_epoch(schedule: Any) -> None:
    scheduled, by_hand = classifier(fastdnn.SGD(0.5)), classifier(fastdnn.SGD(0.5))
    callbacks = [LearningRateScheduler(schedule)]
    history = scheduled.fit(X, y, epochs=3, callbacks=callbacks, **FIT).history
    assert history["learning_rate"] == [0.5, 0.25, 0.125]
    for epoch in range(3):
        by_hand.optimizer.learning_rate = 0.5 / 2**epoch
        by_hand.fit(X, y, epochs=epoch + 1, initial_epoch=epoch, **FIT)
    assert np.array_equal(scheduled.parameters, by_hand.parameters)


def test_the_epochs_number_goes_on() -> None:
    seen: list[int] = []
    callback = LearningRateScheduler(lambda epoch: seen.append(epoch) or 0.1)
    classifier().fit(X, y, epochs=5, initial_epoch=3, callbacks=[callback], **FIT)
    assert seen == [3, 4]


@pytest.mark.parametrize("value", ["fast", None, True])
def test_a_rate_that_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^LearningRateScheduler.schedule: want a number in \[0, "):
        classifier().fit(X, y, callbacks=[LearningRateScheduler(lambda epoch: value)], **FIT)


def test_a_rate_below_zero() -> None:
    with pytest.raises(ValueError, match=r"^LearningRateScheduler.schedule: want .*, got -1$"):
        classifier().fit(X, y, callbacks=[LearningRateScheduler(lambda epoch: -1)], **FIT)


def test_either_a_schedule_or_a_scheduler() -> None:
    model = classifier(fastdnn.SGD(fastdnn.StepDecay(0.1, 0.5, 10)))
    with pytest.raises(ValueError, match=r"^LearningRateScheduler: .*StepDecay\(.*want a float"):
        model.fit(X, y, callbacks=[LearningRateScheduler(lambda epoch: 0.1)], **FIT)


def test_a_schedule_is_a_function() -> None:
    with pytest.raises(
        TypeError, match=r"^LearningRateScheduler.schedule: want a function .* 0.1$"
    ):
        LearningRateScheduler(0.1)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- TerminateOnNaN
def test_a_divergence_ends_the_training(capfd: pytest.CaptureFixture[str]) -> None:
    ended, told = (regressor(fastdnn.SGD(1e200)) for _ in range(2))
    with pytest.raises(fastdnn.DivergenceError) as caught:
        told.fit(X, y, epochs=9, **FIT)
    history = ended.fit(X, y, epochs=9, callbacks=[TerminateOnNaN()], **FIT)
    assert len(history.epoch) < 9
    assert np.array_equal(ended.parameters, told.parameters)
    assert np.isfinite(ended.parameters).all()
    assert ended.stop_training
    assert capfd.readouterr().err == f"{caught.value}\n"


def test_other_callbacks_end_too() -> None:
    seen: list[str] = []
    other = LambdaCallback(on_train_end=lambda: seen.append("end"))
    model = regressor(fastdnn.SGD(1e200))
    model.fit(X, y, epochs=9, callbacks=[TerminateOnNaN(), other], **FIT)
    assert seen == ["end"]


def test_an_earlier_stop_hides_no_divergence() -> None:
    """The epoch still goes on when a callback has asked for its end."""

    class Stop(fastdnn.Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            self.model.stop_training = True

    with pytest.raises(fastdnn.DivergenceError):
        regressor(fastdnn.SGD(1e200)).fit(X, y, batch_size=1, callbacks=[Stop()], verbose=0)


# --------------------------------------------------------------------------------- LambdaCallback
def test_functions_are_hooks() -> None:
    seen: list[tuple[Any, ...]] = []
    callback = LambdaCallback(
        lambda epoch, logs: seen.append(("epoch", epoch, logs)),
        lambda epoch, logs: seen.append(("epoch end", epoch, sorted(logs))),
        on_train_begin=lambda logs: seen.append(("train", logs)),
        on_train_end=lambda: seen.append(("train end",)),
        on_train_batch_begin=lambda batch: seen.append(("batch", batch)),
        on_train_batch_end=lambda batch, logs: seen.append(("batch end", batch, sorted(logs))),
    )
    classifier().fit(X, y, 50, callbacks=[callback], verbose=0)
    assert seen == [
        ("train", {}),
        ("epoch", 0, {}),
        ("batch", 0),
        ("batch end", 0, ["accuracy", "loss"]),
        ("epoch end", 0, ["accuracy", "learning_rate", "loss"]),
        ("train end",),
    ]


def test_only_given_functions_are_called() -> None:
    seen: list[int] = []
    callback = LambdaCallback(on_epoch_end=seen.append)
    model = classifier()
    model.fit(X, y, epochs=2, callbacks=[callback], **FIT)
    assert seen == [0, 1]


def test_a_hook_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"^LambdaCallback.on_epoch_end: want a function, got 3$"):
        LambdaCallback(on_epoch_end=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_epoch_ends"):
        LambdaCallback(on_epoch_ends=print)  # type: ignore[call-arg]
