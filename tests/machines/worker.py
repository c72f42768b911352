"""What each process does in the tests of trainings by several processes: ``worker NAME …``."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import fastdnn
from fastdnn.callbacks import Callback, EarlyStopping, ModelCheckpoint
from fastdnn.data import ParquetBatches
from fastdnn.layers import Dense, Dropout
from fastdnn.machines.exchange import Exchange
from fastdnn.normalization import BatchNormalization
from fastdnn.regularizers import L2

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
Array = np.ndarray[Any, Any]
# layers, batch of all ranks, dtype, optimizer; the first ones' segments are those of each rank too
CASES: dict[str, tuple[list[int], int, str, str]] = {
    "segments": ([30, 64, 32, 3], 128, "float32", "adam"),
    "eight segments": ([30, 64, 32, 3], 256, "float64", "adam"),
    "blocked": ([100, 300, 300, 10], 256, "float64", "adam"),
    "blocked float32": ([784, 100, 10], 64, "float32", "sgd"),
    "tiny": ([3, 5, 5, 3, 2], 64, "float64", "sgd"),
}


def network(widths: list[int], dtype: str, seed: int, *, penalty: float = 0.0) -> Any:
    *hidden, last = widths[1:]
    layers = [Dense(n, "relu", kernel_regularizer=L2(penalty)) for n in hidden]
    return fastdnn.Sequential(
        [*layers, Dense(last, "softmax")], input_size=widths[0], dtype=dtype, seed=seed
    )


def samples(m: int, n_0: int, classes: int, dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, n_0)).astype(dtype), rng.integers(0, classes, m)


def shard(m: int, batch: int) -> Array:
    """The rows of which each batch of all ranks gives this rank its part."""
    starts = range(0, m, batch)
    return np.concatenate([np.array_split(np.arange(m)[i : i + batch], SIZE)[RANK] for i in starts])


def digest(model: Any) -> str:
    """The parameters, which are the same on all ranks."""
    of_all = COMM.allgather(hashlib.sha256(model.parameters.tobytes()).hexdigest())
    assert len(set(of_all)) == 1, of_all
    return str(of_all[0])


def relative(model: Any, other: Any) -> float:
    a, b = (np.asarray(one.parameters, np.float64) for one in (model, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def numbers() -> dict[str, Any]:
    """Each case's parameters, and how far they are from those of one process."""
    found: dict[str, Any] = {}
    for name, (widths, batch, dtype, optimizer) in CASES.items():
        X, y = samples(5 * batch, widths[0], widths[-1], dtype)
        # the ranks begin apart; rank 0's is the start
        model, other = (network(widths, dtype, seed) for seed in (RANK, 0))
        rows, rest = shard(len(y), batch), {"epochs": 3, "shuffle": False, "verbose": 0}
        for one in (model, other):
            one.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
        history = model.fit(
            X[rows], y[rows], batch_size=batch // SIZE, comm=COMM,
            validation_data=(X[RANK::SIZE], y[RANK::SIZE]), **rest,
        )  # fmt: skip
        alone = other.fit(X, y, batch_size=batch, validation_data=(X, y), **rest)
        assert list(alone.history) == list(history.history)
        logs = [np.max(np.abs(np.divide(history.history[key], alone.history[key]) - 1))
                for key in history.history]  # fmt: skip
        found[name] = digest(model), relative(model, other), float(np.max(logs))
    return found


