"""Calls of a network in turn: what one leaves ready for the next of its kind."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import engine
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import KINDS, Engine
from fastdnn.kernels.engine.workspace import Workspace
from tests.kernels.common import LAYOUTS, assert_near, draw, each_dtype, each_layout, nan
from tests.kernels.networks import data, evaluated, make, rule

pytestmark = pytest.mark.usefixtures("in_every_regime")


@pytest.fixture(params=[0, threads.AWAKE_FLOPS], autouse=True)
def short_calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share all calls, or as usual: then a forward call leaves all of its arguments ready."""
    monkeypatch.setattr(threads, "AWAKE_FLOPS", request.param)


@each_dtype
@each_layout
def test_a_call_is_not_made_again_with_another_layout(dtype: Any, layout: str) -> None:
    net, X = make([7, 9, 4], ["tanh", "identity"], dtype=dtype), draw(7, 6, 7, dtype=dtype)
    wanted = net.forward(X.copy(), batch=6)
    for first in (X.copy, lambda: LAYOUTS[layout](X)):
        fresh = make([7, 9, 4], ["tanh", "identity"], dtype=dtype)
        for one in (first(), LAYOUTS[layout](X), X.copy(), LAYOUTS[layout](X), X[:3].copy()):
            np.testing.assert_array_equal(fresh.forward(one, batch=8), wanted[: len(one)])


def with_delta(net: Engine, X: Any, given_targets: Targets) -> Any:
    """The loss and dZ_1."""
    dZ_1 = nan(len(X), net.layers[0].n, dtype=net.dtype)
    return np.append(net.differentiate(X, given_targets, dZ_1=dZ_1), dZ_1)


@each_dtype
@pytest.mark.parametrize("m", [1, 33, 70])
@pytest.mark.parametrize("sizes", [[5, 3], [5, 1], [7, 9, 4], [7, 1, 4], [7, 40, 37, 1]], ids=str)
def test_delta_of_the_first_layer(dtype: Any, sizes: list[int], m: int) -> None:
    """dW_1 = dZ_1^T X, and db_1 is the sum of dZ_1."""
    loss = "mean_squared_error"
    net = make(sizes, ["gelu"] * (len(sizes) - 2) + ["identity"], loss, dtype=dtype)
    X, _, given_targets = data(net, m, loss)
    value, *dZ_1 = with_delta(net, X, given_targets)
    assert value == net.differentiate(X, given_targets)
    (dW, db), delta = net.gradients()[0], np.reshape(dZ_1, (m, sizes[1]))
    assert_near(dW, delta.T @ X.astype(float), dtype)
    assert_near(db, delta.sum(axis=0), dtype)  # type: ignore[arg-type]


@each_dtype
@pytest.mark.parametrize("clip", [None, "tensor", "global"])
@pytest.mark.parametrize("name", ["descent", "momentum", "adam"])
def test_a_given_gradient_is_applied(dtype: Any, clip: str | None, name: str) -> None:
    """A training step, of which differentiate and update are the parts."""
    loss, options = "mean_squared_error", {} if clip is None else {"clip": clip, "limit": 0.1}
    of: dict[str, Any] = {"l1": [0.1, 0.0], "l2": [0.0, 0.2]}
    whole, parts = (make([7, 37, 4], ["gelu", "identity"], loss, dtype=dtype, **of) for _ in "12")
    X, _, given_targets = data(whole, 70, loss)
    for t in (1, 2, 3):
        step = rule(name, 1, t=t, **options)
        whole.train(X, given_targets, step, batch=70)
        parts.differentiate(X, given_targets)
        parts.update(step)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    np.testing.assert_array_equal(parts.slots, whole.slots)


@each_dtype
def test_what_a_call_finds_ready_is_what_it_would_make(dtype: Any) -> None:
    loss = "mean_squared_error"
    net = make([7, 37, 4], ["gelu", "identity"], loss, dtype=dtype, dropout=[0.5, 0.0])
    X, _, given_targets = data(net, 70, loss)
    few = Targets(given_targets.y[:5])
    weights, order = draw(9, 70, dtype=dtype) ** 2, np.random.default_rng(8).permutation(70)
    adam, clipped = rule("adam", 3, t=2), rule("adam", 3, clip="tensor", limit=0.1)
    calls: list[Callable[[Engine], Any]] = [
        lambda net: (
            net.train(X, given_targets, adam, batch=16, outputs=nan(280, dtype=dtype)).losses
        ),
        lambda net: net.forward(X[:5].copy(), batch=5),
        lambda net: net.train(X, given_targets, adam, batch=16, order=order, first=2).losses,
        lambda net: net.forward(X, batch=5),
        lambda net: net.train(X, given_targets, adam, batch=16, weights=weights, seed=3).losses,
        lambda net: net.train(X, given_targets, clipped, batch=16, step_number=9).losses,
        lambda net: net.forward(X[:5].copy(), batch=5),
        lambda net: np.append(*evaluated(net, X[:5], few, batch=5)),
        lambda net: np.append(*evaluated(net, X[::-1], given_targets, batch=5)),
        lambda net: net.differentiate(X[:5].T.copy().T, few),
        lambda net: with_delta(net, X[:5], few),
        lambda net: net.update(rule("adam", 1, t=5)),
    ]
    for again in (False, True):
        for call in calls:
            fresh = copy.deepcopy(net)
            wanted = call(fresh)
            with pytest.MonkeyPatch.context() as patch:
                if again:
                    patch.delattr(Workspace, "of")
                np.testing.assert_array_equal(call(net), wanted)
            for name in ("parameters", "slots", "gradient"):
                np.testing.assert_array_equal(getattr(net, name), getattr(fresh, name))


