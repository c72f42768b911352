"""A call that another thread stops: whole steps are done and counted, others have no trace."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine import placement
from fastdnn.kernels.engine.calls import StoppedError
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.stepwise import Stepwise
from fastdnn.kernels.layers import layout
from tests.kernels.common import Array, each_dtype
from tests.kernels.networks import data, make, rule, small
from tests.kernels.regimes import place_of

STEPS, BATCH = 400, 64
SET = np.ones(1, np.int64)
each_count = pytest.mark.parametrize("n_threads", [1, 2, 3])


def wide(dtype: Any = np.float64, **of: Any) -> Engine:
    """Two layers, whose dW are made and used at once where the step is blocked."""
    return make([40, 50, 3], ["tanh", "identity"], dtype=dtype, **of)


@pytest.mark.usefixtures("share_small_work", "in_every_regime")
@each_count
@each_dtype
@pytest.mark.parametrize("clip", [None, "global"])
@pytest.mark.parametrize("network", [small, wide])
def test_nothing_of_the_step_is_left(
    network: Any, clip: str | None, dtype: Any, n_threads: int
) -> None:
    net = network(dtype=dtype)
    X, _, targets = data(net, 67, "mean_squared_error")
    before = net.parameters.copy()
    with fastdnn.num_threads(n_threads):
        outcome = net.train(X, targets, rule("adam", 3, clip=clip), batch=67, stop=SET)
        assert (outcome.done, outcome.reason, len(outcome.losses)) == (0, layout.STOPPED, 0)
        with pytest.raises(StoppedError):
            net.batch_losses(X, targets, batch=67, stop=SET)
    np.testing.assert_array_equal(net.parameters, before)
    assert not net.slots.any()


@pytest.mark.usefixtures("share_small_work", "in_every_regime")
@each_count
@pytest.mark.parametrize("network", [small, wide])
def test_a_number_that_nobody_sets_changes_nothing(network: Any, n_threads: int) -> None:
    bits = []
    for stop in (None, np.zeros(1, np.int64)):
        net = network()
        X, _, targets = data(net, 67, "mean_squared_error")
        with fastdnn.num_threads(n_threads):
            outcome = net.train(X, targets, rule("adam", 5), batch=16, stop=stop)
            losses, outputs = net.batch_losses(X, targets, batch=16, stop=stop)
        assert (outcome.done, outcome.reason) == (5, layout.FINITE)
        bits.append((net.parameters.tobytes(), losses.tobytes(), outputs.tobytes()))
    assert bits[0] == bits[1]


@pytest.mark.usefixtures("share_small_work", "in_every_regime")
@each_count
@pytest.mark.parametrize("network", [small, wide])
def test_whole_steps_are_left_at_any_moment(network: Any, n_threads: int) -> None:
    X, _, targets = data(network(), 5 * BATCH, "mean_squared_error")
    net, stop, reasons = network(), np.zeros(1, np.int64), set[int]()
    for delay in (0.0, 0.0003, 0.001, 0.002, 0.004):
        net, twin = network(), network()
        stop[0] = 0
        begins = threading.Event()

        def end(delay: float = delay, begins: threading.Event = begins) -> None:
            begins.wait()
            time.sleep(delay)
            stop[0] = 1

        thread = threading.Thread(target=end)
        thread.start()
        with fastdnn.num_threads(n_threads):
            begins.set()
            outcome = net.train(X, targets, rule("adam", STEPS), batch=BATCH, stop=stop)
            thread.join()
            reasons.add(outcome.reason)
            if outcome.done:
                same = twin.train(X, targets, rule("adam", outcome.done), batch=BATCH)
                np.testing.assert_array_equal(outcome.losses, same.losses)
        assert (outcome.reason == layout.FINITE) == (outcome.done == STEPS)
        np.testing.assert_array_equal(net.parameters, twin.parameters)
        np.testing.assert_array_equal(net.slots, twin.slots if outcome.done else 0)
    assert reasons <= {layout.FINITE, layout.STOPPED}


@each_count
@pytest.mark.parametrize("step", [0, 1, 3])
def test_steps_of_a_function_of_arrays(step: int, n_threads: int) -> None:
    """One that sets the number while it is called; and a call that finds it set."""
    stop, calls = np.zeros(1, np.int64), list[int]()

    def squares(y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
        calls.append(0)
        stop[0] = len(calls) == step + 1
        return float(np.mean((A - y) ** 2)), 2 * (A - y) / A.shape[1]

    net, twin = small(), small()
    X, _, targets = data(net, 3 * BATCH, "mean_squared_error")
    with fastdnn.num_threads(n_threads):
        outcome = Stepwise(net, squares).train(X, targets, rule("adam", 6), batch=BATCH, stop=stop)
        assert (outcome.done, outcome.reason, len(outcome.losses)) == (step, layout.STOPPED, step)
        again = Stepwise(net, squares).train(X, targets, rule("adam", 6), batch=BATCH, stop=stop)
        assert (again.done, again.reason) == (0, layout.STOPPED)
        if step:
            Stepwise(twin, squares).train(X, targets, rule("adam", step), batch=BATCH)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_what_cannot_be_stopped_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """While dW changes W at once, nothing can be taken back: a large step stores dW first."""
    net, batch = make([400, 500, 3], ["tanh", "identity"]), 64
    assert place_of(net, batch).deferred
    monkeypatch.setattr(placement, "DESCENT", batch * net.parameters.size - 1)
    assert not place_of(net, batch).deferred
    bits = []
    for descent in (0, 10**10):
        monkeypatch.setattr(placement, "DESCENT", descent)
        one = make([400, 500, 3], ["tanh", "identity"])
        X, _, targets = data(one, batch, "mean_squared_error")
        one.train(X, targets, rule("adam", 3), batch=batch)
        bits.append(one.parameters.tobytes())
    assert bits[0] == bits[1]
