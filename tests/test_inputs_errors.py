"""What a user can get wrong in the data: refused with a reason, and nothing has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastdnn
from fastdnn._inputs import check_X
from tests.nets import WITH_TARGETS, classifier, fingerprint, samples

Array = np.ndarray[Any, Any]
X, y = samples()
pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")


def changed(array: Array, at: Any, value: Any) -> Array:
    copy = array.copy()
    copy[at] = value
    return copy


# ------------------------------------------------------------------------------------- refused: X
BAD_X: dict[str, tuple[Any, type[Exception], str]] = {
    "one sample as a vector": (X[0], ValueError, r"X: .*got shape \(4,\); .*X.reshape\(1, -1\)"),
    "three dimensions": (
        X[None],
        ValueError,
        r"X: want 2 dim.*got shape \(1, 50, 4\); flat",
    ),
    "a number": (3.0, ValueError, r"X: want 2 dimensions.*got shape \(\)"),
    "no features": (X[:, :0], ValueError, r"X: got shape \(50, 0\), without features"),
    "too few features": (X[:, :3], ValueError, "X: want 4 features, as the model's.*got 3"),
    "NaN": (changed(X, (7, 2), np.nan), ValueError, r"X: want finite.*nan at X\[7, 2\] \(1 such"),
    "infinity": (changed(X, 5, np.inf), ValueError, r"X: .*inf at X\[5, 0\] \(4 such"),
    "both infinities": (
        changed(X, (slice(3, 5), 1), [-np.inf, np.inf]),
        ValueError,
        r"X: .*-inf at X\[3, 1\] \(2 such",
    ),
    "NaN in Fortran order": (
        np.asfortranarray(changed(X, ([2, 9], [3, 0]), np.nan)),
        ValueError,
        r"X: .*nan at X\[2, 3\] \(2 such",
    ),
    "beyond float32": (
        changed(X, (1, 1), 1e39),
        ValueError,
        r"X: want finite numbers of float32, got 1e\+39 at X\[1, 1\]",
    ),
    "complex sparse rows": (
        sparse.csr_matrix(X * 1j),
        TypeError,
        "X: want real numbers, got dtype",
    ),
    "sparse, NaN": (
        sparse.coo_array(np.where(np.arange(X.size).reshape(X.shape) == 6, np.nan, X)),
        ValueError,
        r"X: want finite numbers of float32, got nan at X\[1, 2\] \(1 such values\)",
    ),
    "text": (X.astype(str), TypeError, "X: want real numbers, got dtype <U"),
    "text in a table": (
        changed(X.astype(object), (0, 0), "red"),
        TypeError,
        r"X: want an array of real numbers; got the text 'red' at X\[0, 0\]",
    ),
    "pandas' missing value": (
        changed(X.astype(object), (3, 1), pd.NA),
        TypeError,
        r"X: want an array of real numbers; got the NAType <NA> at X\[3, 1\]",
    ),
    "no number in a table": (
        changed(X.astype(object), (2, 0), {}),
        TypeError,
        r"X: want an array of real numbers; got the dict {} at X\[2, 0\]",
    ),
    "a date in a table": (
        changed(X.astype(object), (3, 1), np.datetime64("2026-01-01")),
        TypeError,
        r"X: want an array of real numbers; got the datetime64 .* at X\[3, 1\]",
    ),
    "a span of time in a table": (
        changed(X.astype(object), (3, 1), np.timedelta64(1, "D")),
        TypeError,
        r"X: want an array of real numbers; got the timedelta64 .* at X\[3, 1\]",
    ),
    "beyond float64": (
        changed(X.astype(object), (7, 2), 10**400),
        ValueError,
        r"X: want finite numbers of float64, got a larger int at X\[7, 2\]",
    ),
    "beyond float64, of more digits": (
        changed(X.astype(np.longdouble), (7, 2), np.longdouble("1e400")),
        ValueError,
        r"X: want finite numbers of float32, got inf at X\[7, 2\]",
    ),
    "numbers as text in a table": (
        changed(X.astype(object), (0, 0), "3"),
        TypeError,
        "X: want an array of real numbers; got the text '3'",
    ),
    "masked numbers": (
        np.ma.masked_equal(X, X[0, 0]),
        ValueError,
        r"X: want numbers only, got a masked array with \d+ of 200 masked; .*X\.filled",
    ),
    "complex numbers": (X + 1j, TypeError, "X: want real numbers, got dtype complex128"),
    "dates": (X.astype("M8[D]"), TypeError, "X: want real numbers, got dtype datetime64"),
    "rows of different lengths": ([[1, 2, 3, 4], [1]], TypeError, "X: want an array of real num"),
    "None": (None, ValueError, r"X: want 2 dimensions"),
    "a dict": ({"a": 1}, TypeError, "X: want an array of real numbers; .*dict"),
}
NO_SAMPLES = {"no samples": (X[:0], ValueError, "X: got no samples; want at least one")}


@pytest.mark.parametrize("method", WITH_TARGETS)
@pytest.mark.parametrize("what", [*BAD_X, *NO_SAMPLES])
def test_a_bad_X_is_refused_and_nothing_changes(what: str, method: str) -> None:
    bad, error, message = (BAD_X | NO_SAMPLES)[what]
    model = classifier()
    model.fit(X, y, verbose=0)
    before = fingerprint(model)
    with pytest.raises(error, match=f"^{message}"):
        WITH_TARGETS[method](model, bad, y)
    assert fingerprint(model) == before


@pytest.mark.parametrize("what", BAD_X)
def test_predict_refuses_a_bad_X(what: str) -> None:
    bad, error, message = BAD_X[what]
    with pytest.raises(error, match=f"^{message}"):
        classifier().predict(bad)


@pytest.mark.parametrize("method", WITH_TARGETS)
def test_bad_data_do_not_build_a_model(method: str) -> None:
    model = classifier(input_size=None)
    before = fingerprint(model)
    with pytest.raises(ValueError, match=r"^X: .*nan"):
        WITH_TARGETS[method](model, changed(X, (0, 0), np.nan), y)
    with pytest.raises(ValueError, match=r"^y: "):
        WITH_TARGETS[method](model, X, y + 1)
    assert fingerprint(model) == before
    model.fit(X[:, :2], y, verbose=0)  # any number of features is still free to be the first
    assert model.input_size == 2


def test_large_numbers_whose_sum_overflows_are_finite() -> None:
    large = np.full((20, 4), 3e38, np.float32)
    assert check_X(large, 4, np.dtype(np.float32)) is large


def test_float64_holds_more_than_float32() -> None:
    assert np.isfinite(classifier(dtype="float64").predict(changed(X, (1, 1), 1e39))).all()


# ------------------------------------------------------------------------------------- refused: y
COLUMN, ONE_HOT = y[:, None].astype(float), np.eye(3)[y]
SPARSE, CATEGORICAL = "sparse_categorical_crossentropy", "categorical_crossentropy"
BAD_Y: dict[str, tuple[str, int, Any, type[Exception], str]] = {
    "fewer labels": (SPARSE, 3, y[1:], ValueError, r"y: .*X's 50 rows, got shape \(49,\)"),
    "a number": (SPARSE, 3, 1, ValueError, r"y: .*X's 50 rows, got shape \(\)"),
    "one-hot labels": (SPARSE, 3, ONE_HOT, ValueError, r"y: .*\(50, 3\); .*'categorical_crossent"),
    "a cube": (SPARSE, 3, ONE_HOT[None].T, ValueError, r"y: .*"),
    "class n": (SPARSE, 3, y + 1, ValueError, "y: want classes 0 to 2.*3 outputs; got 1 to 3"),
    "class -1": (SPARSE, 3, y - 1, ValueError, "y: want classes 0 to 2.*got -1 to 1"),
    "huge class": (SPARSE, 3, y + 1e30, ValueError, r"y: want classes 0 to 2.*1e\+30"),
    "unsigned class": (SPARSE, 3, y.astype(np.uint64) + 2**63, ValueError, "y: want classes 0"),
    "fraction": (SPARSE, 3, changed(y + 0.0, 4, 0.5), ValueError, r"y: .* got 0.5 at y\[4\]"),
    "NaN label": (SPARSE, 3, changed(y + 0.0, 4, np.nan), ValueError, r"y: .*nan at y\[4\]"),
    "text labels": (SPARSE, 3, y.astype(str), TypeError, "y: want real numbers, got dtype <U"),
    "labels as objects of text": (
        SPARSE,
        3,
        y.astype(str).astype(object),
        TypeError,
        r"y: want an array of real numbers; got the text '\d'",
    ),
    "masked labels": (
        SPARSE,
        3,
        np.ma.masked_array(y, mask=y == 2),
        ValueError,
        r"y: want numbers only, got a masked array with \d+ of 50 masked; leave these",
    ),
    "sparse one-hot": (SPARSE, 3, sparse.csr_matrix(ONE_HOT), TypeError, "y: got a sparse matrix"),
    "labels for one-hot": (CATEGORICAL, 3, y, ValueError, r"y: .*; .*'sparse_categorical_cross"),
    "two columns for three": (CATEGORICAL, 3, ONE_HOT[:, :2], ValueError, r"y: want shape \(50, 3"),
    "not in [0, 1]": (CATEGORICAL, 3, 2 * ONE_HOT, ValueError, r"y: .*\[0, 1\].*0.0 to 2.0"),
    "-1 and 1": ("binary_crossentropy", 1, 2 * (y > 0) - 1, ValueError, r"y: .*\[0, 1\].*-1 to 1"),
    "negative counts": (
        "poisson",
        1,
        COLUMN - 1,
        ValueError,
        r"y: want values >= 0 with the loss 'poisson', got -1.0 to 1.0",
    ),
    "beyond 1 for the focal loss": (
        "binary_focal_crossentropy",
        1,
        2 * COLUMN,
        ValueError,
        r"y: want values in \[0, 1\] with the loss 'binary_focal.*got 0.0 to 4.0",
    ),
    "labels for the focal loss": (
        "categorical_focal_crossentropy",
        3,
        y,
        ValueError,
        r"y: .*; .*'sparse_categorical_cross",
    ),
    "a row": ("mse", 1, COLUMN.T, ValueError, r"y: .*X's 50 rows, got shape \(1, 50\)"),
    "a vector for two outputs": ("mse", 2, y, ValueError, r"y: want shape \(50, 2\).*\(50,\)$"),
    "two columns for one": ("mae", 1, ONE_HOT[:, 1:], ValueError, r"y: want shape \(50, 1\)"),
    "infinite target": (
        "mse",
        1,
        changed(COLUMN, 8, -np.inf),
        ValueError,
        r"y: want finite.*-inf at y\[8, 0\]",
    ),
    "target beyond float32": ("huber", 1, COLUMN - 1e39, ValueError, r"y: .*of float32.*y\[0, 0\]"),
}


@pytest.mark.parametrize("method", WITH_TARGETS)
@pytest.mark.parametrize("what", BAD_Y)
def test_a_bad_y_is_refused_and_nothing_changes(what: str, method: str) -> None:
    loss, n, bad, error, message = BAD_Y[what]
    last = "softmax" if n > 1 else "sigmoid" if "crossentropy" in loss else None
    last = "exponential" if loss == "poisson" else last
    model = fastdnn.Sequential([fastdnn.Dense(n, last)], input_size=4)
    model.compile("adam", loss)
    before = fingerprint(model)
    with pytest.raises(error, match=f"^{message}"):
        WITH_TARGETS[method](model, X, bad)
    assert fingerprint(model) == before


# ------------------------------------------------------------------------------- refused: weights
ONES = np.ones(len(y))
BAD_WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "too few": (ONES[1:], ValueError, r"want shape \(50,\), got \(49,\)"),
    "a column": (ONES[:, None], ValueError, r"want shape \(50,\), got \(50, 1\)"),
    "a number": (2.0, ValueError, r"want shape \(50,\), got \(\)"),
    "negative": (changed(ONES, 3, -1.5), ValueError, "want weights >= 0, got -1.5"),
    "NaN": (changed(ONES, 3, np.nan), ValueError, r"want finite .*nan at sample_weight\[3\]"),
    "beyond float32": (1e39 * ONES, ValueError, r"want finite numbers of float32.*\[0\]"),
    "beyond float64": (changed(ONES.astype(object), 3, 10**400), ValueError, r".*int at .*\[3\]"),
    "text": (ONES.astype(str), TypeError, "want real numbers, got dtype <U"),
}


@pytest.mark.parametrize("method", WITH_TARGETS)
@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_bad_sample_weights_are_refused_and_nothing_changes(what: str, method: str) -> None:
    bad, error, message = BAD_WEIGHTS[what]
    model = classifier()
    before = fingerprint(model)
    with pytest.raises(error, match=f"^sample_weight: {message}"):
        getattr(model, method)(X, y, sample_weight=bad)
    assert fingerprint(model) == before


BAD_CLASS_WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([1.0, 2.0, 3.0], TypeError, r"class_weight: want a dict.*\[1.0, 2.0, 3.0\]"),
    "a name": ("balanced", TypeError, "class_weight: want a dict.*'balanced'"),
    "no class": ({3: 1.0}, ValueError, "class_weight: want classes of y, got 3"),
    "text as class": ({"1": 1.0}, ValueError, "class_weight: want classes of y, got '1'"),
    "negative": ({1: -1.0}, ValueError, r"class_weight\[1\]: want a number in \[0, inf\), got -1"),
    "beyond float64": ({0: 10**400}, ValueError, r"class_weight\[0\]: want .*got 1000"),
    "infinite": ({0: np.inf}, ValueError, r"class_weight\[0\]: want .*got inf"),
    "NaN": ({0: 1.0, 2: np.nan}, ValueError, r"class_weight\[2\]: want .*got nan"),
    "text": ({0: "2"}, TypeError, r"class_weight\[0\]: want a number.*got '2'"),
}


@pytest.mark.parametrize("what", BAD_CLASS_WEIGHTS)
def test_a_bad_class_weight_is_refused_and_nothing_changes(what: str) -> None:
    bad, error, message = BAD_CLASS_WEIGHTS[what]
    model = classifier()
    before = fingerprint(model)
    with pytest.raises(error, match=f"^{message}"):
        model.fit(X, y, class_weight=bad, verbose=0)
    assert fingerprint(model) == before
