"""Sparse samples: the numbers of dense ones, and never all of them dense."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

import fastdnn
from fastdnn.data import rows
from tests.estimators.common import KINDS, data, parameters_of, small, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FORMATS = {
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
    "matrix": scipy.sparse.csr_matrix,
}


def holed(X: Any) -> Any:
    """X with zeros for two thirds of its numbers."""
    return np.where(np.random.default_rng(0).random(X.shape) < 0.67, 0.0, X)


def wide(X: Any) -> Any:
    """A sparse matrix with indices of int64."""
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_same_bits_as_dense(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = small(100)
    X = holed(X)
    make = FORMATS[name]
    for settings in (
        {"shuffle": False},
        {"dropout": 0.4, "alpha": 0.5},
        {"early_stopping": True, "batch_size": 30, "validation_fraction": 0.4},
    ):
        one = KINDS[kind][0](
            hidden_layer_sizes=(5,), max_iter=4, random_state=0, batch_size=25
        ).set_params(**settings)
        for weight in (None, weights(100)):
            dense = clone(one).fit(X, y, weight)
            for size in (16_000_000, 1):  # all batches at once, one batch at a time
                monkeypatch.setattr(rows, "PART_BYTES", size)
                for sparse in (make(X), wide(make(X))):
                    found = clone(one).fit(sparse, y, weight)
                    np.testing.assert_array_equal(parameters_of(found), parameters_of(dense))
                    assert found.loss_curve_ == dense.loss_curve_
                    np.testing.assert_allclose(found.predict(sparse), dense.predict(X), rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sparse_by_lbfgs_and_by_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data("wine")
    X = holed(X)
    monkeypatch.setattr(rows, "PART_BYTES", 13 * 8 * 50)
    one = KINDS[kind][0](hidden_layer_sizes=(5,), max_iter=10, random_state=0, alpha=0.3)
    lbfgs = clone(one).set_params(solver="lbfgs")
    for weight in (None, weights(178)):
        dense = clone(lbfgs).fit(X, y, weight)
        found = clone(lbfgs).fit(scipy.sparse.csc_array(X), y, weight)
        np.testing.assert_allclose(found.loss_, dense.loss_, rtol=1e-8)
        validated = one.fit(
            scipy.sparse.csr_array(X), y, validation_data=(scipy.sparse.csr_array(X), y, weight)
        )
        curves = clone(one).fit(X, y, validation_data=(X, y, weight)).validation_curve_
        np.testing.assert_allclose(validated.validation_curve_, curves, rtol=1e-10)


def test_a_large_sparse_matrix_takes_little_memory() -> None:
    m, n = 100_000, 10_000  # 4 GB of float32, were it dense
    rng = np.random.default_rng(0)
    starts = np.arange(0, m + 1) * 3
    columns = rng.integers(0, n, 3 * m)
    values = np.ones(3 * m, np.float32)
    X = scipy.sparse.csr_array((values, columns, starts), shape=(m, n))
    y = rng.integers(0, 2, m)
    one = fastdnn.MLPClassifier((2,), max_iter=1, batch_size=500, random_state=0, dtype="float32")
    tracemalloc.start()
    try:
        one.fit(X, y)
        one.predict(X[:5000])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6


def test_other_sparse_formats_and_numbers() -> None:
    X, y = small()
    X = np.round(X)
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0)
    wanted = parameters_of(clone(one).fit(X, y))
    for sparse in (scipy.sparse.coo_array(X), scipy.sparse.csr_array(X.astype(int))):
        np.testing.assert_array_equal(parameters_of(clone(one).fit(sparse, y)), wanted)
    with pytest.raises(ValueError, match="NaN"):
        one.fit(scipy.sparse.csr_array(np.where(X == 1, np.nan, X)), y)
