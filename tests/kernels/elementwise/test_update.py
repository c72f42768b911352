"""Every update rule against naive, on any range; sums of squares; penalties."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.elementwise.update import (
    COEFFICIENTS,
    UPDATES,
    add_penalty_gradient,
    sum_of_squares,
    sum_ranges,
    update_range,
    update_rows,
)
from fastdnn.kernels.llvm.simd import address, null
from tests import naive
from tests.kernels.common import (
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    roundings,
)
from tests.kernels.rules import RULES, coefficients

N = 101
SUMS = -1  # in place of a rule's code
START = 7  # of rows
each_rule = pytest.mark.parametrize("name", RULES)
each_range = pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (0, N), (3, 20), (64, 101), (N, N)]
)


@compiled(lambda t: (int64, *[vector(t)] * 3, int64, int64, float64, vector(t), vector(float64)))
def _run(rank, n_ranks, team, code, p, gradient, slots, start, stop, scale, c, sums):  # type: ignore[no-untyped-def]
    if code == SUMS:
        sums[0] = sum_of_squares(gradient, start, stop)
        sums[1] = add_penalty_gradient(p, gradient, start, stop, sums[2], sums[3])
    else:
        # of a row of coefficients, between others
        row = address(c, COEFFICIENTS)
        update_range(code, p, gradient, slots, p.size, start, stop, scale, row)


@compiled(
    lambda t: (int64, *[vector(t)] * 3, *[int64] * 4, float64, vector(t), int64, int64, vector(t))
)
def _run_rows(  # type: ignore[no-untyped-def]
    rank, n_ranks, team, code, p, gradient, slots, lines, n, apart, gradient_apart, factor,
    factors, first, step, c,
):  # fmt: skip
    own = address(factors, first) if factors.size > 0 else null(factors)
    update_rows(
        code, p, gradient, slots, p.size, START, lines, n, apart, gradient_apart, factor, own, step,
        c,
    )  # fmt: skip


@compiled(lambda t: (vector(t), vector(t), int64, int64, int64, int64, int64))
def _add_up(rank, n_ranks, team, out, parts, start, n, stride, count, group):  # type: ignore[no-untyped-def]
    sum_ranges(out, parts, start, n, stride, count, group)


def one_step(
    rule: str,
    p: Array,
    gradient: Array,
    slots: Array,
    start: int,
    stop: int,
    scale: float,
    c: Array,
) -> None:
    """A step of the rule with the coefficients c; other steps' rows lie before and behind."""
    rows = nan(3, COEFFICIENTS, dtype=p.dtype)
    rows[1] = c
    code = UPDATES[rule].code
    _run(p.dtype, 1, code, p, gradient, slots, start, stop, scale, rows.reshape(-1), np.empty(0))


def sums(p: Array, gradient: Array, start: int, stop: int, l1: float, l2: float) -> Array:
    """The sum of the gradient's squares, and the penalty; its derivative is added to `gradient`."""
    both, none = np.array([np.nan, np.nan, l1, l2]), np.empty(0, p.dtype)
    _run(p.dtype, 1, SUMS, p, gradient, none, start, stop, 1.0, none, both)
    return both[:2]


def state(rule: str, slots: Array) -> Any:
    """The slots as naive's optimizer keeps them."""
    m, v = slots.astype(np.float64).reshape(2, -1)
    return (None, m, (m, v))[UPDATES[rule].n_slots]


def test_every_rule_is_tested() -> None:
    assert {rule for rule, _, _ in RULES.values()} == set(UPDATES)
    assert [entry.code for entry in UPDATES.values()] == list(range(len(UPDATES)))


