"""Compiling takes many seconds, once on a machine: who wants to show that is told of it here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fastdnn.kernels.base.forks import Lock

# What a part takes beside the others, more or less; those that are not named take 1.
_WORK = {
    "passes.step.run": 45.0,
    "blas.macrokernel.multiply": 10.0,
    "elementwise.losses.loss_rows": 8.0,
    "dense._product": 8.0,
    "elementwise.activations.activate": 4.0,
    "blas.macrokernel.continue_product": 4.0,
    "elementwise.activations.differentiate": 3.0,
    "parallel.entry.start": 3.0,
}
Tell = Callable[[float], object]  # is told the work of each part that is done
# Is told all of the work before it begins; its block is left when the work is done, or has failed.
Watcher = Callable[[float], AbstractContextManager[Tell]]

_watcher: Watcher | None = None
_telling = Lock()  # has the thread in whose block the watcher is
_tell: Tell | None = None  # of that block: what other threads compile is a part of its work too
_own = threading.local()  # of this Python thread: `is_open`, a block; `quiet`


def watch(watcher: Watcher | None) -> None:
    """Have `watcher` called whenever something is compiled, in all of the process."""
    global _watcher
    _watcher = watcher


@contextmanager
def quietly(is_quiet: bool = True) -> Iterator[None]:
    """Tell nobody of what this Python thread compiles in a ``with`` block, if `is_quiet`."""
    before = getattr(_own, "quiet", False)
    _own.quiet = before or is_quiet
    try:
        yield
    finally:
        _own.quiet = before


def work_of(name: str) -> float:
    """Return the work of a part, named by its module and function."""
    return _WORK.get(name, 1.0)


@contextmanager
def block(work: Callable[[], float]) -> Iterator[None]:
    """Tell the watcher of what is compiled in a ``with`` block, if there is any `work`.

    A block within another one is a part of it. Of several threads that compile at once, as numba
    has them do in turn, the first one tells.
    """
    global _tell
    is_open = getattr(_own, "is_open", False)
    if _watcher is None or is_open or getattr(_own, "quiet", False) or not (total := work()):
        yield
        return
    if not _telling.try_enter():
        yield
        return
    try:
        with _watcher(total) as tell:
            _own.is_open, _tell = True, tell
            try:
                yield
            finally:
                _own.is_open, _tell = False, None
    finally:
        _telling.__exit__()


def done(name: str) -> None:
    """Tell the watcher that a part has been compiled."""
    tell = _tell
    if tell is not None:
        tell(work_of(name))
