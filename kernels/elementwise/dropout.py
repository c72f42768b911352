"""Dropout: each element of A is set to 0 with probability p, else multiplied by 1 / (1 - p).

Whether an element is kept is a hash (splitmix64, of the element's number in the batch and a key
made from the seed, the step and the layer), not a stream of random numbers: forward and backward
pass find the same mask without storing it, and so does any number of ranks.
"""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.compiler.jit import inline_kernel, kernel

LEVELS = 2**32  # p is rounded to a multiple of 1 / LEVELS

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


def threshold_of(p: float) -> int:
    """p in units of 1 / `LEVELS`; what is neither 0 nor 1 does not become it."""
    return min(max(round(p * LEVELS), 1), LEVELS - 1) if p else 0


@inline_kernel
def mix(x):
    """64 bits that look random, from a uint64."""
    x = (x ^ (x >> _S30)) * _MIX_1
    x = (x ^ (x >> _S27)) * _MIX_2
    return x ^ (x >> _S31)


@kernel
def dropout_key(seed, step, layer):
    """Return the key of one layer's mask in one step."""
    return mix(mix(np.uint64(seed) + np.uint64(step) * _GOLDEN) + np.uint64(layer) * _GOLDEN)


@kernel
def drop_range(source, s0, target, t0, n, first, threshold, key):
    """target = source * mask / (1 - p), p = threshold / LEVELS.

    The elements' numbers in the batch are first, first + 1, …
    """
    scale = LEVELS / (LEVELS - threshold)
    for j in range(n):
        bits = mix(key + np.uint64(first + j) * _GOLDEN) >> _S32
        target[t0 + j] = source[s0 + j] * scale if np.int64(bits) >= threshold else 0.0
