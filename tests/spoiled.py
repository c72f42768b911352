"""What a user may hand over by mistake: arrays in which something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from tests.kernels.common import LAYOUTS, Array

HUGE = 10**400
NO_NUMBERS: list[Any] = [
    *(HUGE, -HUGE, 10**5000, Fraction(HUGE), Decimal("1e500"), Decimal("sNaN"), Decimal("NaN")),
    *(float("nan"), float("inf"), -float("inf"), np.float64("nan"), np.longdouble("1e400"), None),
    *("red", "3", b"3", "", 1j, object(), {}, [], [1.0], (), {1}, slice(2), lambda: 1, len, ...),
    *(np.datetime64("2026-01-01"), np.timedelta64(1, "D"), np.datetime64("NaT"), np.array([1, 2])),
]
NOT_FINITE = [np.nan, np.inf, -np.inf]
NO_ARRAYS: list[Any] = [
    *(3.0, HUGE, 10**5000, "red", b"red", "", 1j, True, object(), {}, {"a": 1}, {1, 2}, len, ...),
    *(np.nan, np.array(3.0), np.array(HUGE, object), np.datetime64("NaT"), slice(2), range(3)),
    *([], [[]], [[], []], [[1.0], [1.0, 2.0]], [[[1.0]]], ["red"], [[HUGE]], [None], [[None]], ()),
    *(np.zeros(0), np.zeros((0, 4)), np.zeros((50, 0)), np.zeros((2, 2, 2, 2)), lambda x: x),
    *(np.zeros(3, "V8"), np.zeros((50, 4), "M8[s]"), np.zeros((50, 4), "m8[s]"), Decimal(1)),
    *(np.zeros((50, 4), [("a", "f4")]), np.zeros((50, 4), "c16"), np.zeros((50, 4), "S1"), int),
]


def refusal(call: Callable[..., Any], *arguments: Any) -> str | None:
    """The message of the error by which a call refuses its arguments: a short line; or None."""
    try:
        call(*arguments)
    except (ValueError, TypeError) as error:
        message = str(error)
        return message if "\n" not in message and len(message) < 400 else f"too long: {message}"
    return None


@st.composite
def spoiled(draw: Any, good: Array) -> Any:
    """A good array with something wrong, or none at all."""
    way = draw(st.sampled_from(["object", "number", "type", "shape", "ragged", "mask", "none"]))
    at = tuple(draw(st.integers(0, n - 1)) for n in good.shape)
    if way == "object":
        x = good.astype(object)
        x[at] = draw(st.sampled_from(NO_NUMBERS))
        return x.tolist() if draw(st.booleans()) else x
    if way == "number":
        x = good.astype(draw(st.sampled_from(["<f2", "<f4", ">f4", "<f8", ">f8", "g"])))
        x[at] = draw(st.sampled_from(NOT_FINITE))
        if x.ndim == 2:
            x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
            if draw(st.booleans()) and x.dtype.itemsize < 16 and x.dtype.isnative:
                wide = x.astype(np.float64)
                return draw(st.sampled_from([sparse.csr_array, sparse.coo_array]))(wide)
        return x.tolist() if draw(st.booleans()) else x
    if way == "type":
        return good.astype(draw(st.sampled_from(["U", "S8", "c8", "c16", "M8[D]", "m8[s]"])))
    if way == "shape":
        return draw(st.sampled_from([good[:0], good[1:], good[0], good[None, None], good[None]]))
    if way == "ragged":
        x = good.tolist()
        x[at[0]] = draw(st.sampled_from([[], [1.0] * 9, "red", None, {}]))
        return x
    if way == "mask":
        return np.ma.masked_array(good, mask=np.arange(good.size).reshape(good.shape) == 1)
    return draw(st.sampled_from(NO_ARRAYS))
