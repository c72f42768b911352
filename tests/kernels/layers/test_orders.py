"""The orders of samples: NumPy's own permutations, to the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.layers.orders import draw_orders

DTYPE = np.dtype(np.float32)
ENTROPIES = [0, 7, 2**32 - 1, 2**32, 2**64 + 5, 2**128 - 1, 2**200 + 3]


def wanted(entropy: int, key: tuple[int, ...], number: int, m: int) -> Any:
    sequence = np.random.SeedSequence(entropy, spawn_key=(*key, number))
    return np.random.default_rng(sequence).permutation(m)


@pytest.mark.parametrize("entropy", ENTROPIES)
def test_they_are_those_of_numpy(entropy: int) -> None:
    # about the powers of 2, where the mask of the random bits changes, and one sample
    for m in (0, 1, 2, 3, 4, 5, 7, 8, 9, 127, 128, 129, 1000, 65_537):
        for key in ((1,), (0, 2**32 - 1)):
            orders = draw_orders(entropy, key, 3, 2, m, DTYPE)
            assert orders.dtype == np.int64
            for i in range(2):
                np.testing.assert_array_equal(
                    orders[i * m : (i + 1) * m], wanted(entropy, key, 3 + i, m)
                )


@pytest.mark.parametrize("first", [0, 2**32 - 4])
def test_passes_come_behind_each_other(first: int) -> None:
    many = draw_orders(5, (1,), first, 3, 10, DTYPE)
    parts = [draw_orders(5, (1,), first + i, 1, 10, DTYPE) for i in range(3)]
    np.testing.assert_array_equal(many, np.concatenate(parts))
    assert draw_orders(5, (1,), first, 0, 10, DTYPE).size == 0
