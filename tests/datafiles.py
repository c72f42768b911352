"""Small data files that several tests read."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(data: NDArray) -> bytes:
    """An array as an IDX file has it."""
    kind = data.dtype.str[1:]
    head = struct.pack(f">4B{data.ndim}I", 0, 0, IDX_TYPES[kind], data.ndim, *data.shape)
    return head + data.astype(f">{kind}").tobytes()


def write_idx(path: Path, data: NDArray) -> Path:
    """Write an IDX file, packed if its name says so."""
    content = idx_bytes(data)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def images(m: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    """m images of 4 x 5 pixels, bright in the row of their class, 0 to 2."""
    rng = np.random.default_rng(seed)
    y = np.arange(m) % 3
    X = rng.integers(0, 60, (m, 4, 5))
    X[np.arange(m), y] += 180
    X[0, 3, 4] = 255
    return X.astype(np.uint8), y.astype(np.uint8)


def write_idx_folder(folder: Path, dash: str = "-", suffix: str = "") -> Path:
    """Write the four files of a small data set in MNIST's format."""
    folder.mkdir(exist_ok=True)
    for part, m in (("train", 60), ("t10k", 15)):
        X, y = images(m)
        write_idx(folder / f"{part}-images{dash}idx3-ubyte{suffix}", X)
        write_idx(folder / f"{part}-labels{dash}idx1-ubyte{suffix}", y)
    return folder


def flowers(m: int = 60, seed: int = 0) -> tuple[NDArray, NDArray]:
    """A table of two features, far from 0 and 1, and three named classes that they tell apart."""
    rng = np.random.default_rng(seed)
    codes = np.arange(m) % 3
    X = np.column_stack([1000 + 100 * codes, -0.01 * codes]) + rng.normal(0, [10, 0.001], (m, 2))
    return X, np.array(["setosa", "versicolor", "virginica"])[codes]


def write_csv(path: Path, X: NDArray, y: NDArray | None = None, header: str = "") -> Path:
    """Write a table whose last column, if any, holds the labels."""
    rows = [",".join(map(repr, row)) for row in X.tolist()]
    if y is not None:
        rows = [f"{row},{label}" for row, label in zip(rows, y.tolist(), strict=True)]
    path.write_text("\n".join([header, *rows] if header else rows) + "\n")
    return path
