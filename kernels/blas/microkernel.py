"""The micro-kernel: one tile of C = C0 + A B in registers, made for any (mr, nv, lanes) and dtype.

::

    C[i, j] = C0[i, j] + sum_k A[i, k] B[k, j]        i < h <= mr, j < w <= nr = nv * lanes

A is read where it lies, by strides, an element at a time into all lanes; so the same code reads
rows of samples, their transpose, and packed panels. B's rows lie `ldb` apart: as wide as the tile's
vectors in a packed panel, or in a matrix that is contiguous along j and may be read up to nr
elements past a row's beginning. C0 is C itself, zeros or a bias: rows `ld0` apart, where 0 repeats
one row.

There is a body for every height h and every number of vectors v; the last vector's loads of C0 and
stores of C are masked where w is no multiple of the lanes. Half as many vectors leave registers for
2 mr rows: so high are the tiles of a narrow C. An element's sum runs over k in order, one fused
multiply-add each, so its bits do not depend on the tile that it lies in.

A tile of at most mr rows may also be made in *runs* of k, one call each: after the first, its sums
go on from what the run before has left in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastdnn.kernels.cpu.targets import LINE_BYTES, Tile, tile
from fastdnn.kernels.llvm.simd import Vectors, constant, counted_loop, element_of, merge

UNROLL = 4
GROUP = 4  # rows of A that are found from one address: it and as many multiples of the stride
FLAT = {1: 8, 2: 4}  # rows of a flat tile: vectors beside each other, where B is no panels


def tile_of(of: Any) -> Tile:
    """Return the tile for an array's or a pointer's elements."""
    return tile(np.dtype(str(of.dtype)))


def widest(t: Tile, h: int) -> int:
    """Return the most vectors beside each other in a tile of h rows, at most 2 mr.

    One row of nv vectors would wait for its sums: a flat tile keeps the multipliers busy.
    """
    return max(t.nv, FLAT.get(h, t.nv)) if h <= t.mr else t.nv // 2


def _tile_constant(field: str) -> Any:
    """An intrinsic that is the constant `field` of the tile for an array or a pointer."""

    @intrinsic
    def get(typing: Any, of: Any) -> Any:
        value = int(getattr(tile_of(of), field))

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return constant(value)

        return types.int64(of), emit

    return get


lanes_of = _tile_constant("lanes")
mr_of = _tile_constant("mr")
nr_of = _tile_constant("nr")
mc_of = _tile_constant("mc")
kc_of = _tile_constant("kc")
nc_of = _tile_constant("nc")
line_of = _tile_constant("line")
page_of = _tile_constant("page")
narrow_of = _tile_constant("narrow")
pairs_of = _tile_constant("pairs")
l1_elements_of = _tile_constant("l1_elements")
packed_of = _tile_constant("packed")
panels_at_once_of = _tile_constant("panels_at_once")
transposes_of = _tile_constant("transposes")


class _Operands(NamedTuple):
    """LLVM values: where a tile's matrices lie."""

    a: Any
    row_stride: Any  # of A
    k_stride: Any
    b: Any
    ldb: Any
    depth: Any
    c0: Any
    ld0: Any
    c: Any
    ldc: Any
    columns: Any
    ahead: Any  # the part of the next panel of B that is fetched meanwhile
    fused_relu: Any
    sums: Any = None  # of the k before, in whole vectors; None: the sums begin with 0
    lds: Any = None


class _Strides(NamedTuple):
    """How far A's rows, and its elements along k, lie apart: LLVM values, or 1 if that is known."""

    row: Any
    k: Any


