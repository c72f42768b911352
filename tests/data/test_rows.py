"""Rows that the engine reads where they lie, and others that become dense by parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastdnn.data import rows
from fastdnn.data.rows import dense, is_readable, is_small, parts, rows_at_once, rows_of

Array = np.ndarray[Any, Any]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
X = np.random.default_rng(0).integers(-2, 3, (40, 6)).astype(np.float32)
PACKED = np.zeros(40, [("flag", "u1"), ("X", "f4", 6)])
READABLE: dict[str, Array] = {
    "C": X,
    "Fortran": np.asfortranarray(X),
    "backwards": X[::-1, ::2],
    "float64": X.astype(float),
    "one value": np.broadcast_to(np.float32(1), (40, 6)),
    "empty": X[:0],
}
OTHERS: dict[str, Any] = {
    "uint8": abs(X).astype(np.uint8),
    "bool": X > 0,
    "int64": X.astype(np.int64),
    "float16": X.astype(np.float16),
    "big-endian": X.astype(">f4"),
    "big-endian float64": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
    "packed records": PACKED["X"],
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
    "csr_array": scipy.sparse.csr_array(X),
    "csr_matrix of int8": scipy.sparse.csr_matrix(X.astype(np.int8)),
    "csr_array of long double": scipy.sparse.csr_array(X.astype(np.longdouble)),
}


@pytest.mark.parametrize("what", READABLE)
def test_what_the_engine_reads_is_not_copied(what: str) -> None:
    given = READABLE[what]
    assert is_readable(given)
    assert dense(given, F64) is given
    ((part, whole),) = parts(given, F64)
    assert part == slice(None)
    assert whole is given


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("batch", [1, 4])
def test_parts_are_whole_batches(
    what: str, dtype: Any, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = OTHERS[what]
    wanted = given.toarray() if scipy.sparse.issparse(given) else given
    assert not is_readable(given)
    size = max(given.dtype.itemsize, 4)
    monkeypatch.setattr(rows, "PART_BYTES", 6 * size * 9)  # nine rows
    assert rows_at_once(given, batch) == {1: 9, 4: 8}[batch]
    found = list(parts(given, dtype, batch))
    assert [part.start for part, _ in found] == list(range(0, 40, {1: 9, 4: 8}[batch]))
    for part, one in found:
        assert is_readable(one)
        np.testing.assert_array_equal(one, wanted[part].astype(dtype))
    monkeypatch.setattr(rows, "PART_BYTES", 1)
    assert rows_at_once(given, batch) == batch  # at least one batch


def test_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PART_BYTES", 40 * 6 * 4)
    assert is_small(X, F32)
    assert not is_small(X, F64)
    assert not is_small(OTHERS["csr_array"], F64)


def test_what_is_beyond_the_dtype_becomes_infinite_without_a_warning() -> None:
    large = np.array([[1e39, -1.0]], ">f8")
    assert dense(large, F32).tolist() == [[np.inf, -1.0]]
    assert dense(large, F64).tolist() == [[1e39, -1.0]]


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("part", [slice(None), slice(3, 9), slice(30, 99), slice(7, 7)])
def test_consecutive_sparse_rows_share_the_memory(make: Any, part: slice) -> None:
    sparse = make(X)
    found = rows_of(sparse, part)
    assert type(found) is type(sparse)
    assert found.dtype == sparse.dtype
    np.testing.assert_array_equal(found.toarray(), X[part])
    assert found.nnz == 0 or np.shares_memory(found.data, sparse.data)
    assert found.nnz == 0 or np.shares_memory(found.indices, sparse.indices)


def test_rows_in_any_order() -> None:
    order = np.array([5, 0, 39])
    for given in (X, scipy.sparse.csr_array(X), X.astype(np.int8)):
        np.testing.assert_array_equal(dense(rows_of(given, order), F32), X[order])
    assert np.shares_memory(rows_of(X, slice(2, 5)), X)
