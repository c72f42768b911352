"""What a forked child can do while a thread of its parent holds a lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


def can_take(lock: AbstractContextManager[object], in_child: Callable[[], bool]) -> bool:
    """Fork while another thread holds the lock; returns what `in_child` returns there."""
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
        could = False
        try:
            could = in_child()
        finally:
            os._exit(0 if could else 1)
    leave.set()
    thread.join()
    return os.waitpid(child, 0)[1] == 0
