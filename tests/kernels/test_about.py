"""What the kernels say about themselves, and compiling them ahead of time."""

from __future__ import annotations

import platform
from pathlib import Path

import numba
import numpy as np
import pytest

from fastdnn.kernels import dense, info, warmup
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.cpu import targets, threads
from fastdnn.kernels.layers.operation_table import LEAVES
from fastdnn.kernels.parallel.entry import ENTRIES
from fastdnn.kernels.passes import step
from tests.kernels.common import run_python


def test_info() -> None:
    got = info()
    assert got["python"] == platform.python_version()
    assert got["numpy"] == np.__version__
    assert got["numba"] == numba.__version__
    assert got["threads"] == threads.get_num_threads()
    assert got["cpus"] == threads.available_cpus()
    assert got["threading layer"] in ("omp", "tbb", "workqueue")
    assert got["cpu"]
    assert (got["kernels for"], got["vector bits"]) == (targets.host().name, targets.host().bits)


def test_info_counts_what_the_cache_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "one.nbc").write_bytes(b"12345")
    (tmp_path / "two.nbc").write_bytes(b"678")
    (tmp_path / "other").write_bytes(b"9")
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path)
    got = info()
    assert (got["cache folder"], got["cache files"], got["cache bytes"]) == (str(tmp_path), 2, 8)


def test_info_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    got = info()
    assert got["cache folder"] == "none that can be written"
    assert (got["cache files"], got["cache bytes"]) == (0, 0)


def test_the_threading_layer_is_known_before_the_first_call() -> None:
    program = "from fastdnn.kernels import info; print(info()['threading layer'])"
    got = run_python(program, {"NUMBA_THREADING_LAYER": "workqueue"})
    assert got.strip() == "workqueue"


def test_warmup_compiles_every_entry_for_both_dtypes() -> None:
    warmup()
    for one in (step.run, dense._product, dense._rows, dense._column_sums):
        assert one in ENTRIES
        assert set(one._compiled) == set(jit.FLOATS)
    for leaf in (leaf for leaves in LEAVES.values() for leaf in leaves.values()):
        assert all(leaf.is_loaded(kind) for kind in jit.FLOATS.values()), leaf.name
