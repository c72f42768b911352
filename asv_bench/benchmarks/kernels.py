"""Single kernels: how fast, and which share of the limit that is measured in the same process.

Products are compared with the peak of fused multiply-adds, what reads and writes memory with the
bandwidth of a copy. A kernel that a commit does not have is n/a.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from labels import labelled

DTYPES = ["float32", "float64"]
THREADS = [1, 2]
SHAPES = {"784-128 x 128": (784, 128, 128), "1024-1024 x 1024": (1024, 1024, 1024)}  # n_prev, n, m
ROWS = 2**19  # of 10 outputs: more than a cache holds, as all that follows
PARAMETERS = 2**23
FEATURES, SAMPLES = 784, 2**15


class Kernel:
    """Times `self.runs`, one call per thread, which do `self.work` flops or bytes together."""

    timeout = 120
    runs: list[Any]
    work: float

    def seconds(self) -> float:
        """The best of several rounds; the first, which compiles, does not count."""
        from machine import side_by_side

        return side_by_side(self.runs)


class Product(Kernel):
    """A product of a layer."""

    params = (list(SHAPES), DTYPES, THREADS)
    param_names = ("layer x samples", "dtype", "threads")

    def draw(self, shape: str, dtype: str, threads: int) -> tuple[Any, ...]:
        """A_prev, W and b, and the number of threads."""
        import fastdnn

        fastdnn.set_num_threads(threads)
        # Once so much has been freed, glibc keeps memory for the next results. Until then it may
        # map new pages for each call, or not: float64 was half as fast in some processes.
        np.empty(2**24, np.uint8)
        n_prev, n, m = SHAPES[shape]
        self.work = 2.0 * n_prev * n * m
        rng = np.random.default_rng(0)
        A_prev = rng.standard_normal((m, n_prev)).astype(dtype).T
        W = rng.standard_normal((n, n_prev)).astype(dtype)
        return A_prev, W / n_prev**0.5, np.zeros((n, 1), dtype)

    def share(self, dtype: str, threads: int) -> float:
        """Per cent of the peak."""
        from machine import fma_peak

        return 100 * self.work / self.seconds() / fma_peak(dtype, threads)


class Forward(Product):
    """A = relu(W A_prev + b)."""

    def setup(self, shape: str, dtype: str, threads: int) -> None:
        """Have all that it needs at hand."""
        from fastdnn import kernels

        A_prev, W, b = self.draw(shape, dtype, threads)
        out = np.empty((SHAPES[shape][2], len(b)), dtype).T
        self.runs = [partial(kernels.linear_forward, A_prev, W, b, "relu", out=out)]

    @labelled("forward of a layer", "GFLOP/s")
    def track_rate(self, shape: str, dtype: str, threads: int) -> float:
        """Flops of the product."""
        return self.work / self.seconds() / 1e9

    @labelled("forward of a layer, of the FMA peak", "per cent")
    def track_share(self, shape: str, dtype: str, threads: int) -> float:
        """Of the peak."""
        return self.share(dtype, threads)


class Backward(Product):
    """dZ, dW, db and dA_prev."""

    def setup(self, shape: str, dtype: str, threads: int) -> None:
        """Have all that it needs at hand."""
        from fastdnn import kernels

        A_prev, W, b = self.draw(shape, dtype, threads)
        self.work *= 2
        A = kernels.linear_forward(A_prev, W, b, "relu")
        self.runs = [partial(kernels.linear_backward, A, A_prev, W, "relu", A=A)]

    @labelled("backward of a layer", "GFLOP/s")
    def track_rate(self, shape: str, dtype: str, threads: int) -> float:
        """Flops of the two products."""
        return self.work / self.seconds() / 1e9

    @labelled("backward of a layer, of the FMA peak", "per cent")
    def track_share(self, shape: str, dtype: str, threads: int) -> float:
        """Of the peak."""
        return self.share(dtype, threads)


class Stream(Kernel):
    """What is limited by memory."""

    params = (DTYPES, THREADS)
    param_names = ("dtype", "threads")

    def share(self, threads: int) -> float:
        """Per cent of the bandwidth."""
        from machine import bandwidth

        return 100 * self.work / self.seconds() / bandwidth(threads)


class BiasGradient(Stream):
    """db = sum of dZ over the samples / m."""

    def setup(self, dtype: str, threads: int) -> None:
        """Have all that it needs at hand."""
        import fastdnn
        from fastdnn import kernels

        fastdnn.set_num_threads(threads)
        dZ = np.ones((SAMPLES, FEATURES), dtype).T
        self.work = dZ.nbytes
        self.runs = [partial(kernels.bias_gradient, dZ)]

    @labelled("db, the sum of dZ over the samples", "GB/s")
    def track_rate(self, dtype: str, threads: int) -> float:
        """Bytes of dZ."""
        return self.work / self.seconds() / 1e9

    @labelled("db, of a copy's bandwidth", "per cent")
    def track_share(self, dtype: str, threads: int) -> float:
        """Of the bandwidth."""
        return self.share(threads)


class Update(Stream):
    """Adam on 8 million parameters."""

    def setup(self, dtype: str, threads: int) -> None:
        """Compile, and share the parameters among the threads."""
        import inner

        self.work, self.runs = inner.adam(PARAMETERS, dtype, threads)

    @labelled("Adam's update", "GB/s")
    def track_rate(self, dtype: str, threads: int) -> float:
        """Bytes of parameter, gradient and two moments read, all but the gradient written."""
        return self.work / self.seconds() / 1e9

    @labelled("Adam's update, of a copy's bandwidth", "per cent")
    def track_share(self, dtype: str, threads: int) -> float:
        """Of the bandwidth."""
        return self.share(threads)


class Loss(Stream):
    """Softmax, its cross-entropy and the derivative of both, in one pass."""

    def setup(self, dtype: str, threads: int) -> None:
        """Compile, and share the samples among the threads."""
        import inner

        self.work, self.runs = inner.softmax_crossentropy(ROWS, dtype, threads)

    @labelled("softmax and cross-entropy of 10 classes", "GB/s")
    def track_rate(self, dtype: str, threads: int) -> float:
        """Bytes of Z and labels read, of A, dZ and losses written."""
        return self.work / self.seconds() / 1e9

    @labelled("softmax and cross-entropy, of a copy's bandwidth", "per cent")
    def track_share(self, dtype: str, threads: int) -> float:
        """Of the bandwidth."""
        return self.share(threads)


class Gather(Stream):
    """The minibatches' rows in shuffled order."""

    def setup(self, dtype: str, threads: int) -> None:
        """Compile, and share the samples among the threads."""
        import inner

        self.work, self.runs = inner.gather(SAMPLES, FEATURES, dtype, threads)

    @labelled("gathering shuffled samples", "GB/s")
    def track_rate(self, dtype: str, threads: int) -> float:
        """Bytes read and written."""
        return self.work / self.seconds() / 1e9

    @labelled("gathering shuffled samples, of a copy's bandwidth", "per cent")
    def track_share(self, dtype: str, threads: int) -> float:
        """Of the bandwidth."""
        return self.share(threads)
