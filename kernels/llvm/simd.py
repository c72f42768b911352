"""The only emitter of vector instructions: what numba has no words for, as LLVM IR.

`Vectors` writes the few vector operations that a micro-kernel needs, for one element type and one
width. Addresses are computed by ``getelementptr`` alone (integer arithmetic on pointers is
miscompiled by LLVM 22), and vector intrinsics are declared by hand (``declare_intrinsic`` refuses
vector types).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I64 = ir.IntType(64)
I32 = ir.IntType(32)
BYTES = ir.IntType(8).as_pointer()


def constant(value: int) -> ir.Constant:
    """An address-sized integer."""
    return ir.Constant(I64, value)


def data_pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: Any) -> Any:
    """Return the address of an array's first element; an address is its own."""
    if isinstance(kind, types.CPointer):
        return array
    return context.make_array(kind)(context, builder, array).data


def element_of(kind: Any) -> ir.Type:
    """LLVM's type of numba's float32 or float64."""
    return ir.FloatType() if kind == types.float32 else ir.DoubleType()


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: Any) -> Any:
    """Call a function that LLVM or the C library knows by its name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def merge(builder: ir.IRBuilder, found: Sequence[tuple[Any, Any]]) -> Any:
    """Return the one of these values whose block was left last; each comes with its block."""
    phi = builder.phi(found[0][0].type)
    for value, block in found:
        phi.add_incoming(value, block)
    return phi


class Vectors:
    """Emits operations on vectors of `lanes` elements of one type."""

    def __init__(
        self, builder: ir.IRBuilder, element: ir.Type, lanes: int, fma: bool, masks: bool = False
    ) -> None:
        self.builder = builder
        self.element = element
        self.type = ir.VectorType(element, lanes)
        self.lanes = lanes
        self._fma, self._masks = fma, masks
        self.zero = ir.Constant(self.type, [ir.Constant(element, 0.0)] * lanes)
        self._undefined = ir.Constant(self.type, ir.Undefined)
        self._splat = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        self._alignment = ir.Constant(I32, self.element_bytes)

    def _at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.type.as_pointer())

    def load(self, pointer: Any, offset: Any) -> Any:
        """Return the vector at ``pointer[offset]``; any alignment."""
        return self.builder.load(self._at(pointer, offset), align=self.element_bytes)

    def mask(self, count: Any) -> Any:
        """True in the first `count` lanes."""
        index = ir.VectorType(I32, self.lanes)
        undefined = ir.Constant(index, ir.Undefined)
        one = self.builder.insert_element(
            undefined, self.builder.trunc(count, I32), ir.Constant(I32, 0)
        )
        counts = self.builder.shuffle_vector(one, undefined, self._splat)
        return self.builder.icmp_signed("<", ir.Constant(index, list(range(self.lanes))), counts)

    def load_masked(self, mask: Any, pointer: Any, offset: Any) -> Any:
        """Return the vector at ``pointer[offset]``; lanes outside the mask are 0, and not read."""
        arguments = [self._at(pointer, offset), self._alignment, mask, self.zero]
        return self._call("masked.load", self.type, arguments, ".p0")

    def store_first(self, count: Any, values: Sequence[Any], pointers: Sequence[Any]) -> None:
        """Write the first `count` lanes of each vector at its pointer; less than all of them.

        Where the CPU has no masks for vectors, or slow ones (AVX2), it is done by halves: the bits
        of `count` say which.
        """
        if self._masks:
            mask = self.mask(count)
            for value, pointer in zip(values, pointers, strict=True):
                arguments = [value, self._at(pointer, constant(0)), self._alignment, mask]
                self._call("masked.store", ir.VoidType(), arguments, ".p0")
            return
        size = self.lanes // 2
        while size:
            values, pointers = self._store_half(size, count, values, pointers)
            size //= 2

    def _store_half(
        self, size: int, count: Any, values: Sequence[Any], pointers: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """If `count` has the bit `size`, write as many lanes; returns what is left to write."""
        builder, before = self.builder, self.builder.block
        lanes = ir.Constant(ir.VectorType(I32, size), list(range(size)))
        following = [min(size + lane, self.lanes - 1) for lane in range(self.lanes)]
        rest = ir.Constant(ir.VectorType(I32, self.lanes), following)
        new = []
        with builder.if_then(builder.trunc(builder.udiv(count, constant(size)), ir.IntType(1))):
            for value, pointer in zip(values, pointers, strict=True):
                part = builder.shuffle_vector(value, self._undefined, lanes)
                at = builder.bitcast(pointer, part.type.as_pointer())
                builder.store(part, at, align=self.element_bytes)
                left = builder.shuffle_vector(value, self._undefined, rest)
                new.append((left, builder.gep(pointer, [constant(size)])))
            inside = builder.block
        joined = []
        for old, taken in zip(zip(values, pointers, strict=True), new, strict=True):
            both = zip(old, taken, strict=True)
            joined.append([merge(builder, [(a, before), (b, inside)]) for a, b in both])
        return [value for value, _ in joined], [pointer for _, pointer in joined]

    def _call(self, name: str, result: Any, arguments: Sequence[Any], more: str = "") -> Any:
        letter = {4: "f32", 8: "f64"}[self.element_bytes]
        name = f"llvm.{name}.v{self.lanes}{letter}{more}"
        return call(self.builder, name, result, *arguments)

    def opaque(self, pointer: Any) -> Any:
        """Return the same address, of which LLVM does not know how it came about."""
        at = self.builder.bitcast(pointer, BYTES)
        same = call(self.builder, "llvm.launder.invariant.group.p0", BYTES, at)
        return self.builder.bitcast(same, pointer.type)

    def prefetch(self, pointer: Any, *, writes: bool) -> None:
        """Have the cache line at a pointer fetched: into L1 to be written soon, else into L2."""
        near, data = (3, 1) if writes else (2, 1)
        flags = [ir.Constant(I32, flag) for flag in (int(writes), near, data)]
        at = self.builder.bitcast(pointer, BYTES)
        call(self.builder, "llvm.prefetch.p0", ir.VoidType(), at, *flags)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        """Write a vector at ``pointer[offset]``; any alignment."""
        self.builder.store(value, self._at(pointer, offset), align=self.element_bytes)

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """Return the columns of `lanes` x `lanes` elements, from its rows.

        First within parts of 16 bytes, as most CPUs have no instruction that interleaves single
        elements of whole vectors; then these parts are transposed.
        """
        size = min(16 // self.element_bytes, self.lanes)
        groups = [rows[i : i + size] for i in range(0, self.lanes, size)]
        parts = [self._interleaved(group, 1, size) for group in groups]
        columns = [self._interleaved(same, size, self.lanes) for same in zip(*parts, strict=True)]
        return [column for group in zip(*columns, strict=True) for column in group]

    def _interleaved(self, rows: Sequence[Any], unit: int, size: int) -> list[Any]:
        """Each `size` elements of size / unit rows, transposed by units of so many elements."""
        half = len(rows) // 2
        low = [
            lane // size * size + lane % size // unit // 2 * unit + lane % unit  # its unit, element
            + self.lanes * (lane // unit % 2)  # of the second row
            for lane in range(self.lanes)
        ]  # fmt: skip
        masks = [
            ir.Constant(ir.VectorType(I32, self.lanes), index)
            for index in (low, [size // 2 + lane for lane in low])
        ]
        # each round interleaves row i with row i + half: after log2(size / unit) rounds, transposed
        for _ in range(half.bit_length()):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
        return list(rows)

    def sums(self, rows: Sequence[Any]) -> Any:
        """Each row's sum, in the lane of its number; 0 where there is no row."""
        half, lanes = self.lanes // 2, range(self.lanes)
        rows = [*rows, *[self.zero] * (self.lanes - len(rows))]
        # each round leaves half as many vectors: first the rows' halves, then what lies in each
        # half every other time, come to stand beside each other and are added
        low = [lane % half + self.lanes * (lane // half) for lane in lanes]
        apart = half
        while len(rows) > 1:
            indices = [low, [lane + apart for lane in low]]
            masks = [ir.Constant(ir.VectorType(I32, self.lanes), index) for index in indices]
            middle = len(rows) // 2
            rows = [
                self.builder.fadd(*(self.builder.shuffle_vector(a, b, mask) for mask in masks))
                for a, b in zip(rows[:middle], rows[middle:], strict=True)
            ]
            low = [
                lane // half * half + lane % half // 2 + self.lanes * (lane % 2) for lane in lanes
            ]
            apart = half // 2
        return rows[0]

    def broadcast(self, pointer: Any, offset: Any) -> Any:
        """Return the element at ``pointer[offset]`` in every lane."""
        return self.splat(self.builder.load(self.builder.gep(pointer, [offset])))

    def splat(self, element: Any) -> Any:
        """An element in every lane."""
        one = self.builder.insert_element(self._undefined, element, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(one, self._undefined, self._splat)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once where the CPU can."""
        if not self._fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self._call("fma", self.type, [a, b, c])

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return 4 if isinstance(self.element, ir.FloatType) else 8


def counted_loop(
    builder: ir.IRBuilder,
    count: Any,
    carried: Sequence[Any],
    body: Callable[[Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Emit ``for _ in range(count): carried = body(carried)`` and return the last `carried`."""
    before = builder.block
    inside, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed(">", count, constant(0)), inside, after)
    builder.position_at_end(inside)
    counter = builder.phi(I64)
    phis = [builder.phi(value.type) for value in carried]
    new = list(body(phis))
    following = builder.add(counter, constant(1))
    end = builder.block
    for phi, first, last in zip(
        [counter, *phis], [constant(0), *carried], [following, *new], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
    builder.position_at_end(after)
    both = zip(carried, new, strict=True)
    return [merge(builder, [(first, before), (last, end)]) for first, last in both]


# -------------------------------------------------------------------------- views and addresses
@intrinsic
def address(typing: Any, of: Any, offset: Any) -> Any:
    """Return the address of ``of[offset]``, where `of` is an array or an address itself."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = data_pointer(context, builder, signature.args[0], arguments[0])
        return builder.gep(start, [arguments[1]])

    return types.CPointer(of.dtype)(of, types.int64), emit


@intrinsic
def address_at(typing: Any, numbers: Any, i: Any, like: Any) -> Any:
    """Return the address that is the number ``numbers[i]``, of elements like those of an array."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = data_pointer(context, builder, signature.args[0], arguments[0])
        number = builder.load(builder.gep(start, [arguments[1]]))
        return builder.inttoptr(number, context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(numbers, types.int64, like), emit


@intrinsic
def null(typing: Any, like: Any) -> Any:
    """Return the address 0, of elements like those of an array or at an address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return types.CPointer(like.dtype)(like), emit


@intrinsic
def is_not_null(typing: Any, address: Any) -> Any:
    """Return whether an address is not 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        none = ir.Constant(arguments[0].type, None)
        return builder.icmp_unsigned("!=", arguments[0], none)

    return types.boolean(address), emit


@intrinsic
def span(typing: Any, of: Any, start: Any, count: Any) -> Any:
    """``of[start:start + count]`` without bounds, negative indices or counting of references.

    `of` is an array or an address.

    A loop over ``range(count)`` that indexes it by the loop's variable becomes vector code, which
    one that indexes ``array[start + i]`` does not: numba would ask each time whether it is < 0.
    """
    kind = types.Array(of.dtype, 1, "C")

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = data_pointer(context, builder, signature.args[0], arguments[0])
        return _view(context, builder, kind, builder.gep(start, [arguments[1]]), arguments[2:])

    return kind(of, types.int64, types.int64), emit


@intrinsic
def rows_at(typing: Any, address: Any, count: Any, width: Any) -> Any:
    """Return the row-major matrix of so many rows at an address."""
    kind = types.Array(address.dtype, 2, "C")

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _view(context, builder, kind, arguments[0], arguments[1:])

    return kind(address, types.int64, types.int64), emit


def _view(context: Any, builder: Any, kind: Any, start: Any, shape: Sequence[Any]) -> Any:
    """A row-major array at an address, of which no references are counted."""
    item = constant(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [item]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    view = context.make_array(kind)(context, builder)
    context.populate_array(
        view, data=start, shape=shape, strides=strides, itemsize=item, meminfo=None
    )
    return view._getvalue()
