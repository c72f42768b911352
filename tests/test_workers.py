"""Tasks in threads: each whole in one; errors and Ctrl-C end all; the last have more threads."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import fastdnn
from fastdnn import workers
from tests.nets import samples, wide

X, y = samples(200)


def test_each_task_runs_once_and_in_order_where_there_is_one_thread() -> None:
    found: list[int] = []
    with fastdnn.num_threads(1):
        workers.run([partial(found.append, i) for i in range(9)])
    assert found == list(range(9))
    found.clear()
    with fastdnn.num_threads(3):
        workers.run([partial(found.append, i) for i in range(50)])
    assert sorted(found) == list(range(50))


def test_no_tasks_are_no_work() -> None:
    ticks: list[int] = []
    workers.run([], lambda: ticks.append(1))
    assert ticks


def test_as_many_run_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=30)
    with fastdnn.num_threads(3):
        workers.run([lambda: together.wait() and None] * 3)  # type: ignore[list-item]


def test_the_last_task_has_the_threads_that_others_have_left() -> None:
    seen: dict[str, int] = {}
    begun, ended = threading.Event(), threading.Event()

    def short() -> None:
        assert begun.wait(30)
        seen["short"] = fastdnn.get_num_threads()
        ended.set()

    def long() -> None:
        begun.set()
        assert ended.wait(30)
        deadline = time.monotonic() + 30
        while fastdnn.get_num_threads() == 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        seen["long"] = fastdnn.get_num_threads()

    with fastdnn.num_threads(2):
        workers.run([long, short])
        assert fastdnn.get_num_threads() == 2
    assert seen == {"short": 1, "long": 2}


def test_an_error_comes_through_and_no_other_task_begins() -> None:
    found: list[int] = []

    def fail() -> None:
        raise OSError("disk full")

    with fastdnn.num_threads(1), pytest.raises(OSError, match="disk full"):
        workers.run([partial(found.append, 0), fail, partial(found.append, 1)])
    assert found == [0]


def test_an_error_ends_the_trainings_beside_it() -> None:
    model, begun = wide(), threading.Event()

    class Tells(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            begun.set()

    def train() -> None:
        model.fit(X, y, epochs=10**9, verbose=0, callbacks=[Tells()])

    def fail() -> None:
        assert begun.wait(60)
        raise OSError("disk full")

    with fastdnn.num_threads(2), pytest.raises(OSError, match="disk full"):
        workers.run([train, fail])
    assert np.isfinite(model.parameters).all()
    assert len(model.history.epoch) > 0
    model.fit(X, y, verbose=0)  # and is as usable as before


def test_ctrl_c_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [wide(seed=i) for i in range(2)]

    def train(model: fastdnn.Sequential) -> None:
        model.fit(X, y, epochs=10**9, verbose=0)

    def press() -> None:
        if all(model._state.steps > 100 for model in models):
            signal.raise_signal(signal.SIGINT)

    tasks: list[Callable[[], None]] = [partial(train, model) for model in models]
    with fastdnn.num_threads(2), pytest.raises(KeyboardInterrupt):
        workers.run(tasks, press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    steps = [model._state.steps for model in models]
    time.sleep(0.05)
    assert steps == [model._state.steps for model in models]  # nobody goes on
    for model in models:
        model.fit(X, y, verbose=0)


def test_the_costly_tasks_begin_first_and_know_their_share() -> None:
    begun: list[tuple[int, float]] = []
    tasks = [partial(lambda i, share: begun.append((i, share)), i) for i in range(4)]
    with fastdnn.num_threads(1):
        workers.run_by_cost(tasks, [1, 5, 0, 4])
    assert begun == [(1, 0.5), (3, 0.4), (0, 0.1), (2, 0.0)]
    workers.run_by_cost(tasks[:1], [0])
    assert begun[-1] == (0, 0.0)
