"""Threads and forked children that use one model."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn.turns import Turns
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
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with turns if what == "engine" else turns.training:
            taken.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        lock = turns._engine if what == "engine" else turns.training
        os._exit(0 if lock.acquire(timeout=5) else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_pickled_model_has_locks_of_its_own() -> None:
    model = classifier()
    copy = pickle.loads(pickle.dumps(model))
    assert copy.lock is not model.lock
    with model.lock:
        copy.fit(X, y, **FIT)
