"""Products by tiles: every edge, several blocks in each direction, any strides and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import int64

import fastdnn
from fastdnn.kernels.compiler.jit import matrix, vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.elementwise.activations import ACTIVATIONS
from fastdnn.kernels.elementwise.dropout import LEVELS
from fastdnn.kernels.layers import epilogue, gemm
from tests import naive
from tests.kernels import products
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    activation_bound,
    assert_within,
    at_the_end_of_memory,
    compiled,
    draw,
    each_dtype,
    each_layout,
    product_bound,
    roundings,
    run_python,
)
from tests.kernels.products import block_shapes, edge_shapes, product, row_of

pytestmark = pytest.mark.usefixtures("awake_threads")

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
BLOCKS = [
    pytest.param(dtype, shape, id=f"{dtype}-{'x'.join(map(str, shape))}")
    for dtype in DTYPES
    for shape in block_shapes(TILES[dtype])
]


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 3])
def test_edges_of_tiles(dtype: Any, n_threads: int) -> None:
    with fastdnn.num_threads(n_threads):
        for shape in edge_shapes(TILES[dtype]):
            products.check_plain(shape, dtype)


@pytest.mark.parametrize(("dtype", "shape"), BLOCKS)
def test_several_blocks(dtype: Any, shape: products.Shape) -> None:
    products.check_plain(shape, dtype)


@pytest.mark.parametrize(("dtype", "shape"), BLOCKS)
def test_any_number_of_ranks_gives_the_same_bits(dtype: Any, shape: products.Shape) -> None:
    products.same_bits_for_all_ranks(shape, dtype)


@each_dtype
@given(m=st.integers(0, 80), n=st.integers(0, 80), k=st.integers(0, 500))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_shape(dtype: Any, m: int, n: int, k: int) -> None:
    products.check_plain((m, n, k), dtype)


@each_dtype
@each_layout
def test_any_strides_on_both_sides(dtype: Any, layout: str) -> None:
    a, b = draw(1, 37, 41, dtype=dtype), draw(2, 41, 43, dtype=dtype)
    wanted = product(a, b)
    for x, y in ((LAYOUTS[layout](a), b), (a, LAYOUTS[layout](b))):
        np.testing.assert_array_equal(product(x, y), wanted)


@each_dtype
def test_any_strides_where_a_is_packed_too(dtype: Any) -> None:
    products.check_layouts((37, TILES[dtype].packed + 5, 41), dtype)


@each_dtype
def test_broadcast_operands(dtype: Any) -> None:
    row, column = draw(1, 1, 41, dtype=dtype), draw(2, 41, 1, dtype=dtype)
    a, b = np.broadcast_to(row, (37, 41)), np.broadcast_to(column, (41, 43))
    np.testing.assert_array_equal(product(a, b), product(a.copy(), b.copy()))


@each_dtype
@pytest.mark.parametrize("m", [1, 5, gemm.DIRECT_ROWS, 40])
def test_few_rows_times_one_row_for_all_of_b(dtype: Any, m: int) -> None:
    """Of whole vectors, B is read where it lies; its rows lie 0 apart, and it is no panels."""
    for n in (TILES[dtype].lanes, 2 * TILES[dtype].nr):
        a, row = draw(1, m, 41, dtype=dtype), draw(2, 1, n, dtype=dtype)
        b = np.broadcast_to(row, (41, n))
        np.testing.assert_array_equal(product(a, b), product(a, b.copy()))


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("layout", ["Fortran", "strided Fortran", "all backwards"])
@pytest.mark.parametrize("m", [*range(gemm.SCALAR_ROWS + 2), TILES[DTYPES[0]].mr + 1])
def test_few_rows_times_columns_that_run_along_k(
    dtype: Any, m: int, layout: str, n_threads: int
) -> None:
    t = TILES[dtype]
    with fastdnn.num_threads(n_threads):
        for n, k in ((0, 3), (1, 0), (1, 1), (1, 7), (2 * t.nr + 3, 37), (5, t.kc + 1)):
            products.check_plain((m, n, k), dtype, layout)
            if m * n > 0:
                for activation in ("relu", "gelu", "softmax"):
                    products.check_forward((m, n, k), activation, dtype, layout)
            if m * k > 0:
                products.check_rectified((m, n, k), dtype, layout)


@each_dtype
def test_few_rows_are_few_for_every_rank(dtype: Any) -> None:
    mr = TILES[dtype].mr
    for m in (gemm.SCALAR_ROWS, mr + 1, mr + gemm.SCALAR_ROWS, 2 * mr + 1):
        products.same_bits_for_all_ranks((m, 2 * TILES[dtype].nr + 3, 37), dtype, "Fortran")


@each_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_finishes_each_tile(dtype: Any, activation: str) -> None:
    tile = TILES[dtype]
    for shape in ((tile.mr + 1, 2 * tile.nr + 3, 37), (3, 1, 5), (37, tile.nr, tile.kc + 1)):
        products.check_forward(shape, activation, dtype)


@each_dtype
def test_whole_rows_of_several_blocks_of_columns(dtype: Any) -> None:
    products.check_forward((3, TILES[dtype].nc + 1, 5), "softmax", dtype)


@each_dtype
def test_whole_rows_without_a_bias(dtype: Any) -> None:
    t, g = TILES[dtype], ACTIVATIONS["softmax"]
    for m, n, k in ((3, t.nc + 1, 5), (t.mr + 1, t.nr + 1, 37), (t.mc + 1, 3, t.kc + 1)):
        a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype) / k**0.5
        b = b.astype(dtype)
        row = row_of(CODE=g.code, WHOLE_ROW=1, FROM_Z=1)
        both = product(a, b, mode=epilogue.FORWARD, row=row)
        Z, bound = (a.astype(np.float64) @ b.astype(np.float64)).T, product_bound(a, b, dtype).T
        assert_within(both[:m].T, Z, bound)
        A = naive.softmax(Z)
        assert_within(both[m:].T, A, activation_bound("softmax", A, bound, dtype))


@each_dtype
def test_scale_is_applied_once(dtype: Any) -> None:
    tile = TILES[dtype]
    for m, n, k in ((5, 7, 0), (5, 7, 2 * tile.kc + 1), (5, tile.nc + 1, tile.kc + 1)):
        a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
        wanted = (a.astype(np.float64) @ b.astype(np.float64)) / 3
        bound = product_bound(a, b, dtype, more=2) / 3
        assert_within(product(a, b, scale=1 / 3), wanted, bound)


@each_dtype
def test_nan_and_infinity_pass(dtype: Any) -> None:
    a, b = draw(1, 37, 41, dtype=dtype), draw(2, 41, 43, dtype=dtype)
    a[5, 7], b[3, 11] = np.nan, np.inf
    got = product(a, b)
    assert np.isnan(got[5]).all()
    others = np.arange(37) != 5
    assert np.isinf(got[others, 11]).all()
    assert np.isfinite(got[np.ix_(others, np.arange(43) != 11)]).all()


@each_dtype
def test_nan_stays_nan_through_a_fused_relu(dtype: Any) -> None:
    a, b = draw(1, 5, 7, dtype=dtype), draw(2, 7, 9, dtype=dtype)
    a[2, 3] = np.nan
    got = product(a, b, mode=epilogue.FORWARD, row=row_of(CODE=ACTIVATIONS["relu"].code))
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(
        np.delete(got, 2, 0), np.maximum(np.delete(product(a, b), 2, 0), 0)
    )


@each_dtype
@pytest.mark.parametrize("activation", ["tanh", "gelu", "softmax"])
def test_dropout_is_applied_after_the_activation(dtype: Any, activation: str) -> None:
    g = ACTIVATIONS[activation]
    m, n, k = 37, 2 * TILES[dtype].nr + 3, 5
    a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
    plain = row_of(CODE=g.code, WHOLE_ROW=g.whole_row, FROM_Z=1)
    A = product(a, b, mode=epilogue.FORWARD, row=plain)[m:]
    dropped = row_of(CODE=g.code, WHOLE_ROW=g.whole_row, FROM_Z=1, DROP=LEVELS // 4)
    got = product(a, b, mode=epilogue.FORWARD, row=dropped)[m:]
    kept = got != 0
    assert 0.5 < kept.mean() < 0.95
    wanted = np.where(kept, A.astype(np.float64) / 0.75, 0)
    assert_within(got, wanted, roundings(2, dtype) * np.abs(wanted))


@each_dtype
def test_a_product_rectifies_while_c_is_in_registers(dtype: Any) -> None:
    t, code = TILES[dtype], ACTIVATIONS["relu"].code
    for shape in ((t.mr + 1, t.nr + 3, 5), (5, t.nr, 2 * t.kc + 1), (3, t.nc + 1, t.kc + 1)):
        products.check_rectified(shape, dtype)
    # the flag is of no concern where nothing follows the product
    a, b = draw(1, 5, 7, dtype=dtype), draw(2, 7, 9, dtype=dtype)
    plain = product(a, b, row=row_of(CODE=code, FUSED_RELU=1))
    np.testing.assert_array_equal(plain, product(a, b))


@each_dtype
def test_dropout_of_what_the_product_has_rectified(dtype: Any) -> None:
    m, n, k = 37, 2 * TILES[dtype].nr + 3, 5
    a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
    fields = {"CODE": ACTIVATIONS["relu"].code, "DROP": LEVELS // 4}
    got, wanted = (
        product(a, b, mode=epilogue.FORWARD, row=row_of(FUSED_RELU=flag, **fields))
        for flag in (1, 0)
    )
    np.testing.assert_array_equal(got, wanted)


@each_dtype
@pytest.mark.parametrize("k", [0, 1, 3, 37])
def test_a_bias_is_one_more_term_of_the_sum(dtype: Any, k: int) -> None:
    t = TILES[dtype]
    m, n = 2 * t.mr + 1, 2 * t.nr + 3
    a, b, bias = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype), draw(3, n, dtype=dtype)
    got = product(a, b, mode=epilogue.FORWARD, row=row_of(B=0), p=bias)
    # [A 1] times B above the bias
    left, right = np.c_[a, np.ones(m, dtype)], np.r_[b, bias[None]]
    wanted = left.astype(np.float64) @ right.astype(np.float64)
    assert_within(got, wanted, product_bound(left, right, dtype))
    # huge + 1 - huge is 0 in this order, and 1 in another
    if k >= 2:
        huge = dtype.type(2) ** 60
        a[:], b[:] = 1, 0
        b[0], b[k - 1] = 1, -huge
        got = product(a, b, mode=epilogue.FORWARD, row=row_of(B=0), p=np.full(n, huge))
        np.testing.assert_array_equal(got, np.zeros((m, n)))


def read_up_to_the_end_of_memory() -> None:
    """For a process of its own: reading behind the end of A or B would kill it."""
    for dtype in DTYPES:
        for m, n, k in [*edge_shapes(TILES[dtype])[::7], (37, 300, 41), (3, 5, 3 * 256 + 7)]:
            a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
            ends = [at_the_end_of_memory(x) for x in (a, b, a.T.copy(), b.T.copy())]
            wanted = product(a, b)
            np.testing.assert_array_equal(product(ends[0], ends[1]), wanted)
            np.testing.assert_array_equal(product(ends[2].T, ends[3].T), wanted)


def test_nothing_is_read_behind_the_end() -> None:
    program = (
        "from tests.kernels.layers.test_gemm import read_up_to_the_end_of_memory\n"
        "read_up_to_the_end_of_memory(); print('alive')"
    )
    assert run_python(program).strip() == "alive"


# ------------------------------------------------------------------------------------------ blocks
@compiled(lambda t: (int64, int64, vector(t), matrix(int64)))
def _blocks(rank, n_ranks, team, begin, end, c, out):  # type: ignore[no-untyped-def]
    for count in range(begin, end):
        out[count - begin, 0] = gemm.block_rows(count, c)
        out[count - begin, 1] = gemm.block_depth(count, c)
    out[end - begin, 0] = gemm.packed_B(c)


@each_dtype
def test_blocks_are_few_and_full(dtype: Any) -> None:
    t = TILES[dtype]
    most = 5 * max(t.mc, t.kc)
    out = np.zeros((most + 1, 2), np.int64)
    _blocks(dtype, 1, 0, most, np.zeros(1, dtype), out)
    assert out[most, 0] % 8 == 0  # what is packed begins at a cache line
    assert out[most, 0] >= t.mc * t.kc
    assert gemm.packed_elements(t, 0) >= out[most, 0]
    assert gemm.packed_elements(t, t.nc + 1) == gemm.packed_elements(t, t.nc)
    assert gemm.packed_elements(t, t.nr + 1) - gemm.packed_elements(t, 0) == 2 * t.nr * t.kc
    for count, (rows, depth) in enumerate(out[:most].tolist()):
        assert (rows % t.mr, depth % 4) == (0, 0) or count == 0
        assert 0 < rows <= t.mc
        assert 0 < depth <= t.kc
        if count:
            assert -(-count // rows) == -(-count // t.mc)
            assert -(-count // depth) == -(-count // t.kc)
