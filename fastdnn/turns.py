"""Who may use a model when several threads do."""

from __future__ import annotations

import os
from threading import RLock
from types import TracebackType
from weakref import WeakSet


class Turns:
    """A model's locks: one for its engine, one for its trainings.

    ``with turns:`` waits until no other thread uses the engine, which has one workspace. It lasts
    for a native call, so a prediction comes between two slices of a training. ``with
    turns.training:`` lasts for a whole `fit`: two of one model come one after the other. A thread
    may take either again. A forked child has locks that nobody holds.
    """

    def __init__(self) -> None:
        self._renew()
        _ALL.add(self)

    def _renew(self) -> None:
        self._engine, self.training = RLock(), RLock()

    def __enter__(self) -> None:
        self._engine.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.release()


_ALL: WeakSet[Turns] = WeakSet()


def _renew_all() -> None:
    """Let go of what threads hold that the forked child does not have."""
    for turns in list(_ALL):
        turns._renew()


os.register_at_fork(after_in_child=_renew_all)
