"""C = C0 + A B by tiles: every height, width and depth, wherever A, B and C0 lie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from numba import int64

from fastdnn.kernels.blas.microkernel import (
    UNROLL,
    kc_of,
    l1_elements_of,
    lanes_of,
    mc_of,
    mr_of,
    narrow_of,
    nc_of,
    nr_of,
    page_of,
)
from fastdnn.kernels.compiler.jit import vector
from tests.kernels.common import (
    DTYPES,
    assert_within,
    at_the_end_of_memory,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
    roundings,
    run_python,
)
from tests.kernels.tiles import (
    MARGIN,
    RIGHTS,
    STARTS,
    TILES,
    each_left,
    each_right,
    each_start,
    left_operand,
    multiplied,
    multiply,
    right_operand,
    whole_numbers,
    widths,
)

DEPTHS = [0, 1, UNROLL - 1, UNROLL, UNROLL + 1, 3 * UNROLL + 2]


@compiled(lambda t: (vector(t), vector(int64)))
def _constants(rank, n_ranks, team, x, out):  # type: ignore[no-untyped-def]
    out[0], out[1], out[2], out[3] = lanes_of(x), mr_of(x), nr_of(x), mc_of(x)
    out[4], out[5], out[6] = kc_of(x), nc_of(x), l1_elements_of(x)
    out[7], out[8] = narrow_of(x), page_of(x)


def shapes(dtype: Any) -> Iterator[tuple[int, int, int]]:
    """m, n and k: heights up to two tiles and one row, widths and depths around their units."""
    return combinations(range(2 * TILES[dtype].mr + 2), widths(dtype), DEPTHS)


@each_dtype
@each_left
@each_right
def test_every_shape(dtype: Any, left: str, right: str) -> None:
    heights, columns, depth = 2 * TILES[dtype].mr + 1, max(widths(dtype)), max(DEPTHS)
    a, b = (
        whole_numbers(1, heights, depth, dtype=dtype),
        whole_numbers(2, depth, columns, dtype=dtype),
    )
    first = whole_numbers(3, heights, columns, dtype=dtype)
    for (m, n, k), number in zip(shapes(dtype), range(10**6), strict=False):
        start = STARTS[number % len(STARTS)]
        got, c0 = multiplied(
            a[:m, :k], b[:k, :n], first[:m, :n], left=left, right=right, start=start
        )
        np.testing.assert_array_equal(got, c0 + a[:m, :k] @ b[:k, :n], str((m, n, k, start)))


@each_dtype
@each_start
@pytest.mark.parametrize("fused_relu", [False, True])
def test_every_start(dtype: Any, start: str, fused_relu: bool) -> None:
    heights, columns = range(2 * TILES[dtype].mr + 2), widths(dtype)
    first = whole_numbers(3, max(heights), max(columns), dtype=dtype)
    for m, n, k in combinations(heights, columns, (0, 1, UNROLL, UNROLL + 1)):
        a, b = whole_numbers(1, m, k, dtype=dtype), whole_numbers(2, k, n, dtype=dtype)
        got, c0 = multiplied(a, b, first[:m, :n], start=start, fused_relu=fused_relu)
        wanted = c0 + a @ b
        np.testing.assert_array_equal(got, np.maximum(wanted, 0) if fused_relu else wanted)


@each_dtype
@pytest.mark.parametrize("kc", [*DEPTHS, 101])
@pytest.mark.parametrize("add", [False, True])
def test_whole_tile(dtype: Any, kc: int, add: bool) -> None:
    t = TILES[dtype]
    a, b = draw(1, kc, t.mr, dtype=dtype), draw(2, kc, t.nr, dtype=dtype)
    c = draw(3, t.mr, t.nr, dtype=dtype)
    start = "C" if add else "zeros"
    got, _ = multiplied(a.T, b, c, left="packed", right="panels", start=start)
    wanted = a.T.astype(np.float64) @ b.astype(np.float64)
    bound = product_bound(a.T, b, dtype, more=int(add))
    if add:
        wanted, bound = wanted + c, bound + roundings(1, dtype) * np.abs(c)
    assert_within(got, wanted, bound)


@each_dtype
@each_left
@each_right
@each_start
@pytest.mark.parametrize("k", [*DEPTHS, 101])
def test_error(dtype: Any, left: str, right: str, start: str, k: int) -> None:
    t = TILES[dtype]
    m, n = 2 * t.mr + 1, 2 * t.nr + 3
    a, b, first = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype), draw(3, m, n, dtype=dtype)
    got, c0 = multiplied(a, b, first, left=left, right=right, start=start)
    more = 0 if start == "zeros" else 1
    wanted = a.astype(np.float64) @ b.astype(np.float64) + c0
    # C0 is added last, so it goes through one rounding
    bound = product_bound(a, b, dtype, more=more) + roundings(1, dtype) * np.abs(c0)
    assert_within(got, wanted, bound)


@each_dtype
@each_left
@each_right
@each_start
def test_an_element_has_the_same_bits_in_every_tile(
    dtype: Any, left: str, right: str, start: str
) -> None:
    t = TILES[dtype]
    m, n, k = 2 * t.mr + 1, 2 * t.nr + t.lanes + 1, 37
    a, b, first = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype), draw(3, m, n, dtype=dtype)
    first[:, :] = first[:, :1]  # the same, whichever column of C0 is meant
    first[:, :] = first[:1] if start == "one row" else first
    whole, _ = multiplied(a, b, first, left=left, right=right, start=start)
    for height in (1, t.mr - 1, t.mr, t.mr + 1):
        for width in (1, t.lanes, t.lanes + 1, t.nr, t.nr + 1):
            i, j = m - height, n - width  # that are at other places of their tiles
            part, _ = multiplied(
                a[i:], b[:, j:], first[i:, j:], left=left, right=right, start=start
            )
            np.testing.assert_array_equal(part, whole[i:, j:])


@each_dtype
@each_left
def test_depths_are_added_in_order(dtype: Any, left: str) -> None:
    # huge + 1 - huge is 0 in this order, and 1 in another
    t = TILES[dtype]
    huge = dtype.type(2) ** 60
    for m, n in combinations((1, t.mr, t.mr + 1), (1, t.nr, t.nr + 1)):
        for depth, places in ((7, (0, 3, 6)), (3, (0, 1, 2)), (5, (2, 3, 4)), (8, (0, 4, 7))):
            a, b = np.ones((m, depth), dtype), np.zeros((depth, n), dtype)
            b[places[0]], b[places[1]], b[places[2]] = huge, 1, -huge
            got, _ = multiplied(a, b, left=left)
            np.testing.assert_array_equal(got, np.zeros((m, n)))
            # what C begins with comes first
            start = np.full((m, n), huge)
            b[places[0]] = 0
            got, _ = multiplied(a, b, start, left=left, start="C")
            np.testing.assert_array_equal(got, np.zeros((m, n)))


@each_dtype
def test_a_product_and_its_sum_are_rounded_as_the_target_says(dtype: Any) -> None:
    e = dtype.type(np.finfo(dtype).eps)
    t = TILES[dtype]
    a, b = np.full((t.mr, 2), 1 + e, dtype), np.full((2, t.nr), 1 + e, dtype)
    a[:, 0], b[0] = -(1 + 2 * e), 1
    got, _ = multiplied(a, b)
    if t.fma:
        np.testing.assert_array_equal(got, np.full((t.mr, t.nr), e * e))
    else:
        np.testing.assert_array_equal(np.abs(got) <= e * e, np.full((t.mr, t.nr), True))


@each_dtype
@each_start
def test_rectified_where_c_is_negative(dtype: Any, start: str) -> None:
    t = TILES[dtype]
    for m, n in combinations((1, t.mr, t.mr + 1), (1, t.lanes + 1, t.nr, t.nr + 1)):
        a, b = draw(1, m, 37, dtype=dtype), draw(2, 37, n, dtype=dtype)
        first = draw(3, m, n, dtype=dtype)
        plain, _ = multiplied(a, b, first, start=start)
        got, _ = multiplied(a, b, first, start=start, fused_relu=True)
        np.testing.assert_array_equal(got, np.maximum(plain, 0))


@each_dtype
def test_nan_and_infinity_pass_a_rectified_product(dtype: Any) -> None:
    t = TILES[dtype]
    first = np.ones((t.mr + 1, t.nr + 3), dtype)
    first[0, 0], first[1, 1], first[2, 2], first[t.mr, t.nr] = np.nan, np.inf, -np.inf, np.nan
    first[3, 3] = -1
    a, b = np.zeros((t.mr + 1, 3), dtype), np.zeros((3, t.nr + 3), dtype)
    got, _ = multiplied(a, b, first, start="C", fused_relu=True)
    np.testing.assert_array_equal(got, np.maximum(first, 0))
    assert np.isnan(got[0, 0])
    assert np.isnan(got[t.mr, t.nr])


@each_dtype
def test_nan_behind_the_end_of_b_reaches_nothing(dtype: Any) -> None:
    # `multiplied` has NaN between B's rows and past its end, and in a panel that is not full
    t = TILES[dtype]
    for right in RIGHTS:
        a, b = draw(1, t.mr + 1, 9, dtype=dtype), draw(2, 9, t.nr + 1, dtype=dtype)
        got, _ = multiplied(a, b, right=right)
        assert np.isfinite(got).all()


def read_up_to_the_end_of_memory() -> None:
    """For a process of its own: reading A, C0 or a packed B behind their ends would kill it."""
    for dtype in DTYPES:
        for m, n, k in combinations((1, TILES[dtype].mr + 1), widths(dtype)[1:], DEPTHS):
            a, first = (whole_numbers(1, *of, dtype=dtype) for of in ((m, k), (m, n)))
            b = whole_numbers(2, k, n, dtype=dtype)
            panels, b0, ldb = right_operand(b, "panels")
            for left in ("rows", "columns", "packed"):
                flat, a0, *how = left_operand(a, left)
                c = nan(m, n, dtype=dtype)
                multiply(
                    dtype, 1, at_the_end_of_memory(flat[a0 : a0 + m * k]), 0, *how,
                    at_the_end_of_memory(panels[b0:-MARGIN]), 0, ldb, k,
                    at_the_end_of_memory(first).reshape(-1), 0, n, 1,
                    at_the_end_of_memory(c).reshape(-1), 0, n, m, n, False,
                    nan(0, dtype=dtype),
                )  # fmt: skip


def test_nothing_is_read_or_written_behind_the_end() -> None:
    program = (
        "from tests.kernels.blas.test_microkernel import read_up_to_the_end_of_memory\n"
        "read_up_to_the_end_of_memory(); print('alive')"
    )
    assert run_python(program).strip() == "alive"


@each_dtype
def test_constants(dtype: Any) -> None:
    out, t = np.zeros(9, np.int64), TILES[dtype]
    _constants(dtype, 1, np.zeros(1, dtype), out)
    wanted = [t.lanes, t.mr, t.nr, t.mc, t.kc, t.nc, t.l1_elements, t.narrow, t.page]
    np.testing.assert_array_equal(out, wanted)
