import numpy as np
import pytest

from fastdnn.data.labels import (
    RULE,
    as_labels,
    as_numbers,
    choose_task,
    encode_labels,
    match_labels,
    missing_labels,
    refuse_missing,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("y", "task", "why"),
    [
        (["b", "a", "b"], "classification", "text"),
        (["1", "x", "1"], "classification", "text"),
        ([1.0, 0.0, 1.0], "classification", "two whole numbers"),
        ([-1, 1, 1], "classification", "two whole numbers"),
        ([2**60, 2**60 + 1] * 9, "classification", "two whole numbers"),
        ([3, 4, 5] * 4, "classification", "up to 10 are taken as classes"),
        (list(range(10)) * 4, "classification", "up to 10 are taken as classes"),
        # Class numbers count from 0, each as often as the others.
        (list(range(50)) * 4, "classification", "without a gap and about as many of each"),
        # Quantities: years, numbers from 1 to 19, counts that thin out.
        (
            list(range(1, 20)) * 52,
            "regression",
            "19 different whole numbers from 1 to 19, and more",
        ),
        (list(range(1950, 2020)) * 9, "regression", "from 1950 to 2019, as years are"),
        (np.repeat(range(12), 2 ** np.arange(12)), "regression", "12 different whole numbers"),
        ([1, 2, 3] * 3, "regression", "3 different whole numbers from 1 to 3 in 9 samples"),
        ([0.5, 1.5, 0.5], "regression", "numbers, not all of them whole"),
        ([2.0**53, 2.0**54] * 9, "regression", "numbers, not all of them whole"),
        (list(range(2015, 2020)) * 9, "regression", "from 2015 to 2019, as years are"),
        ([2019, 2020] * 9, "classification", "two whole numbers"),
        (["1.0", "0.0"] * 9, "classification", "two whole numbers"),
        (["0,5", "1,5", "0,5"], "regression", "numbers, not all of them whole"),
        (["$1,000", "$2,500", "$3,000"], "regression", "3 different whole numbers"),
        # Text that is no number as Python writes it stays what it is.
        (["02139", "06520", "02139"], "classification", "text: some begin with 0"),
        (["1_000", "2_000"], "classification", "text"),
    ],
)
def test_classes_or_quantities(y, task: str, why: str) -> None:
    y = np.array(y)
    found, reason = choose_task(y, None)
    assert found == task
    assert why in reason
    assert choose_task(y, "classification") == ("classification", "")


def test_images_have_as_many_classes_as_they_will() -> None:
    y = np.repeat(np.arange(1, 27), 5)
    assert choose_task(y, None)[0] == "regression"
    assert choose_task(y, None, of_images=True)[0] == "classification"


def test_text_is_no_target() -> None:
    with pytest.raises(ValueError, match="labels: a is text; a regression's target is numbers"):
        choose_task(np.array(["a", "b"]), "regression")
    assert "up to 10 different whole numbers" in RULE


@pytest.mark.parametrize(
    ("y", "codes", "classes"),
    [
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        ([10, 9, 10], [1, 0, 1], [9, 10]),
        ([10.0, 9.0], [1, 0], [9, 10]),
        ([2**60 + 1, 2**60], [1, 0], [2**60, 2**60 + 1]),
        (["10", "9"], [0, 1], ["10", "9"]),
        (["02139", "2139"], [0, 1], ["02139", "2139"]),
        (["1e2", "100"], [1, 0], ["100", "1e2"]),
        ([0.5, 1.5], [0, 1], [0.5, 1.5]),
    ],
)
def test_classes_are_the_labels_as_they_are_written(y: list, codes: list, classes: list) -> None:
    got, labels = encode_labels(np.array(y), "classification")
    assert got.tolist() == codes
    assert labels is not None
    assert labels.tolist() == classes
    assert [type(label) for label in labels.tolist()] == [type(label) for label in classes]


def test_targets_are_numbers() -> None:
    for y in ([1, 2, 4], ["1", "2", "4"], ["1,0", "2,0", "4,0"]):
        target, classes = encode_labels(np.array(y), "regression")
        assert classes is None
        assert target.dtype == np.float64
        assert target.tolist() == [1, 2, 4]


