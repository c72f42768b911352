"""Many steps in one call: against naive's, for any slices and threads, with dropout, to the end."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.parameters import SMALLEST_CHUNK
from tests.kernels.common import (
    LAYOUTS,
    RANKS,
    each_dtype,
    each_layout,
)
from tests.kernels.networks import data, make, rule, small
from tests.kernels.rules import RULES
from tests.kernels.steps import check_training

pytestmark = pytest.mark.usefixtures("share_small_work", "in_every_regime")
each_rule = pytest.mark.parametrize("name", RULES)


# ---------------------------------------------------------------------------------- against naive
@each_dtype
@each_rule
def test_every_rule(dtype: Any, name: str) -> None:
    check_training(small(dtype=dtype), name, "mean_squared_error")


@each_rule
@pytest.mark.parametrize("clip", ["tensor", "global"])
@pytest.mark.parametrize("limit", [1e-3, 0.05, 1e3])
def test_clipping(name: str, clip: str, limit: float) -> None:
    check_training(small(), name, "mean_squared_error", clip=clip, limit=limit)


@pytest.mark.parametrize("clip", ["tensor", "global"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_clipping_of_tensors_of_several_chunks(clip: str, n_threads: int) -> None:
    net = make([110, 101, 100, 3], ["tanh", "tanh", "identity"])
    assert net.parameters.size > 2 * SMALLEST_CHUNK
    with fastdnn.num_threads(n_threads):
        check_training(net, "momentum", "mean_squared_error", clip=clip, limit=0.05, steps=3)


@each_dtype
@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_penalties_weights_and_layers_without_bias(dtype: Any, name: str) -> None:
    loss = "sparse_categorical_crossentropy"
    net = small(
        loss, dtype, l1=[0.02, 0.0, 0.03], l2=[0.0, 0.05, 0.01], use_bias=[True, False, True]
    )
    weights = np.random.default_rng(5).uniform(0, 1, 67).astype(dtype)
    check_training(net, name, loss, weights=weights, clip="global", limit=0.5)


@each_dtype
@pytest.mark.parametrize("batch", [1, 16, 33, 66, 67, 100])
def test_the_last_batch_of_an_epoch_takes_what_is_left(dtype: Any, batch: int) -> None:
    order = np.random.default_rng(3).permutation(67)
    for numbers in (None, order):
        check_training(
            small(dtype=dtype), "momentum", "mean_squared_error", batch=batch, order=numbers
        )


def test_an_order_may_leave_out_and_repeat_samples() -> None:
    X, _, given_targets = data(small(), 67, "mean_squared_error")
    order = np.random.default_rng(3).integers(67, size=67)
    got, wanted = small(), small()
    got.train(X, given_targets, rule("adam", 5), batch=16, order=order)
    sorted_targets = Targets(given_targets.y[order])
    wanted.train(X[order], sorted_targets, rule("adam", 5), batch=16)
    np.testing.assert_array_equal(got.parameters, wanted.parameters)


# ----------------------------------------------------------------------- slices, threads, layouts
@each_dtype
@each_rule
@pytest.mark.parametrize("cuts", [[0, 3, 11], [0, 1, 2, 5, 11], [0, 5, 6, 11]], ids=str)
@pytest.mark.parametrize("batch", [16, 67])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_slices_do_not_matter(
    dtype: Any, name: str, cuts: list[int], batch: int, dropout: float
) -> None:
    # 5 batches to the epoch, where a cut may lie at its end, or one
    per_epoch = -(-67 // batch)
    settings: dict[str, Any] = {"dropout": [dropout, 0.3, 0.0], "input_dropout": dropout}
    whole, parts = small(dtype=dtype, **settings), small(dtype=dtype, **settings)
    X, _, given_targets = data(whole, 67, "mean_squared_error")
    all_steps = rule(name, 11, clip="global", limit=0.3)
    losses = whole.train(X, given_targets, all_steps, batch=batch, seed=3).losses
    found = []
    for begin, end in pairwise(cuts):
        part = all_steps._replace(coefficients=all_steps.coefficients[begin:end])
        run = partial(parts.train, X, given_targets, part, batch=batch, seed=3)
        found.append(run(first=begin % per_epoch, step_number=begin).losses)
    np.testing.assert_array_equal(np.concatenate(found), losses)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    np.testing.assert_array_equal(parts.slots, whole.slots)


@each_dtype
@each_rule
def test_the_same_bits_for_any_number_of_threads(dtype: Any, name: str) -> None:
    bits = set()
    for n in RANKS:
        net = make(
            [37, 130, 70, 10],
            ["relu", "softmax", "softmax"],
            "categorical_crossentropy",
            dtype=dtype,
            dropout=[0.3, 0.0, 0.0],
            input_dropout=0.2,
            l2=[0.01, 0.0, 0.0],
        )
        X, _, given_targets = data(net, 300, "categorical_crossentropy")
        with fastdnn.num_threads(n):
            outcome = net.train(
                X, given_targets, rule(name, 5, clip="tensor", limit=0.1), batch=130
            )
        bits.add((net.parameters.tobytes(), net.slots.tobytes(), outcome.losses.tobytes()))
    assert len(bits) == 1


@each_dtype
@each_layout
@pytest.mark.parametrize("of", ["float32", "float64"])
def test_x_of_any_layout_and_type(dtype: Any, layout: str, of: str) -> None:
    wanted, got = small(dtype=dtype), small(dtype=dtype)
    X, _, given_targets = data(wanted, 67, "mean_squared_error")
    order = np.random.default_rng(3).permutation(67)
    X = X.astype(np.float32)
    run = partial(Engine.train, targets=given_targets, batch=16, order=order)
    run(wanted, X.astype(dtype), rule=rule("descent", 5))
    run(got, LAYOUTS[layout](X.astype(of)), rule=rule("descent", 5))
    np.testing.assert_array_equal(got.parameters, wanted.parameters)


def test_slots_are_kept_when_a_rule_needs_more() -> None:
    net = small()
    X, _, given_targets = data(net, 67, "mean_squared_error")
    net.train(X, given_targets, rule("descent", 1), batch=16)
    assert net.slots.size == 0
    net.train(X, given_targets, rule("momentum", 1), batch=16)
    momentum = net.slots.copy()
    assert momentum.size == net.parameters.size
    net.train(X, given_targets, rule("adam", 0), batch=16)
    np.testing.assert_array_equal(net.slots, np.concatenate([momentum, 0 * momentum]))
