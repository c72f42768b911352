"""Scalar products: C = C0 + A B^T where the rows of A and of B run along k.

A tile of the micro-kernel has columns of C for lanes, and packs B where B runs along k. Where C has
few rows or columns that is not repaid; here the lanes run along k, and nothing is packed: one row
of A times as many rows of B as there are lanes, a vector of sums for each.

An element's sum runs over k in lanes, which are added as a tree; so its bits follow from k and the
CPU's vectors alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import boolean, int64, types
from numba.extending import intrinsic

from ._jit import leaf, pointer
from ._simd import Vectors, address, constant, counted_loop, element_of, merge
from .microkernel import lanes_of, tile_of


def _step(vec: Vectors, x: Any, rows: list[Any], mask: Any, state: Any) -> list[Any]:
    """sums[i] += x rows[i], for as many k as there are lanes, or those in the mask."""
    offset, *sums = state

    def read(at: Any) -> Any:
        return vec.load(at, offset) if mask is None else vec.load_masked(mask, at, offset)

    left = read(x)
    new = [vec.multiply_add(left, read(row), total) for row, total in zip(rows, sums, strict=True)]
    return [vec.builder.add(offset, constant(vec.lanes)), *new]


def _sums(vec: Vectors, k: Any, x: Any, rows: list[Any]) -> Any:
    """The products of x and each row, in the first lanes of a vector."""
    builder, lanes = vec.builder, constant(vec.lanes)
    state = [constant(0), *[vec.zero] * len(rows)]
    state = counted_loop(builder, builder.udiv(k, lanes), state, partial(_step, vec, x, rows, None))
    rest = builder.urem(k, lanes)
    some = builder.zext(builder.icmp_signed(">", rest, constant(0)), rest.type)
    state = counted_loop(builder, some, state, partial(_step, vec, x, rows, vec.mask(rest)))
    return vec.sums(state[1:])


def _start(vec: Vectors, count: Any, c0: Any, step: Any) -> Any:
    """`count` elements of C0, or one of them `count` times."""
    builder, found = vec.builder, []
    with builder.if_else(builder.icmp_signed("==", step, constant(0))) as (one, several):
        with one:
            found.append((vec.broadcast(c0, constant(0)), builder.block))
        with several:
            values = vec.load_masked(vec.mask(count), c0, constant(0))
            found.append((values, builder.block))
    return merge(builder, found)


@intrinsic
def _products(
    typing: Any, count: Any, k: Any, x: Any, rows: Any, ld: Any, c0: Any, step: Any, c: Any,
    rectify: Any,
) -> Any:  # fmt: skip
    """c[j] = c0[j step] + x rows[j], or max(that, 0), for 1 <= count <= lanes rows."""
    t = tile_of(c)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count, k, x, rows, ld, c0, step, c, rectify = arguments
        vec = Vectors(builder, element_of(signature.args[2].dtype), t.lanes, t.fma, t.masks)
        after, none = builder.append_basic_block("after"), builder.append_basic_block("none")
        choice, found = builder.switch(count, none), []
        for n in range(1, t.lanes + 1):
            block = builder.append_basic_block(f"rows_{n}")
            choice.add_case(constant(n), block)
            builder.position_at_end(block)
            lines = [builder.gep(rows, [builder.mul(ld, constant(i))]) for i in range(n)]
            found.append((_sums(vec, k, x, lines), builder.block))
            builder.branch(after)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(after)
        sums = merge(builder, found)
        z = builder.fadd(_start(vec, count, c0, step), sums)
        # a NaN stays
        a = builder.select(builder.fcmp_ordered("<", z, vec.zero), vec.zero, z)
        a = builder.select(rectify, a, z)
        with builder.if_else(builder.icmp_signed("==", count, constant(t.lanes))) as (whole, part):
            with whole:
                vec.store(a, c, constant(0))
            with part:
                vec.store_first(count, [a], [c])
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, i, x, rows, i, c0, i, c, types.boolean), emit


@leaf(
    lambda t: (
        *(int64,) * 3,
        *(pointer(t), int64, pointer(t), int64),
        *(pointer(t), int64, int64, pointer(t), int64, boolean),
    )
)
def scalar_products(m, n, k, a, lda, b, ldb, c0, ld0, step0, c, ldc, rectify):
    """C = C0 + A B^T, or max(C0 + A B^T, 0), A m x k and B n x k; C0's columns `step0` apart."""
    lanes = lanes_of(c)
    for i in range(m):
        row = address(a, i * lda)
        for j in range(0, n, lanes):
            count = min(lanes, n - j)
            start, to = address(c0, i * ld0 + j * step0), address(c, i * ldc + j)
            _products(count, k, row, address(b, j * ldb), ldb, start, step0, to, rectify)
