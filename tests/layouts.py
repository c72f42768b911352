"""The same numbers in every form in which a user may hand them over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from tests.kernels.common import LAYOUTS, Array

_FOLDER = TemporaryDirectory()  # of mapped files, until the process ends
KINDS: dict[str, list[str]] = {  # of numbers: the dtypes that hold them
    "normal": ["<f4", "<f8", ">f4", ">f8", "g"],
    "half": ["<f2", ">f2", "<f4", ">f8", "g"],
    "integer": ["i1", "<i2", ">i4", "<i8", "f2", "<f4", ">f8"],
    "bool": ["?", "u1", ">u2", "<u8", "<f4", "f2"],
}


def _mapped(x: Array) -> Array:
    path = Path(_FOLDER.name) / "mapped"
    path.unlink(missing_ok=True)
    made = np.memmap(path, x.dtype, "w+", shape=x.shape)
    made[...] = x
    made.flush()
    return np.memmap(path, x.dtype, "r", shape=x.shape)


def _csr(x: Array) -> Any:
    native = x.astype(x.dtype.newbyteorder("="))
    return sparse.csr_array(native.astype(np.float32) if x.dtype.kind == "f" else native)


OTHERS: dict[str, Any] = {
    "mapped": _mapped,
    "list": lambda x: x.tolist(),
    "objects": lambda x: x.astype(object),
    "masked without a mask": np.ma.masked_array,
}
MATRICES: dict[str, Any] = {
    "sparse rows": _csr,
    "sparse columns": lambda x: _csr(x).tocsc(),
}


VECTORS: dict[str, Any] = {
    "C": np.array,
    "read-only": LAYOUTS["read-only"],
    "unaligned": LAYOUTS["unaligned"],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
}
ROWS = LAYOUTS | OTHERS | MATRICES
LABELS = ["i1", "u1", ">i4", "<i8", "<u8", "f2", "<f4", ">f8"]


@dataclass(frozen=True)
class Form:
    """A dtype and a layout for each kind of argument, and the number of threads."""

    rows: str
    row_type: int
    vector: str
    vector_type: int
    is_column: bool
    n_threads: int

    def of_X(self, X: Array, kind: str) -> Any:
        """X (m, n_0) in another form."""
        return ROWS[self.rows](X.astype(_pick(KINDS[kind], self.row_type)))

    def of_y(self, y: Array) -> Any:
        """Class numbers (m,), or targets (m, n), in another form."""
        if y.ndim == 1:
            y = y[:, None] if self.is_column else y
            dtypes = LABELS
        else:
            y = y if self.is_column or y.shape[1] > 1 else y[:, 0]
            dtypes = KINDS["normal"]
        return (VECTORS | OTHERS)[self.vector](y.astype(_pick(dtypes, self.vector_type)))

    def of_weights(self, weights: Array) -> Any:
        """Weights (m,) in another form."""
        dtype = _pick(["f2", "<f4", ">f8", "<f8"], self.vector_type)
        return (VECTORS | OTHERS)[self.vector](weights.astype(dtype))


def _pick(names: list[str], i: int) -> str:
    return names[i % len(names)]


forms = st.builds(
    Form,
    st.sampled_from(list(ROWS)),
    st.integers(0, 7),
    st.sampled_from([*VECTORS, *OTHERS]),
    st.integers(0, 7),
    st.booleans(),
    st.integers(1, 4),
)
