"""Dropout's masks, by NumPy."""

from __future__ import annotations

import numpy as np

from tests.kernels.common import Array

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(state: Array) -> Array:
    """The output function of the generator of this name (Steele, Lea and Flood 2014)."""
    x = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


@np.errstate(over="ignore")
def key(seed: int, step: int, layer: int) -> Array:
    """Of one layer's mask in one step."""
    of_step = splitmix64(np.asarray(np.uint64(seed) + np.uint64(step) * GOLDEN))
    return splitmix64(of_step + np.uint64(layer) * GOLDEN)


@np.errstate(over="ignore")
def kept(seed: int, step: int, layer: int, count: int, rate: float) -> Array:
    """Whether each of the batch's elements, row by row, is kept."""
    states = key(seed, step, layer) + np.arange(count, dtype=np.uint64) * GOLDEN
    return (splitmix64(states) >> np.uint64(32)).astype(np.float64) >= round(rate * 2**32)
