import datetime
import decimal

import numpy as np
import pytest

from fastdnn.data.values import (
    DATE_STYLES,
    PLAIN,
    as_text,
    date_numbers,
    first_style,
    is_missing,
    is_missing_cell,
    number_styles,
    read_dates,
    read_numbers,
    read_truth,
)

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["a ", None, " b"], ["a", "", "b"]),
        ([1, None, 2.0, 2.5], ["1", "", "2", "2.5"]),
        ([True, pd.NA, False], ["True", "", "False"]),
        ([b"a", np.nan, "b"], ["a", "", "b"]),
        ([decimal.Decimal("1.50"), None], ["1.50", ""]),
        ([datetime.date(2024, 1, 2), None], ["2024-01-02", ""]),
    ],
)
def test_anything_as_text(values: list, want: list[str]) -> None:
    assert as_text(pd.Series(values, dtype=object)).tolist() == want


def test_text_of_other_dtypes() -> None:
    for dtype in ("category", "string", "str"):
        assert as_text(pd.Series(["a", None], dtype=dtype)).tolist() == ["a", ""]
    assert as_text(pd.Series([1, None], dtype="Int64")).tolist() == ["1", ""]
    with pytest.raises(TypeError, match="holds a list; want one value in each cell"):
        as_text(pd.Series([[1], [2]]))


def test_what_is_missing() -> None:
    text = pd.Series(["", "?", "NA", "n/a", "None", "-", "x", "0"])
    assert is_missing(text).tolist() == [True] * 6 + [False] * 2
    assert is_missing_cell(" NaN ")


def test_all_that_pandas_takes_for_missing_is_missing_here() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert all(is_missing_cell(token) for token in STR_NA_VALUES)


@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize(
    ("text", "want", "style"),
    [
        ("1 -2.5 +3 1e-3 .5", [1, -2.5, 3, 0.001, 0.5], PLAIN),
        ("\u22121 2", [-1, 2], PLAIN),
        ("0,5 -1,25 3", [0.5, -1.25, 3], "1,5"),
        ("0,535 1,234", [0.535, 1.234], "1,5"),
        ("1,5e3 ,5", [1500, 0.5], "1,5"),
        ("1,234.5 12", [1234.5, 12], "1,234.5"),
        ("1,234,567 12", [1234567, 12], "1,234.5"),
        ("1.234,5 -12 1.234.567", [1234.5, -12, 1234567], "1.234,5"),
        ("1\u00a0234,5 1\u202f234\u202f567", [1234.5, 1234567], "1 234,5"),
        ("1'234.5 2", [1234.5, 2], "1 234.5"),
        ("$5 -$2.50 $1,000", [5, -2.5, 1000], "1,234.5"),
        ("$5 $-2.50", [5, -2.5], PLAIN),
        ("5€ 2,50€", [5, 2.5], "1,5"),
        ("12% 7.5%", [12, 7.5], PLAIN),
    ],
)
def test_numbers_in_their_styles(text: str, want: list, style: str, comma: bool) -> None:
    cells = pd.Series(text.split(" "))
    assert first_style(cells, number_styles(comma), read_numbers) == style
    np.testing.assert_allclose(read_numbers(cells, style), want, rtol=1e-15)


def test_one_comma_before_three_digits_is_what_the_file_says() -> None:
    cells = pd.Series(["1,234", "5,678"])
    assert first_style(cells, number_styles(False), read_numbers) == "1,234.5"
    assert first_style(cells, number_styles(True), read_numbers) == "1,5"


@pytest.mark.parametrize(
    "text", ["a", "1_000", "1,2,3", "1.2.3", "12,34.5", "1e", "5 kg", "%", "0x1F", "1-2"]
)
def test_what_is_no_number(text: str) -> None:
    cells = pd.Series(["1", text])
    assert first_style(cells, number_styles(False), read_numbers) is None


def test_missing_numbers_are_nan() -> None:
    got = read_numbers(pd.Series(["1,5", "", "?", "NA"]), "1,5")
    np.testing.assert_array_equal(got, [1.5, np.nan, np.nan, np.nan])


def test_truth() -> None:
    np.testing.assert_array_equal(
        read_truth(pd.Series(["Yes", "no", "", "y"]), "yes"), [1, 0, np.nan, np.nan]
    )


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("2024-02-01|2023-12-31", "ISO8601"),
        ("2024-02-01T10:30:00Z|2023-12-31", "ISO8601"),
        ("2024-02-01 10:30|2023-12-31 00:00:01", "ISO8601"),
        ("2024/02/01|2023/12/31", "ISO8601"),
        ("01.02.2024|31.12.2023", "%d.%m.%Y"),
        ("02/01/2024|12/31/2023", "%m/%d/%Y"),
        ("01/02/2024|31/12/2023", "%d/%m/%Y"),
        ("01/02/2024 10:30|31/12/2023 09:00", "%d/%m/%Y %H:%M"),
        ("01-02-2024|31-12-2023", "%d-%m-%Y"),
        ("1 Feb 2024|31 Dec 2023", "%d %b %Y"),
        ("Feb 1, 2024|Dec 31, 2023", "%b %d, %Y"),
    ],
)
def test_dates_in_their_styles(text: str, style: str) -> None:
    cells = pd.Series([*text.split("|"), ""])
    assert first_style(cells[:2], DATE_STYLES, read_dates) == style
    dates = read_dates(cells, style)
    assert dates.dt.strftime("%Y-%m-%d").tolist()[:2] == ["2024-02-01", "2023-12-31"]
    assert dates.isna().tolist() == [False, False, True]
    assert dates.dt.tz is None


def test_numbers_of_dates() -> None:
    dates = pd.Series(pd.to_datetime(["1970-01-02 06:00", None, "2024-02-29 00:00"]))
    days, month, weekday, hour = date_numbers(dates, hours=True)
    np.testing.assert_array_equal(days, [1.25, np.nan, 19782])
    np.testing.assert_array_equal(month, [1, np.nan, 2])
    np.testing.assert_array_equal(weekday, [4, np.nan, 3])
    np.testing.assert_array_equal(hour, [6, np.nan, 0])
    assert len(date_numbers(dates, hours=False)) == 3


def test_dates_with_zones() -> None:
    dates = pd.Series(pd.to_datetime(["2024-01-01 00:30"]).tz_localize("Europe/Berlin"))
    assert read_dates(dates, "ISO8601").tolist() == [pd.Timestamp("2023-12-31 23:30")]
