import sys
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.frames import as_frame, is_frame, labels_of, read_parquet
from fastdnn.data.tables import Columns

pd = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'fastdnn[data]'")
pl = pytest.importorskip("polars", reason="polars is not installed: pip install 'fastdnn[test]'")
pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'fastdnn[data]'")
TRAIN = Columns()
FRAME = pd.DataFrame({"u": [1, 3], "v": [2.5, 4.5], "z": ["a", None], "w": [True, False]})


@pytest.mark.parametrize("target", ["z", "w", "u", "v"])
def test_parquet(tmp_path: Path, target: str) -> None:
    path = tmp_path / "t.parquet"
    FRAME.to_parquet(path)
    table = read_parquet(path, Columns(target))
    want = {"z": ["a", ""], "w": ["True", "False"], "u": [1, 3], "v": [2.5, 4.5]}[target]
    assert table.train.y.tolist() == want
    assert table.target == target
    assert table.names == tuple(name for name in FRAME if name != target)
    pd.testing.assert_frame_equal(table.train.X, FRAME.drop(columns=target))


def test_parquet_for_a_trained_model(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    FRAME[["v", "u"]].to_parquet(path)
    table = read_parquet(path, Columns("z", 2, ("u", "v")))
    assert table.names == ("v", "u")
    assert table.train.y is None


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for i in range(2):
        FRAME.assign(u=i).to_parquet(tmp_path / f"part{i}.parquet")
    table = read_parquet(tmp_path, Columns("z"))
    assert table.train.X["u"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("index", [[7, 3], ["p", "q"]])
def test_an_index_without_a_name_is_no_feature(tmp_path: Path, index: list) -> None:
    FRAME.set_axis(index).to_parquet(tmp_path / "t.parquet")
    table = read_parquet(tmp_path / "t.parquet", TRAIN)
    assert table.names == ("u", "v", "z")
    assert table.notes == ("pandas' index, which has no name, is not read",)
    assert table.train.X.index.tolist() == [0, 1]


def test_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    FRAME.set_index("u").to_parquet(tmp_path / "t.parquet")
    table = read_parquet(tmp_path / "t.parquet", Columns("u"))
    assert table.train.y.tolist() == [1, 3]


def test_parquet_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    FRAME[:0].to_parquet(path)
    with pytest.raises(ValueError, match=r"t.parquet: no rows"):
        read_parquet(path, TRAIN)
    path.write_text("u,v\n1,2\n")
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_parquet(path, TRAIN)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fastdnn\[data\]'"):
        read_parquet(path, TRAIN)


def test_labels_keep_their_kind() -> None:
    assert labels_of(pd.Series(["02139", "1e2"])).tolist() == ["02139", "1e2"]
    assert labels_of(pd.Series([2**60 + 1, 1])).tolist() == [2**60 + 1, 1]
    assert labels_of(pd.Series([1.5, None])).dtype == np.float64
    assert labels_of(pd.Series(pd.Categorical(["b", "a"]))).tolist() == ["b", "a"]


def test_frames_and_rows() -> None:
    assert is_frame(FRAME)
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert not is_frame(FRAME["u"])
    assert as_frame(FRAME) is FRAME
    assert as_frame(pl.DataFrame({"a": ["x"]}))["a"].tolist() == ["x"]
    for rows in ([[1, 2.5]], np.array([[1, 2.5]]), np.array([[[1], [2.5]]])):
        assert as_frame(rows).tolist() == [[1, 2.5]]
    for rows in ([[1, "x"]], np.array([[1, "x"]], dtype=object), [(1, "x")]):
        assert as_frame(rows).to_numpy().tolist() == [[1, "x"]]
    assert as_frame([[1, None]]).isna().to_numpy().tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pl.LazyFrame({"a": [1]}), TypeError, r"got a polars LazyFrame; want X.collect\(\)"),
        ([1, 2], ValueError, r"got shape \(2,\); for one sample use \[X\]"),
        ([[1, 2], [3]], ValueError, "want rows of equal length"),
        (np.array([[["a"]]]), ValueError, r"got shape \(1, 1, 1\)"),
        (np.ma.masked_array([[1.0]], True), TypeError, "masked"),
        (FRAME["u"], ValueError, r"got shape \(2,\)"),
    ],
)
def test_what_is_no_table(X, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_frame(X)


def test_sparse_matrices_are_refused() -> None:
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match=r"sparse matrix; want a dense one \(X.toarray\(\)\)"):
        as_frame(csr_array(np.eye(2)))
