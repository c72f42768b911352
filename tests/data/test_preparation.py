import json

import numpy as np
import pytest

from fastdnn.data.preparation import (
    Preparation,
    Scaling,
    as_numbers,
    check_finite,
    encode_labels,
    missing_labels,
)
from fastdnn.data.tables import Part

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaling_gives_mean_0_and_deviation_1_and_back(dtype: str) -> None:
    # More rows than are scaled at once; seconds since 1970, which float32 cannot tell apart.
    X = RNG.normal([1.7e9, 0.001], [50, 0.0001], (5000, 2))
    scaling = Scaling.fit(X)
    Z = scaling.apply(X, dtype)
    assert Z.dtype == dtype
    np.testing.assert_allclose(Z, (X - X.mean(0)) / X.std(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaling.undo(Z), X, rtol=1e-6)


def test_scaling_only_shifts_a_constant_column() -> None:
    # The standard deviation of 0.1 repeated is not exactly 0 in floating point.
    X = np.column_stack([np.full(1001, 0.1), np.arange(1001)])
    Z = Scaling.fit(X).apply(X, "float64")
    np.testing.assert_allclose(Z[:, 0], 0, atol=1e-14)
    assert Scaling.fit(X).deviation[0] == 1


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([-9e307, 9e307], r"-9e\+307 to 9e\+307"),
        ([1e200, 2e200], r"1e\+200 to 2e\+200"),
        ([1e308, 1e308], r"1e\+308 to 1e\+308"),
        ([1e-200, 2e-200], "1e-200 to 2e-200"),
    ],
)
def test_scaling_that_float64_cannot_hold_is_refused(values: list[float], got: str) -> None:
    X = np.column_stack([[0.0, 1.0], values])
    want = "want numbers whose mean and standard deviation float64 can hold, got"
    with pytest.raises(ValueError, match=f"^column 2: {want} {got}; choose another unit$"):
        Scaling.fit(X)
    with pytest.raises(ValueError, match=f"^column 'v': {want} {got};"):
        Scaling.fit(X, ("u", "v"))
    with pytest.raises(ValueError, match=f"^column 'price': {want} {got};"):
        Scaling.fit(X[:, 1], ("price",))


@pytest.mark.parametrize(
    ("y", "task", "codes", "classes"),
    [
        (["b", "a", "b"], None, [1, 0, 1], ["a", "b"]),
        (["10", "9", "10", "9"], None, [1, 0, 1, 0], [9, 10]),
        (["1", "x", "1"], None, [0, 1, 0], ["1", "x"]),
        ([1.0, 0.0, 1.0], None, [1, 0, 1], [0, 1]),
        ([-1, 1, 1], None, [0, 1, 1], [-1, 1]),
        ([0.5, 1.5, 0.5], "classification", [0, 1, 0], [0.5, 1.5]),
        (list(range(50)), "classification", list(range(50)), list(range(50))),
        (list(range(50)) * 4, None, list(range(50)) * 4, list(range(50))),
    ],
)
def test_classes(y: list, task: str | None, codes: list[int], classes: list) -> None:
    got, names = encode_labels(np.array(y), task)
    assert got.dtype == np.int64
    assert got.tolist() == codes
    assert names is not None
    assert names.tolist() == classes
    assert names.dtype.kind in "iUf"


@pytest.mark.parametrize(
    ("y", "task"),
    [
        ([0.5, 1.0, 0.5], None),
        (["1.5", "2", "3"], None),
        (list(range(50)) * 3, None),  # 50 whole numbers, fewer than 4 samples a value
        (list(range(101)) * 4, None),  # more than 100 of them
        ([0, 1, 0, 1], "regression"),
        ([1e300, 2e300] * 9, None),
    ],
)
def test_regression_targets(y: list, task: str | None) -> None:
    got, classes = encode_labels(np.array(y), task)
    assert classes is None
    np.testing.assert_array_equal(got, np.array(y, float))


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (["a", "", "b", ""], None, "2 of 4 are missing or infinite, the first in data row 2"),
        ([1, np.nan], None, "1 of 2 are missing"),
        (["1", "nan"], None, "1 of 2 are missing"),
        ([1, np.inf], "regression", "1 of 2 are missing"),
        (["a", "a"], None, "all 2 are a; there is nothing to learn"),
        ([3, 3, 3], "regression", "all 3 are 3"),
        (["a", "b"], "regression", "a is text; a regression's target is numbers"),
    ],
)
def test_label_errors(y: list, task: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"labels: .*{message}"):
        encode_labels(np.array(y), task)


