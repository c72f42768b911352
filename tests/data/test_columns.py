import json
from dataclasses import asdict

import numpy as np
import pytest

from fastdnn.data import columns
from fastdnn.data.columns import MOST_CATEGORIES, Column, describe, read_kind

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")


def column(values, name: str = "c", embed_above: int | None = None) -> Column:
    values = values if isinstance(values, np.ndarray) else pd.Series(values)
    return describe(read_kind(values, name), values, embed_above)


MANY = [f"{i}.5" for i in range(30)]


@pytest.mark.parametrize(
    ("values", "kind", "style"),
    [
        ([1, 2, 3], "number", "1.5"),
        (np.array([1.0, 2.0]), "number", "1.5"),
        (["1", "2.5", "?"], "number", "1.5"),
        (["0,5", "1,5"], "number", "1,5"),
        (["$1,000.50", "$2"], "number", "1,234.5"),
        ([True, False], "boolean", "true"),
        (["TRUE", "false", "NA"], "boolean", "true"),
        (["no", "yes", "yes"], "boolean", "yes"),
        (["N", "Y"], "boolean", "y"),
        (["2024-01-01", "2024-02-03"], "date", "ISO8601"),
        (pd.to_datetime(["2024-01-01", "2024-02-03"]), "date", "ISO8601"),
        (["31.12.2023", "1.2.2024"], "date", "%d.%m.%Y"),
        (["a", "b"], "category", "1.5"),
        (["1", "2", "A"], "category", "1.5"),
        (pd.Categorical(["a", "b"]), "category", "1.5"),
        (pd.array([1, None, 2], dtype="Int64"), "number", "1.5"),
        (pd.array([True, None, False], dtype="boolean"), "boolean", "true"),
    ],
)
def test_kinds(values, kind: str, style: str) -> None:
    found = column(values)
    assert (found.kind, found.style) == (kind, style)
    assert Column.from_facts(json.loads(json.dumps(asdict(found)))) == found


def test_numbers_with_gaps() -> None:
    found = column(["1", "", "3", "10"])
    assert found.fills == (3,)
    assert found.indicates
    assert "1 missing: the median instead, and an input that marks them" in found.note
    np.testing.assert_array_equal(found.numbers(pd.Series(["2", "NA"]))[0], [2, np.nan])
    assert not column([1.5, 2.5]).indicates


def test_truth_is_one_number() -> None:
    found = column(["yes", "no", "yes"])
    assert found.note == "1 for yes, 0 for no, scaled"
    for values in (["Yes", "NO", ""], pd.array([True, False, None], dtype="boolean"), [1, 0, None]):
        np.testing.assert_array_equal(found.numbers(pd.Series(values))[0], [1, 0, np.nan])


def test_dates_are_three_numbers_or_four() -> None:
    assert len(column(["2024-01-01", "2024-02-03"]).fills) == 3
    found = column(["2024-01-01 10:00", "2024-02-03 11:00"])
    assert found.hours
    assert len(found.fills) == 4
    parts = found.numbers(pd.Series(pd.to_datetime(["1970-01-02 12:00"])))
    assert [part.tolist() for part in parts] == [[1.5], [1], [4], [12]]


def test_whole_numbers_of_a_file_with_decimal_commas() -> None:
    found = read_kind(pd.Series([1, 2]), "c", decimal_comma=True)
    assert found.note == "numbers"
    for text in ("1,234", "1.234"):
        assert found.numbers(pd.Series([text]))[0].tolist() == [1.234]


def test_new_numbers_may_be_written_in_another_style() -> None:
    found = column(["0,5", "1,5"])
    for values in (["0.5", "2"], [0.5, 2], ["0,5", "2"]):
        np.testing.assert_array_equal(found.numbers(pd.Series(values))[0], [0.5, 2])
    day = column(["31.12.2023", "1.2.2024"])
    assert day.numbers(pd.Series(["1970-01-02"]))[0].tolist() == [1]


