"""The training step of whole networks, as in the comparison with other libraries."""

from __future__ import annotations

from typing import Any

from by_path import comparison
from labels import labelled

contenders = comparison("contenders")
BIG = {"mnist_m", "wide", "large"}  # in float32 with Adam alone
SAMPLES = {"large": 2048}  # fewer than the comparison has


def prepare(case: str, **settings: Any) -> tuple[Any, int]:
    """An epoch of fastdnn, and its number of steps."""
    work = contenders.Work(case, samples=SAMPLES.get(case), **settings)
    return contenders.CONTENDERS["fastdnn"](work).epoch, work.steps


class Step:
    """A step: gather, forward, loss, backward and update."""

    params = (list(contenders.CASES), ["adam", "sgd"], ["float32", "float64"], [1, 2])
    param_names = ("case", "optimizer", "dtype", "threads")
    timeout = 120

    def setup(self, case: str, optimizer: str, dtype: str, threads: int) -> None:
        """Build the network; the first epoch, which compiles, does not count."""
        if case in BIG and (optimizer, dtype) != ("adam", "float32"):
            raise NotImplementedError(f"{case} is trained by Adam in float32 only: it takes long")
        self.epoch, self.steps = prepare(case, optimizer=optimizer, dtype=dtype, threads=threads)

    @labelled("training step", "us")
    def track_step(self, case: str, optimizer: str, dtype: str, threads: int) -> float:
        """The best of several epochs, per step."""
        from machine import best

        return 1e6 * best(self.epoch) / self.steps


class Samples:
    """Adam, float32, two threads."""

    params = (list(contenders.CASES),)
    param_names = ("case",)
    timeout = 120

    def setup(self, case: str) -> None:
        """Build the network; the first epoch, which compiles, does not count."""
        self.epoch, steps = prepare(case)
        self.samples = steps * contenders.CASES[case].batch

    @labelled("samples trained on in a second", "samples/s")
    def track_rate(self, case: str) -> float:
        """In the best of several epochs."""
        from machine import best

        return self.samples / best(self.epoch)
