"""The output layer, the loss and dZ_L: every way that targets, weights and outputs come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels import LOSSES
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import Engine
from tests.kernels import regimes
from tests.kernels.common import Array, assert_near, draw, each_dtype, nan
from tests.kernels.networks import (
    assert_gradient,
    assert_outputs,
    data,
    evaluated,
    gradients,
    make,
    rule,
    still,
)
from tests.kernels.regimes import each_regime

pytestmark = pytest.mark.usefixtures("share_small_work")

# fused with their loss, plain with g' from A or from Z, and over the row
CASES = [
    ("mean_squared_error", "identity"),
    ("mean_squared_error", "silu"),
    ("huber", "tanh"),
    ("binary_crossentropy", "sigmoid"),
    ("binary_crossentropy", "softmax"),
    ("categorical_crossentropy", "softmax"),
    ("categorical_crossentropy", "sigmoid"),
    ("sparse_categorical_crossentropy", "softmax"),
    ("sparse_categorical_crossentropy", "softplus"),
]
M, BATCH = 67, 31
ORDERS = {
    "in order": np.empty(0, np.int64),
    "shuffled": np.random.default_rng(3).permutation(M),
    "some twice": np.random.default_rng(3).integers(M, size=M),
}
each_case = pytest.mark.parametrize(("loss", "activation"), CASES)
each_order = pytest.mark.parametrize("order", ORDERS)


def step_at(net: Engine, X: Array, given_targets: Targets, **settings: Any) -> Any:
    """One step that moves no parameter."""
    return net.train(X, given_targets, still(), batch=BATCH, **settings)


@each_dtype
@each_regime
@each_case
@each_order
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_takes_the_targets_of_its_samples(
    dtype: Any,
    regime: str,
    loss: str,
    activation: str,
    order: str,
    weighted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regimes.force(monkeypatch, regime)
    net = make([7, 9, 3], ["softmax", activation], loss, dtype=dtype)
    regimes.assert_shared(net, BATCH, regime)
    X, Y, given_targets = data(net, M, loss)
    weights = np.random.default_rng(5).uniform(0, 3, M).astype(dtype) if weighted else None
    numbers = np.arange(M) if order == "in order" else ORDERS[order]
    for first in range(3):  # the last batch is smaller
        outputs = nan(M * 3, dtype=dtype)
        outcome = step_at(
            net, X, given_targets, first=first, order=ORDERS[order], weights=weights,
            outputs=outputs,
        )  # fmt: skip
        batch = numbers[first * BATCH :][:BATCH]
        w = None if weights is None else weights[batch]
        value, pairs = gradients(net, loss, X[batch], Y[:, batch], weights=w)
        assert_near(outcome.losses[0], value, dtype)
        assert_gradient(net, pairs)
        rows, seen = outputs.reshape(M, 3), np.isin(np.arange(M), batch)
        assert_outputs(net, X[seen], rows[seen])
        assert np.isnan(rows[~seen]).all()


@each_dtype
@each_regime
def test_a_weight_of_0_takes_a_sample_out(
    dtype: Any, regime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    loss = "mean_squared_error"
    net = make([7, 9, 3], ["softmax", "identity"], loss, dtype=dtype)
    X, Y, given_targets = data(net, M, loss)
    weights = (np.arange(M) % 3 > 0).astype(dtype)
    value = net.differentiate(X, given_targets, weights=weights)
    kept = weights > 0
    wanted, pairs = gradients(net, loss, X[kept], Y[:, kept])
    share = kept.mean()
    assert_near(value, share * wanted, dtype)
    assert_gradient(net, [(share * dW, share * db) for dW, db in pairs])


@each_dtype
@each_regime
@each_case
def test_without_targets_there_are_outputs_alone(
    dtype: Any, regime: str, loss: str, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    net = make([7, 9, 3], ["softmax", activation], loss, dtype=dtype)
    X, _, given_targets = data(net, M, loss)
    outputs = net.forward(X, batch=BATCH)
    assert_outputs(net, X, outputs)
    value, again = evaluated(net, X, given_targets, batch=BATCH)
    assert np.isfinite(value)
    # fused with the loss the activation may be computed another way
    assert_outputs(net, X, again)


@each_dtype
@each_regime
def test_an_order_of_the_samples_changes_no_bit(
    dtype: Any, regime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    results = []
    for order in (np.empty(0, np.int64), np.arange(M)):
        net = make([7, 9, 3], ["softmax", "softmax"], "categorical_crossentropy", dtype=dtype)
        X, _, given_targets = data(net, M, "categorical_crossentropy")
        weights = np.abs(draw(5, M, dtype=dtype))
        outcome = net.train(
            X, given_targets, rule("adam", 5), batch=BATCH, order=order, weights=weights
        )
        results.append(net.parameters.tobytes() + outcome.losses.tobytes())
    assert results[0] == results[1]


def test_fused_and_plain_losses_of_dense_and_class_targets_are_tested() -> None:
    for name in ("binary_crossentropy", "categorical_crossentropy"):
        (fused,) = LOSSES[name].fused
        assert {g == fused for loss, g in CASES if loss == name} == {True, False}
    assert {LOSSES[loss].labels for loss, _ in CASES} == {True, False}
