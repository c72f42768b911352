"""Ranks that meet: nobody passes a barrier early, and who cannot meet leaves the work to one."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
from numba import int64

import fastdnn
from fastdnn.kernels import linear_forward
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.parallel.team import (
    ALONE,
    ARRIVED,
    DECISION,
    GENERATION,
    LINE,
    TEAM,
    TOGETHER,
    WAITING,
    barrier,
    claim,
    join,
    next_round,
    shares_cpu,
    team_size,
)
from tests.kernels import networks
from tests.kernels.common import RANKS, Array, compiled, draw, run_python, team_after

DTYPE = np.dtype(np.float64)
APART = 16  # cells of different ranks lie in different cache lines


@compiled(lambda t: (int64, *[vector(int64)] * 3))
def _meet(rank, n_ranks, team, n_barriers, cells, stale, sizes):  # type: ignore[no-untyped-def]
    sizes[rank] = n_ranks
    for k in range(n_barriers):
        cells[rank * APART] = k
        barrier(team, n_ranks, rank)
        for other in range(n_ranks):
            if cells[other * APART] != k:
                stale[rank] += 1
        barrier(team, n_ranks, rank)


@compiled(lambda t: (vector(int64), int64, vector(int64)))
def _join(rank, n_ranks, team, given, size, answer):  # type: ignore[no-untyped-def]
    answer[0] = join(given, size)


@compiled(lambda t: (vector(int64), int64, vector(int64)))
def _shares(rank, n_ranks, team, given, number, answer):  # type: ignore[no-untyped-def]
    answer[0] = shares_cpu(given, given.size - TEAM, number)


def meet(n_ranks: int, n_barriers: int) -> tuple[Array, Array]:
    """The size of each rank's team, 0 if it left, and the team's counters after the call.

    At no barrier may a rank see what stood before.
    """
    sizes, cells = np.zeros(n_ranks, np.int64), np.full(n_ranks * APART, -1)
    stale = np.zeros(n_ranks, np.int64)
    team = team_after(_meet, DTYPE, n_ranks, n_barriers, cells, stale, sizes)
    assert not stale.any()
    return sizes, team


@pytest.mark.parametrize("n_ranks", RANKS)
def test_no_rank_passes_a_barrier_early(n_ranks: int) -> None:
    sizes, counters = meet(n_ranks, 1000)
    assert counters[WAITING] == 0
    if n_ranks > 1 and sizes[0] == 1:  # a busy machine: they did not meet in time
        assert not sizes[1:].any()
        assert counters[DECISION] == ALONE
        assert counters[GENERATION] == 0
    elif n_ranks > 1:
        assert (sizes == n_ranks).all()
        assert counters[DECISION] == TOGETHER
        assert counters[GENERATION] == 2000 + 1  # and one at the end of the call


def test_many_more_ranks_than_cores_finish() -> None:
    program = "from tests.kernels.parallel.test_team import meet\n"
    program += "for _ in range(5): print(*meet(16, 50)[0])"
    together, alone = " ".join(["16"] * 16), " ".join(["1"] + ["0"] * 15)
    assert set(run_python(program, {"NUMBA_NUM_THREADS": "16"}).splitlines()) <= {together, alone}


def test_counters_lie_in_cache_lines_of_their_own() -> None:
    places = sorted([ARRIVED, DECISION, WAITING, GENERATION])
    assert np.diff([*places, TEAM]).min() >= LINE
    assert LINE * 8 == 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say the CPU")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_rank_knows_who_is_on_its_cpu(number: int) -> None:
    before = os.sched_getaffinity(0)
    cpu, got = max(before), np.zeros(1, np.int64)
    os.sched_setaffinity(0, {cpu})
    try:
        team = np.full(TEAM + 3, cpu + 2)
        _shares(DTYPE, 1, team, number, got)
        assert got[0] == 0
        assert team[TEAM + number] == cpu + 1
        team[TEAM + (number + 1) % 3] = cpu + 1
        _shares(DTYPE, 1, team, number, got)
        assert got[0] == 1
    finally:
        os.sched_setaffinity(0, before)


def test_ranks_that_have_not_been_seen_share_no_cpu() -> None:
    before, got = os.sched_getaffinity(0), np.ones(1, np.int64)
    os.sched_setaffinity(0, {min(before)})
    try:
        _shares(DTYPE, 1, np.zeros(team_size(3), np.int64), 1, got)
    finally:
        os.sched_setaffinity(0, before)
    assert got[0] == 0


# ------------------------------------------------------------------------------------------ pieces
@compiled(lambda t: (vector(int64), *[int64] * 4, vector(int64)))
def _claim(rank, n_ranks, team, given, of, owner, turn, pieces, answer):  # type: ignore[no-untyped-def]
    answer[0] = claim(given, of, owner, turn, pieces)


@compiled(lambda t: (vector(int64), int64, int64, vector(int64)))
def _next_round(rank, n_ranks, team, given, of, number, answer):  # type: ignore[no-untyped-def]
    answer[0] = next_round(given, of, number)


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_pieces_are_claimed_in_order_and_once_in_a_round(owner: int) -> None:
    team, got = np.zeros(team_size(3), np.int64), np.zeros(1, np.int64)
    before = team.copy()
    # all of one round, then a round that nobody has begun, and at last one that is over
    for turn, pieces, answers in (
        (1, 3, [0, 1, 2, 3, 3]), (2, 2, [0]), (5, 1, [0, 1]), (4, 9, [9, 9]), (6, 0, [0]),
    ):  # fmt: skip
        for answer in answers:
            _claim(DTYPE, 1, team, 3, owner, turn, pieces, got)
            assert got[0] == answer
    (changed,) = np.flatnonzero(team != before)
    assert changed == TEAM + 3 + owner * LINE


def test_each_rank_counts_its_rounds() -> None:
    team, got = np.zeros(team_size(3), np.int64), np.zeros(1, np.int64)
    for number, answers in ((0, [1, 2, 3]), (2, [1, 2]), (0, [4])):
        for answer in answers:
            _next_round(DTYPE, 1, team, 3, number, got)
            assert got[0] == answer


# ------------------------------------------------------------------------------------- rendezvous
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("n_ranks", [2, 3, 4])
def test_one_after_another_the_first_works_alone(n_ranks: int) -> None:
    sizes, counters = meet(n_ranks, 3)
    np.testing.assert_array_equal(sizes, [1] + [0] * (n_ranks - 1))
    assert counters[DECISION] == ALONE


@pytest.mark.parametrize(
    ("arrived", "decision", "answer"),
    [
        (2, 0, 3),  # the last of three: all are here
        (2, ALONE, 0),  # the last of three, but one went alone
        (1, ALONE, 0),  # not the last, and one went alone
        (1, TOGETHER, 3),  # not the last, and the last has called all together
        (0, 0, 1),  # nobody else comes
    ],
)
def test_every_way_to_join(arrived: int, decision: int, answer: int) -> None:
    team, got = np.zeros(TEAM, np.int64), np.zeros(1, np.int64)
    team[ARRIVED], team[DECISION] = arrived, decision
    _join(DTYPE, 1, team, 3, got)
    assert got[0] == answer
    assert team[ARRIVED] == arrived + 1
    assert team[DECISION] == (decision or (TOGETHER if answer == 3 else ALONE))


def test_a_single_rank_waits_for_nobody() -> None:
    team, got = np.zeros(TEAM, np.int64), np.zeros(1, np.int64)
    _join(DTYPE, 1, team, 1, got)
    assert got[0] == 1
    assert not team.any()
    np.testing.assert_array_equal(meet(1, 3)[0], [1])


# -------------------------------------------------------------------------- the same bits, always
def digest() -> str:
    """Of what a layer and a training run with three ranks compute."""
    assert fastdnn.get_num_threads() == 3
    A = linear_forward(draw(1, 67, 131), draw(2, 45, 67), draw(3, 45, 1), "tanh")
    net = networks.make([67, 45, 10], ["relu", "softmax"], "categorical_crossentropy")
    X, _, targets = networks.data(net, 300, "categorical_crossentropy")
    net.train(X, targets, networks.rule("adam", 5), batch=130)
    assert min(2 * 67 * 45 * 131, 2 * 130 * 55 * 45) > threads.SHARED_FLOPS
    assert threads.AWAKE_FLOPS == 0
    return hashlib.sha256(A.tobytes() + net.parameters.tobytes()).hexdigest()


@pytest.fixture
def wanted(awake_threads: None) -> str:
    with fastdnn.num_threads(3):
        return digest()


def test_alone_it_computes_the_same_bits(wanted: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("one_thread")
    with fastdnn.num_threads(3):
        assert digest() == wanted


@pytest.mark.parametrize(
    "environment",
    [{"OMP_THREAD_LIMIT": "1"}, {"OMP_THREAD_LIMIT": "2"}, {"NUMBA_THREADING_LAYER": "workqueue"}],
    ids=str,
)
def test_whatever_threads_the_layer_gives(wanted: str, environment: dict[str, str]) -> None:
    program = (
        "import fastdnn; from tests.kernels.parallel.test_team import digest, threads\n"
        "threads.AWAKE_FLOPS = 0; fastdnn.set_num_threads(3); print(digest())"
    )
    assert run_python(program, environment).strip() == wanted
