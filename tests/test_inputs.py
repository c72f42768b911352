"""What a user hands over is read as it lies: any layout, any dtype, any form gives the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdnn import losses
from fastdnn._inputs import check_data, check_X, split, weigh_classes
from tests.nets import classifier, regressor, samples

Array = np.ndarray[Any, Any]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
SPARSE, CATEGORICAL = "sparse_categorical_crossentropy", "categorical_crossentropy"
X, y = samples()
COLUMN, ONE_HOT, ONES = y[:, None].astype(float), np.eye(3)[y], np.ones(len(y))


# ---------------------------------------------------------------------------------- class weights
def data_of(loss: str, n: int, targets: Any, sample_weight: Any = None) -> Any:
    return check_data(X[: len(targets)], targets, None, n, losses.get(loss, n), F64, sample_weight)


@pytest.mark.parametrize(
    ("loss", "n", "targets"),
    [
        (SPARSE, 3, [0, 2, 1, 2]),
        (CATEGORICAL, 3, np.eye(3)[[0, 2, 1, 2]]),
        ("mse", 3, np.eye(3)[[0, 2, 1, 2]]),
    ],
)
def test_class_weight_goes_by_the_class(loss: str, n: int, targets: Any) -> None:
    data = weigh_classes(data_of(loss, n, targets), {0: 2.0, 2: np.float32(0.5)}, n, F64)
    assert data.weights.tolist() == [2.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize("targets", [[0, 1, 1], [[0.0], [1.0], [1.0]], [False, True, True]])
def test_class_weight_of_a_single_output(targets: Any) -> None:
    data = weigh_classes(data_of("binary_crossentropy", 1, targets), {0: 3.0, 1: 2}, 1, F64)
    assert data.weights.tolist() == [3.0, 2.0, 2.0]


def test_class_weight_of_labels_of_ones_own() -> None:
    """tanh outputs compared with -1 and 1 are classes, too."""
    data = weigh_classes(data_of("mse", 1, [-1, 1, -1]), {-1: 4.0}, 1, F64)
    assert data.weights.tolist() == [4.0, 1.0, 4.0]


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        pytest.param("binary_crossentropy", [[1, 1, 0], [0, 1, 0]], id="two labels"),
        pytest.param("binary_crossentropy", [[0, 0, 0], [0, 1, 0]], id="no label"),
        pytest.param(CATEGORICAL, [[0.9, 0.05, 0.05], [0, 1, 0]], id="smoothed rows"),
        pytest.param("mse", [[0.0, 1.5, 2.0], [0, 1, 0]], id="three numbers"),
    ],
)
def test_class_weight_of_rows_that_are_of_no_class(loss: str, targets: Any) -> None:
    data = data_of(loss, 3, targets)
    with pytest.raises(ValueError, match=r"^class_weight: want y with one class per sample, .*row"):
        weigh_classes(data, {0: 2.0}, 3, F64)


@pytest.mark.parametrize(
    ("loss", "targets", "weights", "got"),
    [
        pytest.param("mse", [0.5, 2.25, -3.0], {0: 2.0, 1: 1.0}, "-3 to 2.25", id="regression"),
        pytest.param("mse", [0, 1, 2], {0: 2.0, 1: 1.0, 2: 3.0}, "0 to 2", id="counts"),
        pytest.param("binary_crossentropy", [0.05, 0.95, 0.95], {0: 2.0}, "0.05", id="smoothed"),
    ],
)
def test_class_weight_of_numbers(loss: str, targets: Any, weights: Any, got: str) -> None:
    data = data_of(loss, 1, targets)
    with pytest.raises(ValueError, match=rf"^class_weight: want y of two classes, .* got {got}"):
        weigh_classes(data, weights, 1, F64)


def test_a_class_may_be_missing_from_the_samples() -> None:
    data = weigh_classes(data_of(SPARSE, 3, [0, 1]), {2: 9.0, 1: 2.0}, 3, F64)
    assert data.weights.tolist() == [1.0, 2.0]
    data = weigh_classes(data_of("binary_crossentropy", 1, [0, 0]), {1: 9.0}, 1, F64)
    assert data.weights.tolist() == [1.0, 1.0]


def test_class_and_sample_weights_are_multiplied() -> None:
    data = data_of(SPARSE, 3, [0, 1, 0], sample_weight=[1, 2, 3])
    weighed = weigh_classes(data, {0: 10.0}, 3, F32)
    assert weighed.weights.tolist() == [10, 2, 30]
    assert weighed.weights.dtype == F32
    assert data.weights.tolist() == [1, 2, 3]


# --------------------------------------------------------------------------------- read as it lies
def unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    result = np.frombuffer(raw, array.dtype, array.size, offset=1).reshape(array.shape)
    result.flags.writeable = True
    result[...] = array
    assert not result.flags.aligned
    return result


def read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def as_memmap(array: Array, folder: Path) -> Any:
    np.save(folder / "a.npy", array)
    return np.load(folder / "a.npy", mmap_mode="r")


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "read-only": read_only,
    "read-only float32": lambda a: read_only(a.astype(np.float32)),
    "every other column of Fortran order": lambda a: np.asfortranarray(np.repeat(a, 2, 1))[:, ::2],
    "rows backwards": lambda a: a[::-1].copy()[::-1],
    "columns backwards": lambda a: a[:, ::-1].copy()[:, ::-1],
    "unaligned": unaligned,
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian float32": lambda a: a.astype(">f4"),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int8": lambda a: a.astype(np.int8),
    "int64, strided": lambda a: np.repeat(a.astype(np.int64), 3, 0)[::3],
    "objects": lambda a: a.astype(object),
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.astype(int).tolist())),
    "a list of rows": list,
}


def results(X: Any, y: Any, sample_weight: Any, dtype: str) -> list[Any]:
    model = classifier(dropout=0.25, dtype=dtype)
    history = model.fit(X, y, epochs=2, batch_size=16, sample_weight=sample_weight, verbose=0)
    evaluated = model.evaluate(X, y, sample_weight=sample_weight)
    return [model.parameters.tobytes(), history.history, evaluated, model.predict(X).tobytes()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_changes_nothing(layout: str, dtype: str) -> None:
    """Layouts and dtypes that test_end_to_end has not."""
    weights = np.arange(50.0) % 3
    assert results(LAYOUTS[layout](X), y, weights, dtype) == results(X, y, weights, dtype)


def test_a_memory_map_is_read(tmp_path: Path) -> None:
    assert results(as_memmap(X, tmp_path), y, None, "float32") == results(X, y, None, "float32")


def test_zeros_and_ones_may_be_bool() -> None:
    assert results(X > 0, y, y > 0, "float32") == results((X > 0) + 0.0, y, y > 0, "float32")


def test_a_repeated_row_may_be_a_broadcast_one() -> None:
    same = np.broadcast_to(X[0], X.shape)
    assert results(same, y, None, "float32") == results(same.copy(), y, None, "float32")


@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda y: y[:, None],
        lambda y: y.astype(float),
        lambda y: y.astype(np.float16),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(">i4"),
        lambda y: y.astype(object),
        lambda y: np.repeat(y, 2)[::2],
        lambda y: y[::-1].copy()[::-1],
        read_only,
    ],
)
def test_the_form_of_the_labels_changes_nothing(form: Callable[[Array], Any]) -> None:
    assert results(X, form(y), None, "float32") == results(X, y, None, "float32")


@pytest.mark.parametrize(
    "form", [list, np.float32, lambda w: w.astype(np.int32), lambda w: np.repeat(w, 2)[::2]]
)
def test_the_form_of_the_weights_changes_nothing(form: Callable[[Array], Any]) -> None:
    weights = np.arange(50.0) % 3
    assert results(X, y, form(weights), "float32") == results(X, y, weights, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tables_of_pandas(dtype: str) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas makes the tables: pip install pandas")
    index = pandas.Index(np.arange(len(X))[::-1])  # its order must not matter
    table = pandas.DataFrame(X, columns=list("abcd"), index=index)
    mixed = table.astype({"a": "int8", "b": "float32", "c": "Int64", "d": object})
    weights = pandas.Series(np.arange(50.0) % 3, index=index)
    expected = results(X, y, np.asarray(weights), dtype)
    for X_table in (table, mixed):
        for labels in (pandas.Series(y), pandas.DataFrame({"class": y})):
            assert results(X_table, labels, weights, dtype) == expected
    table["a"] = table["a"].where(table["a"] > -3)
    with pytest.raises(ValueError, match=r"^X: want finite.*nan at X\[\d+, 0\]"):
        classifier().predict(table)
    with pytest.raises(TypeError, match=r"^X: want an array of real numbers; .*'red'"):
        classifier().predict(table.assign(b="red"))


@pytest.mark.parametrize("targets", [y, y[:, None], y.astype(np.float32), y.tolist()])
def test_one_output_takes_a_vector_or_a_column(targets: Any) -> None:
    model, expected = regressor(), regressor()
    model.fit(X, targets, verbose=0)
    expected.fit(X, COLUMN, verbose=0)
    assert np.array_equal(model.parameters, expected.parameters)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: a[::2, ::-1],
        lambda a: a.astype(np.float32),
        read_only,
    ],
)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_X_is_not_copied(view: Callable[[Array], Array], dtype: Any) -> None:
    array = view(X)
    assert check_X(array, 4, dtype) is array


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("given", [np.int64, np.float16, bool])
def test_other_numbers_become_the_models(given: Any, dtype: Any) -> None:
    assert check_X(X.astype(given), 4, dtype).dtype == dtype


def test_what_is_handed_over_is_never_modified() -> None:
    inputs = [X.copy(), np.asfortranarray(X, np.float32), y.copy(), ONE_HOT.copy(), ONES.copy()]
    before = [array.tobytes() for array in inputs]
    C, F, labels, one_hot, weights = inputs
    sparse_model = classifier(dropout=0.5)
    dense_model = classifier(dropout=0.5)
    dense_model.compile("sgd", CATEGORICAL, ["accuracy"])
    for model, targets in ((sparse_model, labels), (dense_model, one_hot)):
        for array in (C, F):
            model.fit(
                array, targets, validation_data=(array, targets, weights),
                sample_weight=weights, class_weight={0: 2.0}, verbose=0,
            )  # fmt: skip
            model.train_on_batch(array, targets, weights)
            model.evaluate(array, targets, sample_weight=weights)
            model.loss_and_gradients(array, targets, weights)
            model.predict(array)
    assert [array.tobytes() for array in inputs] == before


# ------------------------------------------------------------------------------------------ parts
@pytest.mark.parametrize(("share", "rest"), [(0.2, 40), (0.5, 25), (0.01, 49)])
def test_split_takes_the_last_samples(share: float, rest: int) -> None:
    data = check_data(X, y, 4, 3, losses.get(SPARSE, 3), F32, sample_weight=np.arange(50))
    first, last = split(data, share)
    assert last is not None
    for part, rows in ((first, slice(rest)), (last, slice(rest, 50))):
        assert np.array_equal(part.X, X[rows])
        assert np.array_equal(part.y, y[rows])
        assert np.array_equal(part.targets.labels, y[rows])
        assert part.weights is not None
        assert np.array_equal(part.weights, np.arange(50)[rows])


def test_split_of_dense_targets() -> None:
    data = check_data(X, ONE_HOT, 4, 3, losses.get(CATEGORICAL, 3), F32)
    first, last = split(data, 0.5)
    assert last is not None
    assert np.array_equal(last.targets.y, ONE_HOT[25:])
    assert len(first.targets.y) == 25
    assert first.weights is None
    assert split(data, 0) == (data, None)
