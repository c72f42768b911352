from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .mpi import told


@pytest.fixture(scope="module")
def numbers() -> dict[int, dict[str, Any]]:
    return {n: told(n, "numbers") for n in (1, 2, 4)}


def test_ranks_give_the_numbers_of_one_process(numbers: dict[int, dict[str, Any]]) -> None:
    for n, cases in numbers.items():
        for name, (_, parameters, logs) in cases.items():
            bound = 1e-6 if name in ("segments", "blocked float32") else 1e-12
            assert parameters <= bound, (n, name)
            assert logs <= bound, (n, name)


@pytest.mark.parametrize("name", ["segments", "eight segments"])
def test_whole_segments_give_the_same_bits(numbers: dict[int, dict[str, Any]], name: str) -> None:
    assert len({cases[name][0] for cases in numbers.values()}) == 1
    assert all(cases[name][1] == 0 for cases in numbers.values())


def test_the_same_bits_from_run_to_run(numbers: dict[int, dict[str, Any]]) -> None:
    assert told(4, "numbers") == numbers[4]


def test_sources_of_batches(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(0)
    for i in range(5):
        columns = {name: rng.standard_normal(10 + i) for name in "aby"}
        parquet.write_table(pa.table(columns), tmp_path / f"{i}.parquet")
    found = told(4, "streams", str(tmp_path))
    assert found["as arrays"] == [True, True]
    assert found["uneven steps"] == 6  # two epochs of three batches, of which rank 0 has one
    assert found["rows"] == [24, 11, 12, 13]
    assert found["files"]


@pytest.mark.parametrize(("before", "after"), [(4, 2), (4, 1), (1, 4)])
def test_a_checkpoint_resumes_on_another_number_of_ranks(
    before: int, after: int, tmp_path: Path
) -> None:
    path = tmp_path / "training"
    whole = told(after, "checkpoint", str(tmp_path / "whole"), "3", "4")
    told(before, "checkpoint", str(path), "3", "2")
    (tmp_path / "training-6").rename(path)  # two epochs of three steps
    digest, steps, epochs, values = told(after, "checkpoint", str(path), "100", "4")
    assert (steps, epochs) == (12, 4)  # the history of those before, too
    np.testing.assert_allclose(values, whole[3], rtol=1e-12)
    assert len(digest) == 64


@pytest.mark.parametrize("kind", ["array", "list"])
def test_a_checkpoint_within_an_epoch(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "training"
    whole = told(2, "checkpoint", str(path), "4", "3", kind)
    (tmp_path / "training-4").rename(path)  # one step of the second epoch
    again = told(2, "checkpoint", str(path), "100", "3", kind)
    assert again[0] == whole[0]
    assert again[1] == 9
    if kind == "list":
        return
    # at the same share of the epoch, on another number of ranks
    other = told(4, "checkpoint", str(path), "100", "3")
    assert other[1] == 9
    np.testing.assert_allclose(other[3], whole[3], rtol=1e-12)
