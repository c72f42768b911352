"""Denormal numbers count as 0 in a step, and in no other computation of its threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.cpu.targets import cpu_features
from fastdnn.kernels.llvm.denormals import flush_denormals, restore
from tests.kernels.common import RANKS, compiled, each_dtype
from tests.kernels.networks import data, make, rule

pytestmark = pytest.mark.usefixtures("awake_threads")

FLUSHES = "sse2" in cpu_features()


@compiled(lambda t: (vector(t), vector(t)))
def _products(rank, n_ranks, team, x, factor):  # type: ignore[no-untyped-def]
    """Each rank multiplies a number as ever, one flushed, and one as ever again."""
    for at in range(3 * rank, x.size, 3 * n_ranks):  # all of them where the ranks did not meet
        x[at] *= factor[0]
        before = flush_denormals()
        x[at + 1] *= factor[0]
        restore(before)
        x[at + 2] *= factor[0]


@each_dtype
@pytest.mark.parametrize("n_ranks", RANKS)
@pytest.mark.parametrize(("start", "factor"), [(1, 0.5), (0.5, 4)], ids=["result", "operand"])
def test_only_what_is_between_is_flushed(
    dtype: Any, n_ranks: int, start: float, factor: float
) -> None:
    smallest = float(np.finfo(dtype).tiny)  # of the numbers that are not denormal
    x = np.full(3 * n_ranks, start * smallest, dtype)
    with fastdnn.num_threads(n_ranks):
        _products(dtype, n_ranks, x, np.array([factor], dtype))
    product = start * smallest * factor
    np.testing.assert_array_equal(x, [product, 0 if FLUSHES else product, product] * n_ranks)


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 3])
def test_adam_forgets_an_old_gradient(dtype: Any, n_threads: int) -> None:
    """Where a gradient is 0 from some step on, m shrinks to 0 and is not denormal for ever."""
    net = make([40, 30, 3], ["relu", "identity"], dtype=dtype)
    X, _, targets = data(net, 64, "mean_squared_error")
    with fastdnn.num_threads(n_threads):
        net.train(X, targets, rule("adam", 3), batch=64)
        net.weights(1)[...], net.bias(1)[...] = 0, -1  # all units are dead
        steps = 1000 if dtype == np.float32 else 8000
        outcome = net.train(X, targets, rule("adam", steps, t=4), batch=64)
    assert outcome.done == steps
    m = net.slots[: net.parameters.size]
    first = m[: 40 * 30]
    is_denormal = (first != 0) & (np.abs(first) < np.finfo(dtype).tiny)
    assert is_denormal.any() != FLUSHES
    assert np.finfo(dtype).tiny / 2 > 0  # the caller's thread is as it was
