"""A forked child finds the locks free that another thread of its parent holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from numba.core.compiler_lock import global_compiler_lock

from fastdnn.kernels import _jit, entry
from fastdnn.kernels.forks import Lock
from fastdnn.kernels.step import run

LOCKS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "a new one": Lock,
    "of leaves": lambda: _jit._loading,
    "of the first start": lambda: entry._lock,
    "of an entry": lambda: run._compiling,
    "numba's": lambda: global_compiler_lock,
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_child_can_take_what_a_thread_of_its_parent_holds(name: str) -> None:
    lock = LOCKS[name]()
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        done = threading.Event()

        def take() -> None:
            with lock:
                done.set()

        threading.Thread(target=take, daemon=True).start()
        os._exit(0 if done.wait(10) else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


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
