"""Products by tiles: every edge, several blocks in each direction, any strides and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdnn
from fastdnn.kernels import gemm, targets
from fastdnn.kernels.activations import ACTIVATIONS
from fastdnn.kernels.dropout import LEVELS
from tests.kernels import products
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    assert_within,
    draw,
    each_dtype,
    each_layout,
    product_bound,
    roundings,
)
from tests.kernels.products import block_shapes, edge_shapes, product, row_of

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
def test_broadcast_operands(dtype: Any) -> None:
    row, column = draw(1, 1, 41, dtype=dtype), draw(2, 41, 1, dtype=dtype)
    a, b = np.broadcast_to(row, (37, 41)), np.broadcast_to(column, (41, 43))
    np.testing.assert_array_equal(product(a, b), product(a.copy(), b.copy()))


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
    got = product(a, b, mode=gemm.FORWARD, row=row_of(CODE=ACTIVATIONS["relu"].code))
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
    A = product(a, b, mode=gemm.FORWARD, row=plain)[m:]
    dropped = row_of(CODE=g.code, WHOLE_ROW=g.whole_row, FROM_Z=1, DROP=LEVELS // 4)
    got = product(a, b, mode=gemm.FORWARD, row=dropped)[m:]
    kept = got != 0
    assert 0.5 < kept.mean() < 0.95
    wanted = np.where(kept, A.astype(np.float64) / 0.75, 0)
    assert_within(got, wanted, roundings(2, dtype) * np.abs(wanted))


@each_dtype
def test_tasks_are_few_and_full(dtype: Any) -> None:
    tile = TILES[dtype]
    one = np.empty(0, dtype)
    for m in (1, tile.mr, gemm.TASKS * tile.mr + 1, gemm.TASKS * tile.mc + 1):
        rows = gemm.block_rows(m, one)
        assert rows % tile.mr == 0
        assert 0 < rows <= tile.mc
        assert -(-m // rows) <= gemm.TASKS or rows == tile.mc
    assert gemm.scratch_size(one) == gemm.scratch_elements(tile)