@pytest.mark.parametrize(
    ("trained", "new", "message"),
    [
        (["1", "2"], ["1", "?", "x"], "data row 3, column 'c': 'x' is not a number"),
        (["yes", "no"], ["maybe"], "data row 1, column 'c': 'maybe' is not yes or no"),
        (
            ["2024-01-01", "2024-01-02"],
            ["2024-01-01", "soon"],
            "data row 2, .*'soon' is not a date",
        ),
        (["1", "2"], ["x" * 99], r"'x{30}…' is not a number"),
    ],
)
def test_what_cannot_be_read_is_located(trained: list, new: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        column(trained).numbers(pd.Series(new))


def test_categories() -> None:
    found = column(["b", "a", None, " a "])
    assert found.categories == ("", "a", "b")
    assert found.note == "categories, an input for each of 2 values and one for the 1 missing"
    assert found.texts(["a", "?", 1, 2.0, None]).tolist() == ["a", "", "1", "2", ""]


def test_of_many_categories_the_most_frequent_are_kept() -> None:
    values = [f"v{i:03}" for i in range(150) for _ in range(4 if i < 120 else 8)]
    found = column(values)
    assert len(found.categories) == MOST_CATEGORIES
    assert {f"v{i}" for i in range(120, 150)} <= set(found.categories)
    assert found.categories == tuple(sorted(found.categories))
    assert "the 100 most frequent of 150 values" in found.note


def test_categories_of_more_values_are_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [f"v{i:03}" for i in range(150) for _ in range(4 if i < 120 else 8)]
    found = column([*values, None], embed_above=149)
    assert found.embedded
    assert found.categories == ("", *sorted(set(values)))
    assert found.note == (
        "categories, a trained vector for each of 150 values and one for the 1 missing"
    )
    for above in (None, 150):
        assert not column([*values, None], embed_above=above).embedded
    monkeypatch.setattr(columns, "MOST_EMBEDDED", 30)
    found = column(values, embed_above=16)
    assert found.categories == tuple(f"v{i}" for i in range(120, 150))
    assert "a trained vector for each of the 30 most frequent of 150 values" in found.note
    # an id says nothing in either way, and numbers are none
    assert column([f"name {i}" for i in range(50)], embed_above=16).kind == "dropped"
    assert column(np.arange(50.0), embed_above=16).kind == "number"


def test_an_account_of_before_has_none_embedded() -> None:
    facts = asdict(Column("c", "category", categories=("a", "b")))
    del facts["embedded"]
    assert Column.from_facts(facts) == Column("c", "category", categories=("a", "b"))


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["", None, "?"], "it is empty"),
        ([np.nan, np.nan], "it is empty"),
        (np.array([np.nan, np.nan]), "it is empty"),
        ([3, 3, 3], "it is 3 in every row"),
        (["x", "x"], "it is 'x' in every row"),
        (["yes", "yes"], "it is 1 in every row"),
        ([f"name {i}" for i in range(21)], "21 different texts in 21 rows, as of an id"),
    ],
)
def test_what_says_nothing_is_dropped(values, note: str) -> None:
    found = column(values)
    assert found.kind == "dropped"
    assert found.note.startswith(f"dropped: {note}")


def test_few_rows_may_have_different_texts() -> None:
    assert column([f"name {i}" for i in range(20)]).kind == "category"


def test_a_word_among_numbers_is_refused() -> None:
    message = (
        "column 'c': 'lots' in data row 4 is not a number, as 30 of its 31 values are; .*--drop c"
    )
    with pytest.raises(ValueError, match=message):
        column([*MANY[:3], "lots", *MANY[3:]])
    assert column([*MANY, "unknown", "missing"]).kind == "number"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], [2]], "column 'c': holds a list; want one value in each cell"),
        (pd.to_timedelta([1, 2], unit="D"), "column 'c': holds times between two moments"),
    ],
)
def test_what_is_no_column_of_values(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        column(values)
