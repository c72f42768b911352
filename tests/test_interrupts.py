"""Ctrl-C and SIGTERM end a training between two steps, with all that is done counted and saved."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import loop
from fastdnn.data.streams import Stream
from fastdnn.interrupts import Interrupts, Relayed, of_thread, relayed
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


@pytest.mark.parametrize("hook", ["on_test_begin", "on_test_end"])
def test_a_training_that_is_stopped_in_its_validation(hook: str, tmp_path: Path) -> None:
    path = tmp_path / "model"

    def fit(model: fastdnn.Sequential, **options: Any) -> Any:
        stop = options.pop("stop", fastdnn.LambdaCallback())
        stop.is_kept = False
        callbacks = [fastdnn.ModelCheckpoint(path, every_seconds=1e9), stop]
        given = {"validation_split": 0.2, "epochs": 3, **FIT, **options}
        return model.fit(X, y, callbacks=callbacks, **given).history

    class Stop(fastdnn.Callback):
        count = 0

        def act(self, *_: Any) -> None:
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt

    setattr(Stop, hook, Stop.act)
    whole, resumed = classifier(), classifier()
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(classifier(), stop=Stop())
    assert fit(resumed, resume_from=path) == expected
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


def large(units: int = 256) -> fastdnn.Sequential:
    """A network whose full batch takes long."""
    layers: list[Any] = [fastdnn.Dense(units, "relu"), fastdnn.Dense(3, "softmax")]
    model = fastdnn.Sequential(layers, input_size=400, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def signal_within_a_call(
    model: fastdnn.Sequential, call: str, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    """Have a signal come a moment after a native call has begun, not the first `after` ones."""
    original, calls = getattr(model.engine, call), list[int]()

    def begun(*given: Any, **options: Any) -> Any:
        calls.append(0)
        if len(calls) != after + 1:
            return original(*given, **options)
        timer = threading.Timer(0.02, send, [number])
        timer.start()
        try:
            return original(*given, **options)
        finally:
            timer.join()  # in no case does it come later

    monkeypatch.setattr(model.engine, call, begun)


@each_signal
@pytest.mark.parametrize("source", ["samples", "sparse", "batches"])
def test_a_signal_ends_a_long_step(
    number: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of it is left, and a resumed training ends as one that was never stopped."""
    path, rng, m = tmp_path / "model", np.random.default_rng(0), 40_000
    X = rng.standard_normal((m, 400), np.float32) * (rng.random((m, 400)) < 0.1)
    y = rng.integers(0, 3, m)

    def fit(model: fastdnn.Sequential, **options: Any) -> Any:
        saved = fastdnn.ModelCheckpoint(path, every_seconds=1e9)
        options |= {"epochs": 2, "verbose": 0, "callbacks": [saved]}
        if source == "batches":
            return model.fit([(X[:64], y[:64]), (X, y)], **options).history
        given = scipy.sparse.csr_array(X) if source == "sparse" else X
        return model.fit(given, y, m, shuffle=False, **options).history

    whole, stopped, resumed = large(), large(), large()
    expected = fit(whole)
    before = 1 if source == "batches" else 0
    signal_within_a_call(stopped, "train", monkeypatch, number, before)
    with pytest.raises(ENDS[number]):
        fit(stopped)
    assert stopped._state.steps == before
    np.testing.assert_array_equal(fastdnn.load(path).parameters, stopped.parameters)
    assert fit(resumed, resume_from=path) == expected
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def test_a_signal_ends_a_long_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, model, m = np.random.default_rng(0), large(), 40_000
    X, y = rng.standard_normal((m, 400), np.float32), rng.integers(0, 3, m)
    signal_within_a_call(model, "batch_losses", monkeypatch, signal.SIGINT, 0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            X[: m // 2], y[: m // 2], m, validation_data=(X, y), validation_batch_size=m, verbose=0
        )
    assert model._state.steps == 1


@pytest.mark.parametrize("call", range(1, 11))
def test_a_signal_while_a_batch_is_fetched_loses_none(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, given = tmp_path / "model", [(X[at : at + 80], y[at : at + 80]) for at in (0, 80, 160)]

    def fit(model: fastdnn.Sequential, **options: Any) -> Any:
        saved = fastdnn.ModelCheckpoint(path, every_seconds=1e9)
        return model.fit(given, epochs=3, verbose=0, callbacks=[saved], **options).history

    whole, stopped, resumed, calls = classifier(), classifier(), classifier(), list[str]()
    expected, checked = fit(whole), Stream._checked

    def interrupted(self: Stream, batch: Any) -> Any:
        calls.append("")
        if len(calls) == call:
            raise KeyboardInterrupt
        return checked(self, batch)

    monkeypatch.setattr(Stream, "_checked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped)
    monkeypatch.undo()
    assert fit(resumed, resume_from=path if path.exists() else None) == expected
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


@pytest.mark.parametrize("source", ["samples", "batches"])
def test_a_call_that_is_stopped_for_nothing_is_made_again(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal's error has been handled meanwhile, in a callback: no step is lost."""
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)  # a slice for every step
    given = [(X[at : at + 16], y[at : at + 16]) for at in range(0, 320, 16)]

    def fit(model: fastdnn.Sequential) -> Any:
        options: dict[str, Any] = {"epochs": 2, "verbose": 0, "validation_data": (X, y)}
        if source == "batches":
            return model.fit(given, **options).history
        return model.fit(X, y, 16, shuffle=False, **options).history

    whole, stopped, calls = classifier(), classifier(), list[str]()
    expected = fit(whole)

    def late(function: Any, *args: Any, **options: Any) -> Any:
        calls.append("")
        options["stop"][0] = len(calls) % 3 == 0
        return function(*args, **options)

    for name in ("train", "batch_losses"):
        monkeypatch.setattr(stopped.engine, name, partial(late, getattr(stopped.engine, name)))
    assert fit(stopped) == expected
    assert len(calls) > 2 * 21 * 1.3
    np.testing.assert_array_equal(stopped.parameters, whole.parameters)


def test_who_listens_to_signals_already_still_hears_them() -> None:
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    before = signal.set_wakeup_fd(sink)
    interrupts = Interrupts()
    try:
        interrupts.start()
        interrupts.watch()
        try:
            with pytest.raises(KeyboardInterrupt), interrupts:
                send(signal.SIGINT)
            assert os.read(source, 9) == bytes([signal.SIGINT])
        finally:
            interrupts.stop()
        assert signal.set_wakeup_fd(before) == sink
    finally:
        signal.set_wakeup_fd(before)
        os.close(sink)
        os.close(source)
    assert [one.name for one in threading.enumerate() if "signals" in one.name] == []


def test_a_forked_childs_signals_are_its_own() -> None:
    interrupts = Interrupts()
    interrupts.start()
    interrupts.watch()
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.set_wakeup_fd(-1) == -1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        interrupts.stop()


def test_a_thread_that_works_for_another_is_ended_by_it() -> None:
    arrived = np.zeros(1, np.int64)
    with relayed(arrived):
        mine = of_thread()
        mine.start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert mine.arrived is arrived
        with mine:
            pass
        with pytest.raises(KeyboardInterrupt), mine:
            arrived[0] = 1
        with pytest.raises(KeyboardInterrupt), mine:
            raise AssertionError  # the block is not begun
        with pytest.raises(KeyboardInterrupt):
            mine.forget()
        mine.stop()
    assert not isinstance(of_thread(), Relayed)
    with pytest.raises(ValueError, match="first"), relayed(np.zeros(1, np.int64)), of_thread():
        raise ValueError("first")
