"""Whether data are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels import finite
from fastdnn.kernels.finite import all_finite
from fastdnn.kernels.parallel import entry
from tests.kernels.common import RANKS, draw, each_dtype

pytestmark = pytest.mark.usefixtures("share_small_work")


@each_dtype
@pytest.mark.parametrize("n_threads", RANKS)
@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 1009])
def test_every_place_is_looked_at(dtype: Any, n_threads: int, size: int) -> None:
    x = draw(1, size, dtype=dtype)
    x[::3] = np.finfo(dtype).max
    with fastdnn.num_threads(n_threads):
        assert all_finite(x)
        for at in range(0, size, max(size // 17, 1)):
            for bad in (np.nan, np.inf, -np.inf):
                one = x.copy()
                one[at] = bad
                assert not all_finite(one)


@each_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_before_anything_is_compiled_numpy_tells(
    dtype: Any, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite._add_not_finite, "_compiled", {})
    monkeypatch.setattr(entry, "_leaves_left", lambda dtype: 1.0)
    monkeypatch.setattr(entry.Entry, "compile", None)
    monkeypatch.setattr(finite, "_PART", 4)
    x = np.full(10, np.finfo(dtype).max)
    assert all_finite(x)
    for at in range(10):
        one = x.copy()
        one[at] = bad
        assert not all_finite(one)


@each_dtype
def test_the_largest_numbers_are_finite(dtype: Any) -> None:
    # though no sum of them is
    assert all_finite(np.full(100, -np.finfo(dtype).max, dtype))
