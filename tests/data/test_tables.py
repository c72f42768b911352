import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.tables import Columns, Table, read_csv, read_parquet

TRAIN = Columns()


def csv(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def check(table: Table, X, y, names=None, target=None) -> None:
    assert table.train is not None
    np.testing.assert_array_equal(table.train.X, X)
    if y is None:
        assert table.train.y is None
    else:
        assert table.train.y is not None
        assert table.train.y.tolist() == y
    assert (table.names, table.target) == (names, target)


@pytest.mark.parametrize(
    ("text", "names", "target"),
    [
        ("1,2,a\n3,4,b\n", None, None),
        ("x,y,z\n1,2,a\n3,4,b\n", ("x", "y"), "z"),
        ("\ufeffx,y,z\n1,2,a\n\n3,4,b", ("x", "y"), "z"),
        ("\n\nx,y,z\n1,2,a\n3,4,b\n", ("x", "y"), "z"),
        ('"x","y, too",z\r\n1,"2",a\r\n3, 4, b\r\n', ("x", "y, too"), "z"),
        ("x;y;z\n1;2;a\n3;4;b\n", ("x", "y"), "z"),
        ("x\ty\tz\n1\t2\ta\n3\t4\tb\n", ("x", "y"), "z"),
        (",y,z\n1,2,a\n3,4,b\n", ("", "y"), "z"),
    ],
)
def test_csv_with_and_without_header(tmp_path: Path, text: str, names, target) -> None:
    table = read_csv(csv(tmp_path, text), TRAIN)
    check(table, [[1, 2], [3, 4]], ["a", "b"], names, target)


def test_csv_may_be_packed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n3,4\n"))
    check(read_csv(path, TRAIN), [[1], [3]], ["2", "4"])


@pytest.mark.parametrize(
    ("target", "text", "X", "y", "names", "name"),
    [
        ("b", "a,b,c\n1,x,2\n3,y,4\n", [[1, 2], [3, 4]], ["x", "y"], ("a", "c"), "b"),
        # The header's other names are numbers, as those of pixels are.
        ("label", "label,0,1\n7,1,2\n", [[1, 2]], ["7"], ("0", "1"), "label"),
        (0, "x,1,2\ny,3,4\n", [[1, 2], [3, 4]], ["x", "y"], None, None),
        ("0", "x,1,2\ny,3,4\n", [[1, 2], [3, 4]], ["x", "y"], None, None),
        (-2, "1,x,2\n3,y,4\n", [[1, 2], [3, 4]], ["x", "y"], None, None),
        (1, "a,b,c\n1,x,2\n", [[1, 2]], ["x"], ("a", "c"), "b"),
        (0, ",b,c\n0,1,2\n1,3,4\n", [[1, 2], [3, 4]], ["0", "1"], ("b", "c"), ""),
        ("c", "a,b,c\n0,1,x\n1,3,y\n", [[0, 1], [1, 3]], ["x", "y"], ("a", "b"), "c"),
    ],
)
def test_csv_target(tmp_path: Path, target, text: str, X, y, names, name) -> None:
    check(read_csv(csv(tmp_path, text), Columns(target)), X, y, names, name)


@pytest.mark.parametrize(
    ("columns", "text", "message"),
    [
        (TRAIN, "", "the file is empty"),
        (TRAIN, "\n\n", "the file is empty"),
        (TRAIN, "a,b\n", "no rows under the header"),
        (TRAIN, "1\n2\n", "one column; want one feature or more and a label column"),
        (TRAIN, "1,2,a\n3,red,b\n", "data row 2, column 2: 'red' is not a number; .*encode text"),
        (TRAIN, "u,v,z\n1,2,a\n,4,b\n", "data row 2, column 'u': '' is not a number; .*missing"),
        (TRAIN, "1,2,a\n3,4\n", "the number of columns changed from 3 to 2 at row 2"),
        (
            TRAIN,
            ",u,z\n0,2,a\n1,4,b\n",
            "column 1 has no name and counts the rows, as pandas' index",
        ),
        (Columns("u"), ",u,z\n0,2,5\n1,4,6\n", "column 1 has no name and .*with index=False"),
        (TRAIN, "a,a,b\n1,2,3\n", "two columns named 'a'; rename one"),
        (Columns("z"), "a,b\n1,2\n", "target: no column 'z'; it has 'a', 'b'"),
        (Columns("z"), "1,2\n1,2\n", "target: no column 'z'; it has no header"),
        (Columns(2), "1,2\n1,2\n", "target: no column 2; it has 2, from 0"),
        (Columns("-3"), "1,2\n1,2\n", "target: no column -3"),
    ],
)
def test_csv_errors_say_where(tmp_path: Path, columns: Columns, text: str, message: str) -> None:
    path = csv(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        read_csv(path, columns)
    assert str(error.value).startswith(str(path))


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe1\x002\x00,\x00")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        read_csv(path, TRAIN)
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(b"1,2\n" * 9000)[:-20])
    with pytest.raises(ValueError, match="damaged gzip"):
        read_csv(packed, TRAIN)
    packed.write_bytes(b"1,2\n")
    with pytest.raises(ValueError, match="damaged gzip"):
        read_csv(packed, TRAIN)


NAMED = Columns("z", 2, ("u", "v"))
NAMELESS = Columns(2, 2)


@pytest.mark.parametrize(
    ("columns", "text", "X", "y", "names"),
    [
        (NAMED, "u,v,z\n1,2,a\n", [[1, 2]], ["a"], ("u", "v")),
        (NAMED, "z,v,u\na,2,1\n", [[2, 1]], ["a"], ("v", "u")),
        (NAMED, "u,v\n1,2\n", [[1, 2]], None, ("u", "v")),
        (NAMED, ",u,v,z\n0,1,2,a\n", [[0, 1, 2]], ["a"], ("", "u", "v")),
        (NAMED, "1,2\n", [[1, 2]], None, None),
        (Columns("z", 2, ("0", "1")), "0,1\n5,6\n", [[5, 6]], None, ("0", "1")),
        (NAMELESS, "1,2\n", [[1, 2]], None, None),
        (NAMELESS, "1,2,a\n", [[1, 2]], ["a"], None),
        (Columns(0, 2), "a,1,2\n", [[1, 2]], ["a"], None),
        (Columns(1, 1), "5\n6\n", [[5], [6]], None, None),
        (Columns("z", 2, ("u", "v"), 2), "1,2,a\n", [[1, 2]], ["a"], None),
        (Columns("z", 2, ("u", "v"), 0), "a,1,2\n", [[1, 2]], ["a"], None),
        (Columns("z", 1, ("u",), 0), "a,1\n", [[1]], ["a"], None),
        (Columns("0", 2, ("8", "9"), 1), "1,a,2\n", [[1, 2]], ["a"], None),
        (Columns("z", 2, ("u", "v"), 0), "u,v,z\n1,2,a\n", [[1, 2]], ["a"], ("u", "v")),
    ],
)
def test_csv_for_a_trained_model_may_lack_labels(
    tmp_path: Path, columns: Columns, text: str, X, y, names
) -> None:
    table = read_csv(csv(tmp_path, text), columns)
    assert table.train is not None
    np.testing.assert_array_equal(table.train.X, X)
    assert (None if table.train.y is None else table.train.y.tolist()) == y
    assert table.names == names


@pytest.mark.parametrize(
    ("columns", "text", "message"),
    [
        (NAMED, "u,w,z\n1,2,a\n", "no column 'v'; the model was trained on 'u', 'v'"),
        (NAMELESS, "1\n", "1 columns; the model takes 2 features"),
        (NAMELESS, "1,2,3,4\n", "4 columns; the model takes 2 features"),
    ],
)
def test_csv_for_another_model(tmp_path: Path, columns: Columns, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(csv(tmp_path, text), columns)


def test_parquet(tmp_path: Path) -> None:
    pd = pytest.importorskip(
        "pandas", reason="pandas is not installed: pip install 'fastdnn[data]'"
    )
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'fastdnn[data]'")
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"u": [1, 3], "v": [2.5, 4.5], "z": ["a", None], "w": [True, False]})
    frame.to_parquet(path)
    check(
        read_parquet(path, Columns("z")),
        [[1, 2.5, 1], [3, 4.5, 0]],
        ["a", ""],
        ("u", "v", "w"),
        "z",
    )
    with pytest.raises(ValueError, match=r"column 'z' holds .*features are numbers"):
        read_parquet(path, Columns("u"))
    frame[["v", "u"]].to_parquet(path)
    check(read_parquet(path, TRAIN), [[2.5], [4.5]], [1.0, 3.0], ("v",), "u")
    check(
        read_parquet(path, Columns("z", 2, ("u", "v"))),
        [[2.5, 1], [4.5, 3]],
        None,
        ("v", "u"),
        None,
    )
    frame[["u", "w"]].to_parquet(path)
    check(read_parquet(path, TRAIN), [[1], [3]], ["True", "False"], ("u",), "w")
    frame[["u", "w"]][:0].to_parquet(path)
    with pytest.raises(ValueError, match="no rows"):
        read_parquet(path, TRAIN)
    path.write_text("u,v\n1,2\n")
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_parquet(path, TRAIN)


def test_parquet_without_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fastdnn\[data\]'"):
        read_parquet(tmp_path / "t.parquet", TRAIN)
