"""Samples of more than 2^31 elements, of which few are read: in a file with holes.

Nightly, so many rows are predicted too, and so many outputs: half a minute, 9 GB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastdnn
from fastdnn.data.rows import rows_of
from fastdnn.kernels.engine.calls import Targets
from tests import tiers
from tests.kernels.common import Array
from tests.kernels.networks import make, rule

BATCH = 4
WIDE, LONG = (66_000, 33_000), (4_000_000, 550)  # 2.2e9 elements
FEW = slice(-3 * BATCH, None)  # the samples that are read


@pytest.fixture(params=["C", "F", "rows backwards", "columns backwards", "every second column"])
def X(request: pytest.FixtureRequest, tmp_path: Path) -> Array:
    """Zeros but for the last rows."""
    # of a column in Fortran order a page is read
    shape, order = (LONG, "F") if request.param == "F" else (WIDE, "C")
    made: Any = np.memmap(tmp_path / "X", np.float32, "w+", shape=shape, order=order)
    if request.param == "rows backwards":
        made = made[::-1]
    made[FEW] = np.random.default_rng(0).normal(size=(3 * BATCH, shape[1]))
    if request.param == "columns backwards":
        return made[:, ::-1]
    return made[:, ::2] if request.param.startswith("every") else made


@pytest.mark.parametrize(("gathered", "dtype"), [(False, "float32"), (True, "float64")])
def test_training_reads_what_lies_beyond_2_31_elements(
    X: Array, gathered: bool, dtype: Any
) -> None:
    """The last steps of the pass: in their order, or gathered from the end."""
    m = len(X)
    y, few = np.zeros((m, 2), dtype), np.array(X[FEW])
    y[FEW] = targets = np.random.default_rng(1).normal(size=(len(few), 2)).astype(dtype)
    one, other = (make((X.shape[1], 2), ["tanh"], dtype=dtype) for _ in range(2))
    steps = rule("descent", 3)
    if gathered:
        one.train(X, Targets(y), steps, batch=BATCH, order=np.arange(m)[::-1].copy())
        other.train(few[::-1].copy(), Targets(targets[::-1].copy()), steps, batch=BATCH)
    else:
        one.train(X, Targets(y), steps, batch=BATCH, first=m // BATCH - 3)
        other.train(few, Targets(targets), steps, batch=BATCH)
    assert np.abs(one.parameters).max() > 0
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.forward(X[FEW], batch=BATCH).tobytes() == other.forward(few, batch=5).tobytes()


def test_sparse_rows_beyond_2_31_elements() -> None:
    """Each row holds 100 elements: where those of the last ones begin, and which they are."""
    m, n = 2**31 // 100 + 1000, 200
    X = sparse.csr_array((m, n), dtype=np.float32)
    X.indptr = np.arange(m + 1, dtype=np.int64) * 100
    size = int(X.indptr[-1])
    assert size > 2**31
    # one element's memory
    X.data, X.indices = (np.broadcast_to(np.array(x), size) for x in (np.float32(2), np.int64(7)))
    few = rows_of(X, slice(m - 2, m))
    assert few.toarray()[:, 7].tolist() == [200, 200]
    assert few.toarray().sum() == 400


@pytest.mark.parametrize("wide", ["inputs", "outputs"])
def test_predicting_many(wide: str) -> None:
    n_0, n = (3000, 1) if wide == "inputs" else (1, 3000)
    m = 2**31 // 3000 + 1000 if tiers.NIGHTLY else 5000
    model = fastdnn.Sequential([fastdnn.Dense(n, "tanh")], input_size=n_0, seed=0)
    row = np.random.default_rng(0).normal(size=(1, n_0)).astype(np.float32)
    wanted = model.predict(row)
    A = model.predict(np.broadcast_to(row, (m, n_0)))
    assert A.shape == (m, n)
    for begin in range(0, m, 1000):
        assert (A[begin : begin + 1000] == wanted).all()
