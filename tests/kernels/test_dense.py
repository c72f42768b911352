"""One layer on plain arrays: forward and backward against naive, all layouts, all errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdnn
from fastdnn.kernels import (
    ACTIVATIONS,
    activation_forward,
    bias_gradient,
    linear_backward,
    linear_forward,
)
from fastdnn.kernels.cpu import targets
from tests import naive
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    Array,
    activation_bound,
    assert_within,
    derivative_bound,
    draw,
    each_dtype,
    each_layout,
    for_each_count,
    nan,
    product_bound,
    roundings,
)

pytestmark = pytest.mark.usefixtures("awake_threads")

each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}


def sizes(dtype: Any) -> list[tuple[int, int, int]]:
    """n, n_prev and m: nothing, one, around a tile, primes, several blocks of depth."""
    t = TILES[dtype]
    return [
        (0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 3, 200), (t.nr - 1, 5, t.mr - 1),
        (t.nr, 4, t.mr), (t.nr + 1, 5, t.mr + 1), (13, 37, 41), (t.nr + 3, t.kc + 1, 17),
        (7, 2 * t.kc + 5, t.mr + 1), (5, 3, 2 * t.kc + 1), (67, 101, 131),
    ]  # fmt: skip


SIZES = [
    pytest.param(dtype, size, id=f"{dtype}-{'x'.join(map(str, size))}")
    for dtype in DTYPES
    for size in sizes(dtype)
]


def layer(n: int, n_prev: int, m: int, dtype: Any) -> tuple[Array, Array, Array]:
    """A_prev, W and b with Z of about unit size."""
    W = draw(2, n, n_prev) / max(n_prev, 1) ** 0.5
    return draw(1, n_prev, m, dtype=dtype), W.astype(dtype), draw(3, n, 1, dtype=dtype)


def double(x: Array) -> Array:
    return x.astype(np.float64)


def check_forward(A_prev: Array, W: Array, b: Array, activation: str, **options: Any) -> None:
    """Z and A against naive."""
    dtype = W.dtype
    Z = naive.linear_forward(double(A_prev), double(W), double(b))
    bound = product_bound(W, A_prev, dtype, more=1) + roundings(1, dtype) * np.abs(b)
    A = linear_forward(A_prev, W, b, activation, **options)
    assert A.dtype == dtype
    wanted = naive.ACTIVATIONS[activation][0](Z) if Z.size else Z
    assert_within(A, wanted, activation_bound(activation, wanted, bound, dtype))
    if "Z" in options:
        assert_within(options["Z"], Z, bound)


def check_backward(
    dA: Array, A_prev: Array, W: Array, activation: str, A: Array | None, Z: Array | None
) -> None:
    """dA_prev, dW and db against naive, dZ's own error taken through both products."""
    dtype, m = W.dtype, A_prev.shape[1]
    dZ, error = double(dA), np.zeros(dA.shape)
    if activation != "identity" and dA.size:
        assert Z is not None
        error = derivative_bound(activation, dZ, Z.astype(np.float64), dtype)
        dZ = naive.ACTIVATIONS[activation][1](dZ, Z.astype(np.float64))
    got = linear_backward(dA, A_prev, W, activation, A=A, Z=Z)
    assert all(x is not None and x.dtype == dtype for x in got)
    if m == 0:  # sums over no samples
        assert not any(np.any(x) for x in got)
        return
    wanted = naive.linear_backward(dZ, double(A_prev), double(W))
    ones = np.ones((m, 1))
    bounds = (
        product_bound(W.T, dZ, dtype) + np.abs(W.T) @ error,
        (product_bound(dZ, A_prev.T, dtype, more=2) + error @ np.abs(A_prev.T)) / m,
        (product_bound(dZ, ones, dtype, more=2) + error @ ones) / m,
    )
    for x, y, bound in zip(got, wanted, bounds, strict=True):
        assert x is not None
        assert_within(x, y, 1.01 * bound)  # the bound's own terms of second order


# ---------------------------------------------------------------------------------------- forward
@pytest.mark.parametrize(("dtype", "size"), SIZES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "softmax"])
def test_forward_sizes(dtype: Any, size: tuple[int, int, int], activation: str) -> None:
    check_forward(*layer(*size, dtype), activation)


@each_dtype
@each_activation
@pytest.mark.parametrize("n_threads", [1, 3])
def test_forward_activations(dtype: Any, activation: str, n_threads: int) -> None:
    n, m = 2 * TILES[dtype].nr + 3, 131
    Z = nan(n, m, dtype=dtype)
    with fastdnn.num_threads(n_threads):
        check_forward(*layer(n, 67, m, dtype), activation, Z=Z)


