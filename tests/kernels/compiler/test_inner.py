"""Kernels that only other compiled functions call: the right results, and no code of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import float64, int64
from numba.core.codegen import JITCPUCodegen
from numba.types import UniTuple

from fastdnn.kernels.compiler import jit
from fastdnn.kernels.compiler.jit import inline_kernel, kernel, sum_kernel, vector
from tests.kernels.common import Array, compiled, draw, each_dtype, run_python


# two levels, several results, a recursion of types, a default and a case for each literal
@kernel
def _twice(x):  # type: ignore[no-untyped-def]
    return 2 * x


@inline_kernel
def _plus(x, y):  # type: ignore[no-untyped-def]
    return x + y


@kernel
def _both(x, i, by=3):  # type: ignore[no-untyped-def]
    return _twice(x[i]), _plus(_twice(i), by)


@sum_kernel
def _total(x):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(x.size):
        total += x[i]
    return total


@kernel
def _set_all(x, value):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        x[i] = value


@compiled(lambda t: (vector(t), vector(t), vector(int64)))
def _calls(rank, n_ranks, team, x, out, numbers):  # type: ignore[no-untyped-def]
    _set_all(out, x[0])
    _set_all(numbers, 7)
    out[1], numbers[1] = _both(x, 2)
    out[2], numbers[2] = _both(x, 3, 5)
    out[3] = _total(x)
    out[4] = _twice(1.25)


def called(dtype: Any) -> tuple[Array, Array, Array]:
    x, out, numbers = draw(1, 40, dtype=dtype), np.zeros(6, dtype), np.zeros(4, np.int64)
    _calls(dtype, 1, x, out, numbers)
    return x, out, numbers


@each_dtype
def test_kernels_that_call_each_other(dtype: Any) -> None:
    x, out, numbers = called(dtype)
    np.testing.assert_array_equal(out[[0, 5]], x[[0, 0]])
    np.testing.assert_array_equal(out[[1, 2]], 2 * x[[2, 3]])
    np.testing.assert_allclose(out[3], x.sum(dtype=np.float64), rtol=1e-5)
    assert out[4] == 2.5
    np.testing.assert_array_equal(numbers, [7, 2 * 2 + 3, 2 * 3 + 5, 7])


@kernel
def _by_two_ways(x, i):  # type: ignore[no-untyped-def]
    return _both(x, i)[0] + _twice(x[i])


def test_a_caller_is_linked_with_each_callee_once() -> None:
    _by_two_ways.compile((vector(float64), int64))
    (result,) = _by_two_ways.overloads.values()
    linked = result.library.with_callees()
    assert linked[0] is result.library
    # of a float and of an integer
    assert sorted(one.name for one in linked) == ["_both", "_by_two_ways", "_twice", "_twice"]
    assert len(set(map(id, linked))) == 4


def read_or_compiled(dtype: Any) -> Array:
    """The same by numba's result alone: nothing else is compiled."""
    kind = jit.FLOATS[np.dtype(dtype)]
    parameters = (*[int64] * 3, vector(kind), vector(kind), vector(int64))
    result = jit.compile_cached(_calls.function, parameters)
    x, out, numbers = draw(1, 40, dtype=dtype), np.zeros(6, dtype), np.zeros(4, np.int64)
    result.entry_point(0, 1, 0, x, out, numbers)
    np.testing.assert_array_equal(out, called(np.dtype(dtype))[1])
    return out


PROGRAM = """
import numba.core.compiler
def refuse(*arguments, **options): raise AssertionError("compiled")
if {refuse}: numba.core.compiler.compile_extra = refuse
from fastdnn.kernels.compiler import jit
jit.LEAVES.clear()  # of which nothing is called here
import numpy as np
from tests.kernels.compiler.test_inner import read_or_compiled
for dtype in (np.float32, np.float64): print(read_or_compiled(dtype).tolist())
"""


