"""Ranks of one parallel region as a team: they meet, wait at barriers, or one goes alone.

A call has ``team = numpy.zeros(TEAM + n_ranks, int64)``: counters in cache lines of their own, then
the CPU that each rank was last seen on.
Where the threading layer does not give every rank a thread at once, the rendezvous ends after a
bounded wait, one rank does all the work, and the others leave: slower, the same bits, never a
deadlock.
"""

from __future__ import annotations

from ._jit import kernel
from ._simd import atomic_add, atomic_claim, atomic_load, current_cpu, pause, sched_yield

LINE = 8  # int64 in a cache line of 64 bytes
ARRIVED, DECISION, WAITING, GENERATION = 0, LINE, 2 * LINE, 3 * LINE
TEAM = 4 * LINE
TOGETHER, ALONE = 1, 2  # values of DECISION
SPINS = 100  # before a waiting rank gives its core to a rank that shares it: some microseconds
PATIENCE = 20_000  # further rounds before a rank starts alone: 10 ms and more
LONG = 20_000  # rounds before a waiting rank yields to whoever it may be: half a millisecond


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
def shares_cpu(team, n_ranks, number):
    """Whether the rank `number` runs where another rank was last seen."""
    cpu = current_cpu()
    if team[TEAM + number] != cpu:
        team[TEAM + number] = cpu
    shares = False
    for other in range(n_ranks):
        shares |= other != number and team[TEAM + other] == cpu
    return shares


@kernel
def barrier(team, n_ranks, number):
    """Wait until all ranks of the team are here; what they wrote before is seen after.

    Who yields to a thread of another program waits for a whole time slice, some milliseconds, where
    the next rank is microseconds away. So a rank yields to ranks, and to others only in the end.
    """
    if n_ranks == 1:
        return
    shares = shares_cpu(team, n_ranks, number)
    generation = atomic_load(team, GENERATION)
    if atomic_add(team, WAITING, 1) == n_ranks - 1:
        atomic_add(team, WAITING, -n_ranks)
        atomic_add(team, GENERATION, 1)
        return
    spins = 0
    while atomic_load(team, GENERATION) == generation:
        spins += 1
        if spins < SPINS or (not shares and spins < LONG):
            pause()
        else:
            sched_yield()
            shares = shares_cpu(team, n_ranks, number)
