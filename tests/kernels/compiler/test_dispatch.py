"""A number that picks a compiled function from a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import kernel, vector
from tests.kernels.common import compiled

SIZES = range(1, 8)


def _case(value: int) -> Callable[[int, int], int]:
    def case(x: int, y: int) -> int:
        return 100 * value + 10 * x + y

    return kernel(case)  # type: ignore[no-any-return]


_cases = [_case(value) for value in range(max(SIZES))]
_1, _2, _3, _4, _5, _6, _7 = (switch(_cases[:n]) for n in SIZES)


@kernel
def _other(code, x, y):  # type: ignore[no-untyped-def]
    return code - x - y


_3_or_other = switch(_cases[:3], _other)


@compiled(lambda t: (int64, int64, vector(int64)))
def _run(rank, n_ranks, team, n, code, out):  # type: ignore[no-untyped-def]
    if n == 1:
        out[0] = _1(code, 2, 3)
    elif n == 2:
        out[0] = _2(code, 2, 3)
    elif n == 3:
        out[0] = _3(code, 2, 3)
    elif n == 4:
        out[0] = _4(code, 2, 3)
    elif n == 5:
        out[0] = _5(code, 2, 3)
    elif n == 6:
        out[0] = _6(code, 2, 3)
    else:
        out[0] = _7(code, 2, 3)


@pytest.mark.parametrize("n", SIZES)
def test_each_code_of_a_table_of_any_length(n: int) -> None:
    out = np.zeros(1, np.int64)
    for code in range(n):
        _run(np.dtype(np.float64), 1, n, code, out)
        assert out[0] == 100 * code + 23


@compiled(lambda t: (int64, vector(int64)))
def _run_other(rank, n_ranks, team, code, out):  # type: ignore[no-untyped-def]
    out[0] = _3_or_other(code, 2, 3)


@pytest.mark.parametrize(
    ("code", "wanted"), [(0, 23), (1, 123), (2, 223), (3, -2), (2**40, 2**40 - 5), (-1, -6)]
)
def test_a_code_that_no_case_has(code: int, wanted: int) -> None:
    out = np.zeros(1, np.int64)
    _run_other(np.dtype(np.float64), 1, code, out)
    assert out[0] == wanted
