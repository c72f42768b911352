"""Forward passes of many networks in one native call: the bits of each one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine.many import run_all
from tests.kernels.networks import make


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("of", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_each_network_has_its_own_outputs(
    dtype: Any, of: Any, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "workers", lambda *flops: n)
    widths = [[5, 3], [5, 40, 3], [5, 700, 1], [5, 8, 8, 2], [5, 3]]
    nets = [make(sizes, ["relu"] * (len(sizes) - 1), dtype=dtype) for sizes in widths]
    for m, batch in [(1, 1), (67, 16), (300, 1024)]:
        X = np.random.default_rng(m).normal(size=(m, 5)).astype(of)
        found = [np.full((m, net.layers[-1].n), np.nan, dtype) for net in nets]
        passes = [net.forward_pass(X, A, batch=batch) for net, A in zip(nets, found, strict=True)]
        with threads.num_threads(n):
            run_all(passes, np.dtype(dtype))
        for net, A in zip(nets, found, strict=True):
            np.testing.assert_array_equal(A, net.forward(X, batch=batch))


def test_more_passes_than_ranks_and_calls_behind_each_other() -> None:
    net = make([4, 3], ["relu"], dtype="float32")
    X = np.ones((2, 4), np.float32)
    for count in (1, 50):
        found = [np.empty((2, 3), np.float32) for _ in range(count)]
        for _ in range(2):
            run_all([net.forward_pass(X, A, batch=2) for A in found], np.dtype(np.float32))
        for A in found:
            np.testing.assert_array_equal(A, net.forward(X, batch=2))
