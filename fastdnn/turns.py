"""Who may use a model when several threads do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, RLock
from types import TracebackType

from fastdnn.kernels.engine import Engine
from fastdnn.kernels.forks import Renewed
from fastdnn.kernels.twins import twin_of


class Turns(Renewed):
    """A model's locks: one for its engine, one for its trainings.

    ``with turns:`` is for what changes the model, or needs the engine for itself. It lasts for a
    native call, so a prediction comes between two slices of a training. ``with turns.training:``
    lasts for a whole `fit`: two of one model come one after the other. A thread may take either
    again. Predictions run side by side: the first one by `try_engine`, others with a `spare`. A
    forked child has locks that nobody holds.

    Notes
    -----
    Who waits goes before whoever comes later: what waited for a change goes before the next one.
    """

    def renew(self) -> None:
        """Let go of what threads hold that a forked child does not have."""
        self._engine, self.training = RLock(), RLock()
        self._moved = Condition()
        self._depth = 0  # of ``with turns:`` in the thread that is in it
        self._readers = self._waiting = self._batch = 0
        self._spares: list[Engine] = []

    def __enter__(self) -> None:
        self._engine.acquire()
        try:
            with self._moved:
                self._depth += 1
                while self._readers:
                    self._moved.wait()
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
            if self._depth == 0 and self._waiting:
                # counted here, before the next change can begin
                self._readers += self._waiting
                self._waiting, self._batch = 0, self._batch + 1
                self._moved.notify_all()
        self._engine.release()

    def try_engine(self) -> bool:
        """Take the engine if it is free; `leave_engine` gives it back."""
        return self._engine.acquire(blocking=False)

    def leave_engine(self) -> None:
        """Give it back."""
        self._engine.release()

    @contextmanager
    def spare(self, engine: Engine) -> Iterator[Engine]:
        """Give an engine with the parameters of this one, which another prediction uses."""
        self._begin_to_read()
        try:
            twin = self._spares.pop() if self._spares else twin_of(engine)
            yield twin
            self._spares.append(twin)
        finally:
            with self._moved:
                self._readers -= 1
                self._moved.notify_all()

    def _begin_to_read(self) -> None:
        with self._moved:
            if self._depth == 0:
                self._readers += 1
                return
            self._waiting += 1
            batch = self._batch
            try:
                while self._batch == batch:
                    self._moved.wait()
            except BaseException:  # Ctrl-C
                if self._batch == batch:
                    self._waiting -= 1
                else:
                    self._readers -= 1
                raise
