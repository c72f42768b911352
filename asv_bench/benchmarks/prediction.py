"""`predict`: how long one sample waits, and how many samples a second batches bring."""

from __future__ import annotations

import numpy as np
from by_path import comparison
from labels import labelled

contenders = comparison("contenders")
CALLS = 200


class Predict:
    """A network of the comparison, float32, with fresh weights."""

    timeout = 120

    def build(self, case: str, samples: int, threads: int) -> None:
        """The network and its samples."""
        import fastdnn

        fastdnn.set_num_threads(threads)
        net = contenders.CASES[case]
        self.model = contenders.fastdnn_model(net)
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((samples, net.sizes[0]), dtype=np.float32)


class One(Predict):
    """One sample."""

    params = (["figure", "digits", "mnist_s", "mnist_m", "deep"], [1, 2])
    param_names = ("case", "threads")

    def setup(self, case: str, threads: int) -> None:
        """Build; the first calls, which compile, do not count."""
        self.build(case, 1, threads)

    @labelled("prediction of one sample", "us")
    def track_latency(self, case: str, threads: int) -> float:
        """The mean of many calls, best of several rounds."""
        from machine import best

        return 1e6 * best(lambda: [self.model.predict(self.X) for _ in range(CALLS)]) / CALLS


class Many(Predict):
    """Batches."""

    params = (["digits", "mnist_s", "mnist_m", "deep"], [256, 10_000], [1, 2])
    param_names = ("case", "samples", "threads")

    def setup(self, case: str, samples: int, threads: int) -> None:
        """Build; the first call, which compiles, does not count."""
        self.build(case, samples, threads)

    @labelled("prediction of a batch", "samples/s")
    def track_rate(self, case: str, samples: int, threads: int) -> float:
        """The best of several calls."""
        from machine import best

        return samples / best(lambda: self.model.predict(self.X))
