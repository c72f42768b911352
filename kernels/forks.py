"""Locks that are free in a forked child, whoever held them in the parent.

A child has none of its parent's threads but the one that forked. What another one held at that
moment would stay locked for ever.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from weakref import WeakSet

from numba.core.compiler_lock import global_compiler_lock


class Renewed(ABC):
    """Something with locks that is made anew in a forked child."""

    def __init__(self) -> None:
        self.renew()
        _ALL.add(self)

    @abstractmethod
    def renew(self) -> None:
        """Let go of the locks, whoever has them."""


class Lock(Renewed):
    """A lock for a ``with`` block, which the thread that has it may take again."""

    def renew(self) -> None:
        """Let go of it, whoever has it."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


_ALL: WeakSet[Renewed] = WeakSet()


def _renew_all() -> None:
    for one in list(_ALL):
        one.renew()
    if hasattr(global_compiler_lock, "_lock"):  # numba's own, which it does not renew
        global_compiler_lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
