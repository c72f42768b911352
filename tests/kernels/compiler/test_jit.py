"""The options of compiling, and the cache of compiled code."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.core.compiler
import numpy as np
import pytest
from numba import float64

from fastdnn.kernels.compiler import jit
from fastdnn.kernels.compiler.jit import vector
from fastdnn.kernels.cpu import targets
from tests.kernels.common import (
    Array,
    compiled,
    each_dtype,
    run_python,
    start_python,
    use_folders,
)

DOUBLE = np.dtype(np.float64)


def _triple(x: Array) -> None:
    for i in range(x.size):
        x[i] = 3 * x[i]


def works(dtype: Any = DOUBLE) -> bool:
    """Compile `_triple` as a new process does, and try it."""
    compiled = jit.compile_cached(_triple, (vector(jit.FLOATS[dtype]),))
    x = np.arange(5, dtype=dtype)
    compiled.entry_point(x)
    return bool((x == 3 * np.arange(5)).all())


# ------------------------------------------------------------------------------------------ cache
def test_compiled_once_then_read(cache: Path, compilations: list[str]) -> None:
    assert works()
    assert "_triple" in compilations
    (file,) = cache.iterdir()
    assert file.name.startswith(f"{__name__}._triple-")
    compilations.clear()
    assert works()
    assert not compilations
    assert list(cache.iterdir()) == [file]


def test_each_dtype_has_its_file(cache: Path) -> None:
    for dtype in jit.FLOATS:
        assert works(dtype)
    assert len(list(cache.iterdir())) == 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "last byte lost": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"garbage\n" * 20,
    "random": lambda data: np.random.default_rng(1).bytes(len(data)),
    "begins with zeros": lambda data: bytes(64) + data[64:],
    "another pickle": lambda data: pickle.dumps({"a": 1}),
    "code changed": lambda data: data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_anew_and_replaced(
    damage: str, cache: Path, compilations: list[str]
) -> None:
    assert works()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    compilations.clear()
    assert works()
    assert compilations
    compilations.clear()
    assert works()
    assert not compilations
    assert list(cache.iterdir()) == [file]


def test_the_first_folder_that_can_be_written_takes_new_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compilations: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    folders = tmp_path / "file" / "below", tmp_path / "second", tmp_path / "third"
    use_folders(monkeypatch, *folders)
    assert works()
    assert len(list(folders[1].iterdir())) == 1
    assert not folders[2].exists()
    # and all of them are read
    folders[1].rename(folders[2])
    compilations.clear()
    assert works()
    assert not compilations


def test_without_a_folder_it_works_and_warns_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    use_folders(monkeypatch, tmp_path / "file" / "below")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert works()
        assert works()
    (warning,) = caught
    assert issubclass(warning.category, RuntimeWarning)
    assert "Set NUMBA_CACHE_DIR to a writable folder" in str(warning.message)
    assert str(tmp_path / "file" / "below") in str(warning.message)


def test_a_process_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    program = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import numpy as np\n"
        "    from fastdnn.kernels import bias_gradient, info\n"
        "    from fastdnn.kernels.compiler import jit\n"
        "    jit.LEAVES[:] = [one for one in jit.LEAVES if one.name == 'blas.reduce.column_sums']\n"
        "    for dtype in (np.float32, np.float64):\n"
        "        print(bias_gradient(np.ones((3, 4), dtype)).tolist())\n"
        "    print(info()['cache folder'])\n"
        "print(len([w for w in caught if 'fastdnn cannot keep' in str(w.message)]))"
    )
    got = run_python(program, {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")})
    ones = "[[1.0], [1.0], [1.0]]"
    assert got.splitlines() == [ones, ones, "none that can be written", "1"]


def test_cache_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = jit.cache_folders.__wrapped__
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    assert folders() == (tmp_path / "fastdnn",)
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    beside = Path(jit.__file__).parents[1] / "__pycache__"
    assert folders() == (beside, tmp_path / "xdg" / "fastdnn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folders() == (beside, tmp_path / ".cache" / "fastdnn")


def test_processes_that_fill_the_cache_at_once(tmp_path: Path) -> None:
    program = (
        "from tests.kernels.compiler.test_jit import works\n"
        "assert works()\n"
        "from fastdnn.kernels.compiler import jit; print(jit.cache_folder())"
    )
    processes = [start_python(program, {"NUMBA_CACHE_DIR": str(tmp_path)}) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.strip() == str(tmp_path / "fastdnn")
    assert len(list((tmp_path / "fastdnn").iterdir())) == 1


# ----------------------------------------------------------------------------------------- sources
FEW = "elementwise.activations.", "compiler.native."
PROGRAM = """
import numba.core.compiler
def refuse(*arguments, **options): raise AssertionError("compiled")
if {refuse}: numba.core.compiler.compile_extra = refuse
from fastdnn.kernels.compiler import jit
from fastdnn.kernels import activation_forward
from fastdnn.kernels.parallel import entry
entry._large_entries = lambda dtype: []  # nor does a second process compile what is not called
jit.LEAVES[:] = [one for one in jit.LEAVES if one.name.startswith({few})]
print(activation_forward([[-1.0]], "leaky_relu").item(), jit.source_stamp())
"""


def copy_of_sources(folder: Path) -> Path:
    shutil.copytree(jit.SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the sources, from which the stamp is made anew each time."""
    copy = copy_of_sources(tmp_path / "kernels")
    monkeypatch.setattr(jit, "SOURCES", copy)
    monkeypatch.setattr(jit, "source_stamp", jit.source_stamp.__wrapped__)
    return copy


