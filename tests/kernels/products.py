"""Products by the compiled program itself, and a check of them for one dtype.

The check is run here for the host's tile, and in processes of their own for every other row of
`targets.TARGETS`.
"""

from __future__ import annotations

from functools import partial
from itertools import product as combinations
from typing import Any
from unittest import mock

import numpy as np

import fastdnn
from fastdnn.kernels import dense
from fastdnn.kernels.base.arrays import Matrix, as_matrix
from fastdnn.kernels.blas.microkernel import FLAT
from fastdnn.kernels.cpu import targets, threads
from fastdnn.kernels.cpu.targets import Tile
from fastdnn.kernels.elementwise.activations import ACTIVATIONS
from fastdnn.kernels.layers import epilogue, gemm, layout
from tests import naive
from tests.kernels.common import (
    LAYOUTS,
    Array,
    activation_bound,
    assert_within,
    draw,
    for_each_count,
    nan,
    product_bound,
    roundings,
)

Shape = tuple[int, int, int]  # m, n, k
MARGIN = 64  # elements around C that must stay as they were


def row_of(**fields: int) -> Array:
    """A layer's row of the integer table, by the names of `layout`'s fields."""
    row = np.zeros(layout.FIELDS, np.int64)
    row[[layout.B, layout.CODE]] = -1
    for name, value in fields.items():
        row[getattr(layout, name)] = value
    return row


def product(
    a: Array,
    b: Array,
    *,
    mode: Any = epilogue.PLAIN,
    row: Array | None = None,
    p: Array | None = None,
    scale: float = 1.0,
) -> Array:
    """C = scale A B, finished by `mode`, into memory full of NaN; what lies around C stays NaN.

    With FROM_Z in `row` the result is Z above A, (2 m, n). Small products are shared too.
    """
    (m, k), n = a.shape, b.shape[1]
    row = row_of() if row is None else row
    copies = 2 if row[layout.FROM_Z] else 1
    at = MARGIN + (copies - 1) * m * n
    is_plain = mode == epilogue.PLAIN
    after = dense.After(
        mode, int(row[layout.CODE]), bool(row[layout.FUSED_RELU]) and not is_plain,
        bool(row[layout.WHOLE_ROW]) and not is_plain, MARGIN, at, at, int(row[layout.DROP]), scale,
    )  # fmt: skip
    start = None if p is None else Matrix(p, int(row[layout.B]), 0, 1)
    c = nan(copies * m * n + 2 * MARGIN, dtype=a.dtype)
    with mock.patch.multiple(threads, SHARED_FLOPS=0, AWAKE_FLOPS=0):
        dense._multiply((m, n, k), as_matrix(a), as_matrix(b), c, c0=start, after=after)
    assert np.isnan(c[:MARGIN]).all(), "wrote before C"
    assert np.isnan(c[len(c) - MARGIN :]).all(), "wrote behind C"
    return c[MARGIN : len(c) - MARGIN].reshape(copies * m, n)


def flat_columns(t: Tile) -> int:
    """So many that the widest flat tiles are three and a part."""
    return 3 * max(FLAT.values()) * t.lanes + 5


def edge_shapes(t: Tile) -> list[Shape]:
    """Nothing, one, one less and one more than a tile, a prime; and around the unrolling of k."""
    rows = {0, 1, t.mr - 1, t.mr, t.mr + 1, 2 * t.mr, 37}
    columns = {0, 1, t.narrow, t.narrow + 1, t.nr - 1, t.nr, t.nr + 1, 2 * t.nr + 3}
    return list(combinations(sorted(rows), sorted(columns), (0, 1, 3, 4, 5, 8, 37)))


def block_shapes(t: Tile) -> list[Shape]:
    """Several blocks of depth, of columns, of rows, of all; and where packing A begins to pay.

    And several flat tiles beside each other.
    """
    return [
        *((m, flat_columns(t), 1) for m in FLAT),
        (t.mr + 1, t.nr + 1, t.kc - 1),
        (t.mr + 1, t.nr + 1, t.kc),
        (t.mr + 1, t.nr + 1, t.kc + 1),
        (t.mr + 1, t.nr + 1, 3 * t.kc + 37),
        (5, t.nc - 1, 3),
        (5, t.nc + 1, 3),
        (16 * t.mc - 1, 3, 5),
        (16 * t.mc + 5, t.nr + 1, 7),
        (t.mc + 1, t.packed - 1, t.kc + 1),
        (t.mc + 1, t.packed, t.kc + 1),
        (t.mc + 1, 2 * t.packed, t.kc + 1),  # each of two ranks has enough columns
        (t.mr + 1, t.packed + 1, 3 * t.kc + 37),
        (t.mc + 1, t.nc + 1, t.kc + 1),
    ]


def check_plain(shape: Shape, dtype: Any, of_b: str = "C") -> None:
    """C = A B for normal numbers."""
    m, n, k = shape
    a, b = draw(1, m, k, dtype=dtype), LAYOUTS[of_b](draw(2, k, n, dtype=dtype))
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    assert_within(product(a, b), wanted, product_bound(a, b, dtype))