@each_dtype
@each_layout
@pytest.mark.parametrize("which", [0, 1, 2], ids=["A_prev", "W", "b"])
def test_forward_layouts(dtype: Any, layout: str, which: int) -> None:
    arrays = layer(37, 41, 43, dtype)
    wanted = linear_forward(*arrays, "tanh")
    A_prev, W, b = (LAYOUTS[layout](x) if i == which else x for i, x in enumerate(arrays))
    np.testing.assert_array_equal(linear_forward(A_prev, W, b, "tanh"), wanted)


@each_dtype
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
def test_out_and_Z_of_any_layout_are_overwritten(dtype: Any, layout: str) -> None:
    arrays = layer(37, 41, 43, dtype)
    out, Z = LAYOUTS[layout](nan(37, 43, dtype=dtype)), LAYOUTS[layout](nan(37, 43, dtype=dtype))
    assert linear_forward(*arrays, "gelu", out=out, Z=Z) is out
    np.testing.assert_array_equal(out, linear_forward(*arrays, "gelu"))
    np.testing.assert_array_equal(Z, linear_forward(*arrays))


@each_dtype
def test_neighbours_of_out_stay(dtype: Any) -> None:
    big = nan(50, 60, dtype=dtype)
    linear_forward(*layer(37, 41, 43, dtype), "relu", out=big[5:42, 7:50])
    inside = np.zeros(big.shape, bool)
    inside[5:42, 7:50] = True
    np.testing.assert_array_equal(np.isnan(big), ~inside)


def test_out_may_be_an_input() -> None:
    A_prev, W, b = layer(43, 43, 43, np.dtype(np.float64))
    wanted = linear_forward(A_prev, W, b, "relu")
    linear_forward(A_prev, W, b, "relu", out=A_prev)
    np.testing.assert_array_equal(A_prev, wanted)


def test_inputs_stay_as_they_are() -> None:
    arrays = layer(37, 41, 43, np.dtype(np.float64))
    dA = draw(4, 37, 43)
    copies = [x.copy() for x in (*arrays, dA)]
    A = linear_forward(*arrays, "tanh")
    before = A.copy()
    linear_backward(dA, *arrays[:2], "tanh", A=A)
    activation_forward(A, "softmax")
    for x, copy in zip((*arrays, dA, A), (*copies, before), strict=True):
        np.testing.assert_array_equal(x, copy)


@each_dtype
def test_broadcast_inputs(dtype: Any) -> None:
    A_prev, W, b = layer(37, 41, 43, dtype)
    some = np.broadcast_to(A_prev[:, :1], A_prev.shape), np.broadcast_to(W[:1], W.shape)
    bias = np.broadcast_to(b[:1], b.shape)
    np.testing.assert_array_equal(
        linear_forward(*some, bias, "tanh"),
        linear_forward(some[0].copy(), some[1].copy(), bias.copy(), "tanh"),
    )


@each_dtype
def test_a_bias_of_either_shape_or_none(dtype: Any) -> None:
    A_prev, W, b = layer(37, 41, 43, dtype)
    wanted = linear_forward(A_prev, W, b)
    np.testing.assert_array_equal(linear_forward(A_prev, W, b[:, 0]), wanted)
    np.testing.assert_array_equal(linear_forward(A_prev, W, b.ravel()[::-1].copy()[::-1]), wanted)
    np.testing.assert_array_equal(
        linear_forward(A_prev, W, None), linear_forward(A_prev, W, np.zeros(37))
    )


def test_float32_only_where_A_and_W_are() -> None:
    A_prev, W, b = layer(3, 4, 5, np.dtype(np.float32))
    assert linear_forward(A_prev, W, b.astype(np.float64)).dtype == np.float32
    wide = double(A_prev), double(W), double(b)
    check_forward(*wide, "tanh")
    for A, V in ((wide[0], W), (A_prev, wide[1])):
        got = linear_forward(A, V, b, "tanh")
        np.testing.assert_array_equal(got, linear_forward(*wide, "tanh"))
    whole = linear_forward([[1, 2]], [[3], [4]], [5, 6])
    assert whole.dtype == np.float64
    np.testing.assert_array_equal(whole, [[8, 11], [10, 14]])


@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 70), st.sampled_from(list(LAYOUTS)))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_forward_of_any_shape(n: int, n_prev: int, m: int, layout: str) -> None:
    for dtype in DTYPES:
        A_prev, W, b = layer(n, n_prev, m, dtype)
        check_forward(LAYOUTS[layout](A_prev), LAYOUTS[layout](W), b, "sigmoid")


