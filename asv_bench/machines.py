"""Time a step of one network by several processes, and their sums: ``mpiexec -n 2 python …``.

Each process has one thread and batches of its own, of the same size for any number of processes.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from mpi4py import MPI

import fastdnn
from fastdnn.machines.exchange import Exchange

CASES = {"784-512-512-10": 128, "30-64-32-1": 64}
BYTES = [16, 4096, 65_536, 262_144, 1 << 20, 1 << 22]
ROUNDS, STEPS = 5, 60
comm = MPI.COMM_WORLD


def step(widths: list[int], batch: int) -> float:
    """The seconds of a step, of the fastest of some epochs."""
    *hidden, last = widths[1:]
    layers = [*(fastdnn.Dense(n, "relu") for n in hidden), fastdnn.Dense(last)]
    model = fastdnn.Sequential(layers, input_size=widths[0], seed=1)
    model.compile("adam", "mean_squared_error")
    rng = np.random.default_rng(comm.rank)
    X = rng.standard_normal((STEPS * batch, widths[0])).astype("float32")
    y = rng.standard_normal((len(X), last)).astype("float32")
    times: list[float] = []
    clock = fastdnn.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch: times.append(perf_counter()),
        on_epoch_end=lambda epoch, logs: times.append(perf_counter()),
    )
    given = None if comm.size == 1 else comm
    model.fit(X, y, batch_size=batch, epochs=ROUNDS, verbose=0, n_threads=1, comm=given,
              callbacks=[clock])  # fmt: skip
    return min(np.subtract(times[1::2], times[::2])) / STEPS


def exchange(n_bytes: int) -> float:
    """The seconds of a sum over all processes."""
    exchange, vector = Exchange(comm, yields=comm.size > 2), np.ones(n_bytes // 4, np.float32)
    best = np.inf
    for _ in range(ROUNDS):
        comm.Barrier()
        start = perf_counter()
        for _ in range(20):
            exchange.add(vector)
        best = min(best, (perf_counter() - start) / 20)
        vector[:] = 1.0
    return best


def main() -> None:
    """Print it all."""
    for name, batch in CASES.items():
        seconds = step([int(n) for n in name.split("-")], batch)
        if comm.rank == 0:
            print(f"{name} b{batch}, {comm.size} ranks: {seconds * 1e6:.0f} us a step")
    for n_bytes in BYTES if comm.size > 1 else ():
        seconds = exchange(n_bytes)
        if comm.rank == 0:
            print(f"sum of {n_bytes} bytes, {comm.size} ranks: {seconds * 1e6:.1f} us")


if __name__ == "__main__":
    main()
