"""Scalar products: C = C0 + A B^T where the rows of A and of B run along k.

A tile of the micro-kernel has columns of C for lanes, and packs B where B runs along k. Where C has
few rows or columns that is not repaid; here the lanes run along k, and nothing is packed: one row
of A times as many rows of B as there are lanes, a vector of sums for each; or two rows of A at once
where B has few.

An element's sum runs over k in lanes, which are added as a tree; so its bits follow from k and the
CPU's vectors alone.
"""

from __future__ import annotations

from functools import partial
from itertools import product as combinations
from typing import Any

from numba import boolean, int64, types
from numba.extending import intrinsic

from fastdnn.kernels.base.constants import ONE, ZERO
from fastdnn.kernels.compiler.jit import kernel, leaf, pointer
from fastdnn.kernels.llvm.simd import Vectors, address, constant, counted_loop, element_of, merge

from .microkernel import lanes_of, pairs_of, tile_of
from .operands import element


def _step(vec: Vectors, xs: list[Any], rows: list[Any], mask: Any, state: Any) -> list[Any]:
    """sums[i, j] += xs[i] rows[j], for as many k as there are lanes, or those in the mask."""
    offset, *sums = state

    def read(at: Any) -> Any:
        return vec.load(at, offset) if mask is None else vec.load_masked(mask, at, offset)

    left, right = [read(x) for x in xs], [read(row) for row in rows]
    pairs = zip(combinations(left, right), sums, strict=True)
    new = [vec.multiply_add(x, row, total) for (x, row), total in pairs]
    return [vec.builder.add(offset, constant(vec.lanes)), *new]


def _sums(vec: Vectors, k: Any, xs: list[Any], rows: list[Any]) -> list[Any]:
    """For each x, its products with all rows in the first lanes of a vector."""
    builder, lanes, n = vec.builder, constant(vec.lanes), len(rows)
    state = [constant(0), *[vec.zero] * (len(xs) * n)]
    whole = partial(_step, vec, xs, rows, None)
    state = counted_loop(builder, builder.udiv(k, lanes), state, whole)
    rest = builder.urem(k, lanes)
    some = builder.zext(builder.icmp_signed(">", rest, constant(0)), rest.type)
    _, *sums = counted_loop(builder, some, state, partial(_step, vec, xs, rows, vec.mask(rest)))
    return [vec.sums(sums[i * n : (i + 1) * n]) for i in range(len(xs))]


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


def _products_of(height: int) -> Any:
    """An intrinsic for so many rows of A: C = C0 + A B^T, or max(that, 0), for some rows of B."""

    @intrinsic
    def products(
        typing: Any, count: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, c0: Any, ld0: Any,
        step0: Any, c: Any, ldc: Any, fused_relu: Any,
    ) -> Any:  # fmt: skip
        t = tile_of(c)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, k, a, lda, b, ldb, c0, ld0, step0, c, ldc, fused_relu = arguments
            vec = Vectors(builder, element_of(signature.args[2].dtype), t.lanes, t.fma, t.masks)
            after, none = builder.append_basic_block("after"), builder.append_basic_block("none")
            choice, found = builder.switch(count, none), []

            def rows(start: Any, apart: Any, number: int) -> list[Any]:
                return [
                    builder.gep(start, [builder.mul(apart, constant(i))]) for i in range(number)
                ]

            for n in range(1, (t.lanes if height == 1 else t.pairs) + 1):
                block = builder.append_basic_block(f"rows_{n}")
                choice.add_case(constant(n), block)
                builder.position_at_end(block)
                sums = _sums(vec, k, rows(a, lda, height), rows(b, ldb, n))
                found.append((sums, builder.block))
                builder.branch(after)
            builder.position_at_end(none)
            builder.unreachable()
            builder.position_at_end(after)
            sums = [
                merge(builder, [(values[i], block) for values, block in found])
                for i in range(height)
            ]
            starts, places = rows(c0, ld0, height), rows(c, ldc, height)
            Z = [
                builder.fadd(_start(vec, count, start, step0), x)
                for start, x in zip(starts, sums, strict=True)
            ]
            # a NaN stays
            zero = vec.zero
            A = [builder.select(builder.fcmp_ordered("<", z, zero), zero, z) for z in Z]
            A = [builder.select(fused_relu, x, z) for x, z in zip(A, Z, strict=True)]
            is_whole = builder.icmp_signed("==", count, constant(t.lanes))
            with builder.if_else(is_whole) as (whole, part):
                with whole:
                    for x, place in zip(A, places, strict=True):
                        vec.store(x, place, constant(0))
                with part:
                    vec.store_first(count, A, places)
            return context.get_dummy_value()

        i, real = types.int64, c
        return types.void(i, i, real, i, real, i, real, i, i, real, i, types.boolean), emit

    return products


_of_one, _of_two = _products_of(1), _products_of(2)


@leaf(
    lambda t: (
        *(int64,) * 3,
        *(pointer(t), int64, pointer(t), int64),
        *(pointer(t), int64, int64, pointer(t), int64, boolean),
    )
)
def row_dot_products(m, n, k, a, lda, b, ldb, c0, ld0, step0, c, ldc, fused_relu):
    """C = C0 + A B^T, or max(C0 + A B^T, 0), A m x k and B n x k; C0's columns `step0` apart."""
    lanes, pairs = lanes_of(c), m // 2 if 0 < n <= pairs_of(c) else 0
    for pair in range(pairs):  # each row of B that is read is used twice
        rows, start, to = address(a, 2 * pair * lda), address(c0, 2 * pair * ld0), 2 * pair * ldc
        _of_two(n, k, rows, lda, b, ldb, start, ld0, step0, address(c, to), ldc, fused_relu)
    for i in range(2 * pairs, m):
        row = address(a, i * lda)
        for j in range(0, n, lanes):
            count = min(lanes, n - j)
            start, to = address(c0, i * ld0 + j * step0), address(c, i * ldc + j)
            _of_one(
                count, k, row, lda, address(b, j * ldb), ldb, start, ld0, step0, to, ldc, fused_relu
            )


@kernel
def dot_products(k, a, b, c0, c):
    """C = C0 + A B, or max(that, 0): A's rows and B's columns run along k.

    A single column is made as a row, C^T = C0^T + B^T A^T: one vector of sums.
    """
    x, w, start = element(a, ZERO, ZERO), element(b, ZERO, ZERO), element(c0, ZERO, ZERO)
    if c.columns == c.ld == 1:
        row_dot_products(
            ONE, c.rows, k, w, k, x, a.row_stride, start, ZERO, c0.row_stride, c.at, c.rows,
            c.fused_relu,
        )  # fmt: skip
    else:
        row_dot_products(
            c.rows, c.columns, k, x, a.row_stride, w, b.column_stride, start, c0.row_stride,
            c0.column_stride, c.at, c.ld, c.fused_relu,
        )  # fmt: skip
