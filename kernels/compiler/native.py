"""A user's scalar functions as native code, which the compiled step calls by its address.

The step stays the one program that it is: a code that is no place in a table is the address of a
`Pair`'s two addresses. Around each of the user's functions numba compiles a loop over a strip, so
the cost of a call is shared by a strip's elements. The functions compute in float64, whatever the
network's dtype: a constant in Python would make float64 of a float32 anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import boolean, float32, float64, int64, types
from numba.core.errors import NumbaError
from numba.extending import intrinsic
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import address_of
from fastdnn.kernels.llvm.simd import I64, address, data_pointer, span

from .jit import caller, compile_plain, inline_kernel, leaf, pointer

Scalar = Callable[..., float]
FIRST, SECOND = range(2)
# single, count, out, x, y, share
_STRIP = (boolean, int64, pointer(float64), pointer(float64), pointer(float64), float64)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Pair:
    """Two strips around scalar functions, compiled.

    Parameters
    ----------
    first, second : callable
        ``element(x, y, share)`` of three numbers: out[e] = element(x[e], y[e], share).

    Attributes
    ----------
    code : int
        What the compiled step knows the pair by: greater than any place in a table.
    """

    def __init__(self, first: Scalar, second: Scalar) -> None:
        strips = [compile_plain(_strip_of(element), _STRIP)[1] for element in (first, second)]
        self._owners = strips  # of the code at the addresses
        self._addresses = np.array(
            [s.library.get_pointer_to_function(s.fndesc.llvm_func_name) for s in strips], np.int64
        )
        self.code = address_of(self._addresses)


def scalar_function(name: str, function: Any, arguments: int, instead: str = "") -> Scalar:
    """Compile a user's function of so many numbers, for `Pair` to call.

    Parameters
    ----------
    name : str
        The argument that it is: the error's first word.
    function : callable
        A Python function, one that numba has compiled, or one of a module such as math.
    arguments : {1, 2}
    instead : str
        What else to do, for the error.

    Raises
    ------
    TypeError
        If it is no function, numba cannot compile it, or it returns no real number.
    """
    numbers = {1: "one number", 2: "two numbers"}[arguments]
    if not callable(function):
        raise TypeError(f"{name}: want a function of {numbers}, got {function!r}")
    called = f"{getattr(function, '__name__', repr(function))!r}"
    hint = f"want a function of {numbers}, written with Python's math module{instead}"
    function = getattr(function, "py_func", function)
    if not isinstance(function, FunctionType):
        function = _in_python(function, arguments)
    try:
        dispatcher, result = compile_plain(function, (float64,) * arguments)
    except (NumbaError, TypeError, AttributeError, NotImplementedError) as error:
        why = reason(error)
        raise TypeError(f"{name}: numba cannot compile {called} ({why}); {hint}") from None
    returned = result.signature.return_type
    if not isinstance(returned, types.Integer | types.Float | types.Boolean):
        raise TypeError(f"{name}: {called} returns {returned}, and not a real number; {hint}")
    return dispatcher  # type: ignore[no-any-return]


def _in_python(function: Scalar, arguments: int) -> Scalar:
    """A Python function that calls a built-in one: numba compiles no others."""
    if arguments == 1:
        return lambda x: function(x)
    return lambda x, y: function(x, y)


def reason(error: Exception) -> str:
    """Return numba's reason in one line."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines()]
    said = [line for line in lines if line and not line.startswith("Failed in nopython mode")]
    return said[0] if said else type(error).__name__


@intrinsic
def _singles(typing: Any, doubles: Any) -> Any:
    """Return the same address, of float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return pointer(float32)(doubles), emit


def _strip_of(element: Scalar) -> Callable[..., None]:
    term = inline_kernel(element)

    def strip(single, count, out, x, y, share):
        if single:
            to, u = span(_singles(out), 0, count), span(_singles(x), 0, count)
            v = span(_singles(y), 0, count)
            for e in range(count):
                to[e] = term(np.float64(u[e]), np.float64(v[e]), share)
        else:
            target, a, b = span(out, 0, count), span(x, 0, count), span(y, 0, count)
            for e in range(count):
                target[e] = term(a[e], b[e], share)

    return strip


@intrinsic
def _call(
    typing: Any, code: Any, which: Any, count: Any, out: Any, x: Any, y: Any, share: Any
) -> Any:
    """Call a strip of the `Pair` with this code; whether it has raised no exception."""
    of_floats = [out, x, y]

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, which, count, *places, share = arguments
        strips = builder.inttoptr(code, I64.as_pointer())
        convention = context.call_conv
        function = builder.inttoptr(
            builder.load(builder.gep(strips, [which])),
            convention.get_function_type(types.none, _STRIP).as_pointer(),
        )
        doubles = context.get_value_type(pointer(float64))
        given = [
            builder.bitcast(data_pointer(context, builder, kind, place), doubles)
            for kind, place in zip(of_floats, places, strict=True)
        ]
        single = context.get_constant(boolean, out.dtype == float32)
        status, _ = convention.call_function(
            builder, function, types.none, _STRIP, [single, count, *given, share]
        )
        return builder.trunc(builder.zext(status.is_ok, ir.IntType(8)), ir.IntType(1))

    return boolean(int64, int64, int64, out, x, y, float64), emit


@leaf(
    lambda t: (
        *(int64, int64, int64, pointer(t), int64, pointer(t), int64, pointer(t), int64, float64),
    )
)
def call_strip(code, which, count, out, out0, x, x0, y, y0, share):
    """out[out0 + e] = element(x[x0 + e], y[y0 + e], share); NaN if the function raises."""
    to = address(out, out0)
    if not _call(code, which, count, to, address(x, x0), address(y, y0), share):
        filled = span(to, 0, count)
        for e in range(count):
            filled[e] = np.nan


CALL_BYTES = 16  # of what `call_at` reads: an address and an argument
_kept: dict[Hashable, NDArray[np.int64]] = {}


def kept_calls(key: Hashable, calls: Callable[[], Sequence[tuple[int, int]]]) -> int:
    """Return where addresses and arguments lie behind each other, for `call_at`; once for a key."""
    if key not in _kept:
        # of two threads the first one's stays: its address may be in use
        _kept.setdefault(key, np.array(calls(), np.int64))
    return address_of(_kept[key])


def call_at(
    like: Callable[..., None], signature: Callable[[Any], tuple[Any, ...]]
) -> Callable[..., None]:
    """Make a kernel whose first argument says where two numbers lie: an address, and an argument.

    It calls the function at that address, of this signature, with the second number in the place of
    its first argument.
    """

    def function_of(builder: Any, kind: Any, of: Any, arguments: Any) -> Any:
        code, *others = arguments
        place = builder.inttoptr(code, I64.as_pointer())
        function = builder.inttoptr(builder.load(place), of.as_pointer())
        return function, [builder.load(builder.gep(place, [ir.Constant(I64, 1)])), *others]

    return caller(like, signature, function_of)