def others() -> dict[str, Any]:
    """Layers and shards of other kinds."""
    X, y = samples(100, 6, 3, "float64")
    sizes = [40, 25, 0, 35][:SIZE] if SIZE > 1 else [100]
    at = int(np.sum(sizes[:RANK], dtype=int))
    mine = slice(at, at + sizes[RANK])
    found: dict[str, Any] = {}

    def fit(model: Any, **given: Any) -> Any:
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        return model.fit(X[mine], y[mine], batch_size=8, epochs=2, comm=COMM, verbose=0, **given)

    model = network([6, 5, 3], "float64", 1, penalty=0.01)
    history = fit(model)
    found["uneven"] = digest(model), int(model._state.steps), history.history["loss"]
    both = COMM.allgather(history.history)
    found["same logs"] = all(one == both[0] for one in both)
    # one process steps with the sum of the same batches
    other = network([6, 5, 3], "float64", 1, penalty=0.01)
    other.compile("adam", "sparse_categorical_crossentropy")
    steps = [np.concatenate([np.arange(sum(sizes[:r]) + k, sum(sizes[:r]) + min(k + 8, sizes[r]))
             for r in range(SIZE)]) for k in range(0, max(sizes), 8)]  # fmt: skip
    again = network([6, 5, 3], "float64", 1, penalty=0.01)
    fit(again, shuffle=False)
    for _ in range(2):
        for rows in steps:
            other.train_on_batch(X[rows.astype(int)], y[rows.astype(int)])
    found["uneven against one"] = relative(again, other)
    for name in ("clipnorm", "global_clipnorm"):
        clipped, other = (network([6, 5, 3], "float64", 1, penalty=0.01) for _ in range(2))
        for one in (clipped, other):
            rule = fastdnn.SGD(0.1, **{name: 0.05})
            one.compile(rule, "sparse_categorical_crossentropy", ["accuracy"])
        clipped.fit(X[mine], y[mine], 8, 2, shuffle=False, comm=COMM, verbose=0)
        for _ in range(2):
            for rows in steps:
                other.train_on_batch(X[rows.astype(int)], y[rows.astype(int)])
        found[name] = digest(clipped) and relative(clipped, other)
    drops = [
        fastdnn.Sequential([Dense(20, "relu"), Dropout(0.5), Dense(3, "softmax")], input_size=6,
                           seed=2) for _ in range(2)
    ]  # fmt: skip
    found["dropout"] = [(fit(one), digest(one))[1] for one in drops]
    normed = fastdnn.Sequential(
        [Dense(5, "relu"), BatchNormalization(), Dense(3, "softmax")], input_size=6, seed=3
    )
    fit(normed)
    digest(normed)
    values = COMM.allgather([one.copy() for one in normed.get_weights()])
    found["moving averages"] = all(
        np.array_equal(a, b) for one in values for a, b in zip(one, values[0], strict=True)
    )
    m = 3 * 8 * SIZE
    rows = shard(m, 8 * SIZE)
    short, alone = (network([6, 5, 3], "float64", 1) for _ in range(2))
    for one in (short, alone):
        one.compile("adam", "sparse_categorical_crossentropy")
    # three steps in a pass, and two in an epoch
    rest = {"epochs": 4, "steps_per_epoch": 2, "shuffle": False, "verbose": 0}
    history = short.fit(X[rows], y[rows], 8, comm=COMM, **rest)
    logs = alone.fit(X[:m], y[:m], 8 * SIZE, **rest).history["loss"]
    found["short epochs"] = digest(short) and relative(short, alone), int(short._state.steps)
    found["their losses"] = float(np.abs(np.divide(history.history["loss"], logs) - 1).max())
    stopped = network([6, 5, 3], "float64", 1)
    stopping = EarlyStopping("loss", min_delta=1e9, patience=1 if RANK == SIZE - 1 else 1000)
    stopped.compile("sgd", "sparse_categorical_crossentropy")
    history = stopped.fit(
        X[:8], y[:8], epochs=50, callbacks=[stopping], comm=COMM, verbose=0
    )  # fmt: skip
    found["stopped after"] = len(history.epoch)
    return found


def streams(folder: str) -> dict[str, Any]:
    """Sources of batches: lists, and a folder of Parquet files."""
    X, y = samples(160, 6, 3, "float64")
    found: dict[str, Any] = {}
    lists, arrays = (network([6, 5, 3], "float64", 1) for _ in range(2))
    rows = shard(160, 16 * SIZE)
    batches = [(X[rows[i : i + 16]], y[rows[i : i + 16]]) for i in range(0, len(rows), 16)]
    for one in (lists, arrays):
        one.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    rest = {"epochs": 2, "comm": COMM, "verbose": 0}
    first = lists.fit(batches, **rest).history
    second = arrays.fit(X[rows], y[rows], batch_size=16, shuffle=False, **rest).history
    found["as arrays"] = digest(lists) == digest(arrays), first == second
    uneven = network([6, 5, 3], "float64", 1)
    uneven.compile("adam", "sparse_categorical_crossentropy")
    uneven.fit(batches[: 1 + RANK], **rest)
    found["uneven steps"] = digest(uneven) and int(uneven._state.steps)
    source = ParquetBatches(folder, target="y", batch_size=4, shard=(RANK, SIZE))
    found["rows"] = COMM.allgather(source.n_samples)
    of_files = fastdnn.Sequential([Dense(1)], input_size=2, seed=1)
    of_files.compile("sgd", "mean_squared_error")
    of_files.fit(source, **rest)
    found["files"] = bool(digest(of_files))
    return found