def test_they_work_from_the_disk_in_a_new_process(tmp_path: Path) -> None:
    variables = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first = run_python(PROGRAM.format(refuse=False), variables)
    files = sorted(path.name for path in (tmp_path / "fastdnn").iterdir())
    assert run_python(PROGRAM.format(refuse=True), variables) == first
    assert sorted(path.name for path in (tmp_path / "fastdnn").iterdir()) == files
    # the kernels have no files of their own
    kernels = tuple(f"test_inner.{name}-" for name in ("_twice", "_both", "_total", "_set_all"))
    assert files
    assert not [name for name in files if name.startswith(kernels)]


# with so many values that what starts the ranks does not have the call of the kernel inlined
@compiled(lambda t: (UniTuple(float64, 40), vector(t)))
def _by_last(rank, n_ranks, team, by, x):  # type: ignore[no-untyped-def]
    for i in range(rank, x.size, n_ranks):  # all of them where the ranks did not meet in time
        x[i] *= by[-1]


@compiled(lambda t: (vector(t), UniTuple(float64, 40)))
def _by_first(rank, n_ranks, team, x, by):  # type: ignore[no-untyped-def]
    for i in range(rank, x.size, n_ranks):
        x[i] *= by[0]


def multiplied(*by: str) -> list[Array]:
    """Three by two, on two ranks; all that runs is read from the cache, or compiled, before."""
    entries = [{"first": _by_first, "last": _by_last}[name] for name in by]
    for one in entries:
        one.starter(np.dtype(np.float64))
    results = []
    for one in entries:
        x = np.full(2, 3.0)
        if one is _by_first:
            one(x.dtype, 2, x, (2.0,) + (1.0,) * 39)
        else:
            one(x.dtype, 2, (1.0,) * 39 + (2.0,), x)
        results.append(x)
    return results


MULTIPLY = """
from fastdnn.kernels.compiler import jit
jit.LEAVES.clear()  # of which nothing is called here
from tests.kernels.compiler.test_inner import multiplied
print(*multiplied({by}))
"""


@pytest.mark.nightly
def test_what_two_processes_have_compiled_works_in_a_third(tmp_path: Path) -> None:
    # the ranks of both are started by a closure of one name and signature
    variables = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    for by in ("'first'", "'last'"):
        assert run_python(MULTIPLY.format(by=by), variables) == "[6. 6.]\n"
    for by in ("'first', 'last'", "'last', 'first'"):
        assert run_python(MULTIPLY.format(by=by), variables) == "[6. 6.] [6. 6.]\n"


def _caller(inner: Callable[[float], float]) -> Callable[[Array], None]:
    def outer(x: Array) -> None:
        for i in range(x.size):
            x[i] = inner(x[i])

    return outer


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What becomes machine code from now on."""
    names: list[str] = []
    add_module = JITCPUCodegen._add_module

    def counted(self: Any, module: Any) -> None:
        names.append(module.name)
        add_module(self, module)

    monkeypatch.setattr(JITCPUCodegen, "_add_module", counted)
    return names


def compile_anew(function: Callable[[Array], None], modules: list[str]) -> tuple[Any, list[str]]:
    """A caller's compile result, and the modules that compiling it has added."""
    modules.clear()
    dispatcher = numba.njit(**jit._OPTIONS)(function)
    dispatcher.compile((vector(float64),))
    (result,) = dispatcher.overloads.values()
    return result, list(modules)


def test_a_kernel_has_no_machine_code_of_its_own(modules: list[str]) -> None:
    def thrice(x: float) -> float:
        return 3 * x

    with_kernel, few = compile_anew(_caller(kernel(thrice)), modules)
    _, more = compile_anew(_caller(numba.njit(thrice)), modules)
    assert [name for name in more if "thrice" in name]
    assert not [name for name in few if "thrice" in name]
    assert [name for name in few if "outer" in name]
    x = np.arange(5.0)
    with_kernel.entry_point(x)
    np.testing.assert_array_equal(x, 3 * np.arange(5.0))


def test_a_kernel_serves_several_callers(modules: list[str]) -> None:
    def thrice(x: float) -> float:
        return 3 * x

    inner, x = kernel(thrice), np.ones(5)
    for _ in range(3):
        result, _ = compile_anew(_caller(inner), modules)
        result.entry_point(x)
    np.testing.assert_array_equal(x, np.full(5, 27.0))
    assert len(inner.overloads) == 1