def check_forward(shape: Shape, activation: str, dtype: Any, of_w: str = "C") -> None:
    """Z = A W^T + b and A = g(Z), side by side."""
    m, n, k = shape
    a, w = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype) / max(k, 1) ** 0.5
    w = LAYOUTS[of_w](w.astype(dtype))
    bias = draw(3, n + 7, dtype=dtype)
    g = ACTIVATIONS[activation]
    row = row_of(B=7, CODE=g.code, WHOLE_ROW=g.whole_row, FROM_Z=1)
    both = product(a, w, mode=epilogue.FORWARD, row=row, p=bias)
    Z = naive.linear_forward(
        a.T.astype(np.float64), w.T.astype(np.float64), bias[7:, None].astype(np.float64)
    )
    bound = product_bound(a, w, dtype, more=1).T + roundings(1, dtype) * np.abs(bias[7:, None])
    assert_within(both[:m].T, Z, bound)
    A = naive.ACTIVATIONS[activation][0](Z)
    assert_within(both[m:].T, A, activation_bound(activation, A, bound, dtype))
    row[layout.FROM_Z] = 0  # and without Z, the same
    alone = product(a, w, mode=epilogue.FORWARD, row=row, p=bias)
    np.testing.assert_array_equal(alone, both[m:])


def check_layouts(shape: Shape, dtype: Any) -> None:
    """Operands whose rows, columns or neither lie side by side give the same bits."""
    m, n, k = shape
    a, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype)
    wanted = product(a, b)
    for one, other in combinations(LAYOUTS, LAYOUTS):
        np.testing.assert_array_equal(product(LAYOUTS[one](a), LAYOUTS[other](b)), wanted)


def check_rectified(shape: Shape, dtype: Any, of_b: str = "C") -> None:
    """max(A B, 0), and NaN where A B is."""
    m, n, k = shape
    a, b = draw(1, m, k, dtype=dtype), LAYOUTS[of_b](draw(2, k, n, dtype=dtype))
    a[m // 2, k // 2] = np.nan
    row = row_of(CODE=ACTIVATIONS["relu"].code, FUSED_RELU=1)
    got = product(a, b, mode=epilogue.FORWARD, row=row)
    plain = product(a, b, mode=epilogue.FORWARD, row=row_of(CODE=-1))
    np.testing.assert_array_equal(got, np.maximum(plain, 0))


def check_few_samples(dtype: Any) -> None:
    """Few samples, for which W is read where it lies, are predicted as they are among many."""
    width = flat_columns(targets.tile(dtype))
    layers = [fastdnn.Dense(width, activation="relu"), fastdnn.Dense(width)]
    net = fastdnn.Sequential(layers, input_size=9, dtype=dtype.name, seed=0)
    X = draw(1, gemm.DIRECT_ROWS, 9, dtype=dtype)
    wanted = net.predict(X)
    bound = float(roundings(2 * width, dtype) * np.abs(wanted).max())
    for m in range(1, gemm.DIRECT_ROWS):
        assert_within(net.predict(X[:m]), wanted[:m], bound)


def same_bits_for_all_ranks(shape: Shape, dtype: Any, of_b: str = "C") -> None:
    """One, two, three and four ranks give the same bits."""
    m, n, k = shape
    a, b = draw(1, m, k, dtype=dtype), LAYOUTS[of_b](draw(2, k, n, dtype=dtype))
    row = row_of(CODE=ACTIVATIONS["softmax"].code, WHOLE_ROW=1)
    for mode in (epilogue.PLAIN, epilogue.FORWARD):
        run = partial(product, a, b, mode=mode, row=row)
        assert len(set(for_each_count(run))) == 1, (shape, mode)


def check_target(dtype: Any) -> None:
    """All that a tile's shape can spoil; for a process of its own."""
    tile = targets.tile(dtype)
    with fastdnn.num_threads(2):
        for shape in edge_shapes(tile) + block_shapes(tile):
            check_plain(shape, dtype)
        for shape in ((tile.mr + 1, 2 * tile.nr + 3, 37), (3, tile.nc + 1, tile.kc + 1)):
            for activation in ("relu", "gelu", "softmax"):
                check_forward(shape, activation, dtype)
            check_rectified(shape, dtype)
        for n in range(2 * tile.lanes + 2):  # scalar products of every number of rows
            for k in (1, tile.lanes - 1, 2 * tile.lanes + 3):
                check_plain((gemm.SCALAR_ROWS, n, k), dtype, "Fortran")
        check_forward((2 * tile.lanes + 1, 1, 37), "relu", dtype)
        check_layouts((tile.mr + 1, 2 * tile.nr + 3, 37), dtype)
        check_layouts((2 * tile.mr + 1, tile.packed + 1, 37), dtype)
    same_bits_for_all_ranks((3 * tile.mr + 1, tile.nr + 1, tile.kc + 1), dtype)
    check_few_samples(dtype)
