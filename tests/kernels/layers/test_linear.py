"""The three products of a layer, for any shapes: one unit, one sample, several blocks of depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, int64

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.blas.operands import ZEROS, Target, transposed
from fastdnn.kernels.compiler.jit import named, vector
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.layers.linear import (
    PACKED_ROWS,
    PACKED_SIZE,
    input_gradient,
    outputs,
    pack_deep,
    unit_gradient,
    weight_gradient,
)
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import (
    DTYPES,
    Array,
    assert_within,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
    roundings,
)

MARGIN = 64
KC = {dtype: targets.tile(dtype).kc for dtype in DTYPES}
SHAPES = [
    *((m, n, k) for m in (1, 5, 33) for n in (1, 3, 40) for k in (1, PACKED_ROWS - 1, 50)),
    (PACKED_SIZE, 200, PACKED_SIZE),  # A is packed
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def _operands(t: Any) -> tuple[Any, ...]:
    operand = named(Matrix, vector(t), *[int64] * 3)
    return operand, operand, operand, int64, int64, int64, vector(t), vector(t)


@compiled(lambda t: (*_operands(t), boolean))
def _outputs(rank, n_ranks, team, x, w, b, m, n, k, z, room, fused_relu):  # type: ignore[no-untyped-def]
    panels = pack_deep(w, k, n, address(room, room.size // 2))
    to = Target(address(z, MARGIN), n, m, n, fused_relu)
    outputs(x, w, panels, b, to, address(room, ZEROS))


@compiled(lambda t: (*_operands(t), boolean))
def _weights(rank, n_ranks, team, x, d, none, m, n, k, dW, room, add):  # type: ignore[no-untyped-def]
    to, zeros = Target(address(dW, MARGIN), n, k, n, False), address(room, 0)
    panels, packed = address(room, room.size // 2), address(room, ZEROS)
    weight_gradient(x, d, m, add, to, zeros, panels, packed)


@compiled(lambda t: (*_operands(t), boolean))
def _unit(rank, n_ranks, team, x, d, none, m, n, k, dW, room, add):  # type: ignore[no-untyped-def]
    unit_gradient(x, d, m, add, Target(address(dW, MARGIN), n, k, n, False))


@compiled(lambda t: _operands(t))
def _inputs(rank, n_ranks, team, d, w, none, m, n, k, dA, room):  # type: ignore[no-untyped-def]
    panels = pack_deep(transposed(w), n, k, address(room, room.size // 2))
    to, zeros = Target(address(dA, MARGIN), k, m, k, False), address(room, 0)
    input_gradient(d, w, panels, to, zeros, address(room, ZEROS))


def _room(dtype: Any) -> Array:
    room = nan(1_000_000, dtype=dtype)
    room[:ZEROS] = 0
    return room


def _rows(x: Array) -> Matrix:
    """A row-major matrix that may be read past its rows' ends."""
    return Matrix(np.concatenate([x.ravel(), nan(MARGIN, dtype=x.dtype)]), 0, x.shape[1], 1)


def _around(x: Array) -> Array:
    margin = nan(MARGIN, dtype=x.dtype)
    return np.concatenate([margin, x.ravel(), margin])


def _inside(memory: Array, shape: tuple[int, int]) -> Array:
    assert np.isnan(memory[:MARGIN]).all()
    assert np.isnan(memory[-MARGIN:]).all()
    return memory[MARGIN:-MARGIN].reshape(shape)


@each_dtype
@each_shape
@pytest.mark.parametrize("fused_relu", [False, True])
def test_outputs(dtype: Any, shape: tuple[int, int, int], fused_relu: bool) -> None:
    m, n, k = shape
    x, w, b = draw(1, m, k, dtype=dtype), draw(2, k, n, dtype=dtype), draw(3, n, dtype=dtype)
    z = _around(nan(m, n, dtype=dtype))
    bias = Matrix(np.concatenate([b, nan(MARGIN, dtype=dtype)]), 0, 0, 1)
    _outputs(dtype, 1, _rows(x), _rows(w), bias, m, n, k, z, _room(dtype), fused_relu)
    wanted = x.astype(np.float64) @ w.astype(np.float64) + b
    if fused_relu:
        wanted = np.maximum(wanted, 0)
    bound = product_bound(x, w, dtype, more=1) + roundings(1, dtype) * np.abs(b)
    assert_within(_inside(z, (m, n)), wanted, bound)


@each_dtype
@each_shape
@pytest.mark.parametrize("add", [False, True])
def test_weight_gradient(dtype: Any, shape: tuple[int, int, int], add: bool) -> None:
    m, n, k = shape
    x, d, before = draw(1, m, k, dtype=dtype), draw(2, m, n, dtype=dtype), draw(3, k, n)
    before = before.astype(dtype)
    # what is there counts only where it is added to
    dW = _around(before if add else nan(k, n, dtype=dtype))
    runs = [_weights, _unit] if n == 1 else [_weights]
    for run in runs:
        memory = dW.copy()
        run(dtype, 1, _rows(x), _rows(d), _rows(x), m, n, k, memory, _room(dtype), add)
        wanted = x.T.astype(np.float64) @ d.astype(np.float64) + (before if add else 0)
        bound = product_bound(x.T, d, dtype, more=1) + roundings(m + 1, dtype) * np.abs(before)
        assert_within(_inside(memory, (k, n)), wanted, bound)


@each_dtype
@each_shape
def test_input_gradient(dtype: Any, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    d, w = draw(1, m, n, dtype=dtype), draw(2, k, n, dtype=dtype)
    dA = _around(nan(m, k, dtype=dtype))
    _inputs(dtype, 1, _rows(d), _rows(w), _rows(d), m, n, k, dA, _room(dtype))
    wanted = d.astype(np.float64) @ w.T.astype(np.float64)
    assert_within(_inside(dA, (m, k)), wanted, product_bound(d, w.T, dtype))


@each_dtype
def test_several_blocks_of_depth(dtype: Any) -> None:
    depth = 2 * KC[dtype] + 5
    test_outputs(dtype, (7, 20, depth), True)
    test_weight_gradient(dtype, (depth, 20, 30), True)
    test_weight_gradient(dtype, (depth, 20, PACKED_ROWS - 1), False)
    test_input_gradient(dtype, (7, depth, 20))
    test_outputs(dtype, (PACKED_SIZE + 3, 200, depth), True)
