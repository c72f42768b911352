"""Arrays of any layout as a flat vector, an offset and strides."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdnn.kernels.base.arrays import (
    ALIGNMENT,
    Matrix,
    address_of,
    aligned_empty,
    as_float,
    as_matrix,
    as_native,
    from_objects,
    rounded,
)
from tests.kernels.common import LAYOUTS, Array, draw, each_dtype, each_layout

COPIED = {"unaligned", "field of records"}  # compiled code counts in whole elements


def read(matrix: Matrix, shape: tuple[int, ...]) -> Array:
    """The matrix as compiled code reads it: elements of the flat vector, by number."""
    i, j = np.indices(shape)
    at = matrix.offset + i * matrix.row_stride + j * matrix.column_stride
    assert at.size == 0 or (at.min() >= 0 and at.max() < len(matrix.flat))
    elements: Array = matrix.flat[at]
    return elements


@each_dtype
@each_layout
def test_every_layout_is_read_where_it_lies(dtype: Any, layout: str) -> None:
    x = LAYOUTS[layout](draw(1, 7, 5, dtype=dtype))
    got = as_matrix(x)
    assert got.flat.ndim == 1
    assert got.flat.flags.c_contiguous
    np.testing.assert_array_equal(read(got, x.shape), x)
    assert np.shares_memory(got.flat, x) == (layout not in COPIED)


@each_dtype
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (7, 0), (1, 1), (1, 5), (7, 1)])
@each_layout
def test_empty_and_thin(dtype: Any, shape: tuple[int, int], layout: str) -> None:
    x = LAYOUTS[layout](draw(1, *shape, dtype=dtype))
    np.testing.assert_array_equal(read(as_matrix(x), shape), x)


@pytest.mark.parametrize("column", [True, False])
def test_broadcast(column: bool) -> None:
    x = np.broadcast_to(draw(1, 7, 1) if column else draw(1, 1, 5), (7, 5))
    got = as_matrix(x)
    np.testing.assert_array_equal(read(got, x.shape), x)
    assert np.shares_memory(got.flat, x)


def test_what_is_read_only_stays_so() -> None:
    for x in (draw(1, 7, 5), draw(1, 14, 15)[::2, ::3], draw(1, 7, 5)[::-1]):
        assert as_matrix(x).flat.flags.writeable
        x.flags.writeable = False
        assert not as_matrix(x).flat.flags.writeable


slices = st.builds(
    lambda start, step: slice(start, None, step),
    st.integers(0, 3),
    st.sampled_from([-3, -2, -1, 1, 2, 3]),
)


@given(st.integers(1, 9), st.integers(1, 9), slices, slices, st.booleans())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_slice(rows: int, columns: int, i: slice, j: slice, transpose: bool) -> None:
    x = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)[i, j]
    x = x.T if transpose else x
    np.testing.assert_array_equal(read(as_matrix(x), x.shape), x)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
@each_dtype
def test_aligned_empty(count: int, dtype: Any) -> None:
    for _ in range(5):
        x = aligned_empty(count, dtype)
        assert x.shape == (count,)
        assert x.dtype == dtype
        assert count == 0 or x.ctypes.data % ALIGNMENT == 0
        assert x.flags.writeable


def test_rounded() -> None:
    assert [rounded(n) for n in (0, 1, 63, 64, 65)] == [0, 64, 64, 64, 128]


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.ones((2, 3), np.float32), np.float32),
        (np.ones((2, 3)), np.float64),
        (np.ones((2, 3), np.float16), np.float64),
        (np.ones((2, 3), np.int8), np.float64),
        (np.ones((2, 3), bool), np.float64),
        (np.ones((2, 3), ">f4"), np.float32),
        (np.ones((2, 3), ">f8"), np.float64),
        (np.ones((2, 3), ">i4"), np.float64),
        (np.ones((2, 3), ">f2"), np.float64),
        (np.ones((2, 3), np.longdouble), np.float64),
        ([[1, 2], [3, 4]], np.float64),
    ],
)
def test_as_float_picks_a_type(x: object, dtype: Any) -> None:
    got = as_float("x", x)
    assert got.dtype == dtype
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, np.asarray(x))


def misaligned(x: Array) -> Array:
    """The same numbers, each one byte off the place of its kind."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    moved = np.frombuffer(raw.data, x.dtype, x.size, offset=1).reshape(x.shape)
    moved[...] = x
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("convert", [lambda x: as_float("x", x), as_native])
@pytest.mark.parametrize("way", [misaligned, lambda x: x.astype(x.dtype.newbyteorder(">"))])
@each_dtype
def test_what_loads_cannot_read_is_copied(dtype: Any, way: Any, convert: Any) -> None:
    x = draw(1, 3, 5, dtype=dtype)
    got = convert(way(x))
    assert got.dtype == dtype
    assert got.dtype.isnative
    assert got.flags.aligned
    np.testing.assert_array_equal(got, x)