@pytest.mark.nightly  # the tests of the stamp need no process
def test_an_edit_of_another_file_is_seen(tmp_path: Path) -> None:
    # a copy of the kernels alone: the compiled entry lies in dense.py, the edit in activations.py
    copy_of_sources(tmp_path / "fastdnn" / "kernels")
    (tmp_path / "fastdnn" / "__init__.py").touch()

    def run(*, refuse: bool) -> list[str]:
        variables = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        return run_python(PROGRAM.format(refuse=refuse, few=FEW), variables, root=tmp_path).split()

    value, stamp = run(refuse=False)
    assert value == "-0.01"
    assert run(refuse=True) == [value, stamp]  # a second process compiles nothing
    edited = tmp_path / "fastdnn" / "kernels" / "elementwise" / "activations.py"
    text, times = edited.read_text(encoding="utf-8"), edited.stat()
    assert text.count("0.01 * at_most(z") == 1
    edited.write_text(text.replace("0.01 * at_most(z", "0.25 * at_most(z"), encoding="utf-8")
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))  # not even its date tells
    again, other = run(refuse=False)
    assert again == "-0.25"
    assert other != stamp
    edited.write_text(text, encoding="utf-8")
    assert run(refuse=True) == [value, stamp]


def test_every_file_is_in_the_stamp(copied: Path) -> None:
    files = sorted(copied.rglob("*.py"))
    assert {path.parent for path in files} == {copied, *(copied / one for one in PACKAGES)}
    stamps = {before := jit.source_stamp()}
    for path in files:
        text = path.read_bytes()
        path.write_bytes(text + b"#")
        stamps.add(jit.source_stamp())
        path.write_bytes(text)
    assert len(stamps) == 1 + len(files)
    assert jit.source_stamp() == before
    # nor is one file taken for another
    path.rename(path.with_name("other.py"))
    assert jit.source_stamp() not in stamps


PACKAGES = sorted(path.parent.name for path in jit.SOURCES.glob("*/__init__.py"))


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_an_edit_in_a_package_misses_the_cache(
    package: str, copied: Path, cache: Path, compilations: list[str]
) -> None:
    assert works()
    compilations.clear()
    assert works()
    assert not compilations
    edited = max((copied / package).glob("*.py"))
    text, times = edited.read_bytes(), edited.stat()
    edited.write_bytes(text + b"ONE_MORE = 1\n")
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert works()
    assert compilations.count("_triple") == 1
    edited.write_bytes(text)
    compilations.clear()
    assert works()
    assert not compilations
    assert len(list(cache.iterdir())) == 2


def test_modules_of_one_name_in_two_packages_share_no_code(cache: Path) -> None:
    for factor, package in ((2.0, "blas"), (5.0, "layers")):
        x = np.ones(3)
        jit.compile_cached(_scale_by(factor, package), (vector(float64),)).entry_point(x)
        assert x.tolist() == [factor] * 3
    names = {file.name.partition("-")[0] for file in cache.iterdir()}
    assert names == {"blas.one.scale", "layers.one.scale"}


def _scale_by(factor: float, package: str) -> Callable[[Array], None]:
    def scale(x: Array) -> None:
        for i in range(x.size):
            x[i] *= factor

    scale.__module__ = f"fastdnn.kernels.{package}.one"
    return scale


@pytest.mark.parametrize("of", ["numba", "numpy", "target"])
def test_versions_and_the_target_are_in_the_stamp(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if of == "target":
        other = targets.host()._replace(mc=targets.host().mc + 12)
        monkeypatch.setattr(targets, "host", lambda: other)
    else:
        monkeypatch.setattr({"numba": numba, "numpy": np}[of], "__version__", "0.0")
    assert jit.source_stamp.__wrapped__() != jit.source_stamp()


# ------------------------------------------------------------------------- options of compiling
@compiled(lambda t: (vector(t), vector(t), vector(float64)))
def _arithmetic(rank, n_ranks, team, x, order, out):  # type: ignore[no-untyped-def]
    out[0] = 1.0 if x[0] != x[0] else 0.0  # NaN is known
    out[1] = 1.0 if x[1] - x[1] != 0.0 else 0.0  # inf - inf is not 0
    total = order[0]
    for i in range(1, order.size):
        total += order[i]
    out[2] = total
    out[3] = x[2] / x[3]  # as NumPy: no exception


@each_dtype
def test_arithmetic_is_ieee_and_in_order(dtype: Any) -> None:
    x = np.array([np.nan, np.inf, 1, 0], dtype)
    huge = 2.0**60
    order = np.array([huge, 1, -huge, 1, huge, -huge, 1, 1], dtype)
    out = np.zeros(4)
    _arithmetic(dtype, 1, x, order, out)
    total = dtype.type(0)
    for value in order:
        total += value
    np.testing.assert_array_equal(out, [1, 1, total, np.inf])


@pytest.mark.skipif(sys.platform != "linux", reason="numba uses GNU OpenMP on Linux alone")
@pytest.mark.parametrize(
    ("policy", "count", "wanted"),
    [(None, None, "100"), (None, "7", "7"), ("active", None, "30000000000")],
)
def test_idle_threads_do_not_spin_for_long(
    policy: str | None, count: str | None, wanted: str
) -> None:
    # what GNU OpenMP says when it is loaded, and what others would find afterwards
    program = (
        "import os, numpy, fastdnn.kernels.dense as dense; os.dup2(1, 2)\n"
        "dense._column_sums.starter(numpy.dtype('float32'))\n"
        "print('left:', os.environ.get('GOMP_SPINCOUNT'))"
    )
    variables = {"OMP_WAIT_POLICY": policy, "GOMP_SPINCOUNT": count}
    forced = {"OMP_DISPLAY_ENV": "VERBOSE", "NUMBA_THREADING_LAYER": "omp"}
    said = run_python(program, variables | forced)
    assert f"GOMP_SPINCOUNT = '{wanted}'" in said
    assert f"left: {count}" in said
