"""Batches of Parquet files: which rows, in which order, and what is refused where."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdnn.data import ParquetBatches, parquet
from tests.nets import classifier, regressor, samples

pa = pytest.importorskip("pyarrow", reason="pyarrow reads Parquet: pip install 'fastdnn[data]'")
pq = pytest.importorskip("pyarrow.parquet")

Array = np.ndarray[Any, Any]
M = 150
X, y = samples(M)
W = np.arange(M) / 10
NAMES = ["a", "b", "c", "d"]
FIT: dict[str, Any] = {"verbose": 0}


def table(part: slice = slice(None), **more: Any) -> Any:
    """Columns a to d of X, then y, w and others."""
    columns = {name: X[part, j] for j, name in enumerate(NAMES)}
    return pa.table({**columns, "y": y[part], "w": W[part], **more})


def write(path: Path, given: Any, rows: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(given, path, row_group_size=rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 47, 0 and 103 rows, in row groups of 20 rows; one in a folder of its own."""
    write(tmp_path / "in" / "1.parquet", table(slice(0, 47)), 20)
    write(tmp_path / "in" / "2.parquet", table(slice(0, 0)))
    write(tmp_path / "in" / "3.parquet" / "part-0.parquet", table(slice(47, M)), 20)
    (tmp_path / "in" / "_SUCCESS").write_text("")
    return tmp_path / "in"


def whole(batches: ParquetBatches) -> list[Array]:
    """All batches of a pass, joined."""
    found = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
    assert [len(batch[0]) for batch in found[:-1]] == [batches.batch_size] * (len(batches) - 1)
    assert 0 < len(found[-1][0]) <= batches.batch_size
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


