"""Formulas: branch-free functions of one element, emitted as LLVM IR for float32 or float64.

A formula is a Python function of `Value` objects; calling it writes the instructions. Its constants
take the type of what they meet, so one text serves both types, and it has no branches, so a loop
over it becomes vector code. `formula` makes it callable in a kernel, `strip` makes that loop.

No instruction may be contracted: LLVM could fuse a product and a sum in the vector body of a loop
and not in its scalar rest, and the bits of an element would depend on its place. Where fusing is
wanted a formula says `fma`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import targets

_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
# numba adds the caller's fast-math flags where an instruction has none. "afn" concerns calls of
# library functions alone: here it only keeps the others away.
_NO_CONTRACT = ("afn",)


class Each(NamedTuple):
    """A constant (or a polynomial's coefficients) that differs between the two types."""

    single: Any
    double: Any


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
        if isinstance(other, Each):
            other = other.single if self.ir.type.width == 32 else other.double
        return ir.Constant(self.ir.type, other)

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
        """The float with these bits."""
        of = _FLOAT if self.ir.type.width == 32 else _DOUBLE
        return Value(self._builder, self._builder.bitcast(self.ir, of))


class Value:
    """A float32 or float64 in a formula."""

    def __init__(self, builder: ir.IRBuilder, ir_value: Any) -> None:
        self.builder = builder
        self.ir = ir_value

    def of(self, other: Any) -> Value:
        """`other`, a number or a value, as a value of this type."""
        if isinstance(other, Value):
            return other
        if isinstance(other, Each):
            other = other.single if self.ir.type == _FLOAT else other.double
        return Value(self.builder, ir.Constant(self.ir.type, float(other)))

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
        """The bits as an integer."""
        of = ir.IntType(32 if self.ir.type == _FLOAT else 64)
        return Bits(self.builder, self.builder.bitcast(self.ir, of))


_SIGN = Each(1 << 31, 1 << 63)
_ALL_BUT_SIGN = Each((1 << 31) - 1, (1 << 63) - 1)


def where(condition: Any, a: Any, b: Any) -> Value:
    """The one or the other; both are computed."""
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
    return Value(value.builder, value.builder.fma(x.ir, y.ir, z.ir))


def polynomial(x: Value, coefficients: Each) -> Value:
    """c_0 + x (c_1 + x (c_2 + …))."""
    first, *rest = reversed(coefficients.single if x.ir.type == _FLOAT else coefficients.double)
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
    """The formula as a function for kernels: all its arguments take the first one's type."""

    def typed(typing: Any, *kinds: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return function(*(Value(builder, argument) for argument in arguments)).ir

        return kinds[0](*[kinds[0]] * len(kinds)), emit

    return _intrinsic(typed, inspect.signature(function).parameters)


# ----------------------------------------------------------------------------------------- strips
def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [start])


def strip(function: Callable[..., Value], vectors: int) -> Callable[..., Any]:
    """A function for kernels that applies a formula to each element of a strip.

    Its parameters are ``(count, out, out0, x, x0, …, p, …)``: out[out0 + e] = f(x[x0 + e], …, p, …)
    for e < count, where the formula's first `vectors` arguments come from vectors and the others
    stay the same. A vector may be `out`, at the same place; otherwise `out` overlaps none.

    The loop is written here because numba would take far longer to compile one for each formula.
    """
    names = list(inspect.signature(function).parameters)
    places = [name for x in ["out", *names[:vectors]] for name in (x, f"{x}_0")]
    others = names[vectors:]

    def typed(typing: Any, count: Any, out: Any, *kinds: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, *rest = arguments
            to, *sources = (
                _address(context, builder, out, *rest[i : i + 2]) for i in range(0, len(places), 2)
            )
            fixed = [Value(builder, p) for p in rest[len(places) :]]
            with cgutils.for_range(builder, count) as loop:
                x = [Value(builder, builder.load(builder.gep(at, [loop.index]))) for at in sources]
                builder.store(function(*x, *fixed).ir, builder.gep(to, [loop.index]))
            return context.get_dummy_value()

        at = [out, types.int64] * (vectors + 1)
        return types.void(types.int64, *at, *[out.dtype] * len(others)), emit

    return _intrinsic(typed, ["count", *places, *others])


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
