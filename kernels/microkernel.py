"""The micro-kernel: one mr x nr tile of C = A B in registers, for any (mr, nv, lanes) and dtype.

::

    C[i, j] = C0[i, j] + sum_k a[k * mr + i] * b[k * nr + j]        i < mr, j < nr = nv * lanes

`a` is a packed panel of A (mr rows, column by column), `b` one of B (nr columns, row by row). C0 is
what `c` holds, or 0. All k are added in order, so a tile has the same bits whoever computes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import kernel
from ._simd import Vectors, constant, counted_loop, data_pointer
from .targets import Tile, tile

UNROLL = 4


def _tile_of(array_type: Any) -> Tile:
    return tile(np.dtype(str(array_type.dtype)))


def _tile_constant(field: str) -> Any:
    """An intrinsic that is the constant `field` of an array's tile."""

    @intrinsic
    def get(typing: Any, array: Any) -> Any:
        value = getattr(_tile_of(array), field)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return constant(value)

        return types.int64(array), emit

    return get


lanes_of = _tile_constant("lanes")
mr_of = _tile_constant("mr")
nr_of = _tile_constant("nr")
mc_of = _tile_constant("mc")
kc_of = _tile_constant("kc")
nc_of = _tile_constant("nc")


@intrinsic
def _tile(
    typing: Any, a: Any, a0: Any, b: Any, b0: Any, kc: Any, c: Any, c0: Any, ldc: Any, add: Any
) -> Any:
    t = _tile_of(c)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = ir.FloatType() if signature.args[5].dtype == types.float32 else ir.DoubleType()
        vec = Vectors(builder, element, t.lanes, t.fma)

        def pointer(array: int, offset: int) -> Any:
            start = data_pointer(context, builder, signature.args[array], arguments[array])
            return builder.gep(start, [arguments[offset]])

        def rank_1(state: Any, unroll: int) -> Any:
            pa, pb, *acc = state
            for u in range(unroll):
                row = [vec.load(pb, constant(u * t.nr + j * t.lanes)) for j in range(t.nv)]
                for i in range(t.mr):
                    left = vec.broadcast(pa, constant(u * t.mr + i))
                    for j in range(t.nv):
                        q = i * t.nv + j
                        acc[q] = vec.multiply_add(left, row[j], acc[q])
            return [
                builder.gep(pa, [constant(unroll * t.mr)]),
                builder.gep(pb, [constant(unroll * t.nr)]),
                *acc,
            ]

        depth, pc, stride = arguments[4], pointer(5, 6), arguments[7]
        state = [pointer(0, 1), pointer(2, 3), *[vec.zero] * (t.mr * t.nv)]
        rounds, rest = builder.sdiv(depth, constant(UNROLL)), builder.srem(depth, constant(UNROLL))
        state = counted_loop(builder, rounds, state, lambda s: rank_1(s, UNROLL))
        state = counted_loop(builder, rest, state, lambda s: rank_1(s, 1))
        accumulators = state[2:]

        def write(keep: bool) -> None:
            for i in range(t.mr):
                row = builder.gep(pc, [builder.mul(stride, constant(i))])
                for j in range(t.nv):
                    value, at = accumulators[i * t.nv + j], constant(j * t.lanes)
                    vec.store(vec.add(vec.load(row, at), value) if keep else value, row, at)

        with builder.if_else(builder.icmp_signed("!=", arguments[8], constant(0))) as (yes, no):
            with yes:
                write(keep=True)
            with no:
                write(keep=False)
        return context.get_dummy_value()

    i = types.int64
    return types.void(a, i, b, i, i, c, i, i, i), emit


@kernel
def full_tile(a, a0, b, b0, kc, c, c0, ldc, add):
    """One whole tile straight into C, whose rows are `ldc` apart; `add` keeps what C holds."""
    _tile(a, a0, b, b0, kc, c, c0, ldc, add)


@kernel
def edge_tile(a, a0, b, b0, kc, c, c0, ldc, add, rows, columns, spare, spare0):
    """The first `rows` x `columns` of a tile: computed whole in `spare`, so C's neighbours stay."""
    nr = nr_of(c)
    _tile(a, a0, b, b0, kc, spare, spare0, nr, 0)
    for i in range(rows):
        for j in range(columns):
            value = spare[spare0 + i * nr + j]
            at = c0 + i * ldc + j
            c[at] = c[at] + value if add else value
