"""The formulas of losses by themselves; `test_losses` shows the functions that are made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.elementwise import mean_losses
from fastdnn.kernels.llvm.scalar import strip
from tests.kernels.common import Array, compiled, each_dtype, nan, unit

_powers = strip(mean_losses.power, 1)


@compiled(lambda t: (vector(t), vector(t), vector(t), int64))
def _power(rank, n_ranks, team, out, x, exponents, count):  # type: ignore[no-untyped-def]
    _powers(count, out, 0, x, 0, exponents[0])


def power(x: Any, exponent: float, dtype: Any) -> Array:
    given = np.array(x, dtype)
    out = nan(given.size, dtype=dtype)
    _power(dtype, 1, out, given, np.array([exponent], dtype), given.size)
    return out


@each_dtype
@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0])
def test_power(dtype: Any, exponent: float) -> None:
    x = np.array([1, 0.999, 0.5, 0.1, 1e-3, 1e-6], dtype)
    wanted = x.astype(np.float64) ** exponent
    # a rounding of exponent * log(x) is one of the result, so many times
    rounded = unit(dtype) * (4 + 4 * np.abs(exponent * np.log(x)))
    assert (np.abs(power(x, exponent, dtype) - wanted) <= rounded * wanted).all()


@each_dtype
def test_powers_of_0_and_nan(dtype: Any) -> None:
    assert [power([0], e, dtype)[0] for e in (0.0, 0.5, 2.0)] == [1, 0, 0]
    assert [power([0], e, dtype)[0] for e in (-0.5, -1.0)] == [0, 0]  # where it is no number
    assert all(np.isnan(power([np.nan], e, dtype)[0]) for e in (-1.0, 0.0, 2.0))
