"""Checks of single passes and of training, against naive, for the tests of each regime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from tests import naive
from tests.kernels import networks, regimes
from tests.kernels.common import (
    DTYPES,
    OPERATIONS,
    RANKS,
    Array,
    assert_near,
    at_the_end_of_memory,
    nan,
    roundings,
)
from tests.kernels.networks import (
    assert_gradient,
    assert_outputs,
    assert_tensors,
    data,
    evaluated,
    gradients,
    make,
    parameters,
    rule,
    tensors,
)


def check_passes(
    net: Engine, loss: str, m: int, *, weights: Array | None = None, **of: float
) -> None:
    """The outputs, the loss and the gradient against naive."""
    X, Y, given_targets = data(net, m, loss)
    assert_outputs(net, X, net.forward(X, batch=m))

    wanted, pairs = gradients(net, loss, X, Y, weights=weights, **of)
    penalty = sum(
        naive.penalty(W, layer.l1, layer.l2)[0]
        for layer, (W, _) in zip(net.layers, parameters(net), strict=True)
    )
    assert_near(net.differentiate(X, given_targets, weights=weights), wanted, net.dtype)
    assert_gradient(net, pairs)

    value, again = evaluated(net, X, given_targets, weights=weights, batch=m)
    assert_near(value, wanted - penalty, net.dtype)
    np.testing.assert_array_equal(again, net.forward(X, batch=m))


def batches_of(samples: int, batch: int, steps: int, order: Array | None = None) -> list[Array]:
    """The samples of each step, epoch after epoch."""
    numbers = np.arange(samples) if order is None else order
    starts = list(range(0, samples, batch))
    return [numbers[starts[s % len(starts)] :][:batch] for s in range(steps)]


def copy_of(net: Engine, loss: str) -> Engine:
    """The same network in float64."""
    copy = Engine(net.layers, loss=loss, dtype=np.float64)
    copy.parameters[:] = net.parameters
    return copy


def assert_trained(net: Engine, reference: Engine, before: list[Array], steps: int) -> None:
    """W and b have changed like those of `reference`: they may be much larger than the change."""
    got, wanted = (tensors(one, parameters(one)) for one in (net, reference))
    # each step rounds the parameter itself too, however little it changes
    own = [
        float(roundings(steps * OPERATIONS, net.dtype) * max(np.abs(x).max(), np.abs(start).max()))
        for x, start in zip(wanted, before, strict=True)
    ]
    changes = [
        [x - start for x, start in zip(after, before, strict=True)] for after in (got, wanted)
    ]
    assert_tensors(net.dtype, *changes, own)


def check_training(
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
    reference, before = copy_of(net, loss), tensors(net, parameters(net))

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
    assert (outcome.done, outcome.reason) == (steps, layout.FINITE)
    assert_near(outcome.losses, np.array(wanted), net.dtype)
    assert_trained(net, reference, before, steps)


# a kernel rounds a rate to a multiple of 2^-32: these are
DROPOUT_RATES = [(0.25, 0.0, 0.0), (0.0, 0.5, 0.0), (0.25, 0.3125, 0.375)]


def check_dropout(
    names: Sequence[str], rates: tuple[float, float, float], dtype: Any, regime: str | None = None
) -> None:
    """Loss, gradient and outputs of a step that drops elements of X and of the layers."""
    loss, m = "categorical_crossentropy", 67
    net = make(
        [7, 21, 37, 3], [*names, "softmax"], loss, dtype=dtype,
        input_dropout=rates[0], dropout=[rates[1], rates[2], 0.0],
    )  # fmt: skip
    if regime is not None:
        regimes.assert_shared(net, m, regime, rates[0])
    X, Y, given_targets = data(net, m, loss)
    n = net.layers[-1].n
    for number in (0, 5):
        value, pairs, outputs = networks.gradients_with_dropout(
            net, loss, X, Y, rate=rates[0], seed=11, step=number
        )
        got = nan(m * n, dtype=net.dtype)
        outcome = net.train(
            X, given_targets, networks.still(), batch=m, seed=11, step_number=number, outputs=got
        )
        assert_near(outcome.losses[0], value, net.dtype)
        assert_gradient(net, pairs)
        assert_near(got.reshape(m, n), outputs, net.dtype)


def fill_memory(net: Engine, value: Any = np.nan) -> None:
    """Spoil all that a call may find from calls before: everything but network and loss."""
    kept = "values", "parameters", "slots", "_loss_parameters"
    for name, memory in (vars(net) | vars(net._workspace)).items():
        if isinstance(memory, np.ndarray) and name not in kept:
            memory[:] = value if memory.dtype.kind == "f" else -(2**40)


def bits_of_training(
    dtype: Any, dropout: float, batch: int, ranks: Sequence[int] = RANKS
) -> Iterator[bytes]:
    """Of all that a training run leaves, for each number of ranks."""
    loss = "categorical_crossentropy"
    for n in ranks:
        net = make(
            [37, 130, 70, 10],
            ["relu", "softmax", "softmax"],
            loss,
            dtype=dtype,
            dropout=[dropout, 0.0, 0.0],
            input_dropout=dropout,
            l2=[0.01, 0.0, 0.0],
        )
        X, _, given_targets = data(net, 300, loss)
        clipped = rule("adam", 5, clip="tensor", limit=0.1)
        outputs = nan(300 * 10, dtype=dtype)
        with fastdnn.num_threads(n):
            outcome = net.train(X, given_targets, clipped, batch=batch, outputs=outputs)
            value = net.differentiate(X, given_targets)
        everything = (net.parameters, net.slots, net.gradient, outcome.losses, outputs)
        yield b"".join(x.tobytes() for x in (*everything, np.array(value)))


def read_up_to_the_end_of_memory(regime: str) -> None:
    """For a process of its own: reading behind the end of any data would kill it."""
    end = at_the_end_of_memory
    with pytest.MonkeyPatch.context() as patch:
        regimes.force(patch, regime)
        patch.setattr(threads, "SHARED_FLOPS", 0)
        for dtype in DTYPES:
            for loss, hidden in (
                ("mean_squared_error", "tanh"),
                ("sparse_categorical_crossentropy", "softmax"),
            ):
                net = make([7, 37, 3], [hidden, "softmax"], loss, dtype=dtype)
                small = make([3, 4, 2], [hidden, "softmax"], loss, dtype=dtype)
                for one in (net, small):
                    X, _, given = data(one, 67, loss)
                    ends = Targets(end(given.y), end(given.labels))
                    weights = end(np.ones(67, dtype))
                    outputs = end(nan(67 * one.layers[-1].n, dtype=dtype))
                    others = end(X.astype(DTYPES[dtype == DTYPES[0]]))
                    for x in (end(X), end(X.T.copy()).T, others):
                        for order in (np.empty(0, np.int64), end(np.arange(67))):
                            for batch in (1, 5, 30, 67):
                                outcome = one.train(
                                    x, ends, rule("adam", 5), batch=batch, weights=weights,
                                    order=order, outputs=outputs,
                                )  # fmt: skip
                                assert outcome.reason == layout.FINITE
                        one.forward(x, batch=13)
