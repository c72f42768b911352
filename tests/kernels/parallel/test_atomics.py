"""Atomic operations, from several ranks at once."""

from __future__ import annotations

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.parallel._atomics import (
    atomic_add,
    atomic_load,
    atomic_replace,
    pause,
    sched_yield,
)
from tests.kernels.common import RANKS, compiled

DTYPE = np.dtype(np.float64)


@compiled(lambda t: (int64, vector(int64), vector(int64), vector(int64)))
def _share(rank, n_ranks, team, times, counter, old, won):  # type: ignore[no-untyped-def]
    won[2 * rank] = atomic_replace(counter, 8, 7, rank + 100)
    for i in range(times):
        old[rank * times + i] = atomic_add(counter, 0, 1)
        pause()
        if i % 100 == 0:
            sched_yield()
    won[2 * rank + 1] = atomic_load(counter, 8)


@pytest.mark.parametrize("n_ranks", RANKS)
def test_nothing_is_lost(n_ranks: int) -> None:
    times = 5000
    counter, old, won = np.zeros(16, np.int64), np.full(n_ranks * times, -1), np.full(8, -1)
    counter[8] = 7
    _share(DTYPE, n_ranks, times, counter, old, won)
    ranks = counter[0] // times  # 1 where the ranks did not meet
    assert ranks in (1, n_ranks)
    # every value was seen once, by one rank in its order
    seen = old[: ranks * times]
    np.testing.assert_array_equal(np.sort(seen), np.arange(ranks * times))
    assert (np.diff(seen.reshape(ranks, times)) > 0).all()
    # one rank won, and all saw which
    did, saw = won.reshape(-1, 2)[:ranks].T
    assert did.sum() == 1
    assert did[counter[8] - 100] == 1
    assert (saw == counter[8]).all()


@compiled(lambda t: (int64, int64, vector(int64), vector(int64)))
def _replace(rank, n_ranks, team, old, new, a, done):  # type: ignore[no-untyped-def]
    done[0] = atomic_replace(a, 1, old, new)


@pytest.mark.parametrize(("old", "after", "done"), [(5, [4, 9, 6], 1), (4, [4, 5, 6], 0)])
def test_only_what_was_expected_is_replaced(old: int, after: list[int], done: int) -> None:
    a, got = np.array([4, 5, 6]), np.full(1, -1)
    _replace(DTYPE, 1, old, 9, a, got)
    assert (a.tolist(), got[0]) == (after, done)
