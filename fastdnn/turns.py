"""Who may use a model when several threads do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, RLock, get_ident
from types import FrameType, TracebackType

from fastdnn.kernels.base.forks import Lock, Renewed, without_others
from fastdnn.kernels.engine import Engine, twin_of

LOOK = 0.5  # seconds from one look at the thread that trains to the next
PATIENCE = 40  # looks in a row at one and the same wait of it for another thread: 20 seconds


class _Look:
    """Looks at the thread that has what is waited for, and refuses to wait for ever.

    A callback, a source of batches, a loss or a metric may wait for the very thread that waits for
    the model. Then the thread that has the model is seen in one and the same wait, all the time.
    """

    def __init__(self) -> None:
        self._seen: FrameType | None = None
        self._count = 0  # of looks, and no clock: a machine that has slept has waited for nobody

    def __call__(self, thread: int | None) -> None:
        now = _wait_of(thread)
        self._count = self._count + 1 if now is not None and now is self._seen else 0
        self._seen = now
        if self._count == PATIENCE:
            raise RuntimeError(
                "another thread trains this model, and waits for a thread itself: if it waits for "
                "this call, in a callback, a source, a loss or a metric, both would wait for ever"
            )


class Training(Lock):
    """Held for a whole `fit`; another thread's `fit` waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._owner: int | None = None
        self._depth = 0

    def renew(self) -> None:
        """Let go of it, if another thread has it."""
        super().renew()
        if self._owner != get_ident():
            self._owner, self._depth = None, 0

    @property
    def is_mine(self) -> bool:
        """Return whether the calling thread trains the model."""
        return self._owner == get_ident()

    def __enter__(self) -> None:
        look = _Look()
        while not self._lock.acquire(timeout=LOOK):
            look(self._owner)
        self._owner, self._depth = get_ident(), self._depth + 1

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
        super().__exit__()


def _wait_of(thread: int | None) -> FrameType | None:
    """Return the call of Python's `threading` that a thread is in, unless it is for a turn."""
    frame = None if thread is None else sys._current_frames().get(thread)
    if frame is None or frame.f_globals is not vars(threading):
        return None
    return None if frame.f_back is not None and frame.f_back.f_globals is globals() else frame


class Turns(Renewed):
    """A model's locks: one for its engine, one for its trainings.

    ``with turns:`` is for what changes the model. It lasts for a native call, so a prediction comes
    between two slices of a training. ``with turns.training:`` lasts for a whole `fit`: two of one
    model come one after the other. A thread may take either again.

    Nothing changes the model in ``with turns.still():``; several threads may be in such a block. To
    compute there, one of them has the engine, by `reading`, `using` or `try_engine`, and others
    have engines of their own. A forked child holds what the thread that forked did, and no more.

    Notes
    -----
    Who waits goes before whoever comes later: what waited for a change goes before the next one.
    """

    def __init__(self) -> None:
        self._engine, self.training = RLock(), Training()
        self._moved = Condition()
        self._writer: int | None = None  # the thread in ``with turns:``
        self._depth = 0  # of that
        self._user: int | None = None  # the thread that has the engine, but for a quick prediction
        self._readers: dict[int, int] = {}  # threads in ``with turns.still():``, and how deep
        self._waiting: list[int] = []
        self._batch = 0
        self._spares: list[Engine] = []
        super().__init__()

    def renew(self) -> None:
        """Let go of what threads hold that a forked child does not have."""
        own = get_ident()
        self._engine = without_others(self._engine)
        self._moved, self._waiting, self._spares = Condition(), [], []
        self._readers = {one: depth for one, depth in self._readers.items() if one == own}
        if self._writer != own:
            self._writer, self._depth = None, 0
        if self._user != own:
            self._user = None

    # ---------------------------------------------------------------------------------- changing
    def _take_engine(self) -> None:
        look = _Look()
        while not self._engine.acquire(timeout=LOOK):
            look(self._user)

    def __enter__(self) -> None:
        self._take_engine()
        self._depth += 1
        try:
            with self._moved:
                own = self._writer = self._user = get_ident()
                if self._depth == 1 and own in self._readers:
                    raise RuntimeError(
                        "the model cannot be changed within a prediction or evaluation of its own"
                    )
                look = _Look()
                while self._depth == 1 and self._readers:
                    if not self._moved.wait(LOOK):
                        look(next(iter(self._readers), None))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._moved:
            self._depth -= 1
            if self._depth == 0:
                self._writer = self._user = None
                # counted here, before the next change can begin
                for thread in self._waiting:
                    self._readers[thread] = 1
                self._waiting, self._batch = [], self._batch + 1
                self._moved.notify_all()
        self._engine.release()

    # ----------------------------------------------------------------------------------- reading
    def try_engine(self) -> bool:
        """Take the engine to read, if it is free; `leave_engine` gives it back."""
        return self._engine.acquire(blocking=False)

    def leave_engine(self) -> None:
        """Give it back."""
        self._engine.release()

    @contextmanager
    def using(self) -> Iterator[None]:
        """Wait for the engine, to read; predictions go on beside, with others."""
        self._take_engine()
        before, self._user = self._user, get_ident()
        try:
            yield
        finally:
            self._user = before
            self._engine.release()

    @contextmanager
    def reading(self, engine: Engine) -> Iterator[Engine]:
        """Give the engine if it is free, else a `spare` one."""
        if self.try_engine():
            before, self._user = self._user, get_ident()
            try:
                yield engine
            finally:
                self._user = before
                self.leave_engine()
        else:
            with self.spare(engine) as twin:
                yield twin

    @contextmanager
    def spare(self, engine: Engine) -> Iterator[Engine]:
        """Give an engine with the parameters of this one, which another thread uses."""
        with self.still():
            try:
                former = self._spares.pop()
            except IndexError:
                former = None
            twin = twin_of(engine, former)
            yield twin
            self._spares.append(twin)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Have nobody change the model in a ``with`` block."""
        own = get_ident()
        self._begin_to_read(own)
        try:
            yield
        finally:
            with self._moved:
                self._readers[own] -= 1
                if self._readers[own] == 0:
                    del self._readers[own]
                    self._moved.notify_all()

    def _begin_to_read(self, own: int) -> None:
        with self._moved:
            if self._depth == 0 or self._writer == own or own in self._readers:
                self._readers[own] = self._readers.get(own, 0) + 1
                return
            self._waiting.append(own)
            batch, look = self._batch, _Look()
            try:
                while self._batch == batch:
                    if not self._moved.wait(LOOK):
                        look(self._writer)
            except BaseException:  # Ctrl-C
                if self._batch == batch:
                    self._waiting.remove(own)
                else:
                    del self._readers[own]
                    self._moved.notify_all()
                raise
