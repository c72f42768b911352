"""Vector operations and loops, as small compiled programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numba import int64, types
from numba.extending import intrinsic

from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import kernel, vector
from fastdnn.kernels.llvm.simd import (
    Vectors,
    address,
    address_at,
    constant,
    counted_loop,
    data_pointer,
    element_of,
    is_not_null,
    span,
)
from tests.kernels.common import (
    DTYPES,
    Array,
    at_the_end_of_memory,
    compiled,
    draw,
    each_dtype,
    nan,
    run_python,
    unit,
)

WIDTHS = (2, 4, 8, 16)  # lanes: in part narrower or wider than this CPU's registers
each_width = pytest.mark.parametrize("lanes", WIDTHS)


def _operations(lanes: int, fma: bool) -> Callable[..., None]:
    """out[1:] = a[1:] * b[3] + c[2:], `lanes` wide."""

    def emit(vec: Vectors, n: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        left, right = vec.load(a, constant(1)), vec.load(c, constant(2))
        product = vec.multiply_add(left, vec.broadcast(b, constant(3)), right)
        vec.store(product, out, constant(1))

    return _intrinsic(lanes, fma, emit)


def _first(lanes: int, masks: bool) -> Callable[..., None]:
    """The first n lanes of b to out[1:], a vector of which n are read behind them."""

    def emit(vec: Vectors, n: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        mask = vec.mask(n)
        to = vec.builder.gep(out, [constant(1)])
        vec.store_first(n, [vec.load(b, constant(0))], [to])
        vec.store(vec.load_masked(mask, a, constant(1)), out, constant(2 + lanes))

    return _intrinsic(lanes, True, emit, masks)


def _transpose(lanes: int) -> Callable[..., None]:
    """Out = the transpose of a, lanes x lanes."""

    def emit(vec: Vectors, n: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        rows = [vec.load(a, constant(i * lanes)) for i in range(lanes)]
        for i, column in enumerate(vec.transpose(rows)):
            vec.store(column, out, constant(i * lanes))

    return _intrinsic(lanes, True, emit)


def _intrinsic(
    lanes: int, fma: bool, emit_vectors: Callable[..., None], masks: bool = False
) -> Callable[..., None]:
    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, n: Any, a: Any, b: Any, c: Any, out: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointers = [
                data_pointer(context, builder, of, array)
                for of, array in zip(signature.args[1:], arguments[1:], strict=True)
            ]
            vec = Vectors(builder, element_of(a.dtype), lanes, fma, masks)
            emit_vectors(vec, arguments[0], *pointers)
            return context.get_dummy_value()

        return types.void(types.int64, a, b, c, out), emit

    return run  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def _fibonacci(typing: Any, count: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def body(pair: Sequence[Any]) -> Sequence[Any]:
            return [pair[1], builder.add(pair[0], pair[1])]

        return counted_loop(builder, arguments[0], [constant(0), constant(1)], body)[0]

    return types.int64(types.int64), emit


def _callable(operation: Callable[..., None]) -> Any:
    def case(n: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        operation(n, a, b, c, out)

    return kernel(case)


OPERATIONS = {
    **{("fused", lanes): _operations(lanes, True) for lanes in WIDTHS},
    **{("apart", lanes): _operations(lanes, False) for lanes in WIDTHS},
    **{("masked", lanes): _first(lanes, masks=True) for lanes in WIDTHS},
    **{("halved", lanes): _first(lanes, masks=False) for lanes in WIDTHS},
    **{("transpose", lanes): _transpose(lanes) for lanes in WIDTHS},
}
_pick = switch([_callable(operation) for operation in OPERATIONS.values()])


@compiled(lambda t: (int64, int64, vector(t), vector(t), vector(t), vector(t)))
def _run(rank, n_ranks, team, case, n, a, b, c, out):  # type: ignore[no-untyped-def]
    _pick(case, n, a, b, c, out)


@compiled(lambda t: (vector(t), vector(int64), vector(t), vector(int64)))
def _addresses(rank, n_ranks, team, x, numbers, found, there):  # type: ignore[no-untyped-def]
    third = address(x, 3)
    seventh = address(third, 4)
    found[0], found[1] = third[0], third[2]
    found[2], found[3] = seventh[0], address(seventh, -2)[0]
    for i in range(numbers.size):
        of_number = address_at(numbers, i, x)
        there[i] = is_not_null(of_number)
        if is_not_null(of_number):
            found[4 + i] = of_number[1]
    seventh[1] = found[0] + 1


@compiled(lambda t: (vector(t), int64, int64, vector(int64)))
def _add_one_behind(rank, n_ranks, team, x, start, count, size):  # type: ignore[no-untyped-def]
    view = span(address(x, start), 2, count)
    size[0] = view.size
    for i in range(count):
        view[i] += 1


@compiled(lambda t: (vector(t), int64, int64, vector(int64)))
def _add_one(rank, n_ranks, team, x, start, count, size):  # type: ignore[no-untyped-def]
    view = span(x, start, count)
    size[0] = view.size
    for i in range(count):
        view[i] += 1


@compiled(lambda t: (vector(int64),))
def _loops(rank, n_ranks, team, loops):  # type: ignore[no-untyped-def]
    for i in range(loops.size):
        loops[i] = _fibonacci(i - 2)


def run(
    name: str, lanes: int, a: Array, b: Array | None = None, c: Array | None = None, n: int = 0
) -> Array:
    """What an operation leaves in an output full of NaN."""
    out, none = nan(300, dtype=a.dtype), np.zeros(40, a.dtype)
    number = list(OPERATIONS).index((name, lanes))
    _run(a.dtype, 1, number, n, a, none if b is None else b, none if c is None else c, out)
    return out


@each_dtype
@each_width
@pytest.mark.parametrize("name", ["fused", "apart"])
def test_multiply_and_add(dtype: Any, lanes: int, name: str) -> None:
    a, b, c = (draw(seed, 40, dtype=dtype) for seed in (1, 2, 3))
    out = run(name, lanes, a, b, c)
    left, right = a[1 : 1 + lanes], c[2 : 2 + lanes]
    wanted = left.astype(np.longdouble) * b[3] + right
    # rounded once, or the product before the sum (LLVM may fuse the two where the CPU can)
    size = np.abs(wanted) + (0 if name == "fused" else np.abs(left * b[3]))
    assert (np.abs(out[1 : 1 + lanes] - wanted) <= 1.01 * unit(dtype) * size).all()
    assert np.isnan(out[0])
    assert np.isnan(out[1 + lanes :]).all()


@each_dtype
@each_width
def test_a_fused_product_is_rounded_once(dtype: Any, lanes: int) -> None:
    e = dtype.type(2 * unit(dtype))
    factors, summands = np.full(40, 1 + e, dtype), np.full(40, -(1 + 2 * e), dtype)
    out = run("fused", lanes, factors, factors, summands)
    np.testing.assert_array_equal(out[1 : 1 + lanes], np.full(lanes, e * e))


@each_dtype
@each_width
@pytest.mark.parametrize("way", ["masked", "halved"])
def test_the_first_lanes_of_a_vector(dtype: Any, lanes: int, way: str) -> None:
    values = draw(2, lanes, dtype=dtype)
    for n in range(-3, lanes + 4) if way == "masked" else range(lanes):
        count = min(max(n, 0), lanes)
        a = draw(1, 1 + lanes, dtype=dtype)
        a[1 + count :] = np.nan
        out = run(way, lanes, a, values, n=n)
        np.testing.assert_array_equal(out[1 : 1 + count], values[:count])
        assert np.isnan(out[0])
        assert np.isnan(out[1 + count : 2 + lanes]).all()
        read = out[2 + lanes : 2 + 2 * lanes]
        np.testing.assert_array_equal(read[:count], a[1 : 1 + count])
        np.testing.assert_array_equal(read[count:], np.zeros(lanes - count))
        assert np.isnan(out[2 + 2 * lanes :]).all()


def read_up_to_the_end_of_memory() -> None:
    """For a process of its own: reading behind the end would kill it."""
    for dtype in DTYPES:
        for lanes in WIDTHS:
            for n in range(lanes):
                a = at_the_end_of_memory(draw(1, 1 + n, dtype=dtype))
                out = run("masked", lanes, a, n=n)[2 + lanes :]
                np.testing.assert_array_equal(out[:n], a[1:])


def test_lanes_outside_the_mask_are_not_read() -> None:
    program = (
        "from tests.kernels.llvm.test_simd import read_up_to_the_end_of_memory\n"
        "read_up_to_the_end_of_memory(); print('alive')"
    )
    assert run_python(program).strip() == "alive"


@each_dtype
@each_width
def test_transpose(dtype: Any, lanes: int) -> None:
    a = draw(1, lanes, lanes, dtype=dtype)
    out = run("transpose", lanes, a.reshape(-1))
    np.testing.assert_array_equal(out[: lanes * lanes].reshape(lanes, lanes), a.T)
    assert np.isnan(out[lanes * lanes :]).all()


@each_dtype
def test_a_span_is_a_view(dtype: Any) -> None:
    x = draw(1, 40, dtype=dtype)
    wanted = x.copy()
    wanted[7:24] += 1
    got = np.zeros(1, np.int64)
    _add_one(dtype, 1, x, 7, 17, got)
    np.testing.assert_array_equal(x, wanted)
    assert got[0] == 17
    _add_one(dtype, 1, x, 40, 0, got)
    np.testing.assert_array_equal(x, wanted)


@each_dtype
def test_a_span_of_an_address(dtype: Any) -> None:
    x, size = draw(1, 40, dtype=dtype), np.zeros(1, np.int64)
    wanted = x.copy()
    wanted[7:24] += 1
    _add_one_behind(dtype, 1, x, 5, 17, size)
    np.testing.assert_array_equal(x, wanted)
    assert size[0] == 17
    _add_one_behind(dtype, 1, x, 38, 0, size)
    np.testing.assert_array_equal(x, wanted)


@each_dtype
def test_addresses(dtype: Any) -> None:
    x, y = draw(1, 40, dtype=dtype), draw(2, 40, dtype=dtype)
    before = x.copy()
    numbers = np.array([y.ctypes.data, 0, y[5:].ctypes.data, x[20:].ctypes.data])
    found, there = nan(8, dtype=dtype), np.full(4, -1)
    _addresses(dtype, 1, x, numbers, found, there)
    np.testing.assert_array_equal(found[:4], before[[3, 5, 7, 5]])
    np.testing.assert_array_equal(found[4:], [y[1], np.nan, y[6], x[21]])
    np.testing.assert_array_equal(there, [1, 0, 1, 1])
    before[8] = found[0] + 1  # written through an address of an address
    np.testing.assert_array_equal(x, before)


def test_a_loop_of_as_many_rounds_as_are_counted() -> None:
    loops = np.full(12, -1)
    _loops(np.dtype(np.float64), 1, loops)
    # of -2, -1, 0, 1, … rounds
    np.testing.assert_array_equal(loops, [0, 0, 0, 1, 1, 2, 3, 5, 8, 13, 21, 34])
