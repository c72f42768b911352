"""Formulas: branch-free functions of one element, emitted as LLVM IR for float32 or float64.

A formula is a Python function of `Value` objects; calling it writes the instructions. Its constants
take the type of what they meet, so one text serves both types, and elements as well as vectors of
them. `formula` makes it callable in a kernel, `strip` makes a loop over it, by whole vectors and a
masked one in the end.

No instruction may be contracted: LLVM could fuse a product and a sum in one place and not in
another, and the bits of an element would depend on its place. Where fusing is wanted a formula says
`fma`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastdnn.kernels.cpu import targets

from .simd import Vectors, call, constant, counted_loop, data_pointer, element_of

_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
# numba adds the caller's fast-math flags where an instruction has none. "afn" concerns calls of
# library functions alone: here it only keeps the others away.
_NO_CONTRACT = ("afn",)


class PerDtype(NamedTuple):
    """A constant (or a polynomial's coefficients) that differs between the two types."""

    single: Any
    double: Any


def _element(kind: ir.Type) -> ir.Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of `element`, or of as many of them as `kind` has."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _constant(kind: ir.Type, number: Any) -> ir.Constant:
    """A number as an element, or in every lane."""
    one = ir.Constant(_element(kind), number)
    return ir.Constant(kind, [one] * kind.count) if isinstance(kind, ir.VectorType) else one


class Bits:
    """An integer as wide as the float that it was or will be."""

    def __init__(self, builder: ir.IRBuilder, ir_value: Any) -> None:
        self._builder = builder
        self.ir = ir_value

    def _new(self, ir_value: Any) -> Bits:
        return Bits(self._builder, ir_value)

    def _of(self, other: Any) -> Any:
        if isinstance(other, Bits):
            return other.ir
        if isinstance(other, PerDtype):
            other = other.single if _element(self.ir.type).width == 32 else other.double
        return _constant(self.ir.type, other)

    def __add__(self, other: Any) -> Bits:
        return self._new(self._builder.add(self.ir, self._of(other)))

    def __sub__(self, other: Any) -> Bits:
        return self._new(self._builder.sub(self.ir, self._of(other)))

    def __rsub__(self, other: Any) -> Bits:
        return self._new(self._builder.sub(self._of(other), self.ir))

    def __and__(self, other: Any) -> Bits:
        return self._new(self._builder.and_(self.ir, self._of(other)))

    def __or__(self, other: Any) -> Bits:
        return self._new(self._builder.or_(self.ir, self._of(other)))

    def __lshift__(self, other: Any) -> Bits:
        return self._new(self._builder.shl(self.ir, self._of(other)))

    def __rshift__(self, other: Any) -> Bits:
        return self._new(self._builder.lshr(self.ir, self._of(other)))

    @property
    def value(self) -> Value:
        """Return the float with these bits."""
        of = _FLOAT if _element(self.ir.type).width == 32 else _DOUBLE
        return Value(self._builder, self._builder.bitcast(self.ir, _like(self.ir.type, of)))


class Value:
    """A float32 or float64 in a formula, or a vector of them."""

    def __init__(self, builder: ir.IRBuilder, ir_value: Any) -> None:
        self.builder = builder
        self.ir = ir_value

    def of(self, other: Any) -> Value:
        """`other`, a number or a value, as a value of this type."""
        if isinstance(other, Value):
            return other
        if isinstance(other, PerDtype):
            other = other.single if self.is_single else other.double
        return Value(self.builder, _constant(self.ir.type, float(other)))

    @property
    def is_single(self) -> bool:
        """Return whether it is float32."""
        return bool(_element(self.ir.type) == _FLOAT)

    def _apply(self, name: str, a: Any, b: Any) -> Value:
        emit = getattr(self.builder, name)
        return Value(self.builder, emit(self.of(a).ir, self.of(b).ir, flags=_NO_CONTRACT))

    def _compare(self, sign: str, other: Any) -> Any:
        return self.builder.fcmp_ordered(sign, self.ir, self.of(other).ir, flags=_NO_CONTRACT)

    def __add__(self, other: Any) -> Value:
        return self._apply("fadd", self, other)

    def __radd__(self, other: Any) -> Value:
        return self._apply("fadd", other, self)

    def __sub__(self, other: Any) -> Value:
        return self._apply("fsub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self._apply("fsub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self._apply("fmul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self._apply("fmul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self._apply("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._apply("fdiv", other, self)

    def __lt__(self, other: Any) -> Any:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Any:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Any:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Any:
        return self._compare(">=", other)

    def __neg__(self) -> Value:
        return (self.bits + _SIGN).value

    def __abs__(self) -> Value:
        return (self.bits & _ALL_BUT_SIGN).value

    @property
    def bits(self) -> Bits:
        """Return the bits as an integer."""
        of = ir.IntType(32 if self.is_single else 64)
        return Bits(self.builder, self.builder.bitcast(self.ir, _like(self.ir.type, of)))


_SIGN = PerDtype(1 << 31, 1 << 63)
_ALL_BUT_SIGN = PerDtype((1 << 31) - 1, (1 << 63) - 1)


def where(condition: Any, a: Any, b: Any) -> Value:
    """Return the one or the other; both are computed."""
    value = a if isinstance(a, Value) else b
    a, b = value.of(a), value.of(b)
    return Value(value.builder, value.builder.select(condition, a.ir, b.ir))


def at_least(x: Value, bound: Any) -> Value:
    """max(x, bound), and NaN where x is NaN."""
    return where(x < bound, bound, x)


def at_most(x: Value, bound: Any) -> Value:
    """min(x, bound), and NaN where x is NaN."""
    return where(x > bound, bound, x)


def copysign(x: Value, sign: Value) -> Value:
    """|x| with the sign of `sign`."""
    return ((x.bits & _ALL_BUT_SIGN) | (sign.bits & _SIGN)).value


def fma(a: Any, b: Any, c: Any) -> Value:
    """a b + c, rounded once where the CPU can; elsewhere it would be a call for each element."""
    value: Value = next(x for x in (a, b, c) if isinstance(x, Value))
    x, y, z = value.of(a), value.of(b), value.of(c)
    if not targets.host().fma:
        return x * y + z
    return _function("fma", x, y, z)


def sqrt(x: Value) -> Value:
    """Return the square root, rounded once."""
    return _function("sqrt", x)


def estimated_reciprocal(x: Value) -> Value | None:
    """1 / x to 11 bits by an instruction of the CPU, if it has one for such vectors."""
    estimate = targets.host().reciprocal
    if estimate is None or not x.is_single or x.ir.type != ir.VectorType(_FLOAT, estimate.lanes):
        return None
    zero, mask = x.of(0.0).ir, ir.Constant(ir.IntType(estimate.lanes), -1)
    more = (zero, mask) if estimate.masked else ()
    return Value(x.builder, call(x.builder, estimate.name, x.ir.type, x.ir, *more))


def _function(name: str, *arguments: Value) -> Value:
    """A function that LLVM has for elements and vectors."""
    builder, kind = arguments[0].builder, arguments[0].ir.type
    lanes = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    name = f"llvm.{name}.{lanes}{'f32' if arguments[0].is_single else 'f64'}"
    return Value(builder, call(builder, name, kind, *(argument.ir for argument in arguments)))


def polynomial(x: Value, coefficients: PerDtype) -> Value:
    """c_0 + x (c_1 + x (c_2 + …))."""
    first, *rest = reversed(coefficients.single if x.is_single else coefficients.double)
    result = x.of(first)
    for c in rest:
        result = fma(result, x, c)
    return result


def _intrinsic(emitter: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    # numba asks for the arguments' names, which follow from the formula
    every = ["typing", *names]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in every]
    emitter.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(emitter)  # type: ignore[no-any-return]


def formula(function: Callable[..., Value]) -> Callable[..., Any]:
    """Return the formula as a function for kernels: all its arguments take the first one's type."""

    def typed(typing: Any, *kinds: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return function(*(Value(builder, argument) for argument in arguments)).ir

        return kinds[0](*[kinds[0]] * len(kinds)), emit

    return _intrinsic(typed, inspect.signature(function).parameters)


# ----------------------------------------------------------------------------------------- strips
def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    return builder.gep(data_pointer(context, builder, kind, array), [start])


def _by_vectors(
    vec: Vectors, count: Any, sources: Sequence[Any], to: Sequence[Any], results: Callable[..., Any]
) -> None:
    """Emit to[e] = results(sources[e]), e < count: whole vectors, and a masked one in the end."""
    builder, lanes = vec.builder, constant(vec.lanes)

    def whole(state: Any) -> list[Any]:
        for value, at in zip(results([vec.load(x, state[0]) for x in sources]), to, strict=True):
            vec.store(value, at, state[0])
        return [builder.add(state[0], lanes)]

    done = counted_loop(builder, builder.sdiv(count, lanes), [constant(0)], whole)[0]
    left = builder.sub(count, done)
    with builder.if_then(builder.icmp_signed(">", left, constant(0))):
        mask = vec.mask(left)
        values = results([vec.load_masked(mask, x, done) for x in sources])
        vec.store_first(left, values, [builder.gep(at, [done]) for at in to])


def _vectors_of(builder: ir.IRBuilder, real: Any) -> Vectors:
    t = targets.tile(np.dtype(str(real)))
    # no masked stores: what is read just behind one, as the next row is, waits for it
    return Vectors(builder, element_of(real), t.lanes, t.fma, masks=False)


def strip(function: Callable[..., Value], vectors: int) -> Callable[..., Any]:
    """A function for kernels that applies a formula to each element of a strip.

    Its parameters are ``(count, out, out0, x, x0, …, p, …)``: out[out0 + e] = f(x[x0 + e], …, p, …)
    for e < count, where the formula's first `vectors` arguments come from vectors and the others
    stay the same. A vector may be `out`, at the same place; otherwise `out` overlaps none.
    """
    names = list(inspect.signature(function).parameters)
    places = [name for x in ["out", *names[:vectors]] for name in (x, f"{x}_0")]
    others = names[vectors:]

    def typed(typing: Any, count: Any, out: Any, *kinds: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, *rest = arguments
            vec = _vectors_of(builder, out.dtype)
            to, *sources = (
                _address(context, builder, out, *rest[i : i + 2]) for i in range(0, len(places), 2)
            )
            fixed = [Value(builder, vec.splat(p)) for p in rest[len(places) :]]

            def results(values: Iterable[Any]) -> list[Any]:
                return [function(*(Value(builder, x) for x in values), *fixed).ir]

            _by_vectors(vec, count, sources, [to], results)
            return context.get_dummy_value()

        at = [out, types.int64] * (vectors + 1)
        return types.void(types.int64, *at, *[out.dtype] * len(others)), emit

    return _intrinsic(typed, ["count", *places, *others])


def rows_strip(function: Callable[..., tuple[Value, ...]], changed: int) -> Callable[..., Any]:
    """A function for kernels that changes rows of vectors by a formula, element by element.

    ``(x, …) = f(x, …, y, …, w, c)``: the formula gives new elements of the first `changed` vectors
    from elements of these and others; w is a number of the row, and c a tuple. The function's
    parameters are ``(lines, n, x, x_apart, …, y, y_apart, …, w, ws, ws_apart, c)``: addresses, and
    how far a row lies from the one before. Where the address `ws` is 0, w is that of all rows.
    """
    *strips, w, c = inspect.signature(function).parameters
    places = [name for x in strips for name in (x, f"{x}_apart")]

    def typed(typing: Any, lines: Any, n: Any, first: Any, *kinds: Any) -> Any:
        real, i = first.dtype, types.int64

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lines, n, *rest, w, ws, ws_apart, c = arguments
            vec = _vectors_of(builder, real)
            fixed = tuple(Value(builder, vec.splat(x)) for x in cgutils.unpack_tuple(builder, c))
            there = builder.icmp_unsigned("!=", ws, ir.Constant(ws.type, None))
            ws = builder.select(there, ws, cgutils.alloca_once_value(builder, w))
            aparts = [*rest[1::2], builder.select(there, ws_apart, constant(0))]

            def row(state: Any) -> list[Any]:
                *at, of_row = state
                w = Value(builder, vec.broadcast(of_row, constant(0)))

                def results(values: Iterable[Any]) -> list[Any]:
                    found = function(*(Value(builder, x) for x in values), w, fixed)
                    return [value.ir for value in found]

                _by_vectors(vec, n, at, at[:changed], results)
                return [builder.gep(x, [a]) for x, a in zip(state, aparts, strict=True)]

            counted_loop(builder, lines, [*rest[::2], ws], row)
            return context.get_dummy_value()

        of_places = [first, i] * len(strips)
        of_c = types.UniTuple(real, len(kinds[-1]))
        return types.void(i, i, *of_places, real, first, i, of_c), emit

    return _intrinsic(typed, ["lines", "n", *places, w, f"{w}s", f"{w}s_apart", c])


@intrinsic
def copy_strip(typing: Any, count: Any, out: Any, out0: Any, x: Any, x0: Any) -> Any:
    """out[out0 + e] = x[x0 + e] for e < count; nothing where they are the same place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count, *rest = arguments
        to, source = (_address(context, builder, out, *rest[i : i + 2]) for i in (0, 2))
        with builder.if_then(builder.icmp_unsigned("!=", to, source)):
            cgutils.raw_memcpy(builder, to, source, count, out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(types.int64, out, types.int64, out, types.int64), emit
