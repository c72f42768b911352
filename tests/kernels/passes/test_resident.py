"""Steps of small nets: segments and chunks of samples, in rows or, in tiny nets, in columns."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine import placement
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from fastdnn.kernels.layers.linear import PACKED_SIZE
from tests.kernels import regimes
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    Array,
    draw,
    each_dtype,
    each_layout,
    run_python,
)
from tests.kernels.networks import data, make, rule
from tests.kernels.regimes import RESIDENT, assert_shared, place_of
from tests.kernels.steps import (
    DROPOUT_RATES,
    bits_of_training,
    check_dropout,
    check_passes,
    check_training,
    fill_memory,
)

pytestmark = pytest.mark.usefixtures("share_small_work")

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
each_regime = pytest.mark.parametrize("regime", RESIDENT)
# tiny's are narrower than any tile, have all activations but softmax, and end in it
TINY: dict[str, tuple[list[int], list[str]]] = {
    "one layer": ([2, 4], ["softmax"]),
    "one unit everywhere": ([1, 1, 1], ["tanh", "identity"]),
    "relu": ([3, 4, 3, 4], ["relu", "relu", "softmax"]),
    "from A": ([4, 3, 4, 1], ["tanh", "elu", "identity"]),
    "from Z": ([2, 4, 3, 4], ["gelu", "silu", "identity"]),
    "deep": ([4, 3, 4, 4, 2, 1], ["sigmoid", "softplus", "relu", "leaky_relu", "sigmoid"]),
}
each_tiny = pytest.mark.parametrize("net", TINY)
MSE = "mean_squared_error"


def wide(dtype: Any, **settings: Any) -> Engine:
    """A net wider than a tile, of every kind of layer."""
    nr = TILES[dtype].nr
    return make(
        [7, 2 * nr + 3, nr, nr + 1, 3], ["relu", "gelu", "softmax", "identity"], dtype=dtype,
        **settings,
    )  # fmt: skip


def tiny(net: str, dtype: Any, **settings: Any) -> Engine:
    sizes, names = TINY[net]
    return make(sizes, names, dtype=dtype, **settings)


# --------------------------------------------------------------------------------------- in rows
@each_dtype
@each_regime
@pytest.mark.parametrize("m", [1, 2, 9, 10, 37, 67])
@pytest.mark.parametrize("has_bias", [True, False])
def test_passes(
    dtype: Any, regime: str, m: int, has_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    net = wide(dtype, use_bias=[has_bias] * 4)
    if m >= 37:
        assert_shared(net, m, regime)
    assert place_of(net, m).regime == layout.RESIDENT
    check_passes(net, MSE, m)


@each_dtype
@each_regime
@pytest.mark.parametrize("clip", [None, "tensor", "global"])
@pytest.mark.parametrize("batch", [5, 30, 67])
def test_training(
    dtype: Any, regime: str, clip: str | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    loss = "sparse_categorical_crossentropy"
    net = make(
        [7, 37, 9, 3], ["relu", "silu", "softmax"], loss, dtype=dtype,
        l1=[0.02, 0.0, 0.03], l2=[0.0, 0.05, 0.01], use_bias=[True, False, True],
    )  # fmt: skip
    weights = np.random.default_rng(5).uniform(0, 1, 67).astype(dtype)
    order = np.random.default_rng(3).permutation(67)
    limit = np.inf if clip is None else 0.05
    check_training(
        net, "momentum", loss, batch=batch, weights=weights, order=order, clip=clip, limit=limit
    )


@each_dtype
@each_regime
@pytest.mark.parametrize("rates", DROPOUT_RATES, ids=str)
@pytest.mark.parametrize("names", [("relu", "gelu"), ("softmax", "relu")])
def test_dropout(
    dtype: Any,
    regime: str,
    rates: tuple[float, float, float],
    names: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the masks are those of the batch, wherever it is cut
    regimes.force(monkeypatch, regime)
    check_dropout(names, rates, dtype, regime)


@each_dtype
def test_depths_of_several_blocks(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    regimes.force(monkeypatch, "one segment")
    t = TILES[dtype]
    names = ["relu", "softmax", "identity"]
    check_passes(make([2 * t.kc + 1, 37, 3, 2], names, dtype=dtype), MSE, 5)  # forward
    check_passes(make([3, 37, t.kc + 1, 2], names, dtype=dtype), MSE, 5)
    check_passes(make([3, 37, 9, t.kc + 1], names, dtype=dtype), MSE, 5)  # dA
    check_passes(make([3, 37, 9, 2], names, dtype=dtype), MSE, 2 * t.kc + 1)  # dW
    check_passes(make([2, t.nc + 1, 2], ["relu", "identity"], dtype=dtype), MSE, 3)


@each_dtype
def test_segments_gradients_are_added_as_a_tree(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, "segments")
    monkeypatch.setattr(placement, "SMALL", placement.SMALL._replace(few_rows=8))
    net, m = wide(dtype), 64
    X, _, given_targets = data(net, m, MSE)
    segment = place_of(net, m).segment
    assert segment == 8  # of which there are 8
    net.differentiate(X, given_targets)
    got = net.gradient.copy()
    # each segment's gradient alone, with the batch's 1 / m (powers of two: nothing is rounded)
    regimes.force(monkeypatch, "one segment")
    alone, parts = wide(dtype), []
    weights = np.full(segment, segment / m, dtype)
    for begin in range(0, m, segment):
        part = slice(begin, begin + segment)
        alone.differentiate(X[part], Targets(given_targets.y[part]), weights=weights)
        parts.append(alone.gradient.copy())
    a, b, c, d = (left + right for left, right in zip(parts[::2], parts[1::2], strict=True))
    np.testing.assert_array_equal(got, (a + b) + (c + d))


# ----------------------------------------------------------------------------- layers of one unit
SINGLE = {
    "linear": ([37, 1], ["sigmoid"]),
    "regression": ([7, 37, 1], ["gelu", "identity"]),
    "inside": ([37, 1, 37, 1], ["relu", "softplus", "tanh"]),
}
each_single = pytest.mark.parametrize("name", SINGLE)


@each_dtype
@each_regime
@each_single
@pytest.mark.parametrize("m", [1, 2, 37, 67])
@pytest.mark.parametrize("has_bias", [True, False])
def test_single_units(
    dtype: Any, regime: str, name: str, m: int, has_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    sizes, names = SINGLE[name]
    net = make(sizes, names, dtype=dtype, use_bias=[has_bias] * len(names))
    assert place_of(net, m).regime == layout.RESIDENT
    check_passes(net, MSE, m)
    check_training(net, "adam", MSE, m=max(m, 2), batch=max(m // 2, 1))


@each_dtype
@each_regime
@each_single
@each_layout
@pytest.mark.parametrize("of", DTYPES, ids=str)
def test_single_units_of_x_of_any_layout_and_type(
    dtype: Any, regime: str, name: str, layout: str, of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # read where its rows are whole, else gathered
    regimes.force(monkeypatch, regime)
    sizes, names = SINGLE[name]
    X = draw(7, 67, sizes[0], dtype=np.float32)
    wanted, got = (make(sizes, names, dtype=dtype) for _ in range(2))
    given = data(wanted, 67, MSE)[2]
    wanted.train(X.astype(dtype), given, rule("descent", 4), batch=37, order=np.arange(67))
    got.train(LAYOUTS[layout](X.astype(of)), given, rule("descent", 4), batch=37)
    np.testing.assert_array_equal(got.parameters, wanted.parameters)


@each_dtype
def test_many_samples_of_a_larger_net(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # in chunks that repay packing A
    monkeypatch.setattr(placement, "RESIDENT_PARAMETERS", 0)
    wide = max(TILES[dtype].packed, PACKED_SIZE)
    sizes, m = [wide + 2, wide + 5, wide + 3, 3], placement.LARGE_SEGMENTS * (wide + 5) + 1
    names = ["relu", "tanh", "identity"]
    assert place_of(make(sizes, names, dtype=dtype), m).chunk >= PACKED_SIZE
    check_passes(make(sizes, names, dtype=dtype), MSE, m)
    check_training(make(sizes, names, dtype=dtype), "momentum", MSE, m=m + 2, batch=m, steps=3)


@each_dtype
@each_regime
@pytest.mark.parametrize("m", [2, 13, 67])
def test_samples_half_pages_apart(
    dtype: Any, regime: str, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where more than a panel of columns is made, their transpose is packed
    regimes.force(monkeypatch, regime)
    t = TILES[dtype]
    for n in (t.nr, t.nr + 1):
        check_passes(make([t.page // 2, n, 3], ["relu", "identity"], dtype=dtype), MSE, m)


@each_dtype
@pytest.mark.parametrize("more", [0, 1])
def test_samples_half_pages_apart_around_a_block_of_depth(
    dtype: Any, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, "one segment")
    t = TILES[dtype]
    m = t.kc + more
    memory = draw(7, m, t.page // 2, dtype=dtype)
    wanted, got = (make([61, t.nr + 1, 3], ["relu", "identity"], dtype=dtype) for _ in range(2))
    given = data(wanted, m, MSE)[2]
    for net, X in ((wanted, memory[:, 5:66].copy()), (got, memory[:, 5:66])):
        net.differentiate(X, given)
    np.testing.assert_array_equal(got.gradient, wanted.gradient)


# ------------------------------------------------------------------------------------- in columns
@each_dtype
@each_tiny
@pytest.mark.parametrize("regime", ["one segment", "chunks"])
@pytest.mark.parametrize("m", [1, 2, 7, 8, 16, 17, 67, 300])
@pytest.mark.parametrize("bias", ["all", "none", "some"])
def test_tiny_passes(
    dtype: Any, net: str, regime: str, m: int, bias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    layers = len(TINY[net][1])
    use_bias = [bias == "all" or (bias == "some" and l % 2 == 0) for l in range(layers)]
    made = tiny(net, dtype, use_bias=use_bias)
    assert place_of(made, m).regime == layout.TINY
    check_passes(made, MSE, m)


@each_dtype
@pytest.mark.parametrize("regime", ["one segment", "chunks"])
def test_two_vectors_wide(dtype: Any, regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    regimes.force(monkeypatch, regime)
    n = 2 * TILES[dtype].lanes
    for names in (["relu", "tanh", "identity"], ["gelu", "relu", "softmax"]):
        net = make([n, n, n - 1, n], names, dtype=dtype)
        for m in (2 * n - 2, 67):  # too few samples for dW by scalar products, and enough
            assert place_of(net, m).regime == layout.TINY
            check_passes(net, MSE, m)


@each_dtype
@each_tiny
@pytest.mark.parametrize("regime", ["one segment", "chunks"])
@pytest.mark.parametrize("clip", [None, "tensor", "global"])
@pytest.mark.parametrize("loss", [MSE, "sparse_categorical_crossentropy"])
def test_tiny_training(
    dtype: Any,
    net: str,
    regime: str,
    clip: str | None,
    loss: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regimes.force(monkeypatch, regime)
    sizes, names = TINY[net]
    if loss != MSE:
        sizes, names = [*sizes[:-1], 3], [*names[:-1], "softmax"]
    layers = len(names)
    made = make(sizes, names, loss, dtype=dtype, l1=[0.02] * layers, l2=[0.01] * layers)
    assert place_of(made, 16).regime == layout.TINY
    weights = np.random.default_rng(5).uniform(0, 1, 67).astype(dtype)
    order = np.random.default_rng(3).permutation(67)
    limit = np.inf if clip is None else 0.05
    check_training(
        made, "momentum", loss, batch=16, weights=weights, order=order, clip=clip, limit=limit
    )


@each_dtype
def test_tiny_depths_of_several_blocks(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    regimes.force(monkeypatch, "one segment")
    check_passes(tiny("from Z", dtype), MSE, 2 * TILES[dtype].kc + 1)
    check_passes(tiny("relu", dtype), MSE, TILES[dtype].nc + 1)


# --------------------------------------------------------------------------------- data and ranks
@each_dtype
@each_layout
@pytest.mark.parametrize("of", DTYPES, ids=str)
@pytest.mark.parametrize("regime", ["segments and chunks", "one segment"])
@pytest.mark.parametrize("hidden", ["softmax", "tanh"])  # resident, tiny
def test_x_of_any_layout_and_type(
    dtype: Any, layout: str, of: Any, regime: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # read where it lies, or gathered
    regimes.force(monkeypatch, regime)
    X = draw(7, 67, 4, dtype=np.float32)
    wanted, got = (make([4, 3, 2], [hidden, "softmax"], dtype=dtype) for _ in range(2))
    given_targets = data(wanted, 67, MSE)[2]
    run = partial(type(got).train, targets=given_targets, rule=rule("descent", 5), batch=30)
    run(wanted, X.astype(dtype), order=np.arange(67))
    run(got, LAYOUTS[layout](X.astype(of)))
    np.testing.assert_array_equal(got.parameters, wanted.parameters)


@each_dtype
@each_regime
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("batch", [5, 130])
def test_the_same_bits_for_any_number_of_ranks(
    dtype: Any,
    regime: str,
    dropout: float,
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    regimes.force(monkeypatch, regime)
    bits = set(bits_of_training(dtype, dropout, batch))
    request.getfixturevalue("one_thread")  # one rank does the work of all
    with fastdnn.num_threads(3):
        bits |= set(bits_of_training(dtype, dropout, batch, ranks=(3,)))
    assert len(bits) == 1


@each_dtype
@pytest.mark.parametrize("regime", ["one segment", "chunks"])
def test_the_same_bits_of_a_tiny_net(
    dtype: Any, regime: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    regimes.force(monkeypatch, regime)

    def trained(n: int) -> bytes:
        net = tiny("from Z", dtype, l2=[0.01] * 3)
        X, _, given_targets = data(net, 300, MSE)
        with fastdnn.num_threads(n):
            outcome = net.train(
                X, given_targets, rule("adam", 5, clip="tensor", limit=0.1), batch=130
            )
        return net.parameters.tobytes() + outcome.losses.tobytes()

    bits = {trained(n) for n in (1, 2, 3, 4)}
    request.getfixturevalue("one_thread")
    assert bits == {trained(3)}


@each_dtype
@each_regime
@pytest.mark.parametrize("hidden", ["softmax", "tanh"])  # resident, tiny
def test_what_stood_in_memory_before_does_not_matter(
    dtype: Any, regime: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    net = make([4, 3, 2], [hidden, "softmax"], "categorical_crossentropy", dtype=dtype)
    X, _, given_targets = data(net, 67, "categorical_crossentropy")

    def results() -> Array:
        value = net.differentiate(X, given_targets)
        return np.array([value, *net.gradient, *net.forward(X, batch=30).ravel()])

    wanted = results()
    fill_memory(net)
    np.testing.assert_array_equal(results(), wanted)


def test_nothing_is_read_behind_the_end_of_the_data() -> None:
    program = (
        "from tests.kernels.steps import read_up_to_the_end_of_memory\n"
        "from tests.kernels.regimes import RESIDENT\n"
        "for regime in RESIDENT: read_up_to_the_end_of_memory(regime)\n"
        "print('alive')"
    )
    assert run_python(program).strip() == "alive"
