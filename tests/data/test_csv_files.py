import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.csv_files import as_written, read_csv
from fastdnn.data.tables import Columns, Table

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
TRAIN = Columns()


def csv(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def check(table: Table, X, y, names=None, target=None) -> None:
    assert table.train is not None
    np.testing.assert_array_equal(table.train.X.to_numpy(), X)
    if y is None:
        assert table.train.y is None
    else:
        assert table.train.y is not None
        assert table.train.y.tolist() == y
    assert (table.names, table.target) == (names, target)


TWO = [[1, 2], [3, 4]]


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
        ("x|y|z\n1|2|a\n3|4|b\n", ("x", "y"), "z"),
        ("x y z\n1   2 a\n  3 4 b\n", ("x", "y"), "z"),
        (",y,z\n1,2,a\n3,4,b\n", ("Unnamed: 0", "y"), "z"),
        ('1 2\t"a"\n3   4\t"b"\n', None, None),
        # What stands above the table, and delimiters at the ends of lines.
        ("# made on Monday, by me\nx,y,z\n1,2,a\n3,4,b\n", ("x", "y"), "z"),
        ("A title\nx,y,z\n1,2,a\n3,4,b\n", ("x", "y"), "z"),
        ("sep=;\nx;y;z\n1;2;a\n3;4;b\n", ("x", "y"), "z"),
        ("# x y z\n1 2 a\n3 4 b\n", ("x", "y"), "z"),
        ("x,y,z,\n1,2,a,\n3,4,b,\n", ("x", "y"), "z"),
        ("x,y,z,Unnamed: 3\n1,2,a,\n3,4,b,\n", ("x", "y"), "z"),
        ("x,y,z\n1,2,a,\n3,4,b,\n", ("x", "y"), "z"),
        ("x,y,z,,\n1,2,a,,\n,,,,\n3,4,b,,\n", ("x", "y"), "z"),
        ("1,2,a,\n3,4,b,\n", None, None),
    ],
)
def test_csv_with_and_without_header(tmp_path: Path, text: str, names, target) -> None:
    check(read_csv(csv(tmp_path, text), TRAIN), TWO, ["a", "b"], names, target)


def test_names_that_are_numbers(tmp_path: Path) -> None:
    rows = "\n".join(f"0.{i},1.{i},2.{i},3.{i},{i}.5" for i in range(9))
    table = read_csv(csv(tmp_path, f"0,1,2,3,4\n{rows}\n"), TRAIN)
    assert (len(table.train.X), table.names, table.target) == (9, ("0", "1", "2", "3"), "4")
    table = read_csv(csv(tmp_path, "2019,2020,target\n1,2,3\n4,5,6\n"), TRAIN)
    check(table, [[1, 2], [4, 5]], [3, 6], ("2019", "2020"), "target")


def test_row_names_as_r_writes_them(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, '"x" "z"\n"1" 5 "a"\n"2" 6 "b"\n'), TRAIN)
    check(table, [[1, 5], [2, 6]], ["a", "b"], ("Unnamed: 0", "x"), "z")


def test_row_names_of_text(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, "x,z\nMazda RX4,5,a\nValiant,6,b\n"), TRAIN)
    check(
        table,
        np.array([["Mazda RX4", 5], ["Valiant", 6]], object),
        ["a", "b"],
        ("Unnamed: 0", "x"),
        "z",
    )


def test_quoted_labels_are_the_same_as_plain_ones(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, '1, 2, "yes"\n1,2,"yes"\n3,4,yes\n3,4, no \n'), TRAIN)
    assert table.train.y.tolist() == ["yes", "yes", "yes", "no"]


def test_cells_with_delimiters_and_lines_in_them(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, 'a,b,y\n"1,5","x\ny ""z""",p\n2,w,q\n'), TRAIN)
    check(table, [["1,5", 'x\ny "z"'], ["2", "w"]], ["p", "q"], ("a", "b"), "y")


@pytest.mark.parametrize("missing", ["", "NA", "?", "-", "nan", "NULL", "n/a", "None", "#N/A", " "])
def test_missing_numbers(tmp_path: Path, missing: str) -> None:
    table = read_csv(csv(tmp_path, f"x,y,z\n1,{missing},a\n{missing},4,b\n"), TRAIN)
    check(table, [[1, np.nan], [np.nan, 4]], ["a", "b"], ("x", "y"), "z")


def test_missing_labels_are_kept_for_those_who_ask(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, ",1,2\n,3,4\n5,1,2\n"), Columns(0))
    check(table, [[1, 2], [3, 4], [1, 2]], ["", "", "5"])
    assert table.train.X.columns.tolist() == [0, 1]


def test_csv_may_be_packed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n3,4\n"))
    check(read_csv(path, TRAIN), [[1], [3]], [2, 4])


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("größe;y\n1,5;ü\n2,5;ö\n".encode(encoding))
    table = read_csv(path, TRAIN)
    check(table, [["1,5"], ["2,5"]], ["ü", "ö"], ("größe",), "y")
    assert table.decimal_comma
    assert table.notes == (f"read as {encoding}, as it is not UTF-8",)


