"""What follows a product, on a region of C: nothing outside it changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import boolean, float64, int64

from fastdnn.kernels.blas.operands import Region
from fastdnn.kernels.compiler.jit import named, vector
from fastdnn.kernels.elementwise.activations import ACTIVATIONS
from fastdnn.kernels.elementwise.dropout import dropout_key, threshold_of
from fastdnn.kernels.layers.epilogue import BACKWARD, FORWARD, PLAIN, Epilogue, Mask, finish
from fastdnn.kernels.llvm.simd import address
from tests import naive
from tests.kernels import masks
from tests.kernels.common import Array, compiled, draw, each_dtype, nan, roundings

M, N = 6, 11
REGIONS = [(0, M, 0, N), (2, 5, 0, N), (1, 4, 3, 9), (3, 3, 2, 5)]
each_region = pytest.mark.parametrize("region", REGIONS, ids=str)
SEED, STEP, LAYER, FIRST = 3, 5, 2, 40  # of the masks; and the batch's row that is C's first


@compiled(
    lambda t: (
        *(int64, int64, boolean, vector(t), vector(t), vector(t), int64, float64, int64),
        named(Region, *[int64] * 4),
    )
)
def _finish(  # type: ignore[no-untyped-def]
    rank, n_ranks, team, mode, code, rectifies, c, s, a, level, scale, first, region
):
    key = dropout_key(SEED, STEP, LAYER)
    mask = Mask(level, first, key)
    after = Epilogue(mode, code, rectifies, False, address(s, 0), address(a, 0), mask, scale)
    finish(after, address(c, 0), c.size // M, region)


def inside(region: tuple[int, ...]) -> tuple[slice, slice]:
    top, bottom, left, right = region
    return slice(top, bottom), slice(left, right)


def kept(rate: float) -> Array:
    """Which elements of C a mask of the batch keeps."""
    mask = masks.kept(SEED, STEP, LAYER, (FIRST + M) * N, rate)
    return mask.reshape(-1, N)[FIRST:]


@each_dtype
@each_region
@pytest.mark.parametrize("rate", [0.0, 0.25])
@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_forward(dtype: Any, region: tuple[int, ...], rate: float, name: str) -> None:
    z, at = draw(1, M, N, dtype=dtype), inside(region)
    c, s, a = z.copy(), nan(M, N, dtype=dtype), nan(M, N, dtype=dtype)
    g = ACTIVATIONS[name]
    _finish(
        dtype, 1, FORWARD, g.code, False, c.ravel(), s.ravel(), a.ravel(), threshold_of(rate), 1.0,
        FIRST, Region(*region),
    )  # fmt: skip
    wanted = naive.ACTIVATIONS[name][0](z.astype(np.float64))
    near = {"rtol": roundings(16, dtype), "atol": roundings(16, dtype)}
    np.testing.assert_array_equal(c, z)
    np.testing.assert_allclose(s[at], wanted[at], **near)
    if rate:
        np.testing.assert_allclose(a[at], (wanted * kept(rate) / (1 - rate))[at], **near)
    outside = np.ones((M, N), bool)
    outside[at] = False
    assert np.isnan(s[outside]).all()
    assert np.isnan(a[outside]).all()
    assert rate or np.isnan(a).all()


@each_dtype
def test_what_is_rectified_is_dropped_alone(dtype: Any) -> None:
    z, a = np.abs(draw(1, M, N, dtype=dtype)), nan(M, N, dtype=dtype)
    c, code = z.copy(), ACTIVATIONS["relu"].code
    _finish(
        dtype, 1, FORWARD, code, True, c.ravel(), c.ravel(), a.ravel(), threshold_of(0.5), 1.0,
        FIRST, Region(0, M, 0, N),
    )  # fmt: skip
    np.testing.assert_array_equal(c, z)
    np.testing.assert_array_equal(a, 2 * z * kept(0.5))


@each_dtype
@each_region
@pytest.mark.parametrize("rate", [0.0, 0.25])
@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_backward(dtype: Any, region: tuple[int, ...], rate: float, name: str) -> None:
    g, at = ACTIVATIONS[name], inside(region)
    dA, z = draw(2, M, N, dtype=dtype), draw(3, M, N, dtype=dtype)
    s = z if g.from_z else np.tanh(z)
    d = dA.copy()
    _finish(
        dtype, 1, BACKWARD, g.code, False, d.ravel(), s.ravel(), s.ravel(), threshold_of(rate), 1.0,
        FIRST, Region(*region),
    )  # fmt: skip
    dropped = dA.astype(np.float64) * (kept(rate) / (1 - rate) if rate else 1)
    saved = z.astype(np.float64)
    wanted = dA.astype(np.float64)
    wanted[at] = naive.ACTIVATIONS[name][1](dropped, saved)[at]
    near = {"rtol": roundings(64, dtype), "atol": roundings(64, dtype)}
    np.testing.assert_allclose(d, wanted, **near)


@each_dtype
@each_region
def test_a_plain_product_is_scaled(dtype: Any, region: tuple[int, ...]) -> None:
    c = draw(1, M, N, dtype=dtype)
    for scale in (1.0, 0.25):
        got, wanted = c.copy(), c.copy()
        wanted[inside(region)] *= dtype.type(scale)
        none = np.zeros(0, dtype)
        _finish(dtype, 1, PLAIN, -1, False, got.ravel(), none, none, 0, scale, 0, Region(*region))
        np.testing.assert_array_equal(got, wanted)


@each_dtype
@pytest.mark.parametrize("mode", [FORWARD, BACKWARD])
def test_no_activation_changes_nothing(dtype: Any, mode: int) -> None:
    c, none = draw(1, M, N, dtype=dtype), np.zeros(0, dtype)
    got = c.copy()
    _finish(dtype, 1, mode, -1, False, got.ravel(), none, none, 0, 1.0, 0, Region(0, M, 0, N))
    np.testing.assert_array_equal(got, c)
