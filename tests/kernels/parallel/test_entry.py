"""Calls from Python: compiled once, from several threads at once, in forked processes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import numba
import numpy as np
import pytest
from numba import float64, int64

import fastdnn
from fastdnn.kernels import bias_gradient, linear_forward
from fastdnn.kernels.base.arrays import Matrix, as_matrix
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.compiler.jit import matrix, named, vector
from fastdnn.kernels.parallel import entry
from fastdnn.kernels.parallel.entry import ENTRIES, Entry
from fastdnn.kernels.parallel.team import GENERATION, team_size
from fastdnn.kernels.passes import step
from tests import naive
from tests.kernels.common import (
    RANKS,
    Array,
    compiled,
    draw,
    each_dtype,
    nan,
    product_bound,
    run_python,
    team_after,
)

pytestmark = pytest.mark.usefixtures("awake_threads")

DOUBLE = np.dtype(np.float64)


# every kind of parameter that the kernels' entries have
@compiled(
    lambda t: (
        int64, t, float64, vector(t), vector(float64, writable=False), matrix(t),
        named(Matrix, vector(t), int64, int64, int64), vector(int64),
    )
)  # fmt: skip
def _all_kinds(rank, n_ranks, team, i, x, y, v, r, w, a, out):  # type: ignore[no-untyped-def]
    v[4 * rank] = x + i
    v[4 * rank + 1] = y + r[1]
    v[4 * rank + 2] = w[1, 2]
    v[4 * rank + 3] = a.flat[a.offset + a.row_stride + 2 * a.column_stride]
    out[rank] = 100 * rank + n_ranks + team.size


@each_dtype
@pytest.mark.parametrize("n_ranks", RANKS)
def test_every_kind_of_argument_arrives(dtype: Any, n_ranks: int) -> None:
    v, out = nan(4 * n_ranks, dtype=dtype), np.zeros(n_ranks, np.int64)
    r = np.array([1.0, 2.0])
    r.flags.writeable = False
    w, a = draw(1, 3, 5, dtype=dtype), draw(2, 3, 5, dtype=dtype)[::-1, ::2]
    _all_kinds(dtype, n_ranks, 7, dtype.type(0.5), 0.25, v, r, w, as_matrix(a), out)
    size = team_size(n_ranks)
    ranks = n_ranks if out[0] == n_ranks + size else 1  # 1 where they did not meet
    np.testing.assert_array_equal(out[:ranks], 100 * np.arange(ranks) + ranks + size)
    wanted = np.array([7.5, 2.25, w[1, 2], a[1, 2]], dtype)
    np.testing.assert_array_equal(v[: 4 * ranks].reshape(ranks, 4), [wanted] * ranks)


def test_arguments_are_not_kept() -> None:
    v, out, r = nan(4, dtype=DOUBLE), np.zeros(1, np.int64), np.ones(2)
    w = draw(1, 3, 5)
    counts = [sys.getrefcount(x) for x in (v, out, r, w)]
    for _ in range(10):
        _all_kinds(DOUBLE, 1, 7, 0.5, 0.25, v, r, w, as_matrix(w), out)
    assert [sys.getrefcount(x) for x in (v, out, r, w)] == counts


def test_docstrings_stay() -> None:
    def documented() -> None:
        """As written."""

    assert Entry(documented, lambda t: ()).__doc__ == "As written."
    ENTRIES.pop()


def test_a_call_leaves_numbas_own_number_of_threads() -> None:
    numba.set_num_threads(2)
    with fastdnn.num_threads(3):
        linear_forward(draw(1, 67, 131), draw(2, 45, 67), None)
    assert numba.get_num_threads() == 2


@pytest.mark.parametrize("n_ranks", [1, 3, 1000])
def test_there_are_no_more_ranks_than_numba_has_threads(n_ranks: int) -> None:
    most = min(n_ranks, numba.config.NUMBA_NUM_THREADS)
    v, w, out = nan(4 * n_ranks, dtype=DOUBLE), draw(1, 3, 5), np.zeros(n_ranks, np.int64)
    _all_kinds(DOUBLE, n_ranks, 7, 0.5, 0.25, v, np.ones(2), w, as_matrix(w), out)
    assert out[0] - team_size(most) in (most, 1)
    assert not out[most:].any()


def test_an_error_leaves_it_too() -> None:
    def fail(*arguments: object) -> None:
        assert numba.get_num_threads() == 3
        raise ZeroDivisionError

    broken = Entry(_all_kinds.function, _all_kinds.signature)
    ENTRIES.pop()
    broken._starters[DOUBLE] = fail
    numba.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        broken(DOUBLE, 3)
    assert numba.get_num_threads() == 2


def test_a_second_process_finds_each_entry_by_its_place() -> None:
    for one in ENTRIES:
        module, name = one.place
        assert getattr(import_module(module), name) is one


def test_warmup_compiles_each_entry_for_each_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            def function() -> None: ...

            function.__name__, function.__module__ = name, "fastdnn.kernels.one"
            self.function = function

        def compile(self, dtype: Any) -> None:
            asked.append((self.function.__name__, dtype))

        def starter(self, dtype: Any) -> None:
            asked.append(("start", dtype))

    monkeypatch.setattr(entry, "ENTRIES", [Recorder("first"), Recorder("second")])
    said = list(entry.warmup())
    assert said == [f"one.{name} {dtype}" for name in ("first", "second") for dtype in jit.FLOATS]
    wanted = [(name, dtype) for name in ("first", "second") for dtype in jit.FLOATS]
    assert asked == [(one, dtype) for name, dtype in wanted for one in (name, "start")]


# ---------------------------------------------------------------------------------------- threads
@compiled(lambda t: (vector(t),))
def _ranks(rank, n_ranks, team, out):  # type: ignore[no-untyped-def]
    out[rank] = n_ranks


@pytest.mark.parametrize("n_ranks", RANKS[1:])
def test_the_ranks_of_a_call_end_together(n_ranks: int) -> None:
    out = np.zeros(n_ranks)
    team = team_after(_ranks, DOUBLE, n_ranks, out)
    met = out[0] == n_ranks  # else one has done all
    assert team[GENERATION] == int(met)
    assert out[1:].tolist() == [n_ranks * met] * (n_ranks - 1)


def layers_of_many_threads(n_threads: int, repeats: int) -> None:
    """Products of different shapes at once, each of which has its own number of ranks."""

    def work(number: int) -> None:
        A_prev, W, b = draw(1, 67, 131), draw(number, 40 + number, 67), draw(3, 40 + number, 1)
        wanted = naive.linear_forward(A_prev, W, b)
        bound = product_bound(W, A_prev, DOUBLE, more=1)
        bound += product_bound(b, np.ones((1, 131)), DOUBLE)
        for _ in range(repeats):
            Z = linear_forward(A_prev, W, b)
            assert (np.abs(Z - wanted) <= bound).all()
            allowed = product_bound(Z, np.ones((131, 1)), DOUBLE, more=2) / 131
            assert (np.abs(bias_gradient(Z) - naive.bias_gradient(Z)) <= allowed).all()

    fastdnn.set_num_threads(3)
    with ThreadPoolExecutor(n_threads) as pool:
        for result in [pool.submit(work, number) for number in range(2 * n_threads)]:
            result.result()


def test_several_python_threads_at_once() -> None:
    layers_of_many_threads(4, 20)


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_several_python_threads_from_the_first_call_on(layer: str) -> None:
    # workqueue ends the process when two threads call it at once
    program = (
        "from fastdnn.kernels.cpu import threads\n"
        "from tests.kernels.parallel.test_entry import layers_of_many_threads\n"
        "threads.AWAKE_FLOPS = 0\n"
        "layers_of_many_threads(4, 5)\n"
        "import numba; print(numba.threading_layer())"
    )
    assert run_python(program, {"NUMBA_THREADING_LAYER": layer}).strip() == layer


def test_threads_that_need_the_same_entry_compile_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = Entry(_all_kinds.function, _all_kinds.signature)
    ENTRIES.pop()
    compile_cached, calls, together = jit.compile_cached, [], threading.Barrier(4)

    def counted(function: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(function.__name__)
        return compile_cached(function, *arguments, **options)

    monkeypatch.setattr(entry, "compile_cached", counted)

    def work(number: int) -> Array:
        together.wait()
        v, w = nan(4, dtype=DOUBLE), draw(number, 3, 5)
        again(DOUBLE, 1, 0, 0.5, 0.0, v, np.zeros(2), w, as_matrix(w), np.zeros(1, np.int64))
        again.starter(DOUBLE)
        return v

    with ThreadPoolExecutor(4) as pool:
        for number, v in enumerate(pool.map(work, range(4))):
            x = draw(number, 3, 5)[1, 2]
            np.testing.assert_array_equal(v, [0.5, 0, x, x])
    assert sorted(calls) == sorted([_all_kinds.function.__name__, "start"])


# -------------------------------------------------------------------------------------- processes
FORK = """
import multiprocessing, os, warnings
import numpy as np
import fastdnn
from fastdnn.kernels import activation_forward, bias_gradient, linear_forward
from fastdnn.kernels.cpu import threads
from tests.kernels import networks
from tests.kernels.common import draw
warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads

