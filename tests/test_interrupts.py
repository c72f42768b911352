"""Ctrl-C and SIGTERM end a training between two steps, with all that is done counted and saved."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn.interrupts import Interrupts
from tests.nets import classifier, samples

X, y = samples(320)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 20 steps an epoch
ENDS: dict[int, type[BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: SystemExit,
}
each_signal = pytest.mark.parametrize("number", ENDS, ids=["SIGINT", "SIGTERM"])


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@each_signal
def test_a_signal_waits_for_the_end_of_the_block(number: int) -> None:
    interrupts, done = Interrupts(), list[int]()

    def block(number: int) -> None:
        with interrupts:
            send(number)
            done.append(1)
        done.append(2)

    interrupts.start()
    try:
        with pytest.raises(ENDS[number]) as error:
            block(number)
        assert done == [1]
        with pytest.raises(ENDS[number]):
            send(number)  # nobody holds it back
    finally:
        interrupts.stop()
    if number == signal.SIGTERM:
        assert error.value.code == 128 + signal.SIGTERM  # type: ignore[attr-defined]


def test_an_error_of_the_block_comes_first() -> None:
    interrupts = Interrupts()

    def block() -> None:
        with interrupts:
            send(signal.SIGINT)
            raise KeyError

    interrupts.start()
    try:
        with pytest.raises(KeyError):
            block()
        with interrupts:
            pass  # it is forgotten
    finally:
        interrupts.stop()


def test_handlers_are_given_back_and_a_users_own_is_left() -> None:
    own = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGTERM)
        interrupts = Interrupts()
        interrupts.start()
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) == interrupts._handle
        interrupts.stop()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, own)
    classifier().fit(X, y, **FIT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_another_thread_takes_no_signal() -> None:
    interrupts = Interrupts()
    thread = threading.Thread(target=interrupts.start)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Sends(fastdnn.Callback):
    """Sends a signal after so many steps in all, from the native call's own thread."""

    is_kept = False

    def __init__(self, number: int, after: int) -> None:
        self.number, self.after = number, after

    def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
        self.after -= 1
        if self.after == 0:
            send(self.number)


@each_signal
@pytest.mark.parametrize("source", ["samples", "batches", "generator"])
def test_what_an_interrupted_training_leaves(
    number: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of the last step, from which the training ends as if nothing had been."""
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)  # a slice for every step
    path = tmp_path / "model"

    def batches() -> Iterator[Any]:
        for begin in range(0, len(X), 16):
            yield X[begin : begin + 16], y[begin : begin + 16]

    def fit(model: fastdnn.Sequential, *more: fastdnn.Callback, **options: Any) -> Any:
        saved = fastdnn.ModelCheckpoint(path, every_seconds=1e9)
        options |= {"epochs": 3, "verbose": 0, "callbacks": [saved, *more]}
        if source == "samples":
            return model.fit(X, y, 16, **options)
        return model.fit(list(batches()) if source == "batches" else batches, **options)

    whole, stopped, resumed = classifier(), classifier(), classifier()
    expected = fit(whole).history
    with pytest.raises(ENDS[number]):
        fit(stopped, Sends(number, 27))
    assert stopped._state.steps == 27
    assert stopped.history.epoch == [0]
    np.testing.assert_array_equal(fastdnn.load(path).parameters, stopped.parameters)
    assert fit(resumed, resume_from=path).history == expected
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def test_a_signal_within_a_native_call_comes_after_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 1e9)  # a slice for every epoch
    model = classifier()
    train = model.engine.train

    def slow(*given: Any, **options: Any) -> Any:
        outcome = train(*given, **options)
        send(signal.SIGINT)
        return outcome

    monkeypatch.setattr(model.engine, "train", slow)
    path = tmp_path / "{step}"
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, callbacks=[fastdnn.ModelCheckpoint(path, every_seconds=1e9)], **FIT)
    assert model._state.steps == 20
    assert [one.name for one in tmp_path.iterdir()] == ["20"]
