"""The memory that a training from Parquet files takes: ``python asv_bench/parquet_memory.py``.

Writes files of random numbers, trains one epoch on them, and prints the peak of the process's
memory above what it was after the imports (Linux).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import fastdnn

COLUMNS = 50
ROWS_OF_FILE = 1 << 20  # one row group, as pandas writes it


def status(name: str) -> float:
    """Return a size of this process from the system, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def write(folder: Path, gigabytes: float) -> None:
    """Write files of so many bytes in all, or one that is smaller."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    w, left, number = rng.standard_normal(COLUMNS), int(gigabytes * 1e9 / COLUMNS / 4), 0
    while left > 0:
        X = rng.standard_normal((min(left, ROWS_OF_FILE), COLUMNS), np.float32)
        columns = {f"x{j}": X[:, j] for j in range(COLUMNS)}
        table = pa.table({**columns, "y": (X @ w > 0).astype(np.int64)})
        pq.write_table(table, folder / f"part{number:03d}.parquet")
        left, number = left - len(X), number + 1


def main() -> None:
    """Write, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--shuffle", action="store_true")
    parser.add_argument("--folder", type=Path, help="files that a run before has written")
    arguments = parser.parse_args()
    before = status("VmRSS")
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or Path(made)
        if not list(folder.glob("*.parquet")):
            write(folder, arguments.gigabytes)
            print(f"files: {folder}; run again with --folder, as writing them took memory too")
            if arguments.folder:
                return
        train(folder, arguments.shuffle, before)


def train(folder: Path, shuffle: bool, before: float) -> None:
    """Train one epoch, and print the memory and the time."""
    batches = fastdnn.data.ParquetBatches(
        folder, target="y", batch_size=1024, shuffle=shuffle, seed=0
    )
    layers = [fastdnn.Dense(64, "relu"), fastdnn.Dense(2, "softmax")]
    model = fastdnn.Sequential(layers, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    start = time.perf_counter()
    model.fit(batches, verbose=2)
    print(f"{batches.n_samples} rows, {len(batches)} batches, {time.perf_counter() - start:.1f} s")
    print(f"peak above the imports: {status('VmHWM') - before:.0f} MB")


if __name__ == "__main__":
    main()
