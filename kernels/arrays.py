"""NumPy arrays as the compiled code takes them: one flat array, an offset and strides."""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._jit import FLOATS

DTYPES = tuple(FLOATS)  # float32 and float64: what the kernels compute in
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Matrix(NamedTuple):
    """A matrix of any strides inside a flat array; all numbers count elements."""

    flat: NDArray[Any]
    offset: int
    row_stride: int
    column_stride: int


def as_matrix(x: NDArray[Any]) -> Matrix:
    """View a 2-D array of any layout as `Matrix`, without a copy where its strides allow it."""
    flags = x.flags
    if not x.size or not flags.aligned or not (flags.forc or _has_whole_strides(x)):
        x = np.require(x, requirements=["C", "ALIGNED"])
        flags = x.flags
    if flags.c_contiguous:
        return Matrix(x.reshape(-1), 0, x.shape[1], 1)
    if flags.f_contiguous:
        return Matrix(x.T.reshape(-1), 0, 1, x.shape[0])
    # the flat array begins at the lowest address: flip the axes that run backwards
    lowest = x[tuple(slice(None, None, -1 if s < 0 else 1) for s in x.strides)]
    size = x.itemsize
    extent = 1 + sum((n - 1) * abs(s) for n, s in zip(x.shape, x.strides, strict=True)) // size
    flat = np.lib.stride_tricks.as_strided(lowest, (extent,), (size,), writeable=x.flags.writeable)
    offset = sum((n - 1) * -s for n, s in zip(x.shape, x.strides, strict=True) if s < 0) // size
    return Matrix(flat, offset, x.strides[0] // size, x.strides[1] // size)


def _has_whole_strides(x: NDArray[Any]) -> bool:
    return not any(stride % x.itemsize for stride in x.strides)


def aligned_empty(count: int, dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised vector that begins at a cache line."""
    size = np.dtype(dtype).itemsize
    raw = np.empty(count * size + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return raw[start : start + count * size].view(dtype)


def grown(memory: NDArray[Any], count: int) -> NDArray[Any]:
    """`memory` if it has so many elements, else new memory."""
    return memory if memory.size >= count else aligned_empty(count, memory.dtype)


def is_plain(x: NDArray[Any]) -> bool:
    """Whether a matrix can be read where it lies, row by row."""
    flags = x.flags
    return flags.c_contiguous and flags.aligned


def address_of(x: NDArray[Any] | None) -> int:
    """Where a contiguous array begins; 0 for none and for an empty one."""
    if x is None or not x.size:
        return 0
    # a buffer tells it five times as soon, if it may be written
    return addressof(c_char.from_buffer(x.data)) if x.flags.writeable else x.ctypes.data


def rounded(count: int) -> int:
    """`count` elements, rounded up so that what follows in the same vector is aligned too."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def refuse_masked(name: str, values: Any) -> None:
    """Refuse an array of which some are masked: NumPy would take what the mask hides."""
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name}: want numbers only, got a masked array with {values.mask.sum()} of "
            f"{values.size} masked; leave these samples out, or fill them ({name}.filled(…))"
        )


def as_float(name: str, x: object, dtype: DTypeLike | None = None, ndim: int = 2) -> NDArray[Any]:
    """`x` as an array of float32 or float64 (other numbers become float64), or of `dtype`.

    Raises
    ------
    TypeError
        If `x` holds no real numbers.
    ValueError
        If some are masked, or it has not `ndim` dimensions.
    """
    if type(x) is not np.ndarray:
        refuse_masked(name, x)
    array = np.asarray(x)
    given = array.dtype
    if given.kind not in "fiub":
        raise TypeError(f"{name}: want real numbers, got dtype {given}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: want {ndim} dimensions, got shape {array.shape}")
    if dtype is None:
        native = given if given.isnative else given.newbyteorder("=")
        dtype = native if native in FLOATS else np.float64
    array = array if given is dtype else array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


def as_native(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers as this machine's loads read them: in its byte order, at aligned places."""
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()