@each_dtype
@pytest.mark.parametrize("activation", ["gelu", "softmax"])
def test_the_same_bits_for_any_number_of_threads(dtype: Any, activation: str) -> None:
    A_prev, W, b = layer(67, TILES[dtype].kc + 1, 131, dtype)
    dA = draw(4, 67, 131, dtype=dtype)
    Z = linear_forward(A_prev, W, b)
    A = linear_forward(A_prev, W, b, activation)

    def all_results() -> Array:
        dA_prev, dW, db = linear_backward(dA, A_prev, W, activation, A=A, Z=Z)
        assert dA_prev is not None
        results = linear_forward(A_prev, W, b, activation), dA_prev, dW, db
        return np.concatenate([x.ravel() for x in results])

    assert len(set(for_each_count(all_results))) == 1


# --------------------------------------------------------------------------------------- backward
@pytest.mark.parametrize(("dtype", "size"), SIZES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "softmax"])
def test_backward_sizes(dtype: Any, size: tuple[int, int, int], activation: str) -> None:
    n, n_prev, m = size
    A_prev, W, b = layer(n, n_prev, m, dtype)
    Z = linear_forward(A_prev, W, b)
    A = linear_forward(A_prev, W, b, activation)
    check_backward(draw(4, n, m, dtype=dtype), A_prev, W, activation, A, Z)


@each_dtype
@each_activation
@pytest.mark.parametrize("n_threads", [1, 3])
def test_backward_activations(dtype: Any, activation: str, n_threads: int) -> None:
    A_prev, W, b = layer(2 * TILES[dtype].nr + 3, 67, 131, dtype)
    Z = linear_forward(A_prev, W, b)
    A = linear_forward(A_prev, W, b, activation)
    with fastdnn.num_threads(n_threads):
        check_backward(draw(4, *A.shape, dtype=dtype), A_prev, W, activation, A, Z)


@each_dtype
@each_layout
@pytest.mark.parametrize("which", range(4), ids=["dA", "A_prev", "W", "A"])
def test_backward_layouts(dtype: Any, layout: str, which: int) -> None:
    A_prev, W, b = layer(37, 41, 43, dtype)
    A = linear_forward(A_prev, W, b, "tanh")
    arrays = draw(4, 37, 43, dtype=dtype), A_prev, W, A
    wanted = linear_backward(*arrays[:3], "tanh", A=A)
    dA, A_prev, W, A = (LAYOUTS[layout](x) if i == which else x for i, x in enumerate(arrays))
    for x, y in zip(linear_backward(dA, A_prev, W, "tanh", A=A), wanted, strict=True):
        np.testing.assert_array_equal(x, y)


@each_dtype
def test_broadcast_derivatives(dtype: Any) -> None:
    A_prev, W, _ = layer(37, 41, 43, dtype)
    dA = np.broadcast_to(np.array(0.5, dtype), (37, 43))
    for x, y in zip(
        linear_backward(dA, A_prev, W), linear_backward(dA.copy(), A_prev, W), strict=True
    ):
        np.testing.assert_array_equal(x, y)


def test_a_first_layer_needs_no_derivative_of_its_input() -> None:
    A_prev, W, _ = layer(37, 41, 43, np.dtype(np.float64))
    dA = draw(4, 37, 43)
    nothing, *some = linear_backward(dA, A_prev, W, need_dA_prev=False)
    assert nothing is None
    for x, y in zip(some, linear_backward(dA, A_prev, W)[1:], strict=True):
        np.testing.assert_array_equal(x, y)


def test_backward_is_in_float64_where_any_input_is() -> None:
    A_prev, W, _ = layer(3, 4, 5, np.dtype(np.float32))
    dA = draw(4, 3, 5)
    assert all(x is not None and x.dtype == np.float64 for x in linear_backward(dA, A_prev, W))


@each_dtype
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 200])
@pytest.mark.parametrize("m", [1, 2, 37, 1000])
@pytest.mark.parametrize("layout", ["C", "Fortran", "all backwards"])
def test_bias_gradient(dtype: Any, n: int, m: int, layout: str) -> None:
    dZ = LAYOUTS[layout](draw(5, n, m, dtype=dtype))
    bound = product_bound(dZ, np.ones((m, 1)), dtype, more=2) / m
    assert_within(bias_gradient(dZ), naive.bias_gradient(dZ.astype(np.float64)), bound)


def test_bias_gradient_of_no_samples_is_0() -> None:
    np.testing.assert_array_equal(bias_gradient(np.ones((3, 0))), np.zeros((3, 1)))