fastdnn.set_num_threads(3)
threads.AWAKE_FLOPS = 0
x = draw(1, 300, 2000)
net = networks.make([67, 45, 10], ["relu", "softmax"], "categorical_crossentropy")
X, _, targets = networks.data(net, 300, "categorical_crossentropy")
start = net.parameters.copy()

def work(_=None):
    net.parameters[:] = start
    net.train(X, targets, networks.rule("descent", 3), batch=130)
    Z = linear_forward(x, draw(2, 70, 300), None)
    results = bias_gradient(x), activation_forward(x, "tanh"), Z, net.parameters
    return b"".join(result.tobytes() for result in results)

if {parent_first}: wanted = work()
child = os.fork()
if child == 0:
    mine = work()
    os._exit(0 if not {parent_first} or mine == wanted else 3)
assert os.waitpid(child, 0)[1] == 0
wanted = work()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(result == wanted for result in pool.map(work, range(4)))
assert work() == wanted
print("done")
"""


@pytest.mark.parametrize(
    ("layer", "parent_first"),
    [
        ("omp", True),
        ("workqueue", False),
        pytest.param("omp", False, marks=pytest.mark.nightly),
        pytest.param("workqueue", True, marks=pytest.mark.nightly),
    ],
)
def test_a_forked_child_computes_the_same_bits(layer: str, parent_first: bool) -> None:
    program = FORK.format(parent_first=parent_first)
    assert run_python(program, {"NUMBA_THREADING_LAYER": layer}).strip() == "done"


def test_threads_of_a_cold_start_have_one_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would compile the same large entry, on the same CPUs."""
    loaded, helped = list[Any](), list[Any]()

    @contextmanager
    def helper(entries: Any, dtype: str) -> Iterator[None]:
        helped.extend(entries)
        yield

    def load(kind: Any) -> None:
        time.sleep(0.05)
        loaded.append(kind)

    monkeypatch.setattr(entry, "helper", helper)
    monkeypatch.setattr(entry, "load_leaves", load)
    monkeypatch.setattr(entry, "_large_entries", lambda dtype: [] if loaded else [step.run])
    monkeypatch.setattr(entry, "compile_cached", MagicMock())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one._compile(np.dtype(np.float32)), ENTRIES[:4]))
    assert helped == [step.run.place]
    assert len(loaded) == 4
