"""How many ranks take part in a call: as many as are worth it, and fewer beside busy neighbours."""

from __future__ import annotations

from time import perf_counter, process_time

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.elementwise.update import UPDATES
from fastdnn.kernels.layers.layout import BLOCKED

from .calls import Rule
from .parameters import Parameters
from .placement import Place

WINDOW = 0.05  # seconds of calls that are judged together: many time slices of the system
CROWDED = 0.85  # of the ranks' time: who had less has waited for other programs
SHORTEST, LONGEST = 0.5, 4.0  # seconds before a choice is looked at again


def ranks_for(
    parameters: Parameters, place: Place, batch: int, passes: int, rule: Rule | None
) -> int:
    """Return how many ranks a call is worth, of steps of `batch`, and of so many samples in all."""
    of_step, of_call = parameters.work * batch, parameters.work * passes
    if place.regime != BLOCKED:
        return min(threads.workers(of_step, of_call), place.segments(batch))
    if rule is not None:
        of_step = parameters.step_work(batch, UPDATES[rule.name].n_slots)
    return threads.workers(of_step, of_call)


class Crowd:
    """Finds out how many ranks make calls of one kind fastest, while others use the CPUs too.

    Ranks wait for each other, so one that shares its CPU with another program holds up all. Where
    the ranks have had less than their time on the CPUs, fewer are tried: as many as there were CPUs
    to have. The faster number stays, and is compared again after a while. Without neighbours
    nothing is tried. No result depends on it.
    """

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None
        self._start(1)

    def ranks(self, wanted: int) -> int:
        """Return how many ranks the call that now begins shall have, of those that are wanted."""
        self._begun = None
        if wanted == 1:
            return 1
        if wanted != self._wanted:
            self._start(wanted)
        self._begun = perf_counter(), process_time()
        return self._ranks

    def done(self, steps: int) -> None:
        """Take note of how long the call has taken for so many steps."""
        if self._begun is None:
            return
        seconds, cpu = self._begun
        now = perf_counter()
        self._seconds += now - seconds
        self._cpu += process_time() - cpu
        self._steps += steps
        if self._seconds >= WINDOW:
            self._judge(now, self._steps / self._seconds, self._cpu / self._seconds)
            self._clear()

    def _start(self, wanted: int) -> None:
        """Begin with all that are wanted."""
        self._wanted = self._ranks = wanted
        self._before: tuple[int, float] | None = None  # what is compared: ranks, and their speed
        self._patience, self._next = SHORTEST, 0.0  # until and when two numbers are compared
        self._clear()

    def _clear(self) -> None:
        self._seconds = self._cpu = 0.0
        self._steps = 0

    def _judge(self, now: float, speed: float, cpus: float) -> None:
        """Choose the ranks of the next window, from what the last one has had."""
        if self._before is not None:
            ranks, before = self._before
            self._ranks = ranks if before > speed else self._ranks
            self._before, self._next = None, now + self._patience
            self._patience = min(2 * self._patience, LONGEST)
        elif self._ranks == self._wanted and cpus >= CROWDED * self._wanted:
            self._patience = SHORTEST
        elif now >= self._next:
            self._before = self._ranks, speed
            fewer = min(max(round(cpus), 1), self._wanted - 1)
            self._ranks = fewer if self._ranks == self._wanted else self._wanted
