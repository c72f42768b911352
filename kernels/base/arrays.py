"""NumPy arrays as the compiled code takes them: one flat array, an offset and strides."""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

DTYPES = np.dtype(np.float32), np.dtype(np.float64)  # what the kernels compute in
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
    """Return whether a matrix can be read where it lies, row by row."""
    flags = x.flags
    return flags.c_contiguous and flags.aligned


def address_of(x: NDArray[Any] | None) -> int:
    """Return where a contiguous array begins; 0 for none and for an empty one."""
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


def as_float(
    name: str, x: object, dtype: DTypeLike | None = None, ndim: int | None = 2
) -> NDArray[Any]:
    """`x` as an array of float32 or float64 (other numbers become float64), or of `dtype`.

    Raises
    ------
    TypeError
        If `x` holds no real numbers.
    ValueError
        If some are masked, or too large for float64, or it has not `ndim` dimensions; None takes
        any number of them.
    """
    if type(x) is not np.ndarray:
        refuse_masked(name, x)
    array = as_array(name, x)
    if array.dtype == object and array.ndim > 0:
        array = from_objects(name, array)
    given = array.dtype
    if given.kind not in "fiub":
        raise TypeError(f"{name}: want real numbers, got dtype {given}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: want {ndim} dimensions, got shape {array.shape}")
    if dtype is None:
        native = given if given.isnative else given.newbyteorder("=")
        dtype = native if native in DTYPES else np.float64
    if given is not dtype:
        with np.errstate(over="ignore"):  # who looks for infinity finds it
            array = array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


def as_array(name: str, x: Any) -> NDArray[Any]:
    """NumPy's array of `x`; what it makes none of, such as rows of different lengths, is refused.

    Raises
    ------
    TypeError
    """
    try:
        return np.asarray(x)
    # RuntimeError of a tensor with a gradient, OverflowError of a list with a huge number
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise TypeError(f"{name}: want an array of real numbers; {text:.200}") from None


def from_objects(name: str, array: NDArray[Any], *, missing: bool = False) -> NDArray[np.float64]:
    """Objects, as a table of columns of different types gives them, as numbers.

    With `missing`, None is NaN.

    Raises
    ------
    TypeError, ValueError
        If one is no real number, or too large for one; its place is named.
    """
    # of the text '3' NumPy makes 3, and of the date 2026-01-01 the number 20454
    kinds = set(map(type, array.ravel().tolist()))
    numbers = {kind for kind in kinds if _is_number(kind, missing)}
    if kinds == numbers:
        try:
            with np.errstate(over="ignore"):
                return array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass  # the place is looked for
    found = np.empty(array.shape)
    for at, value in np.ndenumerate(array):
        place = f" at {name}[{', '.join(map(str, at))}]" if at else ""
        if type(value) not in numbers:
            kind = "text" if isinstance(value, str | bytes) else type(value).__name__
            raise TypeError(
                f"{name}: want an array of real numbers; got the {kind} {value!r:.60}{place}"
            )
        try:
            found[at] = np.nan if value is None else float(value)
        except OverflowError:
            raise ValueError(
                f"{name}: want finite numbers of float64, got a larger {type(value).__name__}"
                f"{place}"
            ) from None
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: want an array of real numbers; {error}{place}") from None
    return found


def _is_number(kind: type, missing: bool) -> bool:
    if issubclass(kind, np.generic):  # of which all have __float__, and a span of time is integer
        is_real = issubclass(kind, np.integer | np.floating | np.bool_)
        return is_real and not issubclass(kind, np.timedelta64)
    return (missing and kind is type(None)) or hasattr(kind, "__float__")


def as_native(array: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers as this machine loads them: in its byte order, at aligned places."""
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()
