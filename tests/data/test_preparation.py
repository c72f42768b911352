import json

import numpy as np
import pytest

from fastdnn.data.columns import Column
from fastdnn.data.preparation import Preparation, prepared
from fastdnn.data.scaling import Scaling

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
pl = pytest.importorskip("polars", reason="not installed: pip install 'fastdnn[test]'")
RNG = np.random.default_rng(0)
COLUMNS = (
    Column("id", "dropped", "dropped: it numbers the rows"),
    Column("age", "number", "numbers", fills=(30.0,), indicates=True),
    Column("work", "category", "categories", categories=("", "a", "b")),
)


def preparation(**changes) -> Preparation:
    facts = {
        "data": "iris.csv",
        "n_features": 2,
        "scaling": Scaling(RNG.normal(size=2), RNG.random(2)),
        "classes": np.array(["é", "setosa"]),
        "features": ("u", "v"),
        "target": "species",
        "label": 2,
    }
    return Preparation(**{**facts, **changes})


def people(**changes) -> Preparation:
    facts = {
        "n_features": 3,
        "scaling": Scaling(np.array([40.0, 0.5]), np.array([10.0, 0.5])),
        "features": ("id", "age", "work"),
        "target": "income",
        "label": 3,
        "columns": COLUMNS,
        "task": "classification: the labels are text",
    }
    return preparation(**{**facts, **changes})


EMBEDDED = (*COLUMNS[:2], Column("work", "category", categories=("", "a", "b"), embedded=True))
TWICE = (*COLUMNS[:2], Column("work", "category", categories=("a", "a"), embedded=True))
NUMBER = {"classes": None, "target_scaling": Scaling(np.array(100.0), np.array(10.0))}


@pytest.mark.parametrize(
    "before",
    [
        preparation(),
        preparation(classes=np.array([3, 5, 7]), features=None, target=None),
        preparation(classes=None, target_scaling=Scaling(np.array(0.1), np.array(1 / 3))),
        preparation(scaling=Scaling(np.zeros(1), np.array([255.0])), label=None),
        people(),
        people(columns=EMBEDDED),
    ],
)
def test_metadata_comes_back_exactly(before: Preparation) -> None:
    before.inputs([[1.0, 2.0]] if before.columns is None else [[1, 2, "a"]], "float64")
    metadata = before.to_metadata()
    assert all(isinstance(text, str) for pair in metadata.items() for text in pair)
    after = Preparation.from_metadata({"other": "entry", **metadata})
    assert after is not None
    for name in before.__dataclass_fields__:
        value, got = getattr(before, name), getattr(after, name)
        if isinstance(value, Scaling):
            np.testing.assert_array_equal(got.mean, value.mean)
            np.testing.assert_array_equal(got.deviation, value.deviation)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(got, value)
            assert got.dtype.kind == value.dtype.kind
        else:
            assert got == value
    json.loads(next(iter(metadata.values())))
    assert Preparation.kept_apart({"other": "entry", **metadata}) == {"other": "entry"}


def test_metadata_of_another_program() -> None:
    assert Preparation.from_metadata({"format": "np"}) is None


@pytest.mark.parametrize("text", ["", "{}", '{"scaling": null}', "[1]"])
def test_damaged_metadata(text: str) -> None:
    (key,) = preparation().to_metadata()
    with pytest.raises(ValueError, match="damaged, or of another version"):
        Preparation.from_metadata({key: text})


def test_numbers_are_chosen_by_name_checked_and_scaled() -> None:
    one = preparation(scaling=Scaling(np.array([1.0, 10.0]), np.array([2.0, 5.0])))
    for X in (
        pd.DataFrame({"v": [20.0], "w": ["x"], "u": [5]}),
        pl.DataFrame({"v": [20.0], "w": ["x"], "u": [5]}),
        pd.DataFrame({" v": ["20"], "u ": ["5"]}),
        pd.DataFrame([[5.0, 20.0]]),
        [[5, 20]],
        np.array([[5, 20, 7]]),  # with the labels
        [[5, 20, "setosa"]],
    ):
        np.testing.assert_array_equal(one.inputs(X, "float64"), [[2, 2]])
    with pytest.raises(ValueError, match="no column 'v'; the model was trained on 'u', 'v'"):
        one.inputs(pd.DataFrame({"u": [1], "w": [2]}), "float32")
    with pytest.raises(ValueError, match=r"4 features; the model takes 2, as .*: 'u', 'v'"):
        one.inputs(np.ones((1, 4)), "float32")
    with pytest.raises(ValueError, match="data row 1, column 'v': nan"):
        one.inputs(np.array([[0, np.nan]]), "float32")


def test_columns_of_all_kinds() -> None:
    want = [[-1, -1, 0, 1, 0], [-1, 1, 1, 0, 0]]
    frame = pd.DataFrame({"work": ["a", None], "age": [30, None]})
    for X in (
        frame,
        pl.DataFrame({"work": ["a", None], "age": [30, None]}),
        frame.assign(id=[5, 6], more="x"),
        [[1, 30, "a"], [2, None, "?"]],
        [["1", "30", "a"], ["2", "", "NA"]],
        np.array([[1, 30, "a", "yes"], [2, np.nan, "", "no"]], dtype=object),
    ):
        np.testing.assert_array_equal(people().inputs(X, "float64"), want)
    with pytest.raises(
        ValueError, match=r"2 features; the model takes 3, as .*'id', 'age', 'work'"
    ):
        people().inputs([[30, "a"]], "float64")
    with pytest.raises(ValueError, match="data row 1, column 'age': 'x' is not a number"):
        people().inputs([[1, "x", "a"]], "float64")