class _Body:
    """Emits the tile of h rows and v vectors."""

    def __init__(self, vec: Vectors, h: int, v: int, operands: _Operands, t: Tile) -> None:
        self.vec, self.builder, self.h, self.v, self.at = vec, vec.builder, h, v, operands
        # into tiles of these two heights, many rows are cut
        is_large = v == t.nv and t.mr - 1 <= h <= t.mr
        self.has_known_strides = is_large and operands.sums is None
        self.strides = _Strides(operands.row_stride, operands.k_stride)
        self.is_full = self.builder.icmp_signed("==", operands.columns, constant(v * vec.lanes))
        self.last_row = self.builder.gep(operands.c, [self._times(operands.ldc, h - 1)])

    def _times(self, stride: Any, count: int) -> Any:
        return self.builder.mul(constant(1) if stride == 1 else stride, constant(count))

    def emit(self) -> None:
        builder, at, unroll = self.builder, self.at, constant(UNROLL)
        acc = [self.vec.zero] * (self.h * self.v) if at.sums is None else self._read_sums()
        state = [at.c, at.ahead, at.b, at.a, *acc]
        state = self._unrolled(builder.udiv(at.depth, unroll), state)
        state = self._along_k(builder.urem(at.depth, unroll), 1, self.strides, state)
        start, sums = self._either(self._read), state[4:]
        acc = [builder.fadd(c0, x) for c0, x in zip(start, sums, strict=True)]
        acc = self._rectified(acc)
        self._either(lambda mask: self._write(acc, mask))

    def _read_sums(self) -> list[Any]:
        places = [constant(j * self.vec.lanes) for j in range(self.v)]
        rows = self._rows(self.at.sums, self.at.lds)
        return [self.vec.load(row, place) for row in rows for place in places]

    def _unrolled(self, count: Any, state: list[Any]) -> list[Any]:
        """Most of the loop along k. That of a large tile knows which of A's strides is 1.

        Then fewer instructions find A's elements, and no sum has to leave its register. Neither is
        1 for an array that was given with such strides alone.
        """

        def loop(**known: int) -> list[Any]:
            return self._along_k(count, UNROLL, self.strides._replace(**known), state)

        def in_rows() -> list[Any]:
            return self._choose(self._is_one(self.strides.k), lambda: loop(k=1), loop)

        if not self.has_known_strides:
            return loop()
        return self._choose(self._is_one(self.strides.row), lambda: loop(row=1), in_rows)

    def _is_one(self, stride: Any) -> Any:
        return self.builder.icmp_signed("==", stride, constant(1))

    def _along_k(self, count: Any, unroll: int, strides: _Strides, state: list[Any]) -> list[Any]:
        """`count` times `unroll` steps of k; the state is [c, ahead, B[k, :], A[:, k], *C].

        Between many steps, a row of C and a line of the next panel of B are fetched: all at once
        would delay A and B.
        """
        builder, size = self.builder, self.h if strides.row == 1 else GROUP
        starts = [self._times(strides.row, i) for i in range(0, self.h, size)]
        within = [self._times(strides.row, i) for i in range(size)]
        n = len(starts)

        def steps(state: Sequence[Any]) -> list[Any]:
            c, ahead, b, *rest = state
            groups, acc = rest[:n], rest[n:]
            if unroll > 1:
                c, ahead = self._fetch(c, ahead)
            for k in range(unroll):
                A = [(groups[i // size], within[i % size]) for i in range(self.h)]
                acc = self._step(A, b, acc)
                b = builder.gep(b, [self.at.ldb])
                groups = [builder.gep(group, [self._times(strides.k, 1)]) for group in groups]
                # did LLVM see how the groups lie, it would find each row by adding to the one
                # before: a chain as long as the step
                if strides.k != 1 or k == unroll - 1:
                    groups = [self.vec.opaque(group) for group in groups]
            return [c, ahead, b, *groups, *acc]

        c, ahead, b, a, *acc = state
        groups = [builder.gep(a, [start]) for start in starts]
        state = counted_loop(builder, count, [c, ahead, b, *groups, *acc], steps)
        return [*state[:4], *state[3 + n :]]

    def _fetch(self, c: Any, ahead: Any) -> list[Any]:
        line = LINE_BYTES // self.vec.element_bytes
        self.vec.prefetch(ahead, writes=False)
        ahead = self.builder.gep(ahead, [constant(line)])
        if self.h not in FLAT:
            for at in range(0, self.v * self.vec.lanes, line):
                self.vec.prefetch(self.builder.gep(c, [constant(at)]), writes=True)
            is_last = self.builder.icmp_unsigned("==", c, self.last_row)
            c = self.builder.gep(c, [self.builder.select(is_last, constant(0), self.at.ldc)])
        return [c, ahead]

    def _step(self, A: Sequence[tuple[Any, Any]], b: Any, acc: Sequence[Any]) -> list[Any]:
        """C += A[:, k] B[k, :]."""
        vec, acc = self.vec, list(acc)
        row = [vec.load(b, constant(j * vec.lanes)) for j in range(self.v)]
        for i in range(self.h):
            left = vec.broadcast(*A[i])
            for j in range(self.v):
                q = i * self.v + j
                acc[q] = vec.multiply_add(left, row[j], acc[q])
        return acc

    def _rectified(self, acc: list[Any]) -> list[Any]:
        """max(acc, 0) where it is wanted: relu, while C is in registers. A NaN stays."""
        builder, before = self.builder, self.builder.block
        with builder.if_then(self.at.fused_relu):
            zero = self.vec.zero
            new = [builder.select(builder.fcmp_ordered("<", x, zero), zero, x) for x in acc]
            inside = builder.block
        both = zip(acc, new, strict=True)
        return [merge(builder, [(old, before), (a, inside)]) for old, a in both]

    def _either(self, emit: Callable[[Any], list[Any]]) -> list[Any]:
        """``emit(None)`` for a tile whose last vector is whole, else ``emit`` of its columns."""
        before = constant((self.v - 1) * self.vec.lanes)
        return self._choose(
            self.is_full,
            lambda: emit(None),
            lambda: emit(self.builder.sub(self.at.columns, before)),
        )

    def _choose(self, condition: Any, *emits: Callable[[], list[Any]]) -> list[Any]:
        """Return what the first of two emits where the condition holds, else the second."""
        found = []
        with self.builder.if_else(condition) as branches:
            for branch, emit in zip(branches, emits, strict=True):
                with branch:
                    found.append((emit(), self.builder.block))
        values = zip(*(values for values, _ in found), strict=True)
        blocks = [block for _, block in found]
        return [merge(self.builder, list(zip(both, blocks, strict=True))) for both in values]

    def _rows(self, start: Any, stride: Any) -> list[Any]:
        """Return where each row begins; sums of strides are cheaper than their products."""
        rows = [start]
        for _ in range(self.h - 1):
            rows.append(self.builder.gep(rows[-1], [stride]))
        return rows

    def _read(self, rest: Any) -> list[Any]:
        vec, values = self.vec, []
        mask = None if rest is None else vec.mask(rest)
        for row in self._rows(self.at.c0, self.at.ld0):
            for j in range(self.v):
                at = constant(j * vec.lanes)
                if rest is None or j < self.v - 1:
                    values.append(vec.load(row, at))
                else:
                    values.append(vec.load_masked(mask, row, at))
        return values

    def _write(self, acc: list[Any], rest: Any) -> list[Any]:
        rows, last = self._rows(self.at.c, self.at.ldc), self.v - 1
        for i, row in enumerate(rows):
            for j in range(last if rest is not None else self.v):
                self.vec.store(acc[i * self.v + j], row, constant(j * self.vec.lanes))
        if rest is not None:
            ends = [self.builder.gep(row, [constant(last * self.vec.lanes)]) for row in rows]
            self.vec.store_first(rest, acc[last :: self.v], ends)
        return []


def _emit_tiles(builder: Any, of: Any, height: Any, at: _Operands, highest: int) -> None:
    """A body for each height up to `highest` and each number of vectors, and what chooses it."""
    t = tile_of(of)
    vec = Vectors(builder, element_of(of.dtype), t.lanes, t.fma, t.masks)
    vectors = builder.sdiv(builder.add(at.columns, constant(t.lanes - 1)), constant(t.lanes))
    after, none = builder.append_basic_block("after"), builder.append_basic_block("none")
    number = builder.add(builder.mul(vectors, constant(highest + 1)), height)
    choice = builder.switch(number, none)
    for h in range(1, highest + 1):
        for v in range(1, widest(t, h) + 1):
            block = builder.append_basic_block(f"tile_{h}x{v}")
            choice.add_case(constant(v * (highest + 1) + h), block)
            builder.position_at_end(block)
            _Body(vec, h, v, at, t).emit()
            builder.branch(after)
    builder.position_at_end(none)
    builder.unreachable()
    builder.position_at_end(after)


@intrinsic
def multiply_tile(
    typing: Any, h: Any, a: Any, row_stride: Any, k_stride: Any, b: Any, ldb: Any, depth: Any,
    c0: Any, ld0: Any, c: Any, ldc: Any, columns: Any, ahead: Any, fused_relu: Any,
) -> Any:  # fmt: skip
    """A tile of h rows and so many columns; see `_Operands`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        height, *operands = arguments
        _emit_tiles(builder, a, height, _Operands(*operands), 2 * tile_of(a).mr)
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, a, i, i, b, i, i, c0, i, c, i, i, b, types.boolean), emit


@intrinsic
def continue_tile(
    typing: Any, h: Any, a: Any, row_stride: Any, k_stride: Any, b: Any, ldb: Any, depth: Any,
    c0: Any, ld0: Any, c: Any, ldc: Any, columns: Any, ahead: Any, fused_relu: Any, sums: Any,
    lds: Any,
) -> Any:  # fmt: skip
    """A tile of at most mr rows whose sums go on from those of the k before."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        height, *operands = arguments
        _emit_tiles(builder, a, height, _Operands(*operands), tile_of(a).mr)
        return context.get_dummy_value()

    i, yes = types.int64, types.boolean
    return types.void(i, a, i, i, b, i, i, c0, i, c, i, i, b, yes, sums, i), emit
