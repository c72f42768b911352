"""A network's layout, and single passes of the step: forward, evaluate, differentiate."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdnn
from fastdnn.kernels import ACTIVATIONS, LOSSES
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.parameters import SMALLEST_CHUNK, Layer
from fastdnn.kernels.passes import step
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    Array,
    assert_near,
    draw,
    each_dtype,
    each_layout,
    for_each_count,
)
from tests.kernels.networks import assert_outputs, data, evaluated, gradients, make, rule
from tests.kernels.steps import check_passes, check_training, fill_memory

pytestmark = pytest.mark.usefixtures("share_small_work", "in_every_regime")

DOUBLE = np.dtype(np.float64)
TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
LOSS_OUTPUTS = [
    ("mean_squared_error", "identity"),
    ("mean_squared_error", "tanh"),
    ("mean_absolute_error", "identity"),
    ("huber", "gelu"),
    ("log_cosh", "identity"),
    ("quantile", "identity"),
    ("poisson", "exponential"),
    ("poisson", "softplus"),
    ("binary_focal_crossentropy", "sigmoid"),
    ("categorical_focal_crossentropy", "softmax"),
    ("binary_crossentropy", "sigmoid"),
    ("binary_crossentropy", "softmax"),
    ("categorical_crossentropy", "softmax"),
    ("categorical_crossentropy", "sigmoid"),
    ("sparse_categorical_crossentropy", "softmax"),
    ("sparse_categorical_crossentropy", "softplus"),
]


# ----------------------------------------------------------------------------------------- layout
@each_dtype
def test_parameters_lie_in_one_vector(dtype: Any) -> None:
    net = Engine([Layer(3, 4), Layer(4, 5, use_bias=False), Layer(5, 2)], dtype=dtype, loss="huber")
    assert net.parameters.shape == (3 * 4 + 4 + 4 * 5 + 5 * 2 + 2,)
    assert net.parameters.dtype == dtype
    assert not net.parameters.any()
    net.parameters[:] = np.arange(len(net.parameters))
    at = 0
    for l, (n_prev, n, has_bias) in enumerate(((3, 4, True), (4, 5, False), (5, 2, True)), 1):
        W, b = net.weights(l), net.bias(l)
        assert np.shares_memory(W, net.parameters)
        # W^T row by row
        np.testing.assert_array_equal(W.T.ravel(), np.arange(at, at + n_prev * n))
        at += n_prev * n
        assert (b is not None) == has_bias
        if b is not None:
            assert np.shares_memory(b, net.parameters)
            np.testing.assert_array_equal(b, np.arange(at, at + n))
            at += n
    net.weights(2)[1, 2] = -1
    assert net.parameters[16 + 2 * 5 + 1] == -1


def test_gradients_lie_as_the_parameters_do() -> None:
    net = make([3, 4, 5, 2], ["tanh", "relu", "identity"], use_bias=[True, False, True])
    X, _, given_targets = data(net, 7, "huber")
    net.differentiate(X, given_targets)
    assert net.gradient.shape == net.parameters.shape
    for l, (dW, db) in enumerate(net.gradients(), 1):
        assert np.shares_memory(dW, net.gradient)
        assert dW.shape == net.weights(l).shape
        assert (db is None) == (net.bias(l) is None)
    dW, db = net.gradients()[0]
    assert db is not None
    np.testing.assert_array_equal(net.gradient[:16], np.concatenate([dW.T.ravel(), db]))


# -------------------------------------------------------------------------------------- one layer
@each_dtype
@pytest.mark.parametrize(("loss", "activation"), LOSS_OUTPUTS)
@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("m", [1, 33])
def test_losses_and_outputs(dtype: Any, loss: str, activation: str, n: int, m: int) -> None:
    net = make([7, 6, n], ["tanh", activation], loss, dtype=dtype)
    check_passes(net, loss, m)


def test_every_loss_is_tested() -> None:
    assert {loss for loss, _ in LOSS_OUTPUTS} == set(LOSSES)
    assert {(loss, g) for loss, of in LOSSES.items() for g in of.fused} <= set(LOSS_OUTPUTS)


@pytest.mark.parametrize("delta", [0.3, 2.0])
def test_a_losses_parameter(delta: float) -> None:
    net = make([7, 6, 3], ["tanh", "identity"], "huber", loss_parameters=(delta,))
    check_passes(net, "huber", 33, delta=delta)
    net.set_loss("mean_squared_error")
    check_passes(net, "mean_squared_error", 33)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copys_loss_is_its_own(way: Any) -> None:
    net = make([7, 6, 3], ["tanh", "identity"], "huber", loss_parameters=(0.3,))
    twin = way(net)
    twin.set_loss("huber", (2.0,))
    check_passes(net, "huber", 33, delta=0.3)
    check_passes(twin, "huber", 33, delta=2.0)


def test_outputs_take_parameters_in_turn() -> None:
    net = make([7, 4], ["identity"], "quantile", loss_parameters=(0.1, 0.7))
    check_passes(net, "quantile", 33, q=[0.1, 0.7, 0.1, 0.7])


@each_dtype
@pytest.mark.parametrize(
    ("loss", "activation"), [(loss, g) for loss, of in LOSSES.items() for g in of.fused]
)
def test_from_logits(dtype: Any, loss: str, activation: str) -> None:
    """Losses and steps are those of the fused activation, and the outputs Z."""
    nets = [make([7, 6, 3], ["tanh", g], loss, dtype=dtype) for g in (activation, "identity")]
    nets[1].set_loss(loss, from_logits=True)
    X, _, given_targets = data(nets[0], 67, loss)
    Z = nets[1].forward(X, batch=33)
    results = []
    for net in nets:
        value, outputs = evaluated(net, X, given_targets, batch=33)
        outcome = net.train(X, given_targets, rule("adam", 3), batch=23)
        results.append((value, outcome.losses.tobytes(), net.parameters.tobytes()))
    assert results[0] == results[1]
    np.testing.assert_array_equal(outputs, Z)


# --------------------------------------------------------------------------------------- networks
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [2, 5])
def test_every_activation_in_a_deep_net(activation: str, depth: int) -> None:
    width = TILES[DOUBLE].nr + 3
    sizes, names = [5, *[width] * depth, 4], [activation] * depth
    for loss, last in (
        ("categorical_crossentropy", "softmax"),
        ("mean_squared_error", activation),
    ):
        net = make(sizes, [*names, last], loss)
        if activation == "exponential":  # of exponentials: the numbers would leave float64
            net.parameters *= 0.2
        check_passes(net, loss, 37)


def test_all_activations_in_one_net() -> None:
    sizes = [5 + i for i in range(len(ACTIVATIONS) + 1)]
    loss = "mean_squared_error"
    check_passes(make(sizes, list(ACTIVATIONS), loss), loss, 37)
    check_passes(make(sizes, list(reversed(ACTIVATIONS)), loss, dtype=np.float32), loss, 37)


@each_dtype
@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (3, 1), (1, 7, 1), (3, 2, 9, 4)], ids=str)
@pytest.mark.parametrize("m", [1, 2, 3, 65])
def test_small_nets(dtype: Any, sizes: tuple[int, ...], m: int) -> None:
    names = ["tanh"] * (len(sizes) - 2) + ["identity"]
    check_passes(make(sizes, names, dtype=dtype), "mean_squared_error", m)


@each_dtype
def test_several_blocks_in_each_direction(dtype: Any) -> None:
    t = TILES[dtype]
    names = ["tanh", "softmax", "identity"]
    # depth of the forward product, of dA, of dW; more parameters than a chunk
    check_passes(make([t.kc + 1, 37, 3, 2], names, dtype=dtype), "mean_squared_error", 5)
    check_passes(make([3, t.kc + 1, 37, 2], names, dtype=dtype), "mean_squared_error", 5)
    check_passes(
        make([3, t.nr + 1, t.mr + 1, 2], names, dtype=dtype), "mean_squared_error", t.kc + 1
    )
    assert make([t.kc + 1, 37, 3, 2], names).parameters.size > SMALLEST_CHUNK


def test_layers_wider_than_a_block_of_columns() -> None:
    sizes = [2, TILES[DOUBLE].nc + 1, 2]
    for name in ("relu", "softmax"):
        check_passes(make(sizes, [name, "identity"]), "mean_squared_error", 3)


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.integers(1, 70),
    st.sampled_from(["tanh", "silu", "softmax"]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_net(sizes: list[int], m: int, activation: str) -> None:
    names = [activation] * (len(sizes) - 2) + ["identity"]
    check_passes(make(sizes, names), "mean_squared_error", m)


@each_dtype
def test_layers_without_bias_penalties_and_weights(dtype: Any) -> None:
    net = make(
        [7, 9, 8, 5],
        ["gelu", "elu", "softmax"],
        "sparse_categorical_crossentropy",
        dtype=dtype,
        use_bias=[False, True, False],
        l1=[0.02, 0.0, 0.03],
        l2=[0.0, 0.05, 0.01],
    )
    loss = "sparse_categorical_crossentropy"
    check_passes(net, loss, 67)
    weights = np.random.default_rng(5).uniform(0, 3, 67).astype(dtype)
    weights[::5] = 0
    check_passes(net, loss, 67, weights=weights)


def test_dropout_is_for_training_only() -> None:
    sizes, names = [7, 37, 8, 2], ["tanh", "gelu", "identity"]  # too wide to be tiny without
    net = make(sizes, names, input_dropout=0.4, dropout=[0.5, 0.3, 0.0])
    same = make(sizes, names)
    X, _, given_targets = data(net, 37, "huber")
    np.testing.assert_array_equal(net.forward(X, batch=37), same.forward(X, batch=37))
    assert net.differentiate(X, given_targets) == same.differentiate(X, given_targets)
    np.testing.assert_array_equal(net.gradient, same.gradient)


# ------------------------------------------------------------------------------- data and batches
@each_dtype
@pytest.mark.parametrize("batch", [1, 2, 31, 32, 33, 66, 67, 68, 1000])
def test_forward_over_several_batches(dtype: Any, batch: int) -> None:
    net = make([7, 9, 4], ["tanh", "softmax"], dtype=dtype)
    X = draw(7, 67, 7, dtype=dtype)
    assert_outputs(net, X, net.forward(X, batch=batch))


def test_forward_of_no_samples() -> None:
    net = make([7, 9, 4], ["tanh", "softmax"])
    assert net.forward(np.empty((0, 7)), batch=16).shape == (0, 4)


@each_dtype
@pytest.mark.parametrize("batch", [1, 13, 67, 100])
def test_the_loss_over_several_batches_is_the_mean_over_samples(dtype: Any, batch: int) -> None:
    loss = "sparse_categorical_crossentropy"
    net = make([7, 9, 4], ["tanh", "softmax"], loss, dtype=dtype)
    X, Y, given_targets = data(net, 67, loss)
    weights = np.random.default_rng(5).uniform(0, 3, 67).astype(dtype)
    for w in (None, weights):
        value, outputs = evaluated(net, X, given_targets, weights=w, batch=batch)
        assert_near(value, gradients(net, loss, X, Y, weights=w)[0], dtype)
        assert_outputs(net, X, outputs)


@each_dtype
@each_layout
@pytest.mark.parametrize("of", ["float32", "float64"])
def test_x_of_any_layout_and_type(dtype: Any, layout: str, of: str) -> None:
    net = make([7, 9, 4], ["tanh", "identity"], dtype=dtype)
    X = draw(7, 67, 7, dtype=np.float32)
    got = net.forward(LAYOUTS[layout](X.astype(of)), batch=13)
    np.testing.assert_array_equal(got, net.forward(X, batch=100))


def test_a_broadcast_x() -> None:
    net = make([7, 9, 4], ["tanh", "identity"])
    X = np.broadcast_to(draw(7, 1, 7), (67, 7))
    wanted = net.forward(X.copy(), batch=67)
    np.testing.assert_array_equal(net.forward(X, batch=67), wanted)


def test_calls_of_growing_and_shrinking_batches() -> None:
    loss = "mean_squared_error"
    net = make([7, 9, 4], ["gelu", "identity"], loss, dropout=[0.5, 0.0])
    for m in (5, 100, 1, 64, 300, 7):
        check_passes(net, loss, m)


def test_what_stood_in_memory_before_does_not_matter() -> None:
    net = make([7, 9, 4], ["gelu", "softmax"], "categorical_crossentropy")
    X, _, given_targets = data(net, 37, "categorical_crossentropy")
    net.differentiate(X, given_targets)
    wanted = net.gradient.copy()
    fill_memory(net)
    net.differentiate(X, given_targets)
    np.testing.assert_array_equal(net.gradient, wanted)


def test_nan_in_x_reaches_the_loss() -> None:
    net = make([7, 9, 4], ["relu", "softmax"], "categorical_crossentropy")
    X, _, given_targets = data(net, 37, "categorical_crossentropy")
    X[20, 3] = np.nan
    assert np.isnan(net.differentiate(X, given_targets))
    value, outputs = evaluated(net, X, given_targets, batch=10)
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(outputs).all(axis=1), np.arange(37) == 20)


@each_dtype
@pytest.mark.parametrize("m", [1, 67, 700])
def test_the_same_bits_for_any_number_of_threads(dtype: Any, m: int) -> None:
    loss = "categorical_crossentropy"
    names = ["gelu", "softmax", "softmax"]
    net = make([37, 130, 70, 10], names, loss, dtype=dtype, l1=[0.01] * 3)
    X, _, given_targets = data(net, m, loss)

    def all_results() -> Array:
        total = net.differentiate(X, given_targets)
        value, outputs = evaluated(net, X, given_targets, batch=100)
        return np.concatenate([[total, value], outputs.ravel(), net.gradient])

    assert len(set(for_each_count(all_results))) == 1


def test_compile_asks_for_what_a_step_runs_and_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(step.run, "compile", lambda *what: asked.append(what))
    net = make([200, 300, 3], ["tanh", "identity"], dtype=np.float32)
    before = net.parameters.copy()
    for n in (1, 2):
        with fastdnn.num_threads(n):
            net.compile(256)
    assert asked == [(np.float32, 1), (np.float32, 2)]
    np.testing.assert_array_equal(net.parameters, before)


# ---------------------------------------------------------------------------------------- copies
COPIES: dict[str, Callable[[Engine], Engine]] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
}


@each_dtype
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_goes_on_like_the_original(dtype: Any, way: str) -> None:
    loss = "mean_squared_error"
    net = make([7, 37, 9, 3], ["gelu", "softmax", "identity"], loss, dtype=dtype)
    X, _, given_targets = data(net, 67, loss)
    net.train(X, given_targets, rule("adam", 3), batch=16)
    twin = COPIES[way](net)
    assert not np.shares_memory(twin.parameters, net.parameters)
    np.testing.assert_array_equal(twin.parameters, net.parameters)
    before, slots = net.parameters.copy(), net.slots.copy()
    got = twin.train(X, given_targets, rule("adam", 3, t=4), batch=5)  # few rows: W is not packed
    changed = twin.parameters.copy()
    np.testing.assert_array_equal(net.parameters, before)
    net.slots[:] = slots  # a shallow copy has these in common
    wanted = net.train(X, given_targets, rule("adam", 3, t=4), batch=5)
    np.testing.assert_array_equal(changed, net.parameters)
    np.testing.assert_array_equal(got.losses, wanted.losses)
    assert np.shares_memory(twin.weights(1), twin.parameters)
    check_passes(twin, loss, 5)
    check_training(twin, "descent", loss, batch=5)


@each_dtype
def test_zeros_lie_behind_the_parameters_of_a_copy_too(dtype: Any) -> None:
    # the last rows of W are read as whole vectors
    net = make([7, 9, 3], ["tanh", "identity"], dtype=dtype, use_bias=[True, False])
    for one in (net, *(way(net) for way in COPIES.values())):
        size = one.parameters.size
        assert one.parameters.base is not None
        behind = np.lib.stride_tricks.as_strided(one.parameters, (size + ZEROS,))
        assert not behind[size:].any()
