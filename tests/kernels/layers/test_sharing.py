"""Parts, regions and groups: all is somebody's, and nothing twice, for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, int64

from fastdnn.kernels.compiler.jit import matrix, vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.layers import layout
from fastdnn.kernels.layers.layout import Rank
from fastdnn.kernels.layers.sharing import (
    TURN_WORK,
    Turn,
    claimed,
    group_of,
    owner_of,
    part,
    piece_of,
    pieces_of,
    share,
    turn_of,
)
from fastdnn.kernels.llvm.simd import address, null
from fastdnn.kernels.parallel._atomics import atomic_add, atomic_load, sched_yield
from tests.kernels.common import DTYPES, RANKS, Array, compiled, each_dtype, run_python
from tests.kernels.products import row_of

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
each_way = pytest.mark.parametrize("by_rows", [False, True])


@compiled(lambda t: (int64, int64, int64, boolean, boolean, vector(t), matrix(int64)))
def _regions(rank, n_ranks, team, of, m, n, by_rows, whole_rows, c, out):  # type: ignore[no-untyped-def]
    for number in range(of):
        one = Rank(number, of, address(c, 0), team, null(team))
        region = share(m, n, one, by_rows, whole_rows, c)
        out[number, 0], out[number, 1] = region.top, region.bottom
        out[number, 2], out[number, 3] = region.left, region.right


def regions(m: int, n: int, of: int, dtype: Any, *, by_rows: bool, whole_rows: bool) -> Array:
    """Rows of (top, bottom, left, right), one for each rank."""
    out = np.full((of, 4), -1)
    _regions(dtype, 1, of, m, n, by_rows, whole_rows, np.zeros(1, dtype), out)
    return out


@each_dtype
@each_way
@pytest.mark.parametrize("whole_rows", [False, True])
def test_regions_cover_c_once(dtype: Any, by_rows: bool, whole_rows: bool) -> None:
    t = TILES[dtype]
    heights = (0, 1, t.mr - 1, t.mr, t.mr + 1, 37, 16 * t.mr + 1)
    widths = (0, 1, t.nr - 1, t.nr, t.nr + 1, 8 * t.nr + 3)
    for of in range(1, 65):
        for m in heights:
            for n in widths:
                times = np.zeros((m, n), np.int8)
                found = regions(m, n, of, dtype, by_rows=by_rows, whole_rows=whole_rows)
                for top, bottom, left, right in found:
                    assert 0 <= top <= bottom <= m
                    assert 0 <= left <= right <= n
                    # tiles are cut null but at C's own edges
                    assert top % t.mr == 0 or top == m
                    assert left % t.nr == 0 or left == n
                    assert bottom % t.mr == 0 or bottom == m
                    assert right % t.nr == 0 or right == n
                    if whole_rows:
                        assert (left, right) == (0, n)
                    times[top:bottom, left:right] += 1
                assert (times == 1).all(), (m, n, of)


@each_dtype
@each_way
def test_the_largest_region_is_as_small_as_a_grid_allows(dtype: Any, by_rows: bool) -> None:
    t = TILES[dtype]
    for of in (1, 2, 3, 4, 6, 7, 12, 16, 64):
        for rows, columns in ((1, 1), (1, 24), (24, 1), (5, 7), (40, 3), (64, 64)):
            found = regions(
                rows * t.mr, columns * t.nr, of, dtype, by_rows=by_rows, whole_rows=False
            )
            tiles = (found[:, 1] - found[:, 0]) // t.mr * ((found[:, 3] - found[:, 2]) // t.nr)
            grids = [(i, of // i) for i in range(1, of + 1) if of % i == 0]
            assert tiles.max() == min(-(-rows // i) * -(-columns // j) for i, j in grids)


@each_dtype
def test_among_equal_cuts_the_preferred_one_is_made(dtype: Any) -> None:
    t = TILES[dtype]
    rows = regions(8 * t.mr, 8 * t.nr, 4, dtype, by_rows=True, whole_rows=False)
    columns = regions(8 * t.mr, 8 * t.nr, 4, dtype, by_rows=False, whole_rows=False)
    assert (rows[:, 2:] == (0, 8 * t.nr)).all()
    assert (columns[:, :2] == (0, 8 * t.mr)).all()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 101])
@pytest.mark.parametrize("unit", [1, 2, 6, 16, 64])
@pytest.mark.parametrize("of", [1, 2, 3, 7, 64])
def test_parts_cover_a_range_once(count: int, unit: int, of: int) -> None:
    parts = [part.py_func(count, unit, number, of) for number in range(of)]
    assert [i for begin, end in parts for i in range(begin, end)] == list(range(count))
    assert all(begin % unit == 0 or begin == count for begin, _ in parts)
    units = [-(-(end - begin) // unit) for begin, end in parts]
    assert max(units) - min(units) <= 1


@compiled(lambda t: (int64, matrix(int64), vector(t), matrix(int64)))
def _groups(rank, n_ranks, team, of, table, c, out):  # type: ignore[no-untyped-def]
    for number in range(of):
        group = group_of(table, 0, Rank(number, of, address(c, 0), team, null(team)))
        out[number, 0], out[number, 1] = group.begin, group.end
        out[number, 2], out[number, 3] = group.number, group.of
        out[number, 4], out[number, 5] = group.rank.number, group.rank.of


def groups(of: int, k: int, depth: int) -> Array:
    """Rows of (begin, end, number, of, the rank's number, of), one for each rank."""
    out = np.full((of, 6), -1)
    row = row_of(N_PREV=k, DEPTH=depth).reshape(1, layout.FIELDS)
    _groups(DTYPES[0], 1, of, row, np.zeros(1, DTYPES[0]), out)
    return out


@pytest.mark.parametrize(("k", "depth"), [(1, 4), (7, 4), (64, 32), (65, 36), (784, 196)])
@pytest.mark.parametrize("of", [1, 2, 3, 4, 6, 7, 8, 64])
def test_groups_cover_the_inputs_once(k: int, depth: int, of: int) -> None:
    found, blocks = groups(of, k, depth), -(-k // depth)
    number, count, inside = found[:, 2], found[0, 3], found[0, 5]
    assert (found[:, [3, 5]] == (count, inside)).all()
    assert count == np.gcd(of, blocks)
    assert count * inside == of
    # each place in each group is one rank's
    places = sorted(zip(number.tolist(), found[:, 4].tolist(), strict=True))
    assert places == [(i, j) for i in range(count) for j in range(inside)]
    # a group has whole blocks, as many as any other, and those behind the ones of the group before
    for begin, end, group in found[:, :3].tolist():
        assert begin == group * (blocks // count) * depth
        assert end == min(begin + blocks // count * depth, k)


@pytest.mark.parametrize("of", [1, 2, 64])
def test_a_layer_that_is_not_cut_has_one_group(of: int) -> None:
    for number, found in enumerate(groups(of, 784, 0).tolist()):
        assert found == [0, 784, 0, 1, number, of]


# ------------------------------------------------------------------------------------------- turns
@compiled(lambda t: (int64, int64, int64, vector(t), vector(int64), vector(int64)))
def _turns(rank, n_ranks, team, work, rounds, pieces, c, times, owners):  # type: ignore[no-untyped-def]
    me = Rank(rank, n_ranks, address(c, 0), team, null(team))
    for i in range(rounds):
        turn = turn_of(me, work)
        owners[rank] = turn.owners
        for ahead in range(turn.owners):
            owner = owner_of(turn, ahead)
            for piece in claimed(turn, owner, pieces):
                atomic_add(times, (i * n_ranks + owner.number) * pieces + piece, 1)


def turns(work: int, n_ranks: int) -> None:
    """Each rank's pieces of each round are taken once; the rounds follow without a barrier."""
    rounds, pieces = 2000, 3
    times, owners = np.zeros((rounds, n_ranks, pieces), np.int64), np.zeros(n_ranks, np.int64)
    _turns(DTYPES[0], n_ranks, work, rounds, pieces, np.zeros(1, DTYPES[0]), times.ravel(), owners)
    together = n_ranks if owners.all() else 1  # 1 where they did not meet
    helps = work >= together * TURN_WORK and together > 1
    assert (owners[:together] == (together if helps else 1)).all()
    flat = times.ravel()
    assert (flat[: rounds * together * pieces] == 1).all()
    assert not flat[rounds * together * pieces :].any()


@pytest.mark.parametrize("n_ranks", RANKS)
@pytest.mark.parametrize("share_of_enough", [0.999, 1])
def test_every_piece_is_taken_once(n_ranks: int, share_of_enough: float) -> None:
    turns(int(share_of_enough * n_ranks * TURN_WORK), n_ranks)


def test_every_piece_is_taken_once_by_many_more_ranks_than_cores() -> None:
    program = (
        "from tests.kernels.layers.test_sharing import turns; turns(10**12, 16); print('done')"
    )
    assert run_python(program, {"NUMBA_NUM_THREADS": "16"}).strip() == "done"


@compiled(lambda t: (int64, int64, vector(t), vector(int64), vector(int64)))
def _one_stands_still(rank, n_ranks, team, pieces, patience, c, done, made):  # type: ignore[no-untyped-def]
    turn = turn_of(Rank(rank, n_ranks, address(c, 0), team, null(team)), n_ranks * TURN_WORK)
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        for _ in claimed(turn, owner, pieces):
            # the first rank keeps its first piece until the others have made all the rest
            rounds = 0
            others = n_ranks * pieces - 1 if rank == 0 and n_ranks > 1 else 0
            while atomic_load(done, 0) < others and rounds < patience:
                sched_yield()
                rounds += 1
            atomic_add(done, 0, 1)
            made[rank] += 1


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_others_take_over_from_a_rank_that_stands_still(n_ranks: int) -> None:
    for _ in range(50):  # on a busy machine the ranks may not meet, or the others stand still too
        done, made = np.zeros(1, np.int64), np.zeros(n_ranks, np.int64)
        _one_stands_still(DTYPES[0], n_ranks, 5, 10**6, np.zeros(1, DTYPES[0]), done, made)
        if made[0] == 1:
            break
    assert made[0] == 1
    assert made.sum() == n_ranks * 5


@compiled(lambda t: (int64, int64, int64, int64, vector(t), matrix(int64)))
def _pieces(rank, n_ranks, team, owners, count, unit, smallest, c, out):  # type: ignore[no-untyped-def]
    turn = Turn(Rank(rank, n_ranks, address(c, 0), team, null(team)), owners, 1)
    pieces = pieces_of(turn, count, smallest)
    out[0, 0] = pieces
    for piece in range(pieces):
        out[1 + piece, 0], out[1 + piece, 1] = piece_of(count, unit, piece, pieces)


@pytest.mark.parametrize("owners", [1, 2])
@pytest.mark.parametrize(("unit", "smallest"), [(1, 1), (12, 64), (32, 128), (32, 33)])
def test_pieces_are_halves_of_what_is_left(owners: int, unit: int, smallest: int) -> None:
    for count in [0, 1, 63, 64, 127, 128, 129, 255, 256, 1000, 1024, 12345]:
        out = np.full((16, 2), -1)
        _pieces(DTYPES[0], 1, owners, count, unit, smallest, np.zeros(1, DTYPES[0]), out)
        pieces = int(out[0, 0])
        ranges = out[1 : 1 + pieces]
        assert pieces == 1 or (owners > 1 and count >> (pieces - 1) >= smallest)
        assert owners == 1 or count >> pieces < smallest
        # one behind the other, from 0 to the end
        np.testing.assert_array_equal(ranges[1:, 0], ranges[:-1, 1])
        assert (ranges[0, 0], ranges[-1, 1]) == (0, count)
        assert not (ranges[:, 0] % unit).any()
        assert (ranges[:, 0] <= ranges[:, 1]).all()
        for left, (begin, end) in zip(count - ranges[:, 0], ranges[:-1], strict=False):
            assert abs((end - begin) - left / 2) <= unit
