"""Ctrl-C and SIGTERM while a model is trained: they wait for the end of the steps under way."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

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
    """

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._is_held = False
        self._pending: int | None = None

    def start(self) -> None:
        """Take the signals over, where nobody else has."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, default in DEFAULTS.items():
            if signal.getsignal(number) == default:
                self._former[number] = signal.signal(number, self._handle)

    def stop(self) -> None:
        """Give the signals back."""
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_held:
            self._pending = number
        else:
            raise _error(number)

    def __enter__(self) -> None:
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


def _error(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
