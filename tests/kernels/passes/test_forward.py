"""The forward pass among ranks that share a layer's inputs: each makes a part of all of Z."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from tests.kernels import regimes
from tests.kernels.common import DTYPES, Array, each_dtype
from tests.kernels.networks import data, make, rule
from tests.kernels.regimes import place_of
from tests.kernels.steps import check_passes, fill_memory

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
LOSS = "categorical_crossentropy"


@pytest.fixture(autouse=True)
def cut(monkeypatch: pytest.MonkeyPatch, share_small_work: None) -> None:
    regimes.force(monkeypatch, "cut")


def deep(dtype: Any, **settings: Any) -> Engine:
    """A network with four and two blocks of inputs, which do not end where the layers do."""
    sizes = [3 * TILES[dtype].kc + 5, 37, 130, 3]
    return make(sizes, ["relu", "gelu", "softmax"], LOSS, dtype=dtype, **settings)


def trained(net: Engine, n_ranks: int, batch: int, order: Array) -> bytes:
    """The bits of all that some steps leave, and of a forward pass."""
    X, _, given = data(net, 40, LOSS)
    net.slots[:] = 0
    fill_memory(net)
    with fastdnn.num_threads(n_ranks):
        outcome = net.train(X, given, rule("adam", 4), batch=batch, order=order)
        A = net.forward(X, batch=batch)
    assert outcome.done == 4
    return b"".join(x.tobytes() for x in (net.parameters, net.slots, outcome.losses, A))


@each_dtype
@pytest.mark.parametrize("m", [1, 5, 13, 40])
@pytest.mark.parametrize("has_bias", [True, False])
def test_parts_add_up_to_z(dtype: Any, m: int, has_bias: bool) -> None:
    net = deep(dtype, use_bias=[has_bias] * 3)
    depths = place_of(net, m).table[1:, layout.DEPTH]
    assert (-(-net.layers[0].n_prev // depths[0]), -(-37 // depths[1])) == (4, 2)
    for n in (1, 2, 4):
        with fastdnn.num_threads(n):
            check_passes(net, LOSS, m)


@each_dtype
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("batch", [1, 13, 40])
def test_the_same_bits_for_any_number_of_groups(
    dtype: Any, dropout: float, shuffled: bool, batch: int
) -> None:
    order = np.random.default_rng(3).permutation(40) if shuffled else np.empty(0, np.int64)
    bits = set()
    # 1 to 4 groups of 1 to 3 ranks, and ranks that no block is left for
    for n in (1, 2, 3, 4, 6, 8):
        net = deep(dtype, input_dropout=dropout, dropout=[dropout, 0.0, 0.0])
        bits.add(trained(net, n, batch, order))
    assert len(bits) == 1


@each_dtype
def test_inputs_that_are_not_finite_reach_z(dtype: Any) -> None:
    net = make([37, 3], ["identity"], dtype=dtype)
    X = np.ones((5, 37), dtype)
    X[1, 36], X[2, 0] = np.nan, np.inf
    with fastdnn.num_threads(2):
        Z = net.forward(X, batch=5)
    np.testing.assert_array_equal(np.isfinite(Z).all(axis=1), [True, False, False, True, True])
