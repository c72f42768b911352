"""Tasks of one call, each of them whole in one thread, side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from fastdnn.kernels.cpu.threads import Pool, get_num_threads

from .interrupts import Interrupts, relayed

LOOK = 0.1  # seconds from one call of `tick` to the next


def run(tasks: Sequence[Callable[[], None]], tick: Callable[[], object] | None = None) -> None:
    """Run the tasks, which begin in their order, as many at once as there are threads.

    A task's native calls have one thread. Those of the last tasks have what others have left.

    Parameters
    ----------
    tasks : sequence of callable
    tick : callable, optional
        Called in this thread about ten times a second, and at the end.

    Raises
    ------
    BaseException
        What a task raises, or Ctrl-C: no other task begins then, and those that train end after
        their present steps.
    """
    _Run(tasks, get_num_threads()).wait(tick or (lambda: None))


def run_by_cost(
    tasks: Sequence[Callable[[float], None]],
    costs: Sequence[int],
    tick: Callable[[], object] | None = None,
) -> None:
    """Run the tasks as `run` does, the costly ones first; each is given its share of all work."""
    total = max(sum(costs), 1)
    order = sorted(range(len(tasks)), key=costs.__getitem__, reverse=True)
    run([partial(tasks[i], costs[i] / total) for i in order], tick)


class _Run:
    """The threads of one `run`."""

    def __init__(self, tasks: Sequence[Callable[[], None]], n: int) -> None:
        self._left, self._pool = iter(tasks), Pool(n)
        self._next, self._end = threading.Lock(), threading.Event()
        self._stop = np.zeros(1, np.int64)
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"fastdnn-{number}", daemon=True)
            for number in range(min(n, len(tasks)))
        ]

    def _work(self) -> None:
        """Run tasks until none is left."""
        try:
            with self._pool.member(), relayed(self._stop):
                while (task := self._take()) is not None:
                    task()
        except BaseException as error:
            self._errors.append(error)
            self._stop[0] = 1
        finally:
            self._end.set()

    def _take(self) -> Callable[[], None] | None:
        with self._next:
            return None if self._stop[0] else next(self._left, None)

    def wait(self, tick: Callable[[], object]) -> None:
        """Start the threads, and see them end."""
        interrupts = Interrupts()
        interrupts.start()
        try:
            for thread in self._threads:
                thread.start()
            while any(thread.is_alive() for thread in self._threads):
                self._end.wait(LOOK)
                self._end.clear()
                tick()
            tick()
        finally:
            self._stop[0] = 1
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()
            interrupts.stop()
        if self._errors:
            raise self._errors[0]
