"""The public kernels for random shapes, dtypes, layouts and `out`; see `tests/fuzzing.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastdnn
from fastdnn.kernels import (
    ACTIVATIONS,
    activation_backward,
    activation_forward,
    bias_gradient,
    linear_backward,
    linear_forward,
)
from tests import naive
from tests.fuzzing import fuzz
from tests.kernels.common import (
    DTYPES,
    LAYOUTS,
    Array,
    activation_bound,
    assert_within,
    derivative_bound,
    draw,
    nan,
    product_bound,
)
from tests.kernels.test_dense import check_backward, check_forward, double, layer
from tests.spoiled import refusal, spoiled

pytestmark = pytest.mark.usefixtures("awake_threads")

sizes = st.one_of(st.integers(0, 40), st.sampled_from([63, 64, 65, 127, 129, 257, 700]))
layouts = st.sampled_from(list(LAYOUTS))
dtypes = st.sampled_from(DTYPES)
names = st.sampled_from(list(ACTIVATIONS))
OTHER_TYPES = [">f4", ">f8", "<f2", ">f2", "i1", ">i8", "?", "g"]


def same(got: Any, wanted: Any) -> None:
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    assert got.tobytes() == wanted.tobytes()


@fuzz(40)
@given(sizes, sizes, sizes, dtypes, names, st.tuples(*[layouts] * 5), st.integers(1, 4))
def test_one_layer(
    n: int, n_prev: int, m: int, dtype: Any, g: str, of: tuple[str, ...], n_threads: int
) -> None:
    """Forward and backward against naive, and the bits of one thread."""
    plain = layer(n, n_prev, m, dtype)
    dA = draw(4, n, m, dtype=dtype)
    A_prev, W, b, dA_of = (LAYOUTS[k](x) for k, x in zip(of, (*plain, dA), strict=False))
    with fastdnn.num_threads(n_threads):
        Z, out = LAYOUTS[of[4]](nan(n, m, dtype=dtype)), nan(n, m, dtype=dtype)
        if Z.flags.writeable:
            check_forward(A_prev, W, b, g, Z=Z, out=out)
        else:
            check_forward(A_prev, W, b, g)
            Z = linear_forward(A_prev, W, b)
        A = linear_forward(A_prev, W, b, g)
        check_backward(dA_of, A_prev, W, g, A, np.array(Z))
        found = linear_backward(dA_of, A_prev, W, g, A=A, Z=Z)
    with fastdnn.num_threads(1):
        same(A, linear_forward(A_prev, W, b, g))
        wanted = linear_backward(dA_of, A_prev, W, g, A=A, Z=Z)
        for x, y in zip(found, wanted, strict=True):
            same(x, y)


@fuzz(40)
@given(sizes, sizes, dtypes, names, layouts, layouts, st.integers(1, 4))
def test_activations_and_bias_gradient(
    n: int, m: int, dtype: Any, g: str, first: str, second: str, n_threads: int
) -> None:
    # with Z far apart, softmax's bound would want the rounding of z - max z
    Z, dA = draw(1, n, m, dtype=dtype), draw(2, n, m, dtype=dtype)
    forward, backward = naive.ACTIVATIONS[g]
    with fastdnn.num_threads(n_threads):
        A = activation_forward(LAYOUTS[first](Z), g)
        saved = {
            "Z" if ACTIVATIONS[g].from_z else "A": LAYOUTS[second](
                Z if ACTIVATIONS[g].from_z else A
            )
        }
        dZ = activation_backward(LAYOUTS[first](dA), g, **saved)
        db = bias_gradient(LAYOUTS[second](dA))
    if not Z.size:
        assert A.shape == dZ.shape == Z.shape
        assert not db.any()
        return
    wanted = forward(double(Z))
    assert_within(A, wanted, activation_bound(g, wanted, 0.0, dtype))
    bound = derivative_bound(g, double(dA), double(Z), dtype)
    assert_within(dZ, backward(double(dA), double(Z)), bound)
    bound = product_bound(dA, np.ones((m, 1)), dtype, more=2) / m
    assert_within(db, naive.bias_gradient(double(dA)), bound)


@fuzz(30)
@given(sizes, sizes, sizes, st.lists(st.sampled_from(OTHER_TYPES), min_size=3, max_size=3), layouts)
def test_other_types_are_those_of_the_same_numbers(
    n: int, n_prev: int, m: int, types: list[str], layout: str
) -> None:
    rng = np.random.default_rng(0)
    wholes = [rng.integers(0, 2, size).astype(float) for size in ((n_prev, m), (n, n_prev), (n, 1))]
    given_ = [x.astype(t) for x, t in zip(wholes, types, strict=True)]
    singles = [t.lstrip("<>") == "f4" for t in types[:2]]
    wanted = linear_forward(*[x.astype("f4" if all(singles) else "f8") for x in wholes])
    same(linear_forward(*[LAYOUTS[layout](x) for x in given_]), wanted)
    same(linear_forward(*[x.astype(object) for x in wholes]), linear_forward(*wholes))


@fuzz(30)
@given(sizes, sizes, sizes, dtypes, dtypes, layouts, names, st.booleans())
def test_out(
    n: int, n_prev: int, m: int, dtype: Any, other: Any, layout: str, g: str, keeps_z: bool
) -> None:
    """`out` and `Z` take the result in their own dtype, and nothing beside them is written."""
    plain = layer(n, n_prev, m, dtype)
    wanted, Z = linear_forward(*plain, g), linear_forward(*plain)
    out, kept = (LAYOUTS[layout](np.full((n, m), 7, other)) for _ in range(2))
    around = out.base.tobytes() if isinstance(out.base, np.ndarray) else b""
    options = {"out": out, "Z": kept} if keeps_z else {"out": out}
    if not out.flags.writeable:
        with pytest.raises(ValueError, match=r"^out: want an array that can be"):
            linear_forward(*plain, g, **options)
        return
    assert linear_forward(*plain, g, **options) is out
    same(np.array(out), np.array(wanted).astype(other))
    if keeps_z:
        same(np.array(kept), np.array(Z).astype(other))
    out[...] = 7
    assert around == (out.base.tobytes() if isinstance(out.base, np.ndarray) else b"")


# the argument's name, what is right there, and who takes it
A_PREV, W, B, DA = draw(1, 3, 5), draw(2, 4, 3), draw(3, 4, 1), draw(4, 4, 5)
DOORS: dict[str, tuple[str, Array, Callable[[Any], Any]]] = {
    "A_prev": ("(W, )?A_prev", A_PREV, lambda bad: linear_forward(bad, W, B)),
    "W": ("[Wb]", W, lambda bad: linear_forward(A_PREV, bad, B)),
    "b": ("b", B, lambda bad: linear_forward(A_PREV, W, bad)),
    "out": ("out", DA, lambda bad: linear_forward(A_PREV, W, B, out=bad)),
    "Z": ("Z", DA, lambda bad: linear_forward(A_PREV, W, B, Z=bad)),
    "Z of activation": ("Z", DA, lambda bad: activation_forward(bad, "tanh")),
    "A": ("A", DA, lambda bad: activation_backward(DA, "tanh", A=bad)),
    "dA": ("(dA|A)", DA, lambda bad: activation_backward(bad, "tanh", A=DA)),
    "dA of layer": ("dA", DA, lambda bad: linear_backward(bad, A_PREV, W)),
    "dZ": ("dZ", DA, bias_gradient),
}


@fuzz(100)
@given(st.sampled_from(list(DOORS)), st.data())
def test_bad_arrays(door: str, data: st.DataObject) -> None:
    """Whatever is no matrix of numbers is refused by name; the kernels let NaN pass."""
    name, good, call = DOORS[door]
    bad = data.draw(spoiled(good))
    message = refusal(call, bad)
    if message is not None:
        assert re.match(rf"({name}|W, A_prev)\b", message), message
        return
    is_optional = bad is None and door in ("b", "out", "Z")
    assert is_optional or np.asarray(bad).dtype.kind in "fiubO"
