"""Dropout's masks: how many elements they keep, and that they differ where they should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numba import int64, uint64

from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.elementwise.dropout import LEVELS, drop_range, dropout_key, threshold_of
from tests.kernels import masks
from tests.kernels.common import (
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    roundings,
)

N = 100_003
DEVIATIONS = 5  # a fair coin is further off once in a million


@compiled(lambda t: (*[int64] * 3, vector(t), vector(t), *[int64] * 3, vector(uint64)))
def _drop(rank, n_ranks, team, seed, step, layer, x, y, y0, first, threshold, keys):  # type: ignore[no-untyped-def]
    keys[0] = dropout_key(seed, step, layer)
    drop_range(x, 0, y, y0, x.size, first, threshold, keys[0])


def drop(
    x: Array, rate: float, *, seed: int = 1, step: int = 2, layer: int = 3, first: int = 0
) -> Array:
    """The elements `first`, `first` + 1, … of a batch."""
    target = nan(len(x) + 7, dtype=x.dtype)
    threshold = round(rate * LEVELS)
    keys = np.zeros(1, np.uint64)
    _drop(x.dtype, 1, seed, step, layer, x, target, 3, first, threshold, keys)
    assert keys[0] == masks.key(seed, step, layer)
    assert np.isnan(target[:3]).all()
    assert np.isnan(target[3 + len(x) :]).all()
    return target[3 : 3 + len(x)]


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@each_dtype
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_values_and_share(dtype: Any, rate: float) -> None:
    x = draw(1, N, dtype=dtype)
    got = drop(x, rate)
    kept = got != 0
    assert abs(kept.sum() - N * (1 - rate)) <= DEVIATIONS * math.sqrt(N * rate * (1 - rate))
    wanted = np.where(kept, x.astype(np.float64) / (1 - rate), 0)
    assert_within(got, wanted, (roundings(3, dtype) + 1 / LEVELS / (1 - rate)) * np.abs(wanted))
    np.testing.assert_array_equal(kept, masks.kept(1, 2, 3, N, rate))


def test_the_hash_is_splitmix64() -> None:
    # the generator's published outputs for the seed 1234567
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * masks.GOLDEN
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    np.testing.assert_array_equal(masks.splitmix64(states), np.array(wanted, np.uint64))


@each_dtype
def test_the_same_mask_for_the_same_numbers(dtype: Any) -> None:
    x = draw(1, N, dtype=dtype)
    kept = drop(x, 0.5) != 0
    np.testing.assert_array_equal(drop(draw(2, N, dtype=dtype), 0.5) != 0, kept)
    np.testing.assert_array_equal(drop(drop(x, 0.5), 0.5) != 0, kept)


@each_dtype
@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2}, {"seed": 2**40}, {"step": 3}, {"step": 10**6}, {"layer": 2}, {"layer": 4},
        {"seed": 2, "step": 1}, {"step": 3, "layer": 2}, {"first": 1}, {"first": 128},
    ],
    ids=str,
)  # fmt: skip
def test_other_masks_are_independent(dtype: Any, other: dict[str, int]) -> None:
    ones = np.ones(N, dtype)
    kept = drop(ones, 0.5) != 0
    assert abs(correlation(kept, drop(ones, 0.5, **other) != 0)) < DEVIATIONS / math.sqrt(N)


def test_neighbours_are_independent() -> None:
    kept = drop(np.ones(N), 0.5) != 0
    for lag in (1, 2, 3, 10, 64, 100, 784):
        assert abs(correlation(kept[lag:], kept[:-lag])) < DEVIATIONS / math.sqrt(N - lag)


@each_dtype
@pytest.mark.parametrize("width", [1, 7, 64, 1000])
def test_ranges_may_be_cut_anywhere(dtype: Any, width: int) -> None:
    x = draw(1, 3001, dtype=dtype)
    parts = [drop(x[i : i + width], 0.3, first=i) for i in range(0, len(x), width)]
    np.testing.assert_array_equal(np.concatenate(parts), drop(x, 0.3))


@each_dtype
def test_in_place(dtype: Any) -> None:
    x = draw(1, 1000, dtype=dtype)
    wanted = drop(x, 0.3)
    threshold = round(0.3 * LEVELS)
    _drop(dtype, 1, 1, 2, 3, x, x, 0, 0, threshold, np.zeros(1, np.uint64))
    np.testing.assert_array_equal(x, wanted)


def test_a_rate_between_0_and_1_becomes_neither() -> None:
    assert (threshold_of(0.0), threshold_of(0.25)) == (0, LEVELS // 4)
    assert (threshold_of(1e-12), threshold_of(1 - 1e-12)) == (1, LEVELS - 1)


@each_dtype
def test_nan_is_dropped_or_stays(dtype: Any) -> None:
    got = drop(nan(1000, dtype=dtype), 0.3)
    kept = masks.kept(1, 2, 3, 1000, 0.3)
    assert np.isnan(got[kept]).all()
    assert (got[~kept] == 0).all()
