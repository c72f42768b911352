"""Leaves: compiled once per dtype, kept on disk, and called by their symbols."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import float64, int64

from fastdnn.kernels.compiler import jit
from fastdnn.kernels.compiler.jit import leaf, pointer, vector
from fastdnn.kernels.llvm.simd import address
from tests.kernels.common import Array, compiled, each_dtype, run_python


@leaf(lambda t: (pointer(t), int64, float64, pointer(t), vector(t)))
def _leaf_add(x, count, scale, out, last):  # type: ignore[no-untyped-def]
    for i in range(count):
        out[i] += scale * x[i]
    last[0] = x[count - 1]


@compiled(lambda t: (vector(t), vector(t), vector(t)))
def _calls_leaf(rank, n_ranks, team, x, out, last):  # type: ignore[no-untyped-def]
    # an array stands for the address of its first element
    _leaf_add(x, 5, 2.0, out, last)
    _leaf_add(address(x, 5), 3, 0.5, address(out, 5), last)
    _leaf_add(x, 2, 1.0, address(out, 8), last)


def call_leaf(dtype: Any) -> tuple[Array, Array]:
    x, out, last = np.arange(10, dtype=dtype), np.zeros(12, dtype), np.zeros(1, dtype)
    _calls_leaf(dtype, 1, x, out, last)
    return out, last


def leaf_results(dtype: Any) -> Array:
    x = np.arange(10, dtype=dtype)
    return np.concatenate([2 * x[:5], x[5:8] / 2, x[:2], [0, 0]])


def new_leaf(function: Callable[[Array], None] | None = None) -> jit.Leaf:
    return jit.Leaf(function or _leaf_add_again, lambda t: (vector(t),))


def _leaf_add_again(x: Array) -> None:
    for i in range(x.size):
        x[i] += 1


def _leaf_of_two_threads(x: Array) -> None:
    for i in range(x.size):
        x[i] -= 1


@each_dtype
def test_a_leaf_is_called_by_arrays_and_addresses(dtype: Any) -> None:
    out, last = call_leaf(dtype)
    np.testing.assert_array_equal(out, leaf_results(dtype))
    assert last[0] == 1


def test_both_dtypes_of_a_leaf_side_by_side() -> None:
    for dtype in (np.float32, np.float64, np.float32):
        out, _ = call_leaf(np.dtype(dtype))
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, leaf_results(dtype))
    (one,) = [
        one for one in jit.LEAVES if one.name == "tests.kernels.compiler.test_jit_leaves._leaf_add"
    ]
    symbols = {one.symbol(kind) for kind in jit.FLOATS.values()}
    addresses = {llvm.address_of_symbol(symbol) for symbol in symbols}
    assert None not in addresses
    assert len(addresses) == len(symbols) == 2


def test_a_leaf_is_compiled_once_per_dtype_and_kept(cache: Path, compilations: list[str]) -> None:
    one = new_leaf()
    for kind in (*jit.FLOATS.values(), *jit.FLOATS.values()):
        one.load(kind)
    assert compilations.count("_leaf_add_again") == 2
    names = [file.name for file in cache.iterdir()]
    assert len(names) == 2
    assert all(
        name.startswith("tests.kernels.compiler.test_jit_leaves._leaf_add_again-") for name in names
    )
    # as a new process does
    compilations.clear()
    another = new_leaf()
    for kind in jit.FLOATS.values():
        another.load(kind)
    assert not compilations
    assert len(list(cache.iterdir())) == 2


def _calls_twice(x: Array) -> None:
    _leaf_add(x, 1, 2.0, x, x)
    _leaf_add(x, 1, 2.0, x, x)


def test_threads_that_want_a_leaf_at_once_wait_for_one_that_loads_it(
    monkeypatch: pytest.MonkeyPatch, cache: Path, compilations: list[str]
) -> None:
    one, kind = new_leaf(_leaf_of_two_threads), jit.FLOATS[np.dtype(np.float32)]
    add, registering = llvm.add_symbol, threading.Event()

    def add_slowly(name: str, address: int) -> None:
        if name == one.symbol(kind):
            registering.set()
            time.sleep(0.2)
        add(name, address)

    def second() -> None:
        registering.wait()
        one.load(kind)
        found.append(llvm.address_of_symbol(one.symbol(kind)))

    monkeypatch.setattr(llvm, "add_symbol", add_slowly)
    found: list[int | None] = []
    threads = [threading.Thread(target=partial(one.load, kind)), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [llvm.address_of_symbol(one.symbol(kind))] != [None]
    assert len(compilations) == 1


def test_a_caller_holds_a_leafs_symbol_and_not_its_code(
    cache: Path, compilations: list[str]
) -> None:
    jit.load_leaves(float64)
    compilations.clear()
    result = jit.compile_cached(_calls_twice, (vector(float64),))
    assert "_leaf_add" not in compilations
    code = result.library.get_llvm_str()
    symbol = re.escape(f"fastdnn.{__name__}._leaf_add.float64")
    assert re.search(f"declare .*{symbol}", code)
    assert not re.search(r"define .*_leaf_add", code)
    x = np.array([1.0])
    result.entry_point(x)
    assert x[0] == 9


def test_leaves_and_callers_are_read_in_a_new_process(tmp_path: Path) -> None:
    program = (
        "import sys, numba.core.compiler\n"
        "def refuse(*arguments, **options): raise AssertionError('compiled')\n"
        "if {refuse}: numba.core.compiler.compile_extra = refuse\n"
        "import numpy as np\n"
        "from fastdnn.kernels.compiler import jit\n"
        "from fastdnn.kernels import bias_gradient\n"
        "from fastdnn.kernels.parallel import entry\n"
        "entry._large_entries = lambda dtype: []\n"
        "from tests.kernels.compiler.test_jit_leaves import call_leaf\n"
        "wanted = {names!r}\n"
        "jit.LEAVES[:] = [one for one in jit.LEAVES if one.name in wanted]\n"
        "for dtype in (np.float32, np.float64):\n"
        "    print(bias_gradient(np.ones((3, 4), dtype)).tolist())\n"
        "    print(call_leaf(np.dtype(dtype))[0].tolist())\n"
        "assert not ({refuse} and 'numba.np.linalg' in sys.modules), 'loaded to compile'"
    )
    names = ["blas.reduce.column_sums", "tests.kernels.compiler.test_jit_leaves._leaf_add"]
    variables = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first = run_python(program.format(refuse=False, names=names), variables)
    files = sorted(tmp_path.rglob("*.nbc"))
    assert run_python(program.format(refuse=True, names=names), variables) == first
    assert sorted(tmp_path.rglob("*.nbc")) == files
    lines = first.splitlines()
    assert lines[1] == str(leaf_results(np.float32).tolist())
    assert lines[1] == lines[3]
    for name in names:  # a file for each dtype
        assert len([file for file in files if file.name.startswith(f"{name}-")]) == 2


def test_code_names_leaves_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaf_in(module: str) -> jit.Leaf:
        def one(x: Array) -> None: ...

        one.__module__ = module
        return jit.Leaf(one, lambda t: (vector(t),))

    places = "fastdnn.kernels.blas.pack", "fastdnn.kernels.layers.pack", "tests.pack"
    leaves, loaded = [leaf_in(place) for place in places], []
    monkeypatch.setattr(jit, "LEAVES", leaves)
    monkeypatch.setattr(jit.Leaf, "load", lambda self, kind: loaded.append((self, kind)))
    assert len({one.symbol(kind) for one in leaves for kind in jit.FLOATS.values()}) == 6
    for one in leaves:
        for kind in jit.FLOATS.values():
            loaded.clear()
            jit.load_named(b"\x00" + one.symbol(kind).encode() + b"\x00rest")
            assert loaded == [(one, kind)]


OF_AN_OWN_LOSS = """
loss = fastdnn.ScalarLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="own")
layers = [fastdnn.Dense(2)]
"""
OF_AN_OPERATION = """
loss, layers = "mse", [fastdnn.LayerNormalization(), fastdnn.Dense(2)]
"""
TRAIN = """
model = fastdnn.Sequential(layers, input_size=3, seed=0)
model.compile("sgd", loss)
print(model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0).history["loss"])
"""


@pytest.mark.parametrize("program", [OF_AN_OWN_LOSS, OF_AN_OPERATION], ids=["loss", "operation"])
def test_code_that_is_read_before_the_step_finds_the_leaves_that_it_names(program: str) -> None:
    """What is compiled for who chooses it is loaded first, in a process with a warm cache too."""
    program = f"import fastdnn, numpy as np\n{program}{TRAIN}"
    assert run_python(program) == run_python(program)  # the first one fills the cache
