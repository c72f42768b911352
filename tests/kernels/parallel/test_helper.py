"""A cold start shared by two processes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastdnn.kernels.base.constants import NO, ONE, ZERO
from fastdnn.kernels.blas.reduce import column_sums
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.parallel import _helper
from fastdnn.kernels.parallel.entry import ENTRIES, entry
from tests.kernels.common import run_python


@entry(lambda t: (vector(t), vector(t)), large=True)
def large(rank, n_ranks, team, x, out):  # type: ignore[no-untyped-def]
    """Sum two rows of three."""
    column_sums(ONE + ONE, out.size, x, ZERO, out.size, 1.0, NO, out, ZERO)


ENTRIES.remove(large)  # or each cold start among the tests would have it compiled

_PROGRAM = """
import sys
import numba.core.compiler
import numpy as np
from fastdnn.kernels.parallel import _helper, entry
from fastdnn.kernels.compiler import jit
from tests.kernels.parallel.test_helper import large

compiled, compile_extra = [], numba.core.compiler.compile_extra

def counted(context, target, function, *arguments, **options):
    compiled.append(function.__name__)
    return compile_extra(context, target, function, *arguments, **options)

numba.core.compiler.compile_extra = counted
entry.ENTRIES[:] = [large]
jit.LEAVES[:] = [one for one in jit.LEAVES if one.name == "blas.reduce.column_sums"]
_helper.available_cpus = lambda: 2
{change}
for dtype in jit.FLOATS:
    out = np.full(3, np.nan, dtype)
    large(dtype, 1, np.arange(6, dtype=dtype), out)
    print(out.tolist(), compiled.count("column_sums"), compiled.count("large"))
"""


CHANGES = {
    "helped": "",
    "helper fails": "_helper._PROGRAM = 'raise SystemExit(1)'",
    "no interpreter there": "sys.executable = '/null/python3'",
    "no interpreter known": "sys.executable = ''",
    "embedded": "sys.executable = '/usr/sbin/server'",
    "frozen": "sys.frozen = True",
    "one CPU": "_helper.available_cpus = lambda: 1",
    "no cache": "_helper.cache_folder = lambda: None",
}
DAILY = {"helped", "helper fails", "one CPU"}


@pytest.mark.parametrize(
    "what",
    [pytest.param(one, marks=[] if one in DAILY else pytest.mark.nightly) for one in CHANGES],
)
def test_who_compiles_a_large_entry(what: str, tmp_path: Path) -> None:
    here = what != "helped"
    printed = run_python(_PROGRAM.format(change=CHANGES[what]), {"NUMBA_CACHE_DIR": str(tmp_path)})
    wanted = [f"[3.0, 5.0, 7.0] {done} {done * here}" for done in (1, 2)]
    assert printed.splitlines() == wanted


def test_without_a_cold_start_there_is_no_helper(tmp_path: Path) -> None:
    variables = {"NUMBA_CACHE_DIR": str(tmp_path)}
    refuse = "def refuse(*a): raise AssertionError('started')\n_helper._start = refuse"
    run_python(_PROGRAM.format(change=""), variables)
    printed = run_python(_PROGRAM.format(change=refuse), variables)
    assert printed.splitlines() == ["[3.0, 5.0, 7.0] 0 0"] * 2


def test_an_interrupt_ends_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = _helper._start

    def kept(*given: Any) -> Any:
        process = start(*given)
        assert process is not None
        started.append(process)
        return process

    monkeypatch.setattr(_helper, "is_possible", lambda: True)
    monkeypatch.setattr(_helper, "_PROGRAM", "import time\ntime.sleep(100)")
    monkeypatch.setattr(_helper, "_start", kept)
    with pytest.raises(KeyboardInterrupt), _helper.helper([("module", "name")], "float32"):
        raise KeyboardInterrupt
    assert started[0].returncode not in (None, 0)
