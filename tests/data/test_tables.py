import sys
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.tables import Columns, Part, check_names, locate, pandas, quoted, split_label

PATH = Path("t.csv")
NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("columns", "names", "n", "want"),
    [
        (Columns(), None, 3, 2),
        (Columns("b"), NAMES, 3, 1),
        (Columns("1"), NAMES, 3, 1),
        (Columns(-3), NAMES, 3, 0),
        (Columns("1"), ("0", "2", "1"), 3, 2),
        # For a trained model.
        (Columns("c", 2, ("a",), 2), NAMES, 3, 2),
        (Columns("c", 2, ("a",), 2), ("b", "a"), 2, None),
        (Columns("c", 2, ("a", "b"), 0), None, 3, 0),
        (Columns("c", 2, ("a", "b"), 0), None, 2, None),
        (Columns(1, 2), None, 3, 1),
    ],
)
def test_the_label_column_is_found(columns: Columns, names, n: int, want: int | None) -> None:
    assert columns.label(PATH, names, n) == want


@pytest.mark.parametrize(
    ("columns", "names", "n", "message"),
    [
        (Columns(), None, 1, "t.csv: one column; want one feature or more and a label column"),
        (Columns("d"), NAMES, 3, "t.csv: target: no column 'd'; it has 'a', 'b', 'c'"),
        (Columns(3), NAMES, 3, "t.csv: target: no column 3; it has 3, from 0"),
        (
            Columns("c", 2, ("a", "d"), 2),
            NAMES,
            3,
            "no column 'd'; the model was trained on 'a', 'd'",
        ),
        (Columns(2, 2), None, 5, "5 columns; the model takes 2 features"),
    ],
)
def test_no_label_column(columns: Columns, names, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        columns.label(PATH, names, n)


def test_columns_by_name_before_number() -> None:
    assert locate(PATH, "drop", "1", ("1", "x"), 2) == 0
    assert locate(PATH, "drop", "1", ("a", "b"), 2) == 1
    with pytest.raises(ValueError, match="drop: no column 'x'; it has no header"):
        locate(PATH, "drop", "x", None, 2)


def test_names_without_the_labels() -> None:
    part = Part(np.eye(2))
    table = split_label(part, NAMES, 1)
    assert (table.names, table.label, table.target) == (("a", "c"), 1, "b")
    assert split_label(part, None, 1).names is None
    with pytest.raises(ValueError, match="two columns named 'a'; rename one"):
        check_names(PATH, ["a", "b", "a"])
    assert quoted(["x"] * 9, most=2) == "'x', 'x', … (9)"


def test_pandas_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^this needs pandas: pip install 'fastdnn\[data\]'$"):
        pandas("this")
