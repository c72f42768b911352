"""Numbers too small for the format's exponent count as 0 while a step runs.

Each operation that meets one takes some hundred cycles on Intel's CPUs, and Adam meets more and
more of them: where a gradient stays 0 (a dead unit, a pixel that is black in every sample), m
shrinks by b1 in each step until it is denormal, and rounding keeps it from ever becoming 0.

x86 has two bits for it in each thread's MXCSR; elsewhere nothing is done. What it saves:
docs/measurements/2026-11-25-denormals.md.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastdnn.kernels.cpu.targets import cpu_features

from .simd import BYTES, I32, call

FLUSH = 0x8040  # results that are denormal, and operands, are 0


def _exchange(builder: ir.IRBuilder, instruction: str, place: Any) -> None:
    """Store the thread's mode at `place`, or load it from there."""
    call(builder, f"llvm.x86.sse.{instruction}", ir.VoidType(), builder.bitcast(place, BYTES))


@intrinsic
def flush_denormals(typing: Any) -> Any:
    """From now on denormals are 0 in this thread; returns the mode for `restore`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "sse2" not in cpu_features():
            return ir.Constant(I32, 0)
        place = cgutils.alloca_once(builder, I32)
        _exchange(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(I32, FLUSH)), place)
        _exchange(builder, "ldmxcsr", place)
        return before

    return types.int32(), emit


@intrinsic
def restore(typing: Any, mode: Any) -> Any:
    """Let the thread treat denormals as before."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "sse2" in cpu_features():
            place = cgutils.alloca_once(builder, I32)
            builder.store(arguments[0], place)
            _exchange(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int32), emit
