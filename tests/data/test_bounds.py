"""What a packed file may unpack to, and that data do."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data import bounds
from fastdnn.data.bounds import check_unpacked
from fastdnn.data.datasets import load
from fastdnn.data.texts import unpacked

WRONG = r"its bytes unpack to [\d,]+ or more; want up to 800 for each"


def test_the_bound() -> None:
    check_unpacked(Path("a"), bounds.FREE, 1)
    check_unpacked(Path("a"), 10**12, 2 * 10**9)
    with pytest.raises(ValueError, match=f"^a: 1 of {WRONG}"):
        check_unpacked(Path("a"), bounds.FREE + 1, 1)


def test_a_bomb_is_left_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=WRONG):
            unpacked(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_sparse_table_is_no_bomb() -> None:
    """Rows of a single 1 among 1,000 zeros pack to a six-hundredth."""
    rng = np.random.default_rng(0)
    X = np.eye(1000, dtype=np.float32)[rng.integers(0, 1000, 5000)]
    packed = len(zlib.compress(X.tobytes()))
    assert X.nbytes > max(bounds.FREE, 500 * packed)
    check_unpacked(Path("a"), X.nbytes, packed)


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, X=np.ones((20, 1)), x=np.zeros((20, 1)), y=np.arange(20) % 2)
    path = tmp_path / "a.npz"
    path.write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=f"^{path}: .*two arrays of one name"):
        load(path)
