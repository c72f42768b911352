"""The only emitter of vector and atomic instructions: what numba has no words for, as LLVM IR.

`Vectors` writes the few vector operations that a micro-kernel needs, for one element type and one
width. The functions below it are the atomics of the team. Addresses are computed by
``getelementptr`` alone (integer arithmetic on pointers is miscompiled by LLVM 22), and vector
intrinsics are declared by hand (``declare_intrinsic`` refuses vector types).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .targets import cpu_features

I64 = ir.IntType(64)
I32 = ir.IntType(32)


def constant(value: int) -> ir.Constant:
    """An address-sized integer."""
    return ir.Constant(I64, value)


def data_pointer(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any) -> Any:
    """The address of an array's first element."""
    return context.make_array(array_type)(context, builder, array).data


class Vectors:
    """Emits operations on vectors of `lanes` elements of one type."""

    def __init__(self, builder: ir.IRBuilder, element: ir.Type, lanes: int, fma: bool) -> None:
        self.builder = builder
        self.element = element
        self.type = ir.VectorType(element, lanes)
        self.lanes = lanes
        self._fma = fma
        self.zero = ir.Constant(self.type, [ir.Constant(element, 0.0)] * lanes)
        self._index = ir.VectorType(I32, lanes)
        self._undefined = ir.Constant(self.type, ir.Undefined)
        self._splat = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)

    def _at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.type.as_pointer())

    def load(self, pointer: Any, offset: Any) -> Any:
        """The vector at ``pointer[offset]``; any alignment."""
        return self.builder.load(self._at(pointer, offset), align=self.element_bytes)

    def load_first(self, count: int, pointer: Any, offset: Any) -> Any:
        """The `count` elements at ``pointer[offset]`` as a vector's first lanes."""
        if count == self.lanes:
            return self.load(pointer, offset)
        part = ir.VectorType(self.element, count)
        at = self.builder.bitcast(self.builder.gep(pointer, [offset]), part.as_pointer())
        lanes = ir.Constant(self._index, [min(lane, count) for lane in range(self.lanes)])
        value = self.builder.load(at, align=self.element_bytes)
        return self.builder.shuffle_vector(value, ir.Constant(part, ir.Undefined), lanes)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        """Write a vector at ``pointer[offset]``; any alignment."""
        self.builder.store(value, self._at(pointer, offset), align=self.element_bytes)

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """The columns of `lanes` x `lanes` elements, from its rows."""
        half = self.lanes // 2
        index = [lane // 2 + self.lanes * (lane % 2) for lane in range(self.lanes)]
        low = ir.Constant(ir.VectorType(I32, self.lanes), index)
        high = ir.Constant(ir.VectorType(I32, self.lanes), [half + lane for lane in index])
        # each round interleaves row i with row i + half: after log2(lanes) rounds, the transpose
        for _ in range(half.bit_length()):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.builder.shuffle_vector(a, b, m) for a, b in pairs for m in (low, high)]
        return list(rows)

    def store_first(self, value: Any, count: int, pointer: Any, offset: Any) -> None:
        """Write the first `count` lanes of a vector at ``pointer[offset]``; any alignment."""
        if count == self.lanes:
            self.store(value, pointer, offset)
            return
        lanes = ir.Constant(ir.VectorType(I32, count), list(range(count)))
        part = self.builder.shuffle_vector(value, self._undefined, lanes)
        at = self.builder.bitcast(self.builder.gep(pointer, [offset]), part.type.as_pointer())
        self.builder.store(part, at, align=self.element_bytes)

    def broadcast(self, pointer: Any, offset: Any) -> Any:
        """The element at ``pointer[offset]`` in every lane."""
        element = self.builder.load(self.builder.gep(pointer, [offset]))
        one = self.builder.insert_element(self._undefined, element, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(one, self._undefined, self._splat)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once where the CPU can."""
        if not self._fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        letter = {4: "f32", 8: "f64"}[self.element_bytes]
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fma.v{self.lanes}{letter}",
        )
        return self.builder.call(function, [a, b, c])

    def add(self, a: Any, b: Any) -> Any:
        """a + b."""
        return self.builder.fadd(a, b)

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
    results = []
    for first, last in zip(carried, new, strict=True):
        phi = builder.phi(first.type)
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
        results.append(phi)
    return results


# ------------------------------------------------------------------------------------------ views
@intrinsic
def span(typing: Any, array: Any, start: Any, count: Any) -> Any:
    """``array[start:start + count]`` without bounds, negative indices or counting of references.

    A loop over ``range(count)`` that indexes it by the loop's variable becomes vector code, which
    one that indexes ``array[start + i]`` does not: numba would ask each time whether it is < 0.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        source = context.make_array(kind)(context, builder, arguments[0])
        view = context.make_array(kind)(context, builder)
        context.populate_array(
            view,
            data=builder.gep(source.data, [arguments[1]]),
            shape=[arguments[2]],
            strides=[source.itemsize],
            itemsize=source.itemsize,
            meminfo=None,
        )
        return view._getvalue()

    return array(array, types.int64, types.int64), emit


# ---------------------------------------------------------------------------------------- atomics
@intrinsic
def atomic_add(typing: Any, a: Any, i: Any, v: Any) -> Any:
    """``a[i] += v`` in one step that all ranks see in one order; returns the old value."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        return builder.atomic_rmw(
            "add", builder.gep(pointer, [arguments[1]]), arguments[2], "seq_cst"
        )

    return types.int64(a, types.int64, types.int64), emit


@intrinsic
def atomic_load(typing: Any, a: Any, i: Any) -> Any:
    """``a[i]`` with acquire order; never moved out of a waiting loop."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        return builder.load_atomic(builder.gep(pointer, [arguments[1]]), "acquire", 8)

    return types.int64(a, types.int64), emit


@intrinsic
def atomic_claim(typing: Any, a: Any, i: Any, v: Any) -> Any:
    """If ``a[i]`` is 0, set it to `v`; returns 1 if this call set it, else 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        pair = builder.cmpxchg(
            builder.gep(pointer, [arguments[1]]), constant(0), arguments[2], "seq_cst", "seq_cst"
        )
        return builder.zext(builder.extract_value(pair, 1), I64)

    return types.int64(a, types.int64, types.int64), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the CPU that this is a waiting loop, where it has an instruction for that."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "sse2" in cpu_features():
            hint = ir.FunctionType(ir.VoidType(), [])
            builder.call(
                cgutils.get_or_insert_function(builder.module, hint, "llvm.x86.sse2.pause"), []
            )
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def sched_yield(typing: Any) -> Any:
    """Give the core to another thread: without it, more ranks than cores wait whole time slices."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # Windows' C library has no sched_yield; its kernel32 has the same under another name.
        name = "SwitchToThread" if "windows" in builder.module.triple else "sched_yield"
        builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), name), []
        )
        return context.get_dummy_value()

    return types.void(), emit
