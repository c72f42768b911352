"""How near to this machine's limits the kernels come: ``python asv_bench/limits.py [--threads N]``.

The limits are measured in the same process: the peak of fused multiply-adds by a loop that does
nothing else, the memory's bandwidth by copying. Printed are the fused forward kernel beside NumPy's
product followed by bias and activation, and the training step of each case with its share of the
peak. Needs threadpoolctl (the `bench` extra).
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from by_path import comparison
from machine import bandwidth, best, fma_peak
from threadpoolctl import threadpool_limits

import fastdnn
from fastdnn import kernels

contenders = comparison("contenders")


def _numpy_forward(A_prev: Any, W: Any, b: Any) -> Any:
    return np.maximum(W @ A_prev + b, 0)


def forward_kernel(dtype: Any, threads: int) -> None:
    """A = relu(W A_prev + b) beside NumPy's product followed by the same."""
    peak = fma_peak(dtype, threads)
    rng = np.random.default_rng(0)
    for m, k, n in ((1024, 1024, 1024), (200, 784, 100)):
        A_prev = rng.standard_normal((m, k)).astype(dtype).T
        W, b = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((n, 1)).astype(dtype)
        out = np.empty((m, n), dtype).T
        flops = 2 * m * k * n
        ours = best(partial(kernels.linear_forward, A_prev, W, b, "relu", out=out))
        with threadpool_limits(threads):
            numpy = best(partial(_numpy_forward, A_prev, W, b))
        print(
            f"| {np.dtype(dtype)} | {m} x {k} x {n} | {1e6 * ours:.0f} | "
            f"{flops / ours / 1e9:.1f} | {flops / ours / peak:.0%} | {1e6 * numpy:.0f} |"
        )


def training_step(name: str, optimizer: str, peak: float) -> None:
    """Microseconds per step of a case, and its share of the peak."""
    net = contenders.CASES[name]
    batch = net.batch
    samples = max(4 * batch, 12_800 // batch * batch)
    X, y = contenders.data(contenders.Work(name, samples=samples))
    model = contenders.fastdnn_model(net)
    model.compile(optimizer, contenders.fastdnn_loss(net))
    run = best(lambda: model.fit(X, y, batch_size=batch, shuffle=False, verbose=0), 1.0)
    seconds = run / (samples // batch)
    weights = [a * b for a, b in pairwise(net.sizes)]
    flops = 2 * batch * (3 * sum(weights) - weights[0])
    print(
        f"| {name} | {batch} | {1e6 * seconds:.1f} | {flops / seconds / 1e9:.1f} | "
        f"{1e6 * flops / peak:.1f} | {flops / seconds / peak:.0%} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=fastdnn.get_num_threads())
    parser.add_argument("--optimizer", default="adam")
    options = parser.parse_args()
    fastdnn.set_num_threads(options.threads)
    peak = fma_peak(np.float32, options.threads)
    print(f"{options.threads} threads, peak {peak / 1e9:.1f} GFLOP/s, ", end="")
    print(f"copying {bandwidth(options.threads) / 1e9:.1f} GB/s\n")
    print("| dtype | m x k x n | us | GFLOP/s | of the peak | NumPy, us |\n|" + " --- |" * 6)
    for dtype in (np.float32, np.float64):
        forward_kernel(dtype, options.threads)
    print(
        "\n| case | batch | us a step | GFLOP/s | us at the peak | of the peak |\n|" + " --- |" * 6
    )
    for name in contenders.CASES:
        training_step(name, options.optimizer, peak)


if __name__ == "__main__":
    main()