@each_dtype
def test_a_call_finds_what_has_been_replaced(dtype: Any) -> None:
    loss = "mean_squared_error"
    net = make([7, 37, 4], ["gelu", "identity"], loss, dtype=dtype)
    X, _, given_targets = data(net, 70, loss)
    net.train(X, given_targets, rule("adam", 3), batch=16)
    held = net.slots, net.gradient
    net.forward(X[:5].copy(), batch=5)
    net.slots, net.gradient = net.slots.copy(), net.gradient.copy()
    spoilt = [one.copy() for one in held]
    fresh = copy.deepcopy(net)
    for one in (net, fresh):
        one.set_loss("huber", (0.3,))
        one.train(X, given_targets, rule("adam", 3, t=4), batch=16)
    for name in ("parameters", "slots", "gradient"):
        np.testing.assert_array_equal(getattr(net, name), getattr(fresh, name))
    for one, before in zip(held, spoilt, strict=True):
        np.testing.assert_array_equal(one, before)


def test_what_has_been_replaced_is_let_go() -> None:
    loss = "mean_squared_error"
    net = make([7, 37, 4], ["gelu", "identity"], loss)
    X, _, given_targets = data(net, 70, loss)
    before: list[weakref.ref[Any]] = []
    for _ in range(3):
        net.train(X, given_targets, rule("adam", 3), batch=16)
        net.forward(X[:5].copy(), batch=5)
        assert not any(one() is not None for one in before)
        before = [weakref.ref(net.slots), weakref.ref(net.gradient)]
        net.slots, net.gradient = net.slots.copy(), net.gradient.copy()
    for batch in range(1, 3 * KINDS):
        net.forward(X, batch=batch)
    assert len(net._arguments) <= KINDS


@each_dtype
@each_layout
@pytest.mark.parametrize("loss", ["mean_squared_error", "sparse_categorical_crossentropy"])
def test_a_long_call_is_several(
    monkeypatch: pytest.MonkeyPatch, dtype: Any, layout: str, loss: str
) -> None:
    net = make([7, 9, 4], ["tanh", "softmax"], loss, dtype=dtype)
    X, _, given_targets = data(net, 70, loss)
    weights = draw(9, 70, dtype=dtype) ** 2
    outputs = net.forward(X, batch=8)
    value, _ = evaluated(net, X, given_targets, weights=weights, batch=8)
    X, rows, call = LAYOUTS[layout](X), [], Engine._call
    monkeypatch.setattr(engine, "CALL_FLOPS", 20 * net._layout.work)  # two batches

    def counted(net: Engine, X: Any, *arguments: Any, **named: Any) -> Any:
        rows.append(len(X))
        return call(net, X, *arguments, **named)

    monkeypatch.setattr(Engine, "_call", counted)
    told: list[int] = []
    np.testing.assert_array_equal(net.forward(X, batch=8, report=told.append), outputs)
    again, found = evaluated(net, X, given_targets, weights=weights, batch=8, report=told.append)
    assert again == value
    np.testing.assert_array_equal(found, outputs)
    assert rows == told == [16, 16, 16, 16, 6] * 2


@each_dtype
def test_penalties_are_scaled(dtype: Any) -> None:
    loss = "mean_squared_error"

    def net(factor: float) -> Any:
        l1, l2 = [0.25 * factor, 0.0], [0.5 * factor, 0.125 * factor]
        return make([5, 7, 3], ["tanh", "identity"], loss, dtype=dtype, l1=l1, l2=l2)

    def results(engine: Any) -> tuple[Any, ...]:
        found = engine.differentiate(X, targets), engine.gradient.copy()
        outcome = engine.train(X, targets, rule("adam", 4), batch=8)
        return (*found, outcome.losses, engine.parameters)

    X, _, targets = data(net(1.0), 20, loss)
    # powers of 2, which no product rounds
    for factor in (4.0, 0.25, 1.0, 0.0):
        scaled = net(1.0)
        scaled.scale_penalties(16.0)
        scaled.differentiate(X, targets)
        scaled.scale_penalties(factor)  # not on top of the one before
        for got, wanted in zip(results(scaled), results(net(factor)), strict=True):
            if factor:
                np.testing.assert_array_equal(got, wanted)
            else:  # the sum has zeros in it, or none
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    plain, penalised = net(0.0), net(1.0)
    assert plain.differentiate(X, targets) < penalised.differentiate(X, targets)
    # by the samples of each batch, of which the last has four
    shared, in_turn = net(1.0), net(1.0)
    shared.scale_penalties(16.0, per_sample=True)
    outcome = shared.train(X, targets, rule("adam", 3), batch=8)
    losses = []
    for step, size in enumerate((8, 8, 4)):
        in_turn.scale_penalties(16.0 / size)
        part = rule("adam", 3)
        part = part._replace(coefficients=part.coefficients[step : step + 1])
        losses += in_turn.train(X, targets, part, batch=8, first=step).losses.tolist()
    assert outcome.losses.tolist() == losses
    np.testing.assert_array_equal(shared.parameters, in_turn.parameters)
