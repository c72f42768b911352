"""Threads and processes that use fastdnn at once: ``python -m tests.stress --minutes 10``.

Each cell of the matrix (numba's threading layer x how a process is started x what its threads do)
is a program of its own. It prints a hash of all results, which has to be that of the same work done
by one thread in one process. The cells are run again and again, in a random order, until the time
is over; the table says how many runs of each cell went well, or how one went wrong. Exit status 1:
a cell has failed. The layer "tbb" is there after ``pip install tbb``.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

LAYERS = ("omp", "workqueue", "tbb")
STARTS = ("none", "fork", "fork later", "forkserver", "spawn", "loky", "threading", "prefork")
WORK = ("fits", "one model", "predictions", "mixed", "all of one", "other faces")
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

    if work == "other faces":
        return other_faces, bytes
    if work == "all of one":
        states = states_of(network(0))
        return lambda task: all_of(shared, states), lambda: shared.parameters.tobytes()

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


FIT: dict[str, Any] = {"batch_size": 500, "shuffle": False, "verbose": 0}


def states_of(model: Any) -> dict[bytes, tuple[int, bytes, float]]:
    """The parameters after each step of all tasks' trainings, and what the model then says."""
    import fastdnn

    X, y = data()
    states = {}

    def keep(*_: Any) -> None:
        says = model.predict(X[:300]).tobytes(), model.evaluate(X[:300], y[:300])["loss"]
        states[model.parameters.tobytes()] = model._state.steps, *says

    keep()
    for _ in range(TASKS):
        model.fit(X, y, callbacks=[fastdnn.LambdaCallback(on_train_batch_end=keep)], **FIT)
    return states


def all_of(model: Any, states: dict[bytes, tuple[int, bytes, float]]) -> bytes:
    """Train, evaluate, predict, save, pickle and read: all see the model after some step."""
    import numpy as np

    import fastdnn

    X, y = data()
    model.fit(X, y, **FIT)
    weights = np.concatenate([one.reshape(-1) for one in model.get_weights()])
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m.safetensors")
        loaded = fastdnn.load(f"{folder}/m.safetensors")
    for copy in (loaded, pickle.loads(pickle.dumps(model))):
        assert states[copy.parameters.tobytes()][0] == copy._state.steps
    assert weights.tobytes() in states
    steps, outputs, losses = zip(*states.values(), strict=True)
    assert model._state.steps in steps
    assert model.predict(X[:300]).tobytes() in outputs
    assert model.evaluate(X[:300], y[:300])["loss"] in losses

    def source() -> Iterator[Any]:
        with ThreadPoolExecutor(1) as pool:  # which uses the model that asks it for batches
            yield pool.submit(lambda: (X[:90], model.predict(X[:90]).argmax(axis=1))).result()

    model.evaluate(source)
    return b""


def other_faces(task: int) -> bytes:
    """An estimator, the textbook's functions and a kernel."""
    import fastdnn
    from fastdnn import kernels, textbook

    X, y = data()
    one = fastdnn.MLPClassifier((32,), max_iter=2, random_state=task, n_iter_no_change=9)
    warnings.simplefilter("ignore")  # that two epochs are few
    found = one.fit(X, y).predict_proba(X)
    parameters, _ = textbook.L_layer_model(X[:99].T, y[:99].reshape(1, -1) % 2, [40, 5, 1], 0.01, 9)
    A = kernels.linear_forward(X.T, one.coefs_[0].T, one.intercepts_[0], "relu")
    arrays = [found, A, *(parameters[name] for name in sorted(parameters))]
    return b"".join(array.tobytes() for array in arrays)


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
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(SECONDS):  # a second each time: while this process is stopped, none counts
        with suppress(subprocess.TimeoutExpired):
            found, errors = started.communicate(timeout=1)
            break
    else:
        started.kill()
        return "hang"
    if started.returncode == OUT_OF_REACH:
        return "-"
    if started.returncode != 0:
        return f"status {started.returncode}: {errors.strip()[-200:]}"
    return "ok" if found.strip() == wanted else "other bits"


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
    counts, failed = Counter[tuple[str, ...]](), dict[tuple[str, ...], str]()
    absent = set[str]()
    round_number = 0
    while round_number == 0 or time.monotonic() < end:
        round_number += 1
        for layer, start, work in random.sample(cells, len(cells)):
            if layer in absent or (round_number > 1 and time.monotonic() > end):
                continue  # each cell has one run at least
            found = run(layer, start, work, wanted[work])
            print(f"{layer}, {start}, {work}: {found}", file=sys.stderr, flush=True)
            counts[layer, start, work] += found == "ok"
            if found == "-":
                absent.add(layer)
            elif found != "ok":
                failed[layer, start, work] = found

    def result(*of: str) -> str:
        if of[0] in absent:
            return "not installed"
        return f"FAILED: {failed[of].splitlines()[0]}" if of in failed else f"ok {counts[of]}"

    print(f"| layer | start | {' | '.join(WORK)} |")
    print("| --- " * (len(WORK) + 2) + "|")
    for layer, start in product(arguments.layers.split(","), STARTS):
        row = [result(layer, start, work) for work in WORK]
        print(f"| {layer} | {start} | {' | '.join(row)} |")
    print(f"{sum(counts.values())} runs, {len(failed)} cells failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
