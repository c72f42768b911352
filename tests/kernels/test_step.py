"""Many steps in one call: against naive's, for any slices and threads, with dropout, to the end."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels import step
from fastdnn.kernels.engine import CHUNK, Engine, Targets
from tests import naive
from tests.kernels import networks
from tests.kernels.common import (
    LAYOUTS,
    RANKS,
    Array,
    assert_within,
    each_dtype,
    each_layout,
)
from tests.kernels.networks import data, error_bound, make, rule, small
from tests.kernels.rules import RULES

pytestmark = pytest.mark.usefixtures("share_small_work")
each_rule = pytest.mark.parametrize("name", RULES)
SMALLEST = 0.03  # every epsilon of RULES


def batches_of(samples: int, batch: int, steps: int, order: Array | None = None) -> list[Array]:
    """The samples of each step, epoch after epoch."""
    numbers = np.arange(samples) if order is None else order
    starts = list(range(0, samples, batch))
    return [numbers[starts[s % len(starts)] :][:batch] for s in range(steps)]


def step_bound(net: Engine, X: Array, Y: Array, steps: int) -> float:
    """Each step moves a parameter by at most lr |g| / epsilon, with an error of g in it."""
    return steps * error_bound(net, X, Y) / SMALLEST


def check(
    net: Engine,
    name: str,
    loss: str,
    *,
    m: int = 67,
    batch: int = 16,
    steps: int = 7,
    order: Array | None = None,
    weights: Array | None = None,
    clip: str | None = None,
    limit: float = np.inf,
) -> None:
    """Losses and parameters after `steps` steps against naive's."""
    X, Y, given_targets = data(net, m, loss)
    reference = copy_of(net, loss)

    def gradient_of(numbers: Array) -> tuple[float, list[naive.Pair]]:
        w = None if weights is None else weights[numbers]
        return networks.gradients(reference, loss, X[numbers], Y[:, numbers], weights=w)

    clipping = {"tensor": {"clipnorm": limit}, "global": {"global_clipnorm": limit}}
    wanted = networks.train(
        reference,
        name,
        batches_of(m, batch, steps, order),
        gradient_of,
        **({} if clip is None else clipping[clip]),
    )
    outcome = net.train(
        X, given_targets, rule(name, steps, clip=clip, limit=limit), batch=batch,
        weights=weights, order=np.empty(0, np.int64) if order is None else order,
    )  # fmt: skip
    bound = step_bound(net, X, Y, steps)
    assert (outcome.done, outcome.reason) == (steps, step.FINITE)
    assert_within(outcome.losses, np.array(wanted), bound)
    assert_within(net.parameters, reference.parameters, bound)


def copy_of(net: Engine, loss: str) -> Engine:
    """The same network in float64."""
    copy = Engine(net.layers, loss=loss, dtype=np.float64)
    copy.parameters[:] = net.parameters
    return copy


# ---------------------------------------------------------------------------------- against naive
@each_dtype
@each_rule
def test_every_rule(dtype: Any, name: str) -> None:
    check(small(dtype=dtype), name, "mean_squared_error")


@each_rule
@pytest.mark.parametrize("clip", ["tensor", "global"])
@pytest.mark.parametrize("limit", [1e-3, 0.05, 1e3])
def test_clipping(name: str, clip: str, limit: float) -> None:
    check(small(), name, "mean_squared_error", clip=clip, limit=limit)


@pytest.mark.parametrize("clip", ["tensor", "global"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_clipping_of_tensors_of_several_chunks(clip: str, n_threads: int) -> None:
    net = make([110, 101, 100, 3], ["tanh", "tanh", "identity"])
    assert net.parameters.size > 2 * CHUNK
    with fastdnn.num_threads(n_threads):
        check(net, "momentum", "mean_squared_error", clip=clip, limit=0.05, steps=3)


@each_dtype
@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_penalties_weights_and_layers_without_bias(dtype: Any, name: str) -> None:
    loss = "sparse_categorical_crossentropy"
    net = small(
        loss, dtype, l1=[0.02, 0.0, 0.03], l2=[0.0, 0.05, 0.01], use_bias=[True, False, True]
    )
    weights = np.random.default_rng(5).uniform(0, 1, 67).astype(dtype)
    check(net, name, loss, weights=weights, clip="global", limit=0.5)


@each_dtype
@pytest.mark.parametrize("batch", [1, 16, 33, 66, 67, 100])
def test_the_last_batch_of_an_epoch_takes_what_is_left(dtype: Any, batch: int) -> None:
    order = np.random.default_rng(3).permutation(67)
    for numbers in (None, order):
        check(small(dtype=dtype), "momentum", "mean_squared_error", batch=batch, order=numbers)


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


# ---------------------------------------------------------------------------------------- helpers
@pytest.mark.parametrize("m", [0, 1, 2, 7, 64, 101])
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 7])
def test_ranks_share_all_rows_once(m: int, n_ranks: int) -> None:
    parts = [step.rank_rows.py_func(m, rank, n_ranks) for rank in range(n_ranks)]
    assert [i for begin, end in parts for i in range(begin, end)] == list(range(m))
    sizes = [end - begin for begin, end in parts]
    assert max(sizes) - min(sizes) <= 1