def test_as_native_keeps_what_is_native() -> None:
    for x in (np.ones(3), np.arange(4), np.array(["a"])):
        assert as_native(x) is x


def test_as_float_refuses_what_is_masked() -> None:
    x = np.ma.masked_array(np.ones((2, 2)), [[False, True], [False, False]])
    with pytest.raises(ValueError, match=r"^W: want numbers only, got a masked array"):
        as_float("W", x)
    x = np.ma.masked_array(np.ones((2, 2)))
    np.testing.assert_array_equal(as_float("W", x), np.ones((2, 2)))


def test_as_float_copies_only_to_convert() -> None:
    x = np.ones((2, 3), np.float32)
    assert as_float("x", x) is x
    assert as_float("x", x, np.float32) is x
    assert as_float("x", x, np.float64).dtype == np.float64


@pytest.mark.parametrize("x", [np.ones((2, 2), complex), [["a", "b"]], [[None, 1]], [[{}]]])
def test_as_float_wants_real_numbers(x: object) -> None:
    with pytest.raises(TypeError, match=r"^W: want (an array of )?real numbers"):
        as_float("W", x)


def test_as_float_takes_objects_that_are_numbers() -> None:
    x = np.array([[1, Fraction(1, 2)], [True, np.float32(0.25)]], object)
    got = as_float("W", x)
    assert got.dtype == np.float64
    assert got.tolist() == [[1, 0.5], [1, 0.25]]
    assert from_objects("W", np.array([2**70, None, np.longdouble("1e400")], object), missing=True)[
        [0, 2]
    ].tolist() == [2.0**70, np.inf]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (10**400, ValueError, "W: want finite numbers of float64, got a larger int at W[1, 0]"),
        (Fraction(10**400), ValueError, "W: want finite numbers of float64, got a larger Fraction"),
        (Decimal("sNaN"), TypeError, "W: want an array of real numbers; cannot convert signaling"),
        (np.datetime64("2026-01-01"), TypeError, "W: want an array of real numbers; got the date"),
        (
            np.timedelta64(1, "D"),
            TypeError,
            "W: want an array of real numbers; got the timedelta64",
        ),
        ("3", TypeError, "W: want an array of real numbers; got the text '3' at W[1, 0]"),
        (None, TypeError, "W: want an array of real numbers; got the NoneType None at W[1, 0]"),
    ],
)
def test_objects_that_are_none_are_refused_with_their_place(
    bad: Any, error: type[Exception], message: str
) -> None:
    x = np.ones((2, 2), object)
    x[1, 0] = bad
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        as_float("W", x)


def test_rows_of_different_lengths_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^W: want an array of real numbers; setting"):
        as_float("W", [[1, 2], [3]])


def test_numbers_beyond_the_dtype_become_infinite_without_a_warning() -> None:
    assert np.isinf(as_float("W", np.full((1, 1), np.longdouble("1e400")))).all()


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_as_float_wants_as_many_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="W: want 2 dimensions, got shape") as error:
        as_float("W", np.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("writeable", [True, False])
@each_dtype
def test_an_address(dtype: Any, writeable: bool) -> None:
    x = draw(1, 3, 5, dtype=dtype)
    x.flags.writeable = writeable
    assert address_of(x) == x.ctypes.data
    assert address_of(x[1:]) == x.ctypes.data + 5 * x.itemsize
    assert address_of(x[3:]) == address_of(None) == 0