@pytest.mark.parametrize(
    ("target", "text", "X", "y", "names", "name"),
    [
        ("b", "a,b,c\n1,x,2\n3,y,4\n", TWO, ["x", "y"], ("a", "c"), "b"),
        # The header's other names are numbers, as those of pixels are.
        ("label", "label,0,1\n7,1,2\n", [[1, 2]], [7], ("0", "1"), "label"),
        (0, "x,1,2\ny,3,4\n", TWO, ["x", "y"], None, None),
        ("0", "x,1,2\ny,3,4\n", TWO, ["x", "y"], None, None),
        (-2, "1,x,2\n3,y,4\n", TWO, ["x", "y"], None, None),
        (1, "a,b,c\n1,x,2\n", [[1, 2]], ["x"], ("a", "c"), "b"),
        (0, ",b,c\n0,1,2\n1,3,4\n", TWO, [0, 1], ("b", "c"), "Unnamed: 0"),
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
        (TRAIN, "a,b\n,\n", "no rows under the header"),
        (TRAIN, "1\n2\n", "one column; want one feature or more and a label column"),
        (TRAIN, "1,2,a\n3,4\n", "line 2: 2 cells, where the others have 3; put cells with ','"),
        (TRAIN, "\na,b,c\n1,2,3\n1,2,3\n1,2,3,4\n", "line 5: 4 cells, where the header has 3"),
        (TRAIN, "a,b,c\n1,2,3\n1,2\n1,2,3\n", "line 3: 2 cells, where the header has 3"),
        (TRAIN, "a,b,c\n1,2\n3,4\n", "line 2: 2 cells, where the header has 3"),
        (TRAIN, 'a,b\n"x\ny",2\n1,2,3\n4,5\n', "line 4: 3 cells, where the header has 2"),
        (TRAIN, "a,b\n1,2,3\n4,5,6\n", "line 2: 3 cells, where the header has 2"),
        (TRAIN, "a,b\n1,2,3\n", "line 2: 3 cells, where the header has 2"),
        (TRAIN, "a b\n1 2 3\n1 2\n", "line 2: 3 cells, where the header has 2"),
        (TRAIN, 'a,b\n1,2\n1,"2\n', "a quotation mark that begins a cell is not closed"),
        (TRAIN, "a,b,\n" + "1,2,\n" * 1500 + "1,2,3\n", r"column 2 \(from 0\) has no name, .*1501"),
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


def test_columns_without_names_are_called_as_pandas_does(tmp_path: Path) -> None:
    path = csv(tmp_path, ",x,,z\np,1,2,a\nq,3,4,b\n")
    table = read_csv(path, TRAIN)
    assert table.names == ("Unnamed: 0", "x", "Unnamed: 2")
    assert pd.read_csv(path).columns.tolist() == [*table.names, "z"]
    assert read_csv(path, Columns("z", 3, ("Unnamed: 0", "x"))).names == table.names


NAMED = Columns("z", 2, ("u", "v"))
NAMELESS = Columns(2, 2)


@pytest.mark.parametrize(
    ("columns", "text", "X", "y", "names"),
    [
        (NAMED, "u,v,z\n1,2,a\n", [[1, 2]], ["a"], ("u", "v")),
        (NAMED, "z,v,u\na,2,1\n", [[2, 1]], ["a"], ("v", "u")),
        (NAMED, "u,v\n1,2\n", [[1, 2]], None, ("u", "v")),
        (NAMED, ",u,v,z\n0,1,2,a\n", [[0, 1, 2]], ["a"], ("Unnamed: 0", "u", "v")),
        (NAMED, "1,2\n", [[1, 2]], None, None),
        (Columns("z", 2, ("0", "1")), "0,1\n5,6\n", [[5, 6]], None, ("0", "1")),
        (NAMELESS, "1,2\n", [[1, 2]], None, None),
        (NAMELESS, "1,2,a\n", [[1, 2]], ["a"], None),
        (NAMELESS, "1,2,\n3,4,\n", TWO, None, None),
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
    np.testing.assert_array_equal(table.train.X.to_numpy(), X)
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


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["1", " 2 "], [1, 2]),
        (["1.0", "0.5"], ["1.0", "0.5"]),
        (["02139", "06520"], ["02139", "06520"]),
        (["1e2", "100"], ["1e2", "100"]),
        (["1", "2.50"], ["1", "2.50"]),
        (["1_0", "2"], ["1_0", "2"]),
        (["1", ""], ["1", ""]),
        (["True", "False"], ["True", "False"]),
        (["9" * 30, "1"], ["9" * 30, "1"]),
    ],
)
def test_labels_as_they_are_written(cells: list[str], want: list) -> None:
    got = as_written(cells).tolist()
    assert got == want
    assert [type(label) for label in got] == [type(label) for label in want]


def test_labels_with_decimal_commas(tmp_path: Path) -> None:
    table = read_csv(csv(tmp_path, "x;y\n1;1,234\n2;5,678\n3;\n"), TRAIN)
    np.testing.assert_array_equal(table.train.y, [1.234, 5.678, np.nan])
    assert as_written(["a,b", "c"], decimal_comma=True).tolist() == ["a,b", "c"]


def test_csv_without_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    path = csv(tmp_path, "1,2\n3,4\n")
    with pytest.raises(ImportError, match=r"t.csv: .*needs pandas: pip install 'fastdnn\[data\]'"):
        read_csv(path, TRAIN)
