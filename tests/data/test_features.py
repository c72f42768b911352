import numpy as np
import pytest

from fastdnn.data.features import Encoder, column_of, fit_columns
from fastdnn.data.scaling import Scaling

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
FRAME = pd.DataFrame(
    {
        "age": ["20", "", "40", "60"],
        "work": ["a", "b", "?", "a"],
        "member": ["yes", "no", "no", "yes"],
        "empty": [""] * 4,
    }
)
ALL = np.arange(4)


def kinds(X, names=None, train=None, **options) -> list[str]:
    train = np.arange(len(X)) if train is None else train
    return [column.kind for column in fit_columns(X, names, train, **options)[0]]


def test_columns_and_what_is_made_of_them() -> None:
    columns, values = fit_columns(FRAME, list(FRAME.columns), ALL)
    np.testing.assert_array_equal(values[0], [20, np.nan, 40, 60])
    assert [column.kind for column in columns] == ["number", "category", "boolean", "dropped"]
    encoder = Encoder(columns)
    assert encoder.used == [0, 1, 2]
    assert encoder.n_outputs == 6
    assert encoder.names == ("age", "member", "age")
    given = {i: column_of(FRAME, i) for i in encoder.used}
    numbers = encoder.numbers(given, 4)
    # age with the median for what is missing, member, and a mark; then "", "a", "b".
    np.testing.assert_array_equal(numbers, [[20, 1, 0], [40, 0, 1], [40, 0, 0], [60, 1, 0]])
    scaling = Scaling.fit(numbers, encoder.names)
    X = encoder.apply(given, numbers, scaling, "float32")
    assert X.dtype == np.float32
    np.testing.assert_allclose(X[:, :3], scaling.apply(numbers, "float64"), rtol=1e-6)
    np.testing.assert_array_equal(X[:, 3:], [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_unknown_categories_are_all_zero() -> None:
    columns, _ = fit_columns(FRAME[["work", "age"]], ["work", "age"], ALL)
    encoder, scaling = Encoder(columns), Scaling(np.zeros(2), np.ones(2))
    for work, age, want in (
        (["new", "a"], [1, 2], [[1, 0, 0, 0, 0], [2, 0, 0, 1, 0]]),
        ([], [], np.empty((0, 5))),
    ):
        new = {0: pd.Series(work, dtype=object), 1: pd.Series(age, dtype=float)}
        X = encoder.apply(new, encoder.numbers(new, len(work)), scaling, "float64")
        np.testing.assert_array_equal(X, want)


def test_embedded_columns_come_last_as_whole_numbers() -> None:
    towns = [f"t{i}" for i in range(4)] * 3
    X = pd.DataFrame(
        {"town": ["", *towns], "work": list("abababababaab"), "x": np.arange(13.0) ** 2}
    )
    columns, _ = fit_columns(X, list(X.columns), np.arange(13), embed_above=3)
    assert [column.embedded for column in columns] == [True, False, False]
    assert columns[0].categories == ("", "t0", "t1", "t2", "t3")
    encoder = Encoder(columns)
    assert encoder.used == [0, 1, 2]
    assert encoder.n_outputs == 4
    assert encoder.cardinalities == {3: 6}
    new = {
        0: pd.Series(["t3", "", "never seen", "t0"]),
        1: pd.Series(["a", "b", "c", ""]),
        2: pd.Series([1.0, 2.0, 3.0, 4.0]),
    }
    made = encoder.apply(new, encoder.numbers(new, 4), Scaling(np.zeros(1), np.ones(1)), "float32")
    # x, whether work is a, whether it is b; and 0 for what is none of the towns
    wanted = [[1, 1, 0, 5], [2, 0, 1, 1], [3, 0, 0, 0], [4, 0, 0, 2]]
    np.testing.assert_array_equal(made, wanted)
    none = {i: part[:0] for i, part in new.items()}
    scaling = Scaling(np.zeros(1), np.ones(1))
    assert encoder.apply(none, encoder.numbers(none, 0), scaling, "float32").shape == (0, 4)
    # what is missing in no training row is as what was never seen
    columns, _ = fit_columns(X[1:], list(X.columns), np.arange(12), embed_above=3)
    encoder = Encoder(columns)
    assert encoder.cardinalities == {3: 5}
    made = encoder.apply(new, encoder.numbers(new, 4), scaling, "float32")
    assert made[:, 3].tolist() == [4, 0, 0, 1]


def test_only_training_rows_teach() -> None:
    X = pd.DataFrame({"x": [1.0, 3.0, 1000.0, np.nan], "c": ["a", "b", "new", ""]})
    (number, category), _ = fit_columns(X, ["x", "c"], np.array([0, 1]))
    assert number.fills == (2,)
    assert not number.indicates
    assert category.categories == ("a", "b")
    # What a column holds is told by all rows: there is text in the last one.
    X = pd.DataFrame({"x": ["1", "2", "3", "w"]})
    assert kinds(X, ["x"], np.array([0, 1, 2])) == ["category"]


RUN = np.arange(30.0)
NOISE = np.random.default_rng(0).normal(size=30)
SHUFFLED = np.random.default_rng(1).permutation(RUN)


@pytest.mark.parametrize("values", [RUN, RUN + 1, SHUFFLED, SHUFFLED * 7 + 3])
@pytest.mark.parametrize(
    "name", ["Unnamed: 0", "", "index", "__index_level_0__", "id", "PassengerId"]
)
def test_an_index_is_dropped(values: np.ndarray, name: str) -> None:
    for X in (pd.DataFrame({name: values, "x": NOISE}), np.column_stack([values, NOISE])):
        (index, x), _ = fit_columns(X, [name, "x"], np.arange(30))
        assert index.kind == "dropped"
        words = ("a different whole number in every row", "whole numbers without a name")
        assert index.note.removeprefix("dropped: ").startswith(words)
        assert x.kind == "number"


def test_an_index_of_joined_tables_is_one_too() -> None:
    joined = pd.DataFrame({"Unnamed: 0": RUN % 10, "x": NOISE})
    assert kinds(joined, ["Unnamed: 0", "x"]) == ["dropped", "number"]


@pytest.mark.parametrize("values", [RUN, RUN + 1, SHUFFLED])
def test_without_names_the_first_column_may_be_an_index(values: np.ndarray) -> None:
    (index, _), _ = fit_columns(np.column_stack([values, NOISE]), None, np.arange(30))
    assert index.note.startswith("dropped: it numbers the rows")
    (_, last), _ = fit_columns(np.column_stack([NOISE, values]), None, np.arange(30))
    assert last.kind == "number"
    assert "it numbers the rows: --drop 1 if it is an index" in last.note


def test_what_may_be_an_index_is_told() -> None:
    (day, _), _ = fit_columns(pd.DataFrame({"day": RUN, "x": NOISE}), ["day", "x"], np.arange(30))
    assert day.kind == "number"
    assert "--drop day if it is an index" in day.note


@pytest.mark.parametrize(
    "values", [RUN // 2, RUN + 0.5, NOISE, np.where(RUN > 3, RUN, np.nan)], ids=range(4)
)
def test_what_is_no_index(values: np.ndarray) -> None:
    assert kinds(np.column_stack([values, NOISE]), ["id", "x"]) == ["number", "number"]


def test_the_only_feature_is_none() -> None:
    assert kinds(RUN[:, None]) == ["number"]
    assert kinds(pd.DataFrame({"index": RUN}), ["index"]) == ["number"]


def test_dropped_as_asked_for() -> None:
    columns, _ = fit_columns(FRAME, list(FRAME.columns), ALL, [0])
    assert (columns[0].kind, columns[0].note) == ("dropped", "dropped: as --drop says")
    with pytest.raises(ValueError, match="no feature is left: 'age' dropped: as --drop says"):
        fit_columns(FRAME[["age"]], ["age"], ALL, [0])


@pytest.mark.parametrize("X", [np.array([[1.0], [np.inf]]), pd.DataFrame({"v": ["1", "inf"]})])
def test_infinity_is_located(X) -> None:
    with pytest.raises(ValueError, match="data row 2, column 'v': inf"):
        fit_columns(X, ["v"], np.array([0]))


def test_without_names_columns_have_the_files_numbers() -> None:
    columns, _ = fit_columns(np.column_stack([NOISE, NOISE, NOISE]), None, np.arange(30), label=1)
    assert [column.name for column in columns] == ["0", "2", "3"]
