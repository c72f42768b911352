"""What a second thread brings to training: 100 per cent is half the time."""

from __future__ import annotations

from time import perf_counter

from by_path import comparison
from labels import labelled

contenders = comparison("contenders")
ROUNDS = 6
SAMPLES = {"mnist_m": 1280, "wide": 2048}  # fewer than the comparison has


class Efficiency:
    """One and two threads in turn, so that both meet the same machine."""

    params = (["digits", "mnist_s", "mnist_m", "deep", "wide"], ["float32", "float64"])
    param_names = ("case", "dtype")
    timeout = 120

    def setup(self, case: str, dtype: str) -> None:
        """Build and warm up with both."""
        import fastdnn

        self.set_num_threads = fastdnn.set_num_threads
        work = contenders.Work(case, dtype=dtype, samples=SAMPLES.get(case))
        self.epoch = contenders.CONTENDERS["fastdnn"](work).epoch
        for threads in (1, 2):
            self.seconds(threads)

    def seconds(self, threads: int, at_least: float = 0.1) -> float:
        """Of an epoch; the first after a change, which wakes threads, does not count."""
        self.set_num_threads(threads)
        self.epoch()
        start, count = perf_counter(), 0
        while perf_counter() - start < at_least:
            self.epoch()
            count += 1
        return (perf_counter() - start) / count

    @labelled("efficiency of two threads", "per cent")
    def track_efficiency(self, case: str, dtype: str) -> float:
        """The best of the rounds of each."""
        times = [(self.seconds(1), self.seconds(2)) for _ in range(ROUNDS)]
        one, two = (min(side) for side in zip(*times, strict=True))
        return 100 * one / (2 * two)