@each_dtype
@each_rule
@each_range
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_one_step(dtype: Any, name: str, start: int, stop: int, scale: float) -> None:
    rule, optimizer, settings = RULES[name]
    t = 7
    p, gradient = draw(1, N, dtype=dtype), draw(2, N, dtype=dtype)
    slots = np.concatenate([draw(3, N), draw(4, N) ** 2]).astype(dtype)
    if rule in ("rmsprop", "adagrad"):
        slots **= 2
    slots[UPDATES[rule].n_slots * N :] = np.nan  # what a rule does not keep it must not read
    before = p.copy(), gradient.copy(), slots.copy()
    c = coefficients(rule, t, settings)
    one_step(rule, p, gradient, slots, start, stop, scale, c)

    g = scale * gradient.astype(np.float64)
    wanted, after = naive.OPTIMIZERS[optimizer](
        before[0].astype(np.float64), g, state(rule, before[2]), t, **settings
    )
    kept = np.reshape(after, (-1, N))[: UPDATES[rule].n_slots]
    # the step's own size: of its terms before they cancel
    size = np.abs(before[0]) + 3 * np.abs(g)
    if UPDATES[rule].n_slots:
        size = size + 3 * np.abs(before[2][:N].astype(np.float64))
    if "epsilon" in settings:
        size = size / settings["epsilon"]
    inside = np.zeros(N, bool)
    inside[start:stop] = True
    bound = np.where(inside, roundings(16, dtype) * size, 0)
    assert_within(p, np.where(inside, wanted, before[0]), bound)
    np.testing.assert_array_equal(gradient, before[1])
    got = slots.reshape(2, N)
    for new, old, value in zip(got, before[2].reshape(2, N), kept, strict=False):
        allowed = roundings(8, dtype) * (np.abs(old) + np.abs(g) + g**2)
        assert_within(new, np.where(inside, value, old), np.where(inside, allowed, 0))
    np.testing.assert_array_equal(got[len(kept) :], before[2].reshape(2, N)[len(kept) :])


@each_dtype
@each_rule
def test_ranges_may_be_cut_anywhere(dtype: Any, name: str) -> None:
    rule, _, settings = RULES[name]
    c = coefficients(rule, 3, settings)
    results = []
    for cuts in ([0, N], [0, 1, 20, 21, 64, N], list(range(N + 1))):
        p, gradient = draw(1, N, dtype=dtype), draw(2, N, dtype=dtype)
        slots = np.abs(draw(3, 2 * N, dtype=dtype))
        for start, stop in pairwise(cuts):
            one_step(rule, p, gradient, slots, start, stop, 0.3, c)
        results.append(p.tobytes() + slots.tobytes())
    assert len(set(results)) == 1


@each_dtype
@each_rule
@pytest.mark.parametrize("lines", [0, 1, 5])
@pytest.mark.parametrize("n", [1, 17, 40])
@pytest.mark.parametrize("step", [None, 0, 1, 3, -2])
def test_rows(dtype: Any, name: str, lines: int, n: int, step: int | None) -> None:
    rule, _, settings = RULES[name]
    c = coefficients(rule, 3, settings).astype(dtype)
    apart, gap = n + 2, 3
    size = START + 5 * apart
    p, slots = draw(1, size, dtype=dtype), np.abs(draw(3, 2 * size, dtype=dtype))
    wanted = p.copy(), slots.copy()
    # the gradient is one row for all where each has a factor of its own, else rows of its own
    gradient_apart = 0 if step is not None else n + gap
    gradient = draw(2, 5 * (n + gap), dtype=dtype)
    factors = np.empty(0, dtype) if step is None else draw(4, 30, dtype=dtype)
    code, first = UPDATES[rule].code, 12
    _run_rows(
        p.dtype, 1, code, p, gradient, slots, lines, n, apart, gradient_apart, 0.3, factors,
        first, 0 if step is None else step, c,
    )  # fmt: skip
    for i in range(lines):
        factor = 0.3 if step is None else float(factors[first + i * step])
        all_of_it, at = np.zeros(size, dtype), START + i * apart
        all_of_it[at : at + n] = gradient[i * gradient_apart :][:n]
        one_step(rule, wanted[0], all_of_it, wanted[1], at, at + n, factor, c)
    np.testing.assert_array_equal(p, wanted[0])
    np.testing.assert_array_equal(slots, wanted[1])


@each_dtype
@each_rule
def test_nan_stays_in_its_place(dtype: Any, name: str) -> None:
    rule, _, settings = RULES[name]
    p, gradient, slots = draw(1, N, dtype=dtype), draw(2, N, dtype=dtype), np.zeros(2 * N, dtype)
    gradient[17] = np.nan
    one_step(rule, p, gradient, slots, 0, N, 1.0, coefficients(rule, 1, settings))
    np.testing.assert_array_equal(np.isnan(p), np.arange(N) == 17)


