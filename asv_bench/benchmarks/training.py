"""The training step of whole networks: microseconds per step, by shape and number of threads."""

from time import perf_counter

import numpy as np

import fastdnn

# layer sizes and batch
SHAPES = {
    "digits": ([64, 100, 10], 200),
    "mnist": ([784, 128, 10], 128),
    "deep": ([64] * 17 + [10], 256),
}
STEPS = 50


class Step:
    """One step of Adam on random data, float32."""

    params = (list(SHAPES), [1, 2])
    param_names = ("shape", "threads")
    unit = "us"
    timeout = 300

    def setup(self, shape: str, threads: int) -> None:
        """Build, compile and warm up: no timing holds any of it."""
        sizes, batch = SHAPES[shape]
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((STEPS * batch, sizes[0]), dtype=np.float32)
        self.y = rng.integers(0, sizes[-1], len(self.X))
        hidden = [fastdnn.Dense(n, "relu") for n in sizes[1:-1]]
        self.model = fastdnn.Sequential([*hidden, fastdnn.Dense(sizes[-1], "softmax")], seed=0)
        self.model.compile("adam", "sparse_categorical_crossentropy")
        self.batch = batch
        fastdnn.set_num_threads(threads)
        self.epoch()

    def epoch(self) -> float:
        """Train an epoch; returns its seconds."""
        start = perf_counter()
        self.model.fit(self.X, self.y, batch_size=self.batch, verbose=0)
        return perf_counter() - start

    def track_step(self, shape: str, threads: int) -> float:
        """The best of several epochs, per step."""
        return min(self.epoch() for _ in range(10)) / STEPS * 1e6
