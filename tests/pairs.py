"""Of all combinations of some settings, so few that every two values still meet.

Most faults need one setting, or two that meet (Kuhn, Wallace and Gallo 2004). So the default suite
runs, of a test of several parameters, as many combinations as hold each pair of values; nightly
runs them all.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import Any

Pair = tuple[tuple[int, Hashable], tuple[int, Hashable]]


def pairs_of(combination: Sequence[Hashable]) -> set[Pair]:
    """Every two values of a combination, each with its place there."""
    return set(combinations(enumerate(combination), 2))


def covering(given: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return which of these combinations, in their order, hold each pair that any of them holds.

    One after another is taken that holds most of the pairs still missing, the first of equals.
    """
    missing = set[Pair]().union(*map(pairs_of, given))
    # what a combination adds only gets less: the first whose count is up to date is the best
    queue = [(-len(pairs_of(one)), i) for i, one in enumerate(given)]
    heapq.heapify(queue)
    taken = []
    while missing:
        _, i = heapq.heappop(queue)
        new = pairs_of(given[i]) & missing
        if new and queue and (-len(new), i) > queue[0]:
            heapq.heappush(queue, (-len(new), i))
        elif new:
            taken.append(i)
            missing -= new
    return sorted(taken)


def needed(settings: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return which of a test's cases hold every value and every pair of values.

    Parameters
    ----------
    settings : sequence of dict
        The parameters' values in each case: the same objects where they are the same value.
        Parameters that always change together count as one.
    """
    columns = {numbered([case[name] for case in settings]): None for name in settings[0]}
    if len(columns) < 3:  # no more cases than pairs
        return list(range(len(settings)))
    return covering(list(zip(*columns, strict=True)))


def numbered(values: Sequence[Any]) -> tuple[int, ...]:
    """Number values, of which some need not be comparable, in the order of their appearance."""
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(id(value), len(numbers)) for value in values)