# ----------------------------------------------------------------------------------- which rows
@pytest.mark.parametrize("batch_size", [1, 7, 20, 32, 50, 150, 999])
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_batches_cross_files_and_row_groups(
    folder: Path, batch_size: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "CHUNK_BYTES", chunk * 4 * 4)
    batches = ParquetBatches(folder, "y", batch_size, sample_weight="w")
    assert (batches.n_samples, len(batches)) == (M, -(-M // batch_size))
    assert batches.columns == tuple(NAMES)
    for _ in range(2):
        found = whole(batches)
        for one, wanted in zip(found, (X, y, W), strict=True):
            np.testing.assert_array_equal(one, wanted)
        assert [one.dtype for one in found] == [np.float32, np.int64, np.float64]


def test_a_file_a_folder_and_a_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = folder / "1.parquet", folder / "3.parquet" / "part-0.parquet"
    given: dict[str, tuple[Any, Array]] = {
        "file": (first, y[:47]),
        "text": (str(first), y[:47]),
        "folder": (str(folder), y),
        "list": ([last, str(first)], np.concatenate([y[47:], y[:47]])),
        "twice": ((first, first), np.concatenate([y[:47], y[:47]])),
        "generator": ((one for one in (first, last)), y),
    }
    for path, wanted in given.values():
        np.testing.assert_array_equal(whole(ParquetBatches(path, "y", columns=NAMES))[1], wanted)
    monkeypatch.setenv("HOME", str(folder))
    assert ParquetBatches("~/1.parquet", "y").n_samples == 47


def test_columns(folder: Path) -> None:
    found = whole(ParquetBatches(folder, "y", columns=["d", "b"], dtype="float64"))
    np.testing.assert_array_equal(found[0], X[:, [3, 1]])
    assert found[0].dtype == np.float64
    batches = ParquetBatches(folder, ["a", "y"])
    assert batches.columns == ("b", "c", "d", "w")
    np.testing.assert_array_equal(whole(batches)[1], np.column_stack([X[:, 0], y]))
    assert whole(ParquetBatches(folder, ["y"]))[1].shape == (M, 1)
    (alone,) = whole(ParquetBatches(folder, columns=NAMES))
    np.testing.assert_array_equal(alone, X)
    # features that are to be had again
    for target in (NAMES, "b"):
        again = whole(ParquetBatches(folder, target, columns=NAMES, sample_weight="w"))
        np.testing.assert_array_equal(again[0], X)
        np.testing.assert_array_equal(again[1], X if target == NAMES else X[:, 1])


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", table(slice(0, 50)))
    other = table(slice(50, M)).select(["w", "y", "d", "c", "b", "a"])
    write(tmp_path / "2.parquet", other.append_column("extra", pa.array(["text"] * 100)))
    found = whole(ParquetBatches(tmp_path, "y", sample_weight="w"))
    for one, wanted in zip(found, (X, y, W), strict=True):
        np.testing.assert_array_equal(one, wanted)


def test_kinds_of_numbers(tmp_path: Path) -> None:
    kinds = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    kinds += ["float16", "float32", "float64", "bool"]
    numbers = (np.arange(20) % 2).astype(int)
    columns = {kind: pa.array(numbers.astype(kind)) for kind in kinds}
    path = write(tmp_path / "1.parquet", pa.table({**columns, "a.b": numbers, "a": 1 - numbers}))
    for kind in kinds:
        found = whole(ParquetBatches(path, kind, columns=[*kinds, "a", "a.b"]))
        wanted = np.column_stack([numbers] * len(kinds) + [1 - numbers, numbers])
        np.testing.assert_array_equal(found[0], wanted)
        np.testing.assert_array_equal(found[1], numbers)
        assert found[1].dtype == (np.float64 if "float" in kind or kind == "uint64" else np.int64)


def test_large_numbers_and_decimals(tmp_path: Path) -> None:
    large = pa.array([2**63 + 2**11, 1], pa.uint64())
    price = pa.array([Decimal("1.25"), Decimal("-3.50")], pa.decimal128(9, 2))
    path = write(tmp_path / "1.parquet", pa.table({"large": large, "price": price}))
    found = whole(ParquetBatches(path, "large", columns=["price"]))
    assert found[0].tolist() == [[1.25], [-3.5]]
    assert found[1].tolist() == [2.0**63 + 2**11, 1]
    assert whole(ParquetBatches(path, "price", columns=["large"]))[1].tolist() == [1.25, -3.5]


# -------------------------------------------------------------------------------------- shuffling
def test_each_pass_has_every_sample_once_in_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = 1000
    for i in range(4):
        part = np.arange(i * 250, (i + 1) * 250)
        write(tmp_path / f"{i}.parquet", pa.table({"a": part * 2, "y": part, "w": part / 2}), 60)
    monkeypatch.setattr(parquet, "CHUNK_BYTES", 50 * 4)

    def orders(seed: int | None, passes: int = 3) -> list[list[int]]:
        found = []
        source = ParquetBatches(tmp_path, "y", 32, sample_weight="w", shuffle=True, seed=seed)
        for _ in range(passes):
            X_all, y_all, w_all = whole(source)
            np.testing.assert_array_equal(X_all[:, 0], y_all * 2)
            np.testing.assert_array_equal(w_all, y_all / 2)
            assert sorted(y_all) == list(range(m))
            found.append(y_all.tolist())
        return found

    one, again, other, free = orders(0), orders(0), orders(1), orders(None)
    assert one == again
    assert len({tuple(order) for order in [*one, *other, *free]}) == 9
    # rows are mixed beyond their row group, and row groups come from all files
    assert len({row // 250 for row in one[0][:400]}) >= 3
    assert len({row // 60 for row in one[0][:32]}) >= 3


# ------------------------------------------------------------------------------------- in a model
def test_the_bits_of_an_array(folder: Path) -> None:
    weighed = {"sample_weight": W + 1}
    for options in ({}, weighed):
        wanted, net = classifier(), classifier()
        wanted.fit(X, y, epochs=3, shuffle=False, **options, **FIT)
        for i, file in enumerate(sorted(folder.rglob("*.parquet"))):
            if file.is_file() and i != 1:
                part = slice(0, 47) if i == 0 else slice(47, M)
                given = table(part).set_column(5, "w", pa.array(W[part] + 1))
                write(file, given, 20)
        more = {"sample_weight": "w"} if options else {"columns": NAMES}
        source = ParquetBatches(folder, "y", 32, **more)
        net.fit(source, epochs=3, validation_data=source, **FIT)
        np.testing.assert_array_equal(net.parameters, wanted.parameters)
        history = net.history.history
        assert history["loss"] == wanted.history.history["loss"]
        scores = wanted.evaluate(X, y, **options)
        assert history["val_loss"][-1] == pytest.approx(scores["loss"], rel=1e-6)
        assert net.evaluate(source) == pytest.approx(scores, rel=1e-6)
        features = ParquetBatches(folder, columns=NAMES)
        for one in (features, source):
            np.testing.assert_array_equal(net.predict(one), wanted.predict(X))


def test_several_outputs(folder: Path) -> None:
    import fastdnn

    def net() -> fastdnn.Sequential:
        made = fastdnn.Sequential([fastdnn.Dense(2)], input_size=2, seed=0)
        made.compile("sgd", "mse")
        return made

    one, other = net(), net()
    one.fit(ParquetBatches(folder, ["c", "d"], columns=["a", "b"]), **FIT)
    other.fit(X[:, :2], X[:, 2:], shuffle=False, **FIT)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    real = regressor(dtype="float32")
    real.fit(ParquetBatches(folder, "w", columns=NAMES), **FIT)
    again = regressor(dtype="float32")
    again.fit(X, W, shuffle=False, **FIT)
    np.testing.assert_array_equal(real.parameters, again.parameters)


# ----------------------------------------------------------------------------------------- refused
def with_value(value: Any, row: int, column: str, kind: str = "float64") -> Any:
    """A table with one other value."""
    given = table()
    values = given[column].to_pylist()
    values[row] = value
    return given.set_column(given.schema.names.index(column), column, pa.array(values, kind))


BAD_VALUES: dict[str, tuple[Any, str]] = {
    "null": (with_value(None, 47, "c"), "column 'c': the value is missing; fill or drop such rows"),
    "null integer": (with_value(None, 47, "y", "int64"), "column 'y': the value is missing; fill"),
    "null bool": (
        table().set_column(0, "a", pa.array([None if i == 47 else True for i in range(M)])),
        "column 'a': the value is missing; fill",
    ),
    "NaN": (with_value(np.nan, 47, "c"), "column 'c': the value is missing; fill"),
    "NaN target": (with_value(np.nan, 47, "y"), "column 'y': the value is missing; fill"),
    "NaN weight": (with_value(np.nan, 47, "w"), "column 'w': the value is missing; fill"),
    "infinity": (
        with_value(-np.inf, 47, "d"),
        "column 'd': want finite .* float32, got -inf;",
    ),
    "too large": (with_value(1e39, 47, "d"), r"column 'd': want finite .* float32, got 1e\+39;"),
}


@pytest.mark.parametrize("what", BAD_VALUES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_value_that_is_missing_has_its_place(
    what: str, shuffle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "CHUNK_BYTES", 3 * 4 * 4)  # three rows at a time
    given, message = BAD_VALUES[what]
    write(tmp_path / "1.parquet", table(slice(0, 5)))
    path = write(tmp_path / "2.parquet", given, 20)
    source = ParquetBatches(tmp_path, "y", sample_weight="w", shuffle=shuffle, seed=0)
    wanted = rf"^{re.escape(str(path))}: row 7 of row group 2, {message}"
    net = classifier()
    with pytest.raises(ValueError, match=wanted) as caught:
        net.fit(source, **FIT)
    assert "\n" not in str(caught.value)


def test_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    (tmp_path / "nothing.parquet").write_bytes(b"")
    good = write(tmp_path / "good.parquet", table())
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-20])
    rows = write(tmp_path / "rows.parquet", table(slice(0, 0)))
    cases: list[tuple[Any, type[Exception], str]] = [
        (tmp_path / "none", ValueError, r"path: .*none: no such file or folder"),
        (tmp_path / "empty", ValueError, r"path: .*empty: no file in this folder ends in .parquet"),
        (tmp_path / "text.parquet", ValueError, r".*text.parquet: not a Parquet file"),
        ([good, tmp_path / "text.parquet"], ValueError, r".*text.parquet: not a Parquet file"),
        (tmp_path / "nothing.parquet", ValueError, r".*nothing.parquet: not a Parquet file"),
        (cut, ValueError, r".*cut.parquet: not a Parquet file"),
        (rows, ValueError, r"path: want samples, got no rows in .*rows.parquet"),
        ([], ValueError, r"path: want a file or more, got none"),
        (5, TypeError, r"path: want a file, a folder or a list of such, got 5"),
        ([5], TypeError, r"path: want a file, a folder or a list of such, got 5 in it"),
        (None, TypeError, r"path: want a file, a folder or a list of such, got None"),
    ]
    for path, error, message in cases:
        with pytest.raises(error, match=f"^{message}") as caught:
            ParquetBatches(path, "y")
        assert "\n" not in str(caught.value)


def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", table(), 50)
    bytes_ = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    bytes_[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes_)
    source = ParquetBatches(path, "y", 25, columns=NAMES)
    given = iter(source)
    next(given), next(given)
    wanted = rf"^{re.escape(str(path))}: row group 1 is damaged \("
    with pytest.raises(ValueError, match=wanted) as caught:
        next(given)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        next(iter(source))


def test_columns_that_are_refused(tmp_path: Path) -> None:
    day = pa.array([0] * M, pa.timestamp("s"))
    path = write(tmp_path / "1.parquet", table(text=["x"] * M, day=day))
    other = write(tmp_path / "2.parquet", table().drop_columns(["c"]))
    typed = write(tmp_path / "3.parquet", table().set_column(2, "c", pa.array(["x"] * M)))
    twice = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "y"])
    double = write(tmp_path / "4.parquet", twice)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (double, {"columns": ["a"]}, r".*4.parquet: want one column 'a', got 2"),
        (double, {}, r"columns: want names of different columns, got"),
        (path, {}, r".*1.parquet: column 'text' holds string; want numbers: encode it first"),
        (path, {"columns": ["a", "day"]}, r".*1.parquet: column 'day' holds timestamp\[.*want num"),
        (path, {"columns": ["a"], "target": "text"}, r".*: column 'text' holds string"),
        (
            path,
            {"columns": ["A"]},
            r".*1.parquet: no column 'A'; it has a, b, c, d, y, w",
        ),
        (path, {"target": "z"}, r".*1.parquet: no column 'z'; it has a, b"),
        (path, {"sample_weight": "z", "columns": ["a"]}, r".*1.parquet: no column 'z'"),
        ([path, other], {"columns": NAMES}, r".*2.parquet: no column 'c'; it has a, b, d, y, w"),
        ([path, typed], {"columns": NAMES}, r".*3.parquet: column 'c' holds string"),
        (path, {"columns": []}, r"columns: want one feature or more, got none of \["),
        (other, {"target": ["a", "b", "d", "y", "w"]}, r"columns: want one feature or more"),
        (path, {"columns": ["a", "a"]}, r"columns: want names of different columns, got"),
        (path, {"columns": [1]}, r"columns: want names of different columns, got \[1\]"),
        (
            path,
            {"columns": ["a"], "target": None, "sample_weight": "w"},
            r"sample_weight: got 'w'",
        ),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError, match=f"^{message}"):
            ParquetBatches(given, **{"target": "y", **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, r"batch_size: want an integer in \[1, inf\), got 0"),
        ({"shuffle": 1}, TypeError, "shuffle: want True or False, got 1"),
        ({"dtype": "int8"}, ValueError, "dtype: want 'float32' or 'float64', got 'int8'"),
        ({"seed": -1}, ValueError, r"seed: want an integer in \[0, inf\), got -1"),
        ({"seed": 1.5}, TypeError, r"seed: want an integer in \[0, inf\), got 1.5"),
        ({"sample_weight": ["w"]}, TypeError, r"sample_weight: want the name of one column, got"),
        ({"columns": 5}, TypeError, r"columns: want names of columns, got 5"),
        ({"target": 5}, TypeError, r"target: want names of columns, got 5"),
    ],
)
def test_arguments_that_are_refused(
    options: dict[str, Any], error: type[Exception], message: str, folder: Path
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        ParquetBatches(folder, **{"target": "y", **options})


def test_batches_without_a_target_are_for_predict(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"^X: batch 0: want a tuple \(X, y\) .*, got ndarray$"):
        classifier().fit(ParquetBatches(folder, columns=NAMES), **FIT)


def test_pyarrow_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'fastdnn\[data\]'$"):
        ParquetBatches(folder, "y")


# ------------------------------------------------------------------------------------------ memory
HELD = """
import sys, numpy as np, pyarrow
from fastdnn.data import ParquetBatches

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

source = ParquetBatches(sys.argv[1].split(","), "y", 256, shuffle=True)
first = ParquetBatches(sys.argv[2], "y", 256, shuffle=True)
held = []
for batches in (first, source):
    assert sum(len(y) for X, y in batches) == batches.n_samples
    held.append(peak())
print(*held)
"""


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.normal(size=50_000) for j in range(50)}  # 20 MB a file
    path = write(tmp_path / "1.parquet", pa.table({**columns, "y": np.zeros(50_000)}), 10_000)
    paths = ",".join([str(path)] * 12)
    # allocators keep what has been let go, more or less as it happens: this one gives it back
    plain = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
    settings = os.environ | plain | {"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    command = [sys.executable, "-c", HELD, paths, str(path)]
    run = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    of_one, of_twelve = (int(one) for one in run.stdout.split())
    assert of_twelve - of_one < 40_000  # kB; all twelve are 240 MB


@pytest.mark.parametrize(("files", "ranks"), [(5, 2), (2, 3)])
def test_each_process_reads_its_own_files_or_row_groups(
    tmp_path: Path, files: int, ranks: int
) -> None:
    for i in range(files):
        table = pa.table({"a": np.arange(10.0) + 10 * i, "y": np.zeros(10)})
        pq.write_table(table, tmp_path / f"{i}.parquet", row_group_size=4)
    rows = [
        np.concatenate([X[:, 0] for X, _ in ParquetBatches(tmp_path, "y", 4, shard=(r, ranks))])
        for r in range(ranks)
    ]
    assert sorted(np.concatenate(rows).tolist()) == list(range(10 * files))
    if files == 5:
        assert sorted(rows[1].tolist()) == [*range(10, 20), *range(30, 40)]
    sizes = [ParquetBatches(tmp_path, "y", shard=(r, ranks)).n_samples for r in range(ranks)]
    assert sizes == [len(one) for one in rows]


def test_a_wrong_shard_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0], "y": [1.0]}), tmp_path / "a.parquet")
    for shard, error, text in [
        ((2, 2), ValueError, "shard: want a rank below 2, got 2"),
        (3, TypeError, "want .rank, number of processes., got 3"),
        ((0, 0), ValueError, r"shard\[1\]: want an integer in"),
        ((0, 2), ValueError, "a file or row group for each of 2 processes, got 1"),
    ]:
        with pytest.raises(error, match=text):
            ParquetBatches(tmp_path, "y", shard=shard)  # type: ignore[arg-type]