def errors() -> list[str]:
    """The errors of wrong arguments, which come on all ranks."""
    X, y = samples(16, 6, 3, "float64")
    found: list[str] = []

    def attempt(widths: list[int], optimizer: str, X: Array, **given: Any) -> None:
        model = network(widths, "float64", 1)
        model.compile(optimizer, "sparse_categorical_crossentropy")
        try:
            model.fit(X, y[: len(X)], verbose=0, **{"comm": COMM, **given})
            found.append("nothing")
        except (TypeError, ValueError, ArithmeticError) as error:
            found.append(f"{type(error).__name__}: {error}")

    last = RANK == SIZE - 1
    attempt([6, 5 + last, 3], "adam", X)
    attempt([6, 5, 3], "sgd" if last else "adam", X)
    attempt([6, 5, 3], "adam", X, batch_size=-last or 4)
    attempt([6, 5, 3], "adam", X[:0])
    attempt([6, 5, 3], "adam", X, comm=5)
    attempt([6, 5, 3], "adam", X, validation_data=(X, y) if last else None)
    huge = np.where(last, 1e200, 1.0) * X
    attempt([6, 5, 3], "sgd", huge, epochs=3)
    return [" | ".join(one) for one in zip(*COMM.allgather(found), strict=True)]


def sums() -> list[bool]:
    """Whether the sums are the trees that they should be."""
    found = []
    for yields in (False, True):
        exchange = Exchange(COMM, yields=yields)
        for size in (1, 7, 1000, 40_001):
            vector = np.random.default_rng(RANK).standard_normal(size).astype(np.float32)
            parts, small = COMM.allgather(vector), np.array([RANK + 1.0])
            exchange.add(vector, small)
            extra = SIZE - (1 << SIZE.bit_length() - 1)
            head = [parts[2 * i] + parts[2 * i + 1] for i in range(extra)]
            parts = head + parts[2 * extra :]
            while len(parts) > 1:
                parts = [parts[i] + parts[i + 1] for i in range(0, len(parts), 2)]
            is_right = np.array_equal(vector, parts[0])
            found.append(is_right and small[0] == SIZE * (SIZE + 1) / 2)
    return [all(one) for one in zip(*COMM.allgather(found), strict=True)]


class _Fails(Callback):
    def __init__(self, how: str) -> None:
        self.how = how

    def on_epoch_begin(self, epoch: int) -> None:
        if epoch == 2 and RANK == SIZE - 1:
            if self.how == "raise":
                raise OSError("the disk of this machine is full")
            os.kill(os.getpid(), getattr(signal, self.how))


def die(how: str, folder: str) -> None:
    """Train until one rank dies."""
    X, y = samples(64, 6, 3, "float64")
    model = network([6, 5, 3], "float64", 1)
    model.compile("adam", "sparse_categorical_crossentropy")
    callbacks = [_Fails(how), ModelCheckpoint(f"{folder}/{how}.safetensors", every_n_steps=1)]
    try:
        model.fit(X, y, batch_size=8, epochs=10**6, callbacks=callbacks, comm=COMM, verbose=0)
    except (KeyboardInterrupt, SystemExit) as error:
        print(f"rank {RANK}: {type(error).__name__} {model._state.steps}", file=sys.stderr)
        raise SystemExit(3) from None


def checkpoint(path: str, stop: str, to: str, kind: str = "array") -> list[Any]:
    """Train to epoch `to` from a file if it is there, and keep one of step `stop`."""
    X, y = samples(96, 6, 3, "float64")
    rows = shard(96, 32)
    model = network([6, 5, 3], "float64", 1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    keep = ModelCheckpoint(f"{path}-{{step}}", every_n_steps=int(stop))
    each = 32 // SIZE
    rest = {"batch_size": each, "shuffle": False}
    data: Any = X[rows], y[rows]
    if kind == "list":
        parts = [rows[i : i + each] for i in range(0, len(rows), each)]
        data, rest = ([(X[part], y[part]) for part in parts],), {}
    history = model.fit(
        *data, **rest, epochs=int(to), callbacks=[keep], comm=COMM, verbose=0,
        resume_from=path if Path(path).exists() else None,
    )  # fmt: skip
    return [digest(model), int(model._state.steps), len(history.epoch),
            [float(one) for one in model.parameters[:4]]]  # fmt: skip


def main(name: str, *arguments: str) -> None:
    """Do what is named; rank 0 prints what it has found."""
    found = globals()[name](*arguments)
    if RANK == 0:
        print(json.dumps(found, default=bool))


if __name__ == "__main__":
    main(*sys.argv[1:])
