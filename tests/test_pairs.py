from __future__ import annotations

from itertools import product

import pytest

from tests.pairs import covering, needed, pairs_of

SIZES = [(2, 2, 2), (2, 3, 4), (2, 9, 3, 2, 2, 4), (1, 5, 1), (6, 12, 13, 2)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_pair_of_values_meets(sizes: tuple[int, ...]) -> None:
    everything = list(product(*map(range, sizes)))
    taken = [everything[i] for i in covering(everything)]
    for (a, n), (b, m) in pairs_of(sizes):
        met = {(one[a], one[b]) for one in taken}
        assert met == set(product(range(n), range(m))), (a, b)
    first, second = sorted(sizes)[-2:]
    assert first * second <= len(taken) <= min(1.5 * first * second + 3, len(everything))


def test_pairs_that_no_case_holds_are_not_asked_for() -> None:
    cases = [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1)]
    held = set().union(*map(pairs_of, cases))
    taken = covering(cases)
    assert set().union(*(pairs_of(cases[i]) for i in taken)) == held


def test_it_is_the_same_choice_every_time() -> None:
    everything = list(product(range(3), range(4), range(5)))
    assert covering(everything) == covering(everything) == sorted(covering(everything))


def test_two_parameters_are_tried_in_full() -> None:
    cases = [{"a": a, "b": b, "with b": b} for a, b in product(range(3), range(4))]
    assert needed(cases) == list(range(12))
    assert needed([{"a": 0}, {"a": 1}]) == [0, 1]
    assert needed([{}]) == [0]


def test_parameters_that_change_together_are_one() -> None:
    cases = [
        {"a": a, "b": b, "with b": 10 + b, "c": c}
        for a, b, c in product(range(2), range(3), range(4))
    ]
    taken = [cases[i] for i in needed(cases)]
    assert {(one["b"], one["c"]) for one in taken} == set(product(range(3), range(4)))
    assert len(taken) == 12
