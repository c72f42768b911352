"""Ranks of one parallel region as a team: they meet, wait at barriers, or one goes alone.

A call has ``team = numpy.zeros(TEAM, int64)``; each of its counters has a cache line of its own.
Where the threading layer does not give every rank a thread at once, the rendezvous ends after a
bounded wait, one rank does all the work, and the others leave: slower, the same bits, never a
deadlock.
"""

from __future__ import annotations

from ._jit import kernel
from ._simd import atomic_add, atomic_claim, atomic_load, pause, sched_yield

LINE = 8  # int64 in a cache line of 64 bytes
ARRIVED, DECISION, WAITING, GENERATION = 0, LINE, 2 * LINE, 3 * LINE
TEAM = 4 * LINE
TOGETHER, ALONE = 1, 2  # values of DECISION
SPINS = 100  # before a waiting rank gives its core away: some microseconds
PATIENCE = 20_000  # further rounds before a rank starts alone: 10 ms and more


@kernel
def join(team, n_ranks):
    """The size of the team of the calling rank: n_ranks, 1 (it is alone), or 0 (leave)."""
    if n_ranks == 1:
        return 1
    if atomic_add(team, ARRIVED, 1) == n_ranks - 1:
        return n_ranks if atomic_claim(team, DECISION, TOGETHER) else 0
    spins = 0
    while atomic_load(team, DECISION) == 0 and spins < SPINS + PATIENCE:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            sched_yield()
    if atomic_claim(team, DECISION, ALONE):
        return 1
    return n_ranks if atomic_load(team, DECISION) == TOGETHER else 0


@kernel
def barrier(team, n_ranks):
    """Wait until all `n_ranks` ranks of the team are here; what they wrote before is seen after."""
    if n_ranks == 1:
        return
    generation = atomic_load(team, GENERATION)
    if atomic_add(team, WAITING, 1) == n_ranks - 1:
        atomic_add(team, WAITING, -n_ranks)
        atomic_add(team, GENERATION, 1)
        return
    spins = 0
    while atomic_load(team, GENERATION) == generation:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            sched_yield()