def test_missing_labels_and_numbers() -> None:
    assert missing_labels(np.array(["a", ""])).tolist() == [False, True]
    assert missing_labels(np.array([1, np.nan, -np.inf])).tolist() == [False, True, True]
    assert as_numbers(np.array(["a", "1"])) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_located(bad: float) -> None:
    X = np.zeros((5000, 3))
    check_finite(X, None)
    X[4500, 1] = bad
    with pytest.raises(ValueError, match=f"data row 4501, column 2: {bad};"):
        check_finite(X, None)
    with pytest.raises(ValueError, match=f"data row 4501, column 'v': {bad};"):
        check_finite(X, ("u", "v", "w"))


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


@pytest.mark.parametrize(
    "before",
    [
        preparation(),
        preparation(classes=np.array([3, 5, 7]), features=None, target=None),
        preparation(classes=None, target_scaling=Scaling(np.array(0.1), np.array(1 / 3))),
        preparation(scaling=Scaling(np.zeros(1), np.array([255.0])), label=None),
    ],
)
def test_metadata_comes_back_exactly(before: Preparation) -> None:
    metadata = before.to_metadata()
    assert all(isinstance(text, str) for pair in metadata.items() for text in pair)
    after = Preparation.from_metadata({"other": "entry", **metadata})
    for name, value in vars(before).items():
        got = getattr(after, name)
        if isinstance(value, Scaling):
            np.testing.assert_array_equal(got.mean, value.mean)
            np.testing.assert_array_equal(got.deviation, value.deviation)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(got, value)
            assert got.dtype.kind == value.dtype.kind
        else:
            assert got == value
    json.loads(next(iter(metadata.values())))


def test_metadata_of_another_program() -> None:
    with pytest.raises(ValueError, match=r"does not say how its data were prepared"):
        Preparation.from_metadata({"format": "np"})


@pytest.mark.parametrize("text", ["", "{}", '{"scaling": null}', "[1]"])
def test_damaged_metadata(text: str) -> None:
    (key,) = preparation().to_metadata()
    with pytest.raises(ValueError, match="damaged, or of another version"):
        Preparation.from_metadata({key: text})


def test_inputs_are_chosen_by_name_checked_and_scaled() -> None:
    one = preparation(scaling=Scaling(np.array([1.0, 10.0]), np.array([2.0, 5.0])))
    part = Part(np.array([[20.0, 9.0, 5.0]]))
    np.testing.assert_array_equal(one.inputs(part, ("v", "w", "u"), "float32"), [[2, 2]])
    np.testing.assert_array_equal(
        one.inputs(Part(np.array([[5.0, 20.0]])), None, "float64"), [[2, 2]]
    )
    with pytest.raises(ValueError, match="data: 3 features; the model takes 2"):
        one.inputs(part, None, "float32")
    with pytest.raises(ValueError, match="data row 1, column 'v': nan"):
        one.inputs(Part(np.array([[0, np.nan]])), None, "float32")


def test_labels_of_outputs() -> None:
    A = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert preparation().labels(A).tolist() == ["é", "setosa"]
    scaled = preparation(classes=None, target_scaling=Scaling(np.array(100.0), np.array(10.0)))
    np.testing.assert_allclose(scaled.labels(np.array([[-1.0], [0.5]])), [90, 105])
