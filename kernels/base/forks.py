"""Locks that are free in a forked child, whoever held them in the parent.

A child has none of its parent's threads but the one that forked. What another one held at that
moment would stay locked for ever. What the one that forked held itself, it still does.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any
from weakref import WeakSet

from numba.core.compiler_lock import global_compiler_lock


def without_others(lock: Any) -> Any:
    """Return an RLock that no other thread holds: the same one, unless one does.

    What the thread that forks holds itself, it holds in the child too, and will let go of.
    """
    if lock.acquire(blocking=False):
        lock.release()
        return lock
    return threading.RLock()


class Renewed(ABC):
    """Something with locks, of which a forked child lets go."""

    def __init__(self) -> None:
        _ALL.add(self)

    @abstractmethod
    def renew(self) -> None:
        """Let go of what other threads hold."""


class Lock(Renewed):
    """A lock for a ``with`` block, which the thread that has it may take again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        super().__init__()

    def renew(self) -> None:
        """Let go of it, if another thread has it."""
        self._lock = without_others(self._lock)

    def try_enter(self) -> bool:
        """Take it unless another thread has it; `__exit__` gives it back."""
        return bool(self._lock.acquire(blocking=False))

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._lock.release()


_ALL: WeakSet[Renewed] = WeakSet()


def _renew_all() -> None:
    for one in list(_ALL):
        one.renew()
    if hasattr(global_compiler_lock, "_lock"):  # numba's own, which it does not renew
        global_compiler_lock._lock = without_others(global_compiler_lock._lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