def test_names_are_no_classes() -> None:
    names = np.array([f"name {i}" for i in range(30)])
    with pytest.raises(ValueError, match="labels: 30 different values in 30 samples are no class"):
        encode_labels(names, "classification")
    assert len(encode_labels(np.repeat(names, 2), "classification")[1]) == 30
    assert len(encode_labels(names[:20], "classification")[1]) == 20


@pytest.mark.parametrize("y", [["a", "a"], [3, 3, 3]])
def test_one_label_is_nothing_to_learn(y: list) -> None:
    with pytest.raises(ValueError, match=f"labels: all {len(y)} are {y[0]}; there is nothing to"):
        encode_labels(np.array(y), "classification")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "", "b", ""], "2 of 4 are missing or infinite, the first in data row 2"),
        ([1, np.nan], "1 of 2 are missing"),
        (["1", "nan"], "1 of 2 are missing"),
        (["a", "?", "NA"], "2 of 3 are missing"),
        ([1, np.inf], "1 of 2 are missing"),
        (["1", "inf"], "1 of 2 are missing"),
    ],
)
def test_missing_labels_are_counted(y: list, message: str) -> None:
    with pytest.raises(ValueError, match=f"labels: {message}"):
        refuse_missing(np.array(y))


def test_minus_and_none_are_labels() -> None:
    refuse_missing(np.array(["+", "-", "None"]))
    refuse_missing(np.array([0, 1]))


def test_missing_labels_and_numbers() -> None:
    assert missing_labels(np.array(["a", ""])).tolist() == [False, True]
    assert missing_labels(np.array([1, np.nan, -np.inf])).tolist() == [False, True, True]
    assert as_numbers(np.array(["a", "1"])) is None
    np.testing.assert_array_equal(as_numbers(np.array(["1.5", ""])), [1.5, np.nan])
    np.testing.assert_array_equal(as_numbers(np.array(["1.234,5", ""])), [1234.5, np.nan])


@pytest.mark.parametrize(
    ("classes", "y", "codes"),
    [
        (["b", "é"], ["é", "b", "x"], [1, 0, -1]),
        ([3, 5, 7], [5, 3, 4, 9], [1, 0, -1, -1]),
        ([3, 5, 7], [5.0, np.nan, 7.5], [1, -1, -1]),
        ([3, 5, 7], ["5", "3", ""], [1, 0, -1]),
        ([3, 5, 7], ["a", "3"], [-1, -1]),
        (["02139", "06520"], [6520, 2139, 1], [1, 0, -1]),
        # As numbers they would be one.
        (["02139", "2139"], ["2139", "02139"], [1, 0]),
        (["02139", "2139"], [2139, 1], [1, -1]),
        ([2**60, 2**60 + 1], [2**60 + 1, 2**60], [1, 0]),
        (["1.0", "2.0"], [1.0, 2.0], [0, 1]),
        (["1", "x"], [1.0, 2.0], [0, -1]),
        (["FALSE", "TRUE"], ["True", "False"], [1, 0]),
        (["False", "True"], ["True", "False"], [1, 0]),
    ],
)
def test_labels_are_found_among_the_classes(classes: list, y: list, codes: list) -> None:
    assert match_labels(np.array(y), np.array(classes)).tolist() == codes


def test_labels_of_any_container() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for y in (
        ["a", "b"],
        np.array(["a", "b"], dtype=object),
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype="category"),
        pd.DataFrame({"y": ["a", "b"]}),
        pl.Series(["a", "b"]),
        pl.DataFrame({"y": ["a", "b"]}),
        np.array([["a"], ["b"]]),
        np.array([b"a", b"b"]),
    ):
        assert as_labels(y).tolist() == ["a", "b"]
    for y in ([1, 2], pd.Series([1, 2]), pl.Series([1.0, 2.0]), np.array([1, 2], dtype=object)):
        assert as_labels(y).tolist() == [1, 2]
    assert as_labels([True, False]).tolist() == ["True", "False"]
    assert as_labels(pd.Series([True, False])).tolist() == ["True", "False"]
    assert as_labels(pd.Series([1, 2, None], dtype="Int64")).dtype == np.float64
    with pytest.raises(ValueError, match=r"want one label a sample, got shape \(2, 2\)"):
        as_labels(np.eye(2))
