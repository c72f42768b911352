"""Steps whose products are shared among the ranks, of nets that need not be large for that."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.layers import gemm, layout
from fastdnn.kernels.layers.sharing import TURN_WORK
from fastdnn.kernels.passes.blocked import BLOCK_COLUMNS, BLOCK_SIZE
from fastdnn.kernels.passes.forward import LOSS_ROWS
from tests.kernels import regimes
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    RANKS,
    Array,
    draw,
    each_dtype,
    each_layout,
    run_python,
)
from tests.kernels.networks import assert_gradient, data, gradients, make, rule
from tests.kernels.regimes import assert_shared, place_of
from tests.kernels.rules import RULES
from tests.kernels.steps import (
    DROPOUT_RATES,
    bits_of_training,
    check_dropout,
    check_passes,
    check_training,
    fill_memory,
)

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}


@pytest.fixture(autouse=True, params=["blocked", "cut"])
def regime(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, share_small_work: None
) -> str:
    regimes.force(monkeypatch, request.param)
    name: str = request.param
    return name


@each_dtype
@pytest.mark.parametrize("m", [1, 2, 11, 12, 13, LOSS_ROWS - 1, LOSS_ROWS, LOSS_ROWS + 1, 67])
@pytest.mark.parametrize("has_bias", [True, False])
def test_passes(dtype: Any, m: int, has_bias: bool, regime: str) -> None:
    # around the number of rows from which B is packed, and of rows in a part of the loss
    assert gemm.DIRECT_ROWS == 12
    t = TILES[dtype]
    net = make(
        [7, 2 * t.nr + 3, t.nr, t.nr + 1, 3], ["relu", "gelu", "softmax", "identity"],
        dtype=dtype, use_bias=[has_bias] * 4,
    )  # fmt: skip
    assert_shared(net, m, regime)
    check_passes(net, "mean_squared_error", m)


@each_dtype
@pytest.mark.parametrize("m", [1, 2, 3, 13, 67])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ([37, 1], ["sigmoid"]),
        ([7, 37, 1], ["gelu", "identity"]),
        ([7, 1, 37, 1], ["relu", "softmax", "tanh"]),
        ([1, 1, 1], ["gelu", "identity"]),
    ],
    ids=str,
)
def test_layers_of_one_unit(
    dtype: Any, sizes: list[int], names: list[str], m: int, has_bias: bool
) -> None:
    for n in RANKS:
        net = make(sizes, names, dtype=dtype, use_bias=[has_bias] * len(names))
        with fastdnn.num_threads(n):
            check_passes(net, "mean_squared_error", m)
            check_training(net, "adam", "mean_squared_error", m=67, batch=m)


@each_dtype
def test_several_blocks_in_each_direction(dtype: Any) -> None:
    t = TILES[dtype]
    names = ["relu", "softmax", "identity"]
    for sizes, m in (
        ([t.kc + 1, 37, 3, 2], 5),
        ([3, t.kc + 1, 37, 2], 13),
        ([3, t.nr + 1, t.mr + 1, 2], t.kc + 1),
        ([5, t.packed + 1, 37, 2], t.mc + 1),
    ):
        net = make(sizes, names, dtype=dtype)
        check_passes(net, "mean_squared_error", m)


@pytest.mark.parametrize("m", [3, 13])
@pytest.mark.parametrize("name", ["relu", "softmax"])
def test_layers_wider_than_a_block_of_columns(m: int, name: str) -> None:
    check_passes(make([2, TILES[DTYPES[1]].nc + 1, 2], [name, "identity"]), "mean_squared_error", m)


@each_dtype
@pytest.mark.parametrize("clip", [None, "tensor", "global"])
@pytest.mark.parametrize("batch", [5, 16, 67])
def test_training(dtype: Any, clip: str | None, batch: int) -> None:
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
@pytest.mark.parametrize("rates", DROPOUT_RATES, ids=str)
@pytest.mark.parametrize("names", [("relu", "gelu"), ("softmax", "relu")])
def test_dropout(dtype: Any, rates: tuple[float, float, float], names: tuple[str, str]) -> None:
    check_dropout(names, rates, dtype)


# ------------------------------------------------------------------- dW and what it changes in one
SHAPES = [
    ([7, 37, 9, 3], 5),
    ([3, 2 * TILES[DTYPES[0]].nr + 1, 2, 1], 1),
    ([5 * TILES[DTYPES[0]].mr, 3 * TILES[DTYPES[0]].nr, 7], 1),
    ([TILES[DTYPES[0]].mc * 3 + 1, TILES[DTYPES[0]].packed + 1, 2], 13),
    ([5, BLOCK_COLUMNS + 3, 2], 3),
    ([5, 37, 1, 3], 13),
    ([2, BLOCK_SIZE + 3, 1, 2], 3),
]


def trained(
    sizes: list[int], dtype: Any, name: str, batch: int, clip: str | None, n: int, samples: int = 67
) -> Array:
    loss = "sparse_categorical_crossentropy"
    names = [*["relu", "silu", "tanh"][: len(sizes) - 2], "softmax"]
    bias = [True, False, True][: len(names)]
    net = make(sizes, names, loss, dtype=dtype, use_bias=bias)
    X, _, given_targets = data(net, samples, loss)
    fill_memory(net)
    with fastdnn.num_threads(n):
        outcome = net.train(X, given_targets, rule(name, 5, clip=clip), batch=batch)
    assert (outcome.done, outcome.reason) == (5, layout.FINITE)
    return np.concatenate([net.parameters, net.slots])


@each_dtype
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("sizes", "batch"), SHAPES, ids=str)
def test_at_once_it_is_the_same_step(dtype: Any, name: str, sizes: list[int], batch: int) -> None:
    # clipping needs the whole gradient first; without a limit it changes none
    wanted = trained(sizes, dtype, name, batch, "global", 1)
    for n in RANKS:
        np.testing.assert_array_equal(trained(sizes, dtype, name, batch, None, n), wanted)


# ----------------------------------------------------------------------- work that others take over
@each_dtype
@pytest.mark.parametrize("clip", [None, "global"])
@pytest.mark.parametrize(
    ("sizes", "batch"),
    [([860, 844, 840, 3], 190), ([576, 580, 570, 2], 397), ([33, 40_000, 2], 100)],
    ids=str,
)
def test_it_is_the_same_step_whoever_makes_it(
    dtype: Any, sizes: list[int], batch: int, clip: str | None
) -> None:
    largest = max(a * b for a, b in pairwise(sizes))
    assert largest * batch >= max(RANKS) * TURN_WORK  # so ranks take over
    assert (batch <= TILES[dtype].kc) == (batch < 200)
    wanted = trained(sizes, dtype, "adam", batch, clip, 1, samples=batch)
    assert np.isfinite(wanted).all()
    for n in RANKS:
        got = trained(sizes, dtype, "adam", batch, clip, n, samples=batch)
        np.testing.assert_array_equal(got, wanted)


@each_dtype
@pytest.mark.parametrize("more", [0, 1])
def test_batches_around_one_block(dtype: Any, more: int) -> None:
    batch = TILES[dtype].kc + more
    net = make([7, 37, 9, 3], ["relu", "silu", "identity"], dtype=dtype)
    assert place_of(net, batch).deferred == (more == 0)
    check_training(net, "adam", "mean_squared_error", m=batch, batch=batch, steps=2)


@each_dtype
@pytest.mark.parametrize("n", [1, 3])
def test_a_gradient_that_is_not_finite_changes_no_layer(dtype: Any, n: int) -> None:
    # dW_1 alone is infinite: the layers above have finite gradients, known before
    net = make([2, 3, 3, 1], ["identity"] * 3, dtype=dtype)
    net.weights(1)[:], net.weights(2)[:], net.weights(3)[:] = 0, 1, 1
    before = net.parameters.copy()
    X, y = np.ones((16, 2), dtype), np.full((16, 1), -1000, dtype)
    X[3, 0] = float(np.finfo(dtype).max) / 2
    with fastdnn.num_threads(n):
        outcome = net.train(X, Targets(y), rule("descent", 3), batch=16)
        assert (outcome.done, outcome.reason) == (0, layout.GRADIENT_NOT_FINITE)
    np.testing.assert_array_equal(net.parameters, before)


@each_dtype
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("infinite", "l2"), [("db", 0.0), ("dW of one unit", 0.0), ("dW of one unit", 1e-9)]
)
def test_a_gradient_that_is_infinite_in_one_tensor_changes_nothing(
    dtype: Any, n: int, infinite: str, l2: float
) -> None:
    net = make([2, 2, 1], ["identity"] * 2, dtype=dtype, l2=[l2] * 2)
    net.parameters[:] = 0
    big, bias = float(np.finfo(dtype).max), net.bias(1)
    if infinite == "db":  # each dZ_1 is a quarter of the largest number; X is too small for dW_1
        net.weights(2)[:] = big / 500  # so a sample's |dZ_1| add up to a finite number
    else:  # dW_2 = dZ_2 A_1
        assert bias is not None
        bias[:] = big / 34
    before = net.parameters.copy()
    X, y = np.full((16, 2), 1e-6, dtype), np.full((16, 1), -1000, dtype)
    with fastdnn.num_threads(n):
        outcome = net.train(X, Targets(y), rule("descent", 3), batch=16)
    assert (outcome.done, outcome.reason) == (0, layout.GRADIENT_NOT_FINITE)
    np.testing.assert_array_equal(net.parameters, before)


@each_dtype
def test_large_numbers_with_a_finite_gradient_are_trained_on(dtype: Any) -> None:
    # |dW| is a tenth of the largest number, the bound on it more than that number
    large = float(np.finfo(dtype).max) / 20
    got, wanted = (make([2, 1], ["identity"], dtype=dtype) for _ in range(2))
    X, y = np.full((16, 2), large, dtype), np.ones((16, 1), dtype)
    for net, clip in ((got, None), (wanted, "global")):
        net.parameters[:] = 0
        step = rule("descent", 1, clip=clip)
        step.coefficients[:] /= np.sqrt(large)  # or the rate would be denormal
        assert net.train(X, Targets(y), step, batch=16).reason == layout.FINITE
    np.testing.assert_array_equal(got.parameters, wanted.parameters)
    assert got.parameters.all()


@each_dtype
@each_layout
@pytest.mark.parametrize("of", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 5, 67])
def test_x_of_any_layout_and_type(dtype: Any, layout: str, of: Any, batch: int) -> None:
    # read where it lies, or gathered
    X = draw(7, 67, 7, dtype=np.float32)
    wanted, got = (make([7, 9, 3], ["relu", "softmax"], dtype=dtype) for _ in range(2))
    given_targets = data(wanted, 67, "mean_squared_error")[2]
    run = partial(type(got).train, targets=given_targets, rule=rule("descent", 5), batch=batch)
    run(wanted, X.astype(dtype), order=np.arange(67))
    run(got, LAYOUTS[layout](X.astype(of)))
    np.testing.assert_array_equal(got.parameters, wanted.parameters)


@each_dtype
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_full_batch_stays_and_is_right_in_every_step(dtype: Any, shuffled: bool) -> None:
    order = np.random.default_rng(3).permutation(67) if shuffled else None
    net = make([7, 9, 3], ["tanh", "identity"], dtype=dtype)
    check_training(net, "adam", "mean_squared_error", batch=67, order=order)


@each_dtype
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("batch", [5, 130])
def test_the_same_bits_for_any_number_of_ranks(
    dtype: Any, dropout: float, batch: int, request: pytest.FixtureRequest
) -> None:
    bits = set(bits_of_training(dtype, dropout, batch))
    request.getfixturevalue("one_thread")  # one rank does the work of all
    with fastdnn.num_threads(3):
        bits |= set(bits_of_training(dtype, dropout, batch, ranks=(3,)))
    assert len(bits) == 1


@each_dtype
@pytest.mark.parametrize("m", [5, 67])
def test_what_stood_in_memory_before_does_not_matter(dtype: Any, m: int) -> None:
    net = make([7, 37, 3], ["gelu", "softmax"], "categorical_crossentropy", dtype=dtype)
    X, Y, given_targets = data(net, m, "categorical_crossentropy")
    net.differentiate(X, given_targets)
    wanted = net.gradient.copy()
    fill_memory(net)
    net.differentiate(X, given_targets)
    np.testing.assert_array_equal(net.gradient, wanted)
    _, pairs = gradients(net, "categorical_crossentropy", X, Y)
    assert_gradient(net, pairs)


def test_nothing_is_read_behind_the_end_of_the_data(regime: str) -> None:
    program = (
        "from tests.kernels.steps import read_up_to_the_end_of_memory\n"
        f"read_up_to_the_end_of_memory({regime!r}); print('alive')"
    )
    assert run_python(program).strip() == "alive"
