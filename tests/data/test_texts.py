import gzip
from pathlib import Path

import pytest

from fastdnn.data.texts import Layout, find_layout, other_kind, read_text, rows, unpacked

TEXT = "x;ö\n1;2\n"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_encodings(tmp_path: Path, encoding: str, name: str, suffix: str) -> None:
    path = tmp_path / f"t.csv{suffix}"
    content = TEXT.encode(encoding)
    path.write_bytes(gzip.compress(content, mtime=0) if suffix else content)
    assert read_text(path) == (TEXT, name)


def test_letters_that_windows_lacks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"x,\x81\xff\n")
    assert read_text(path) == ("x,\x81\xff\n", "latin-1")


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT.replace("\n", end).encode())
    assert read_text(path)[0] == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \r\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"a,b\n1,\0\n", "not a text file: it has bytes of value 0"),
        (b"PK\3\4...", "not a text file but a zip archive or an Excel workbook"),
        (b"PAR1...", "not a text file but a Parquet file"),
        (b"\x1f\x8b...", "not a text file but a gzip file"),
        (b" \n<!DOCTYPE html><html>", "not a text file but a web page"),
        (b"\xff\xfe1", "not a text file, or a damaged one, in utf-16"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_text(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("content", [gzip.compress(b"1,2\n" * 9000, mtime=0)[:-20], b"1,2\n"])
def test_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or damaged gzip file"):
        unpacked(path)


def test_a_table_is_no_other_kind() -> None:
    assert other_kind(b"a,b\n") is None
    assert other_kind(b"<=50K,1\n") is None


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("a,b\n1,2\n", Layout(0, 1, ",")),
        ("a;b\n1,5;2,5\n", Layout(0, 1, ";")),
        ("1,1;1,2;a\n2,1;2,2;b\n", Layout(0, 1, ";")),
        ("1,1\t1,2\ta\n2,1\t2,2\tb\n", Layout(0, 1, "\t")),
        ("a|b\n1|2\n", Layout(0, 1, "|")),
        ("a b  c\n  1 2 3 \n", Layout(0, 1, " ")),
        ("1,1 1,2 a\n2,1 2,2 b\n", Layout(0, 1, " ")),
        ("x y\n0,5 a\n1,5 b\n", Layout(0, 1, " ")),
        ('18.0   8 ?\t"a b"\n15.0   8 165.0\t"c d"\n', Layout(0, 1, " ")),
        ("New York\t5\nSan Jose\t6\n", Layout(0, 1, "\t")),
        ("2024-01-01 10:00,5\n2024-01-02 11:00,6\n", Layout(0, 1, ",")),
        ("a, b\n1, x y\n", Layout(0, 1, ",")),
        # Rows of unequal length: most of them tell.
        ("a,b\n1,2\n1,2\n1,2,3\n", Layout(0, 1, ",")),
        ('name,b\n"x;y",2\n"u;v",3\n', Layout(0, 1, ",")),
        ("\n\na,b\n1,2\n", Layout(2, 3, ",")),
        (",,\na,b,c\n1,2,3\n", Layout(3, 2, ",")),
        ("sep=;\na;b\n", Layout(6, 2, ";")),
        ('"sep=|"\na|b\n', Layout(8, 2, "|")),
        ("# made by me\na,b\n1,2\n", Layout(13, 2, ",", ("made by me",))),
        ("# a b\n1 2\n", Layout(6, 2, " ", ("a", "b"))),
        ("Export of Monday\na,b\n1,2\n", Layout(17, 2, ",")),
        ("word\nword\n", Layout(0, 1, ",")),
    ],
)
def test_layout(text: str, layout: Layout) -> None:
    assert find_layout(text) == layout


def test_rows_keep_what_is_quoted() -> None:
    assert list(rows(['a,"b', 'c,d"', "", "1, 2"], ",")) == [["a", "b\nc,d"], ["1", "2"]]
    assert list(rows([' 1   "x y" '], " ")) == [["1", "x y"]]
