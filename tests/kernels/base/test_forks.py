"""A forked child finds the locks free that another thread of its parent holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from numba.core.compiler_lock import global_compiler_lock

from fastdnn.kernels.base.forks import Lock
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.parallel import entry
from fastdnn.kernels.passes.step import run
from tests.forked import can_take

LOCKS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "a new one": Lock,
    "of leaves": lambda: jit._loading,
    "of the first start": lambda: entry._lock,
    "of an entry": lambda: run._compiling,
    "numba's": lambda: global_compiler_lock,
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_child_can_take_what_a_thread_of_its_parent_holds(name: str) -> None:
    lock = LOCKS[name]()

    def take() -> bool:
        done = threading.Event()

        def hold() -> None:
            with lock:
                done.set()

        threading.Thread(target=hold, daemon=True).start()
        return done.wait(10)

    assert can_take(lock, take)


def test_a_thread_waits_for_another_and_may_take_it_again() -> None:
    lock, order = Lock(), list[str]()

    def other() -> None:
        with lock:
            order.append("other")

    with lock, lock:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_child_has_what_the_thread_that_forked_had() -> None:
    lock = Lock()
    with lock:
        child = os.fork()
        if child == 0:
            taken: list[bool] = []
            other = threading.Thread(target=lambda: taken.append(lock.try_enter()))
            other.start()
            other.join()
            lock.__exit__()  # RuntimeError, if it were another lock
            os._exit(0 if taken == [False] and lock.try_enter() else 1)
        assert os.waitpid(child, 0)[1] == 0
