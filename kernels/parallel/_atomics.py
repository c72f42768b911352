"""What a team of ranks is made of: atomic operations, and how a thread waits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastdnn.kernels.cpu.targets import cpu_features
from fastdnn.kernels.llvm.simd import I32, I64, call, constant, data_pointer


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
def atomic_replace(typing: Any, a: Any, i: Any, old: Any, new: Any) -> Any:
    """If ``a[i]`` is `old`, set it to `new`; returns 1 if this call set it, else 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, old, new = arguments
        pointer = data_pointer(context, builder, signature.args[0], array)
        pair = builder.cmpxchg(builder.gep(pointer, [at]), old, new, "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), I64)

    return types.int64(a, types.int64, types.int64, types.int64), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the CPU that this is a waiting loop, where it has an instruction for that."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "sse2" in cpu_features():
            call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def sched_yield(typing: Any) -> Any:
    """Give the core to another thread: without it, more ranks than cores wait whole time slices."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # Windows' C library has no sched_yield; its kernel32 has the same under another name.
        name = "SwitchToThread" if "windows" in builder.module.triple else "sched_yield"
        call(builder, name, I32)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def current_cpu(typing: Any) -> Any:
    """Return the number of the CPU that the caller runs on; 0 where the system does not say."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "linux" not in builder.module.triple:
            return constant(0)
        return builder.sext(call(builder, "sched_getcpu", I32), I64)

    return types.int64(), emit
