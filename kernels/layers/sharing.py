"""Who makes which part: ranges of a count, regions of a matrix, groups that share inputs, turns.

None of them changes a bit of any result: what is a partial sum, and how these are added, follows
from shapes alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastdnn.kernels.blas.microkernel import mr_of, nr_of
from fastdnn.kernels.blas.operands import Region
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.parallel.team import claim, next_round

from .layout import DEPTH, N_PREV, Rank

# Multiply-adds of each rank that repay that its work is taken by pieces, and columns of such one:
# docs/measurements/2026-11-25-pieces.md
TURN_WORK, PIECE_COLUMNS = 4_000_000, 256


class Group(NamedTuple):
    """Ranks that share inputs [begin, end) of a layer: columns of A_{l-1}, rows of W_l^T."""

    begin: int
    end: int
    number: int
    of: int  # how many groups there are; a single one has all inputs
    rank: Rank  # the rank's place in its group


class Turn(NamedTuple):
    """A round of work that ranks take piece by piece: each its own, then what others still have."""

    rank: Rank
    owners: int  # whose work the rank may take; 1: its own alone
    number: int


@small_kernel
def part(count, unit, number, of):
    """Return the range that is rank `number`'s of `count`, in whole units."""
    if of == 1:
        return 0, count
    units = (count + unit - 1) // unit
    begin, end = units * number // of * unit, units * (number + 1) // of * unit
    return min(begin, count), min(end, count)


@small_kernel
def share(m, n, rank, by_rows, whole_rows, c):
    """Return the rank's region of C, cut along its columns, its rows or both.

    The cut is the one whose largest part is smallest; among almost equals, the one with the fewest
    parts along the columns if `by_rows`, else along the rows.
    """
    if rank.of == 1:
        return Region(0, m, 0, n)
    return _share(m, n, rank, by_rows, whole_rows, c)


@kernel
def _share(m, n, rank, by_rows, whole_rows, c):
    mr, nr, of = mr_of(c), nr_of(c), rank.of
    smallest, across = -1, 1
    for i in range(1, of + 1):
        parts = i if by_rows else of + 1 - i
        if of % parts == 0 and (parts == 1 or not whole_rows):
            rows = ((m + mr - 1) // mr * parts + of - 1) // of * mr
            columns = ((n + nr - 1) // nr + parts - 1) // parts * nr
            if smallest < 0 or rows * columns < smallest - smallest // 32:
                smallest, across = rows * columns, parts
    top, bottom = part(m, mr, rank.number // across, of // across)
    left, right = part(n, nr, rank.number % across, across)
    return Region(top, bottom, left, right)


@small_kernel
def _as(rank, number, of):
    """Return the rank in another place."""
    return Rank(number, of, rank.packed, rank.team, rank.stop)


@small_kernel
def blocks_of(table, l):
    """Return how many blocks of `DEPTH` inputs layer l has; 1 if it has none."""
    depth = table[l, DEPTH]
    return (table[l, N_PREV] + depth - 1) // depth if depth > 0 else 1


@small_kernel
def group_of(table, l, rank):
    """Return the group of a rank in layer l.

    Each takes as many blocks of inputs in the forward product, and the same rows of W_l^T in the
    backward pass: so no other group reads or changes these.
    """
    k = table[l, N_PREV]
    if rank.of == 1 or table[l, DEPTH] == 0:
        return Group(0, k, 0, 1, rank)
    blocks = blocks_of(table, l)
    groups = math.gcd(rank.of, blocks)
    of, each = rank.of // groups, blocks // groups * table[l, DEPTH]
    number = rank.number // of
    begin, end = number * each, min((number + 1) * each, k)
    return Group(begin, end, number, groups, _as(rank, rank.number % of, of))


@small_kernel
def turn_of(rank, work):
    """A round of so many multiply-adds."""
    if work < rank.of * TURN_WORK or rank.of == 1:
        return Turn(rank, 1, 0)
    return Turn(rank, rank.of, next_round(rank.team, rank.of, rank.number))


@small_kernel
def owner_of(turn, ahead):
    """Whose work the rank takes after that of `ahead` others: the first is itself."""
    rank = turn.rank
    return _as(rank, (rank.number + ahead) % rank.of, rank.of)


@kernel
def claimed(turn, owner, pieces):
    """Yield the pieces of the owner's work that the rank makes: nobody else has taken them."""
    piece = -1
    while True:
        if turn.owners == 1:
            piece += 1
        else:
            piece = claim(turn.rank.team, owner.of, owner.number, turn.number, pieces)
        if piece >= pieces:
            break
        yield piece


@kernel
def pieces_of(turn, count, smallest):
    """Return the pieces that `count` is taken by: a half, a quarter, …, down to `smallest`.

    So little is lost where nobody needs help, and the last pieces, which may be taken, are small.
    """
    pieces = 1
    while turn.owners > 1 and count >= 2 * smallest:
        count //= 2
        pieces += 1
    return pieces


@small_kernel
def piece_of(count, unit, piece, pieces):
    """Return the range of a piece, in whole units."""
    end = count
    if piece < pieces - 1:
        end = (count - (count >> (piece + 1))) // unit * unit
    return (count - (count >> piece)) // unit * unit, end


@kernel
def column_pieces(turn, region, whole_rows):
    """Return how many pieces of columns a region is taken by; one, if its rows must stay whole."""
    return 1 if whole_rows else pieces_of(turn, region.right - region.left, PIECE_COLUMNS)


@small_kernel
def columns_of(region, piece, pieces, c):
    """A piece of the columns of a region."""
    left, right = piece_of(region.right - region.left, nr_of(c), piece, pieces)
    return Region(region.top, region.bottom, region.left + left, region.left + right)