def test_an_embedded_column_is_a_whole_number() -> None:
    one = people(columns=EMBEDDED)
    assert one.cardinalities == {2: 4}
    assert people().cardinalities == preparation().cardinalities == {}
    frame = pd.DataFrame({"work": ["b", None, "new"], "age": [30, None, 50]})
    want = [[-1, -1, 3], [-1, 1, 1], [1, -1, 0]]
    for X in (frame, pl.from_pandas(frame), frame.assign(id=1), [[0, 30, "b"], [0, "", ""]]):
        np.testing.assert_array_equal(one.inputs(X, "float64"), want[: len(X)])


def test_known_columns_are_those_that_are_read() -> None:
    known = people().known
    assert known.features == ("age", "work")
    assert (known.target, known.n_features, known.position) == ("income", 3, 3)


def test_labels_of_outputs() -> None:
    A = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert preparation().labels(A).tolist() == ["é", "setosa"]
    assert preparation().outputs(A) is A
    scaled = preparation(**NUMBER)
    outputs = scaled.outputs(np.array([[-1.0], [0.5]]))
    np.testing.assert_allclose(outputs, [[90], [105]])
    np.testing.assert_allclose(scaled.labels(outputs), [90, 105])


def test_codes_of_labels() -> None:
    one = preparation(classes=np.array(["a", "b"]))
    assert one.codes(np.array(["b", "x", "a"])).tolist() == [1, -1, 0]


def test_targets() -> None:
    assert preparation(classes=np.array(["a", "b"])).targets(["b", "a"]).tolist() == [1, 0]
    assert preparation(**NUMBER).targets(pd.Series([110, 90])).tolist() == [1, -1]
    assert preparation(**NUMBER).targets(["110,0", "90,0"]).tolist() == [1, -1]
    with pytest.raises(ValueError, match=r"got 'c' at y\[1\]; the model's classes are 'a', 'b'"):
        preparation(classes=np.array(["a", "b"])).targets(["b", "c"])
    with pytest.raises(ValueError, match="want finite numbers, as the training file's labels are"):
        preparation(**NUMBER).targets(["x"])
    with pytest.raises(ValueError, match="want finite numbers"):
        preparation(**NUMBER).targets([np.nan])


def test_report_has_a_line_for_columns_alike() -> None:
    more = (*COLUMNS, Column("pay", "number", "numbers", fills=(1.0,)))
    assert people(columns=more).report().splitlines() == [
        "task: classification: the labels are text",
        "columns:",
        "  'id': dropped: it numbers the rows",
        "  'age', 'pay': numbers",
        "  'work': categories",
    ]
    assert preparation().report() == ""


def test_errors_begin_with_the_argument() -> None:
    def fail(given: object) -> np.ndarray:
        raise TypeError("is wrong")

    with pytest.raises(TypeError, match=r"^X: is wrong$"):
        prepared("X", None, fail)


# ------------------------------------------------------------------------------ files of strangers
def test_an_account_that_fits() -> None:
    preparation().check_network(2, 2)
    preparation(**NUMBER).check_network(2, 1)
    preparation(scaling=Scaling(np.zeros(1), np.array([255.0]))).check_network(2, 2)
    people().check_network(5, 2)
    people(columns=EMBEDDED).check_network(3, 2)


@pytest.mark.parametrize(
    ("account", "n_0", "n_outputs"),
    [
        (preparation(), 3, 2),
        (preparation(), 2, 3),
        (people(), 3, 2),
        (people(columns=COLUMNS[:2]), 2, 2),
        (people(columns=EMBEDDED), 5, 2),
        (people(columns=TWICE), 3, 2),
        (preparation(n_features="x"), 2, 2),
        (preparation(features=("u",)), 2, 2),
        (preparation(features=("u", 3)), 2, 2),
        (preparation(classes=None), 2, 1),
        (preparation(classes=None, target_scaling=Scaling(np.zeros(3), np.ones(3))), 2, 1),
        (preparation(scaling=Scaling(np.zeros(2), np.zeros(2))), 2, 2),
        (preparation(scaling=Scaling(np.full(2, np.nan), np.ones(2))), 2, 2),
        (preparation(scaling=Scaling(np.zeros(3), np.ones(3))), 2, 2),
        (preparation(scaling=Scaling(np.zeros(2), np.ones(1))), 2, 2),
        (preparation(scaling=Scaling(np.array(["x", "y"]), np.array(["x", "y"]))), 2, 2),
    ],
)
def test_an_account_of_another_network(account: Preparation, n_0: int, n_outputs: int) -> None:
    with pytest.raises(ValueError, match="account of its data is damaged, or of another version"):
        account.check_network(n_0, n_outputs)
