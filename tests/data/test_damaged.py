"""Files of strangers: whatever is in them, they load or are refused by ValueError with the path.

FASTDNN_EXHAUSTIVE=1 tries 400 changes of each kind of file instead of 40.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastdnn.data.datasets import load

COUNT = 400 if os.environ.get("FASTDNN_EXHAUSTIVE") == "1" else 40
M = 60


def _idx(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (M, 5, 5), np.uint8), rng.integers(0, 3, M, np.uint8)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">IIII", 2051, M, 5, 5) + images.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, M) + labels.tobytes())
    return path


def _table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((M, 4))
    return pd.DataFrame(np.c_[X, rng.integers(0, 3, M)], columns=list("abcdy"))


def _file(suffix: str, write: Callable[[Path, pd.DataFrame], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"data.{suffix}"
        write(path, _table())
        return path

    return make


FILES: dict[str, Callable[[Path], Path]] = {
    "csv": _file("csv", lambda path, table: table.to_csv(path, index=False)),
    "npy": _file("npy", lambda path, table: np.save(path, table.to_numpy())),
    "npz": _file(
        "npz", lambda path, table: np.savez(path, X=table[list("abcd")], y=table["y"].astype(int))
    ),
    "parquet": _file("parquet", lambda path, table: table.to_parquet(path)),
    "idx": _idx,
}


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes replaced, put in or left out, or the rest cut off."""
    found, kind = bytearray(content), rng.integers(5)
    at = int(rng.integers(len(found)))
    if kind == 0:
        for place in rng.integers(len(found), size=4):
            found[place] = rng.integers(256)
    elif kind == 1:
        del found[at:]
    elif kind == 2:
        found[at:at] = rng.bytes(30)
    elif kind == 3:
        del found[at : at + 30]
    else:  # in the header
        found[at % 100] = rng.integers(256)
    return bytes(found)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore")
def test_a_changed_file_loads_or_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = FILES[kind](tmp_path)
    named = path.parent if kind == "idx" else path
    assert len(load(named).X_train) == 48
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(COUNT):
        path.write_bytes(changed(content, rng))
        try:
            load(named)
        except ValueError as error:
            refused += str(named) in str(error)
    assert refused > COUNT / 3