@each_dtype
@each_range
def test_sum_of_squares(dtype: Any, start: int, stop: int) -> None:
    gradient = draw(2, N, dtype=dtype)
    squares = gradient[start:stop].astype(np.float64) ** 2
    got = sums(np.zeros(N, dtype), gradient, start, stop, 0.0, 0.0)[0]
    # in float64 for both dtypes
    assert abs(got - squares.sum()) <= roundings(N, np.float64) * squares.sum()


def test_large_float32_gradients_do_not_look_infinite() -> None:
    big = np.full(N, 1e30, np.float32)
    got = sums(np.zeros(N, np.float32), big, 0, N, 0.0, 0.0)[0]
    np.testing.assert_allclose(got, N * 1e60, rtol=1e-6)


@each_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_shows(dtype: Any, bad: float) -> None:
    gradient = draw(2, N, dtype=dtype)
    gradient[50] = bad
    assert not np.isfinite(sums(np.zeros(N, dtype), gradient, 0, N, 0.0, 0.0)[0])


@each_dtype
@each_range
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_penalties(dtype: Any, start: int, stop: int, l1: float, l2: float) -> None:
    p, gradient = draw(1, N, dtype=dtype), draw(2, N, dtype=dtype)
    p[10] = 0
    before = gradient.copy()
    got = sums(p, gradient, start, stop, l1, l2)[1]
    inside = p[start:stop].astype(np.float64)
    value, derivative = naive.penalty(inside, l1, l2)
    assert abs(got - value) <= roundings(stop - start + 4, dtype) * value
    wanted = before.astype(np.float64)
    wanted[start:stop] += derivative
    bound = np.zeros(N)
    bound[start:stop] = roundings(4, dtype) * (np.abs(before[start:stop]) + np.abs(derivative))
    assert_within(gradient, wanted, bound)


def test_outputs_are_written_nowhere_else() -> None:
    p = nan(N, dtype=np.float64)
    gradient = nan(N, dtype=np.float64)
    p[3:20], gradient[3:20] = 1, 1
    sums(p, gradient, 3, 20, 0.1, 0.1)
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(p))


@each_dtype
@each_range
@pytest.mark.parametrize("count", [1, 2, 5, 7, 8, 14, 16])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("group", [4, 8])
def test_ranges_are_added_as_trees_of_neighbours(
    dtype: Any, start: int, stop: int, count: int, gap: int, group: int
) -> None:
    parts, out = nan(count, N + gap, dtype=dtype), nan(N, dtype=dtype)
    parts[:, start:stop] = draw(1, count, stop - start, dtype=dtype)
    before = parts.copy()
    _add_up(dtype, 1, out, parts.reshape(-1), start, stop - start, N + gap, count, group)
    wanted, at = None, 0
    while at < count:
        size = next(size for size in (8, 4, 2, 1) if size <= min(group, count - at))
        tree = list(before[at : at + size, :N])
        while len(tree) > 1:
            tree = [a + b for a, b in zip(tree[::2], tree[1::2], strict=True)]
        wanted, at = tree[0] if wanted is None else wanted + tree[0], at + size
    np.testing.assert_array_equal(out, wanted)  # and NaN, as before, around the range
    np.testing.assert_array_equal(parts, before)


@pytest.mark.parametrize("count", [2, 6, 14, 16, 24, 32])
def test_pairs_that_are_added_already_give_the_same_bits(count: int) -> None:
    parts, whole, by_pairs = draw(1, count, N), np.empty(N), np.empty(N)
    _add_up(parts.dtype, 1, whole, parts.reshape(-1), 0, N, N, count, 8)
    pairs = np.ascontiguousarray(parts[::2] + parts[1::2])
    _add_up(parts.dtype, 1, by_pairs, pairs.reshape(-1), 0, N, N, count // 2, 4)
    np.testing.assert_array_equal(by_pairs, whole)
