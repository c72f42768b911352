"""Every operation in each regime, against naive: Z, dA_prev and the tensors' derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.layers.layout import BLOCKED, RESIDENT
from fastdnn.kernels.layers.operation_table import OPERATIONS
from fastdnn.kernels.layers.operations import FOLLOW, STATISTICS
from tests.kernels import stacks
from tests.kernels.common import DTYPES, assert_near, draw
from tests.kernels.networks import rule as rule_of
from tests.kernels.steps import fill_memory

KINDS = sorted(stacks.ROWS)
each_kind = pytest.mark.parametrize("kind", KINDS)
SIZES = (1, 2, 3, 11, 64, 257)


def test_every_operation_has_a_case() -> None:
    cases = {operation for operation, _, _ in stacks.ROWS.values()} | {"fork", "join"}
    assert cases == set(OPERATIONS)
    assert STATISTICS < FOLLOW


@each_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_naives(kind: str, dtype: Any) -> None:
    engine = stacks.engine_of(stacks.layers_of(kind), dtype)
    for m in SIZES:
        X = stacks.inputs(kind, m).astype(dtype)
        for learning in (True, False):
            Z, back = stacks.operated(kind, engine, X.astype(np.float64), learning)
            W, b = engine.weights(3).astype(np.float64), engine.bias(3).astype(np.float64)
            y, A = draw(9, m, 2), Z @ W.T + b
            y = y.astype(dtype)
            fill_memory(engine)
            dZ_1 = np.full(X.shape, np.nan, dtype)
            loss = engine.differentiate(X, Targets(y), dZ_1=dZ_1, learning=learning)
            assert_near(loss, ((A - y) ** 2).mean(), dtype)
            d = 2 * (A - y) / A.size
            dX, derivatives = back(d @ W)
            # a rounding of x^ counts as a rounding of x / deviation does
            of: dict[str, Any] = {"size": max(np.abs(dX).max(), np.abs(d @ W).max())}
            assert_near(dZ_1, dX, dtype, **of)
            *own, of_product = engine.gradients()
            found = [one for layer in own for one in layer]
            assert len(found) == len(derivatives)
            for one, wanted in zip(found, derivatives, strict=True):
                assert_near(one, wanted, dtype, **of)
            assert_near(of_product[0], d.T @ Z, dtype)
            if not learning:
                assert_near(engine.forward(X, batch=m), A, dtype)


@each_kind
def test_both_regimes_make_it(kind: str) -> None:
    found = []
    for width in (5, 600):  # the wide product is blocked
        layers = stacks.layers_of(kind)
        layers = [*layers[:-1], layers[-1]._replace(n=width)]
        engine = stacks.engine_of(layers)
        found.append(engine.place(64).regime)
    over_batch = OPERATIONS[stacks.ROWS[kind][0]].over_batch
    assert found == [BLOCKED if over_batch else RESIDENT, found[1]]


@each_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_makes_the_same_bits(kind: str, dtype: Any) -> None:
    for activation, m in (("relu", 300), ("gelu", 700), ("softmax", 96)):
        runs = set()
        for n_threads in (1, 2, 3, 5):
            engine = stacks.engine_of(stacks.layers_of(kind, activation), dtype)
            fill_memory(engine)
            X, y = stacks.inputs(kind, m).astype(dtype), draw(9, m, 2).astype(dtype)
            with fastdnn.num_threads(n_threads):
                outcome = engine.train(X, Targets(y), rule_of("adam", 6), batch=m // 3)
            assert outcome.done == 6
            runs.add(engine.values.tobytes() + outcome.losses.tobytes())
        assert len(runs) == 1, f"{kind}, {activation}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_residual_block_is_its_finite_differences(dtype: Any) -> None:
    engine = stacks.engine_of(stacks.residual())
    X, y = draw(1, 37, 5), Targets(draw(2, 37, 2))
    engine.differentiate(X, y)
    gradient, h = engine.gradient.copy(), 1e-6
    for i in range(engine.parameters.size):
        value = engine.parameters[i]
        ends = []
        for moved in (value + h, value - h):
            engine.parameters[i] = moved
            ends.append(engine.differentiate(X, y))
        engine.parameters[i] = value
        assert abs((ends[0] - ends[1]) / (2 * h) - gradient[i]) < 1e-8
    single = stacks.engine_of(stacks.residual(), dtype)
    single.differentiate(X.astype(dtype), Targets(y.y.astype(dtype)))
    assert_near(single.gradient, gradient, dtype)


def test_a_wide_residual_network_is_blocked_and_the_same() -> None:
    runs = set()
    for n_threads in (1, 2, 3):
        engine = stacks.engine_of(stacks.residual(310), np.float32)
        assert engine.place(64).regime == BLOCKED
        X, y = draw(1, 64, 310).astype(np.float32), draw(2, 64, 2).astype(np.float32)
        with fastdnn.num_threads(n_threads):
            engine.train(X, Targets(y), rule_of("adam", 3), batch=64)
        runs.add(engine.values.tobytes())
    assert len(runs) == 1
