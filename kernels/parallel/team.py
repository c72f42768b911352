"""Ranks of one parallel region as a team: they meet, wait at barriers, or one goes alone.

A call has ``team = numpy.zeros(team_size(n_ranks), int64)``: counters in cache lines of their own,
then the CPU that each rank was last seen on, from 1, and what of each rank's work is taken.
Where the threading layer does not give every rank a thread at once, the rendezvous ends after a
bounded wait, one rank does all the work, and the others leave: slower, the same bits, never a
deadlock.
"""

from __future__ import annotations

from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.llvm.simd import is_not_null

from ._atomics import atomic_add, atomic_load, atomic_replace, current_cpu, pause, sched_yield

LINE = 8  # int64 in a cache line of 64 bytes
ARRIVED, DECISION, WAITING, GENERATION = 0, LINE, 2 * LINE, 3 * LINE
TEAM = 4 * LINE
TOGETHER, ALONE = 1, 2  # values of DECISION
SPINS = 100  # before a waiting rank gives its core to a rank that shares it: some microseconds
PATIENCE = 20_000  # further rounds before a rank starts alone: 10 ms and more
LONG = 20_000  # rounds before a waiting rank yields to whoever it may be: half a millisecond
TAKEN_BITS = 20  # of the word that counts a rank's pieces of work: the others number the round


def team_size(n_ranks: int) -> int:
    """Return how many integers a team has."""
    return TEAM + n_ranks * (1 + LINE)


@kernel
def join(team, n_ranks):
    """Return the size of the team of the calling rank: n_ranks, 1 (it is alone), or 0 (leave)."""
    if n_ranks == 1:
        return 1
    if atomic_add(team, ARRIVED, 1) == n_ranks - 1:
        return n_ranks if atomic_replace(team, DECISION, 0, TOGETHER) else 0
    spins = 0
    while atomic_load(team, DECISION) == 0 and spins < SPINS + PATIENCE:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            sched_yield()
    if atomic_replace(team, DECISION, 0, ALONE):
        return 1
    return n_ranks if atomic_load(team, DECISION) == TOGETHER else 0


@kernel
def shares_cpu(team, n_ranks, number):
    """Return whether the rank `number` runs where another rank was last seen."""
    cpu = current_cpu() + 1  # 0: not seen yet
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


@small_kernel
def is_stopped(rank):
    """Return whether the call shall end: then what the rank still makes may be skipped."""
    return is_not_null(rank.stop) and atomic_load(rank.stop, 0) != 0


@kernel
def next_round(team, n_ranks, number):
    """Return the number of the round that the rank begins; all ranks begin the same ones."""
    at = TEAM + n_ranks + number * LINE + 1
    team[at] += 1
    return team[at]


@kernel
def claim(team, n_ranks, owner, turn, pieces):
    """A piece of the work of rank `owner` that nobody has taken in round `turn`, or `pieces`."""
    at = TEAM + n_ranks + owner * LINE
    while True:
        seen = atomic_load(team, at)
        begun = seen >> TAKEN_BITS
        if begun > turn:  # who begins a round has seen that all of the one before is taken
            return pieces
        taken = seen & ((1 << TAKEN_BITS) - 1) if begun == turn else 0
        if taken >= pieces:
            return pieces
        if atomic_replace(team, at, seen, (turn << TAKEN_BITS) + taken + 1) == 1:
            return taken
