"""Ctrl-C and SIGTERM while a model is trained: they end the steps under way, whole ones counted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.forks import Renewed

# What happens without `Interrupts`: only this is replaced, never a handler of the user's own.
DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class Interrupts:
    """Handles the two signals between `start` and `stop`, in the main thread.

    Ctrl-C raises KeyboardInterrupt and SIGTERM raises SystemExit(143), as a shell reports it: at
    once where a callback or a source of batches runs, else at the end of ``with interrupts:``, when
    the steps of that block are done and counted.

    Attributes
    ----------
    arrived : ndarray of one int64
        Set when a signal comes, by a thread of its own if need be: Python runs no handler while the
        main thread is in a native call, which may look at this number to end soon.
    """

    def __init__(self) -> None:
        self.arrived = np.zeros(1, np.int64)
        self._former: dict[int, Any] = {}
        self._is_held = False
        self._pending: int | None = None
        self._watch: _Watch | None = None

    def start(self) -> None:
        """Take the signals over, where nobody else has."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, default in DEFAULTS.items():
            if signal.getsignal(number) == default:
                self._former[number] = signal.signal(number, self._handle)

    def watch(self) -> None:
        """Have `arrived` set within native calls too, from now until `stop`."""
        if self._watch is None and self._former:
            self._watch = _Watch(self.arrived, set(self._former))

    def stop(self) -> None:
        """Give the signals back; what has come meanwhile is raised at the end."""
        self._is_held = True
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, handler)
        self.__exit__(None, None, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_held:
            self.arrived[0], self._pending = 1, number
        else:
            raise _error(number)

    def forget(self) -> None:
        """Forget a signal that came before: a callback may have handled what it raised."""
        self.arrived[0] = 0

    def __enter__(self) -> None:
        self.forget()
        self._is_held = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_held = False
        number, self._pending = self._pending, None
        if number is not None and error is None:
            raise _error(number)


class Relayed(Interrupts):
    """The same in a thread that works for the main one, which sets `arrived` when it shall end.

    It raises KeyboardInterrupt then, where `Interrupts` would.
    """

    def __init__(self, arrived: NDArray[np.int64]) -> None:
        super().__init__()
        self.arrived = arrived

    def forget(self) -> None:
        """End the training: the main thread has not called for nothing."""
        if self.arrived[0]:
            raise KeyboardInterrupt

    def start(self) -> None:
        """Leave the signals alone: they are the main thread's."""

    def stop(self) -> None:
        """Leave them alone."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.forget()


_of_thread = threading.local()  # `arrived`: what a thread that works for another one looks at


@contextmanager
def relayed(arrived: NDArray[np.int64]) -> Iterator[None]:
    """Have the trainings of this thread end when `arrived` is set, inside a ``with`` block."""
    _of_thread.arrived = arrived
    try:
        yield
    finally:
        del _of_thread.arrived


def of_thread() -> Interrupts:
    """Return what a training in the calling thread is ended by."""
    arrived = getattr(_of_thread, "arrived", None)
    return Interrupts() if arrived is None else Relayed(arrived)


class _Watch(Renewed):
    """Sets a number when one of the signals comes, from its own thread, until `stop`.

    Python's own handler writes a signal's number to a file at once (`signal.set_wakeup_fd`), and
    this thread reads it; who has asked for these bytes before is still sent them.
    """

    def __init__(self, arrived: Any, numbers: set[int]) -> None:
        self._arrived, self._numbers = arrived, numbers
        self._source, self._sink = os.pipe()
        os.set_blocking(self._sink, False)
        self._former = signal.set_wakeup_fd(self._sink, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._read, name="fastdnn-signals", daemon=True)
        self._thread.start()
        super().__init__()

    def renew(self) -> None:
        """Tell no signals of a forked child's to its parent, where the pipe ends."""
        signal.set_wakeup_fd(-1)

    def _read(self) -> None:
        while found := os.read(self._source, 64):
            if not self._numbers.isdisjoint(found):
                self._arrived[0] = 1
            if self._former >= 0:
                with suppress(OSError):  # full, or closed
                    os.write(self._former, found)

    def stop(self) -> None:
        """End the thread."""
        signal.set_wakeup_fd(self._former)
        os.close(self._sink)
        self._thread.join()
        os.close(self._source)


def _error(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
