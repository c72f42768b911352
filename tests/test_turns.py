"""Threads and forked children that use one model."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn import turns as module
from fastdnn.turns import Turns
from tests.forked import can_take
from tests.nets import classifier, samples

X, y = samples(160)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def test_two_fits_of_one_model_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    model, serial = classifier(), classifier()
    for _ in range(4):
        serial.fit(X, y, epochs=3, **FIT)
    with ThreadPoolExecutor(4) as pool:
        histories = list(pool.map(lambda _: model.fit(X, y, epochs=3, **FIT), range(4)))
    assert model._state.steps == serial._state.steps == 4 * 3 * 10
    np.testing.assert_array_equal(model.parameters, serial.parameters)
    assert all(history.epoch == [0, 1, 2] for history in histories)


def test_single_steps_of_several_threads_are_all_counted() -> None:
    model = classifier()
    model.train_on_batch(X, y)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model.train_on_batch(X[:16], y[:16]), range(100)))
    assert model._state.steps == 101


def test_a_fit_within_a_callback_of_the_same_fit_is_no_deadlock() -> None:
    model = classifier()

    class Again(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            model.train_on_batch(X, y)
            model.predict(X)

    model.fit(X, y, callbacks=[Again()], **FIT)
    assert model._state.steps == 11


@pytest.mark.parametrize("what", ["engine", "training"])
def test_a_forked_child_has_locks_that_nobody_holds(what: str) -> None:
    turns = Turns()

    def take() -> bool:
        lock = turns._engine if what == "engine" else turns.training._lock
        return lock.acquire(timeout=5)

    assert can_take(turns if what == "engine" else turns.training, take)


def test_a_pickled_model_has_locks_of_its_own() -> None:
    model = classifier()
    copy = pickle.loads(pickle.dumps(model))
    assert copy.lock is not model.lock
    with model.lock:
        copy.fit(X, y, **FIT)


# ------------------------------------------------------------------------- predictions at a time
def test_predictions_of_one_model_run_side_by_side() -> None:
    model = classifier()
    expected = model.predict(X)
    both = threading.Barrier(3)

    def predict(_: int) -> Any:
        with model.lock.spare(model.engine) as twin:
            both.wait(timeout=30)
            return twin.forward(X, batch=1024)

    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(predict, range(3)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("units", [6, 64])
def test_the_bits_of_many_threads(units: int) -> None:
    model = fastdnn.Sequential(
        [fastdnn.Dense(units, "relu"), fastdnn.Dense(3, "softmax")], input_size=4, seed=0
    )
    inputs = [X[: 1 + i] for i in range(40)]
    expected = [model.predict(one) for one in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(model.predict, inputs), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_a_prediction_sees_no_step_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a fit, each prediction is one of the model after some slice."""
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    seen = set()

    class Record(fastdnn.Callback):
        def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
            seen.add(self.model.predict(X[:1]).tobytes())  # type: ignore[attr-defined]

    model, stop, found = classifier(), threading.Event(), set()
    seen.add(model.predict(X[:1]).tobytes())

    def predict() -> None:
        while not stop.is_set():
            found.add(model.predict(X[:1]).tobytes())

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(predict) for _ in range(3)]
        model.fit(X, y, epochs=20, callbacks=[Record()], **FIT)
        stop.set()
        for one in waiting:
            one.result(timeout=30)
    assert found <= seen


def test_readers_and_writers_both_get_their_turn() -> None:
    turns, model = Turns(), classifier()
    counts = {"read": 0, "write": 0}
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with turns.spare(model.engine):
                counts["read"] += 1

    def write() -> None:
        while not stop.is_set():
            with turns:
                with turns:  # again
                    counts["write"] += 1
                assert not turns._readers

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(one) for one in (read, read, write, write)]
        stop.wait(1.0)
        stop.set()
        for one in waiting:
            one.result(timeout=30)
    assert min(counts.values()) > 20


# ---------------------------------------------------------------------------- waiting, and forking
@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell soon that two threads wait for each other."""
    monkeypatch.setattr(module, "LOOK", 0.005)


def _in_thread(what: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            what()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


WAITS: dict[str, tuple[Callable[[Turns], Any], Callable[[Turns], Any]]] = {  # who has, who waits
    "training": (lambda turns: turns.training, lambda turns: turns.training),
    "two changes": (lambda turns: turns, lambda turns: turns),
    "a change for a reader": (lambda turns: turns.still(), lambda turns: turns),
    "a change for who has the engine": (lambda turns: turns.using(), lambda turns: turns),
    "a reader for a change": (lambda turns: turns, lambda turns: turns.still()),
}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", WAITS)
def test_who_waits_for_who_waits_for_him_is_told(name: str) -> None:
    has, wants = WAITS[name]
    turns = Turns()

    def wait() -> None:
        with wants(turns):
            pass

    with has(turns):
        thread, errors = _in_thread(wait)
        thread.join(30)  # as a callback does
        assert "both would wait for ever" in str(errors[0])
    for _ in range(2):  # all is as if it had not waited
        thread, errors = _in_thread(wait)
        thread.join(30)
        assert not errors


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", WAITS)
def test_who_works_for_long_is_waited_for(name: str) -> None:
    has, wants = WAITS[name]
    turns, order = Turns(), list[str]()

    def wait() -> None:
        with wants(turns):
            order.append("second")

    with has(turns):
        thread, errors = _in_thread(wait)
        for _ in range(100):  # other waits, each of which ends
            threading.Event().wait(0.005)
        order.append("first")
    thread.join(30)
    assert not errors
    assert order == ["first", "second"]


def test_a_change_within_a_reading_of_the_same_thread_is_refused() -> None:
    turns = Turns()
    with (
        turns.still(),
        pytest.raises(RuntimeError, match=r"^the model cannot be changed within"),
        turns,
    ):
        pass
    with turns, turns.still(), turns:  # it has the model for itself
        pass
    with turns:
        assert not turns._readers


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_ends_a_wait(name: str) -> None:
    has, wants = WAITS[name]
    turns, leave, taken = Turns(), threading.Event(), threading.Event()

    def hold() -> None:
        with has(turns):
            taken.set()
            leave.wait(30)

    thread, _ = _in_thread(hold)
    taken.wait(30)
    timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt), wants(turns):
        pass
    leave.set()
    thread.join(30)
    assert (turns._depth, turns._readers, turns._waiting) == (0, {}, [])
    with turns.training, turns, turns.still():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
@pytest.mark.parametrize("name", WAITS)
def test_a_child_lets_go_of_what_the_thread_had_that_forked(name: str) -> None:
    turns, (has, wants) = Turns(), WAITS[name]
    child = None
    with has(turns):
        child = os.fork()
    if child == 0:
        done = threading.Event()

        def take() -> None:
            with wants(turns), has(turns) if has is wants else wants(turns):
                done.set()

        threading.Thread(target=take, daemon=True).start()
        os._exit(0 if done.wait(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
