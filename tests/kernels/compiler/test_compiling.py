"""Who is told of what is compiled, and of how much of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.compiler import compiling, jit
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.parallel.entry import ENTRIES, Entry
from tests.kernels.common import Array, run_python

DOUBLE = np.dtype(np.float64)


class Watched:
    """What a watcher has been told."""

    def __init__(self) -> None:
        self.totals: list[float] = []
        self.done: list[float] = []
        self.ended = 0

    @contextmanager
    def __call__(self, total: float) -> Iterator[Callable[[float], None]]:
        self.totals.append(total)
        try:
            yield self.done.append
        finally:
            self.ended += 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watcher = Watched()
    monkeypatch.setattr(compiling, "_watcher", watcher)
    return watcher


def _scaled(x: Array) -> None:
    for i in range(x.size):
        x[i] = 2 * x[i]


def _call() -> Any:
    return jit.compile_cached(_scaled, (vector(jit.FLOATS[DOUBLE]),))


def test_what_is_compiled_is_told_and_what_is_read_is_not(cache: Path, watched: Watched) -> None:
    _call()
    assert (watched.totals, watched.done, watched.ended) == ([1.0], [1.0], 1)
    _call()
    assert (watched.totals, watched.ended) == ([1.0], 1)
    assert len(list(cache.iterdir())) == 1


def test_blocks_within_a_block_are_its_parts(cache: Path, watched: Watched) -> None:
    with compiling.block(lambda: 7.0):
        _call()
        with compiling.block(lambda: 3.0):
            compiling.done("passes.step.run")
        compiling.done("elementwise.losses.loss_rows")
    assert watched.totals == [7.0]
    assert watched.done == [
        1.0,
        compiling.work_of("passes.step.run"),
        compiling.work_of("elementwise.losses.loss_rows"),
    ]
    assert watched.ended == 1


@pytest.mark.usefixtures("cache")
def test_quiet_is_quiet_for_one_thread_and_one_block(watched: Watched) -> None:
    with compiling.quietly():
        with compiling.quietly(False):  # who is quiet stays so
            _call()
        other = threading.Thread(target=lambda: _tell(2.0))
        other.start()
        other.join()
    assert watched.totals == [2.0]
    with compiling.quietly(False):
        _tell(3.0)
    assert watched.totals == [2.0, 3.0]


def test_of_several_threads_the_first_one_tells(watched: Watched) -> None:
    """Numba has them compile in turn, and two bars would be drawn over each other."""
    with compiling.block(lambda: 1.0):
        for call in (lambda: _tell(2.0), lambda: compiling.done("passes.step.run")):
            other = threading.Thread(target=call)
            other.start()
            other.join()
    assert watched.totals == [1.0]
    assert watched.done == [compiling.work_of("passes.step.run")]
    _tell(3.0)
    assert watched.totals == [1.0, 3.0]


def _tell(work: float) -> None:
    with compiling.block(lambda: work):
        pass


def test_without_work_nobody_is_told(watched: Watched) -> None:
    _tell(0.0)
    compiling.done("passes.step.run")
    assert not watched.totals
    assert not watched.done


def test_a_failure_ends_the_block(watched: Watched) -> None:
    with pytest.raises(ZeroDivisionError), compiling.block(lambda: 1.0):
        raise ZeroDivisionError
    assert watched.ended == 1
    _tell(2.0)
    assert watched.totals == [1.0, 2.0]


def test_without_a_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_watcher", None)
    with compiling.block(lambda: pytest.fail("asked for the work")):
        compiling.done("passes.step.run")


def test_names_are_those_of_parts() -> None:
    parts = {jit.part_name(one.function) for one in (*jit.LEAVES, *ENTRIES)}
    assert set(compiling._WORK) <= parts | {"parallel.entry.start"}


def _entry_of(name: str) -> Entry:
    (found,) = (one for one in ENTRIES if jit.part_name(one.function) == name)
    return found


@pytest.mark.parametrize("helps", [True, False])
def test_the_work_of_an_entry(
    helps: bool, cache: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process's work takes no time of its own where the leaves take longer."""
    monkeypatch.setattr("fastdnn.kernels.parallel.entry.is_possible", lambda: helps)
    leaves = sum(compiling.work_of(one.name) for one in jit.LEAVES)
    monkeypatch.setattr(jit.Leaf, "is_loaded", lambda self, kind: False)
    run, product = (_entry_of(name) for name in ("passes.step.run", "dense._product"))
    for one in (run, product):
        monkeypatch.setattr(one, "_compiled", {})
        monkeypatch.setattr(one, "_starters", {})
    large, small = compiling.work_of("passes.step.run"), compiling.work_of("dense._product")
    start = compiling.work_of("parallel.entry.start")
    together = max(leaves, large) if helps else leaves
    assert run._work_left(DOUBLE, 1) == together + (0 if helps else large)
    assert run._work_left(DOUBLE, 2) == together + (0 if helps else large) + start
    assert product._work_left(DOUBLE, 1) == together + small
    assert not cache.exists()


PROGRAM = """
import contextlib, sys
import numpy as np
from fastdnn.kernels.compiler import jit, compiling
from fastdnn.kernels import activation_forward
from fastdnn.kernels.parallel import entry
few = "elementwise.activations.", "compiler.native.", "blas.reduce."
jit.LEAVES[:] = [one for one in jit.LEAVES if one.name.startswith(few)]
entry.ENTRIES.clear()
@contextlib.contextmanager
def watch(total):
    done = []
    yield done.append
    print(total > 0, 0 < sum(done) <= total)
compiling.watch(watch)
for _ in range(2):
    activation_forward(np.ones((2, 3)), "tanh")
"""


def test_a_process_is_told_once(tmp_path: Path) -> None:
    variables = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(PROGRAM, variables).splitlines() == ["True True"]
    assert run_python(PROGRAM, variables) == ""  # the cache is warm
