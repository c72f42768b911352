"""Threads and processes that use fastdnn at once: ``python -m tests.stress --minutes 10``.

Each cell of the matrix (numba's threading layer x how a process is started x what its threads do)
is a program of its own. It prints a hash of all results, which has to be that of the same work done
by one thread in one process. The cells are run again and again, in a random order, until the time
is over; the table says how many runs of each cell there were. Exit status 1: a cell has failed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

LAYERS = ("omp", "workqueue", "tbb")
STARTS = ("none", "fork", "fork later", "forkserver", "spawn", "loky", "threading", "prefork")
WORK = ("fits", "one model", "predictions", "mixed")
THREADS, PROCESSES, TASKS = 8, 2, 8
SECONDS = 180  # of a cell, after which it is a hang
OUT_OF_REACH = 77  # exit status of a cell whose layer is not installed


def network(seed: int) -> Any:
    """A compiled network that is large enough for two ranks."""
    import fastdnn

    layers: list[Any] = [fastdnn.Dense(64, "relu"), fastdnn.Dropout(0.1)]
    layers.append(fastdnn.Dense(3, "softmax"))
    model = fastdnn.Sequential(layers, input_size=40, seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def data() -> Any:
    """Samples for all tasks."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((1500, 40), np.float32), rng.integers(0, 3, 1500)


def fitted(task: int) -> bytes:
    """The parameters of a network of the task's own."""
    model, (X, y) = network(task), data()
    model.fit(X, y, batch_size=64, epochs=2, verbose=0)
    return bytes(model.parameters.tobytes())


def task_of(work: str) -> tuple[Callable[[int], bytes], Callable[[], bytes]]:
    """What a thread does with the number of its task, and what there is to see after all."""
    if work == "fits":
        return fitted, bytes
    shared, (X, y) = network(0), data()

    def step(task: int) -> bytes:
        shared.train_on_batch(X[:64], y[:64])
        return b""

    def predict(task: int) -> bytes:
        return b"".join(shared.predict(X[: 1 + task * k]).tobytes() for k in (0, 9, 180))

    if work == "predictions":
        return predict, bytes
    if work == "one model":
        return step, lambda: shared.parameters.tobytes() + b"%d" % shared._state.steps

    def mixed(task: int) -> bytes:
        other = fitted(task) if task % 2 else b""
        return other + predict(task)

    return mixed, bytes


def in_threads(work: str, tasks: Iterable[int], threads: int = THREADS) -> bytes:
    """A hash of what the tasks give, run by so many threads."""
    task, finish = task_of(work)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(task, tasks))
    return hashlib.sha256(b"".join([*found, finish()])).digest()


def child(work: str) -> bytes:
    """What a process does."""
    return in_threads(work, range(TASKS))


def results(start: str, work: str) -> list[bytes]:
    """What each process found."""
    if start in ("none", "threading"):
        if start == "none":
            return [child(work)]
        import joblib

        jobs = joblib.Parallel(n_jobs=PROCESSES, backend="threading")
        return list(jobs(joblib.delayed(child)(work) for _ in range(PROCESSES)))
    if start == "loky":
        import joblib

        jobs = joblib.Parallel(n_jobs=PROCESSES, backend="loky")
        return list(jobs(joblib.delayed(child)(work) for _ in range(PROCESSES)))
    if start == "prefork":
        return preforked(work)
    if start == "fork later":
        fitted(1)  # a parallel call before the fork
    context = multiprocessing.get_context("fork" if start == "fork later" else start)
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        return list(pool.map(child, [work] * PROCESSES))


def preforked(work: str) -> list[bytes]:
    """As a web server does: the model is loaded and used, then workers are forked."""
    model, (X, _) = network(0), data()
    model.predict(X)
    found = []
    for _ in range(PROCESSES):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, child(work))
            os._exit(0)
        os.close(writer)
        found.append(os.read(reader, 64))
        os.close(reader)
        os.wait()
    return found


def cell(start: str, work: str) -> int:
    """Run a cell in this process, and print its hash."""
    from numba.core.errors import NumbaError

    try:
        found = set(results(start, work))
    except (NumbaError, ValueError) as error:
        if "threading layer" in str(error).lower():
            return OUT_OF_REACH
        raise
    print(*(one.hex() for one in found))
    return 0


def run(layer: str, start: str, work: str, wanted: str) -> str:
    """Run a cell in a process of its own; returns "ok", "-" without such a layer, or why not."""
    command = [sys.executable, "-m", "tests.stress", "--cell", start, work]
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "hang"
    if done.returncode == OUT_OF_REACH:
        return "-"
    if done.returncode != 0:
        return f"status {done.returncode}: {done.stderr.strip()[-200:]}"
    return "ok" if done.stdout.strip() == wanted else "other bits"


def serial(work: str) -> str:
    """The hash of the work done by one thread with one rank."""
    program = (
        "import fastdnn; from tests.stress import *; fastdnn.set_num_threads(1);"
        f"print(in_threads({work!r}, range(TASKS), 1).hex())"
    )
    return subprocess.check_output([sys.executable, "-c", program], text=True).strip()


def main() -> int:
    """Run cells until the time is over, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--layers", default=",".join(LAYERS))
    parser.add_argument("--cell", nargs=2, metavar=("START", "WORK"), help="run this cell alone")
    arguments = parser.parse_args()
    if arguments.cell:
        return cell(*arguments.cell)
    os.chdir(Path(__file__).parents[1])
    end = time.monotonic() + 60 * arguments.minutes
    wanted = {work: serial(work) for work in WORK}
    cells = list(product(arguments.layers.split(","), STARTS, WORK))
    counts, failures, absent = Counter[tuple[str, str, str]](), list[str](), set[str]()
    round_number = 0
    while round_number == 0 or time.monotonic() < end:
        round_number += 1
        for layer, start, work in random.sample(cells, len(cells)):
            if layer in absent or (round_number > 1 and time.monotonic() > end):
                continue  # each cell has one run at least
            found = run(layer, start, work, wanted[work])
            counts[layer, start, work] += found == "ok"
            if found == "-":
                absent.add(layer)
            elif found != "ok":
                failures.append(f"{layer}, {start}, {work}: {found}")
                print(failures[-1], file=sys.stderr, flush=True)
    print(f"| layer | start | {' | '.join(WORK)} |")
    print("| --- " * (len(WORK) + 2) + "|")
    for layer, start in product(arguments.layers.split(","), STARTS):
        row = ["not installed" if layer in absent else str(counts[layer, start, w]) for w in WORK]
        print(f"| {layer} | {start} | {' | '.join(row)} |")
    print(f"{sum(counts.values())} runs, {len(failures)} failures")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
