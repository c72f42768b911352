"""The machine's limits: the peak of fused multiply-adds, and how fast memory is copied.

Nothing of fastdnn is used, so that they are the same for every commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

SUMS = 12  # independent, so that none waits for its own last result
UNROLL = 4
ROUNDS = 400_000
COPIED = 2**27  # bytes, more than a cache holds
ELEMENTS = {types.float32: (ir.FloatType(), "f32", 4), types.float64: (ir.DoubleType(), "f64", 8)}


def lanes(width: int) -> int:
    """Elements of so many bytes in the widest vector of the CPU."""
    has = llvm.get_host_cpu_features().get
    return (64 if has("avx512f") else 32 if has("avx2") else 16) // width


@intrinsic  # type: ignore[untyped-decorator]
def _multiply_adds(typing: Any, rounds: Any, start: Any) -> Any:
    element, suffix, width = ELEMENTS[start]
    vector = ir.VectorType(element, lanes(width))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"llvm.fma.v{vector.count}{suffix}"
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, name)
        x = ir.Constant(vector, ir.Undefined)
        for i in range(vector.count):
            x = builder.insert_element(x, arguments[1], ir.Constant(ir.IntType(32), i))
        places = [cgutils.alloca_once_value(builder, x) for _ in range(SUMS)]
        with cgutils.for_range(builder, arguments[0]):
            for _ in range(UNROLL):
                for place in places:
                    builder.store(builder.call(fma, [x, x, builder.load(place)]), place)
        total = x
        for place in places:  # or nothing would be computed
            total = builder.fadd(total, builder.load(place))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return start(types.int64, start), emit


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _run_multiply_adds(rounds: int, start: Any) -> Any:
    return _multiply_adds(rounds, start)


def best(run: Callable[[], Any], seconds: float = 0.4) -> float:
    """Seconds of the fastest of as many runs as fit, at least three, after one that warms up."""
    run()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def side_by_side(runs: Sequence[Callable[[], Any]], seconds: float = 0.4) -> float:
    """`best` of these together, each on a thread of its own; they must release the GIL."""
    if len(runs) == 1:
        return best(runs[0], seconds)
    with ThreadPoolExecutor(len(runs)) as pool:
        return best(lambda: [f.result() for f in [pool.submit(run) for run in runs]], seconds)


def fma_peak(dtype: Any, threads: int) -> float:
    """Flops per second of nothing but fused multiply-adds, on so many threads at once."""
    start = np.dtype(dtype).type(0.5)
    seconds = side_by_side([partial(_run_multiply_adds, ROUNDS, start)] * threads)
    return threads * ROUNDS * UNROLL * SUMS * lanes(start.itemsize) * 2 / seconds


def bandwidth(threads: int = 1) -> float:
    """Bytes per second that a copy reads and writes, on so many threads at once."""
    x = np.zeros(COPIED // 4, np.float32)
    y = np.empty_like(x)
    parts = zip(np.array_split(y, threads), np.array_split(x, threads), strict=True)
    return 2 * x.nbytes / side_by_side([partial(np.copyto, *part) for part in parts])
