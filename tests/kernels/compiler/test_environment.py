"""What the environment says to the compiler, and what others find there afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numba
import pytest

from fastdnn.kernels.compiler import _environment
from tests.kernels.common import run_python

linux = pytest.mark.skipif(sys.platform != "linux", reason="numba uses GNU OpenMP on Linux alone")


# ---------------------------------------------------------------------------------------- folders
def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def found() -> Path | None:
        return _environment.user_cache("XDG_CACHE_HOME", ".cache")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert found() == tmp_path / "xdg"
    for no_folder in ("", "relative", "./relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", no_folder)
        assert found() == tmp_path / ".cache"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert found() == tmp_path / ".cache"


NAMELESS = """
import os, pwd, warnings
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
os.environ.pop("HOME", None)
from pathlib import Path
try: Path.home()
except RuntimeError: pass
else: raise AssertionError("there is a home")
from fastdnn.kernels.compiler import jit
if {unwritable}: jit._writable = lambda folder: False
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np, fastdnn
    for dtype in (np.float32, np.float64):
        fastdnn.kernels.bias_gradient(np.ones((3, 4), dtype))
    print(fastdnn.kernels.info()["cache folder"])
print([str(one.message) for one in caught if "fastdnn" in str(one.message)])
from fastdnn.cli import main
print(main(["train", "--data", "~/x.csv"]), main(["train", "--output", "~/x.safetensors"]))
print(sorted(os.listdir(".")) == before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pwd is of other systems")
@pytest.mark.parametrize(
    ("xdg", "unwritable"),
    [
        (None, True),
        ("absolute", True),
        ("", False),
        ("relative", False),
        pytest.param(None, False, marks=pytest.mark.nightly),
        pytest.param("absolute", False, marks=pytest.mark.nightly),
        pytest.param("", True, marks=pytest.mark.nightly),
        pytest.param("relative", True, marks=pytest.mark.nightly),
    ],
)
def test_a_user_without_a_name_and_a_home(
    xdg: str | None, unwritable: bool, tmp_path: Path
) -> None:
    given = str(tmp_path) if xdg == "absolute" else xdg
    program = "import os; before = sorted(os.listdir('.'))\n"
    program += NAMELESS.format(unwritable=unwritable)
    variables = {"XDG_CACHE_HOME": given, "NUMBA_CACHE_DIR": None}
    folder, warned, statuses, same = run_python(program, variables).splitlines()
    if unwritable:
        assert folder == "none that can be written"
        assert warned.count("fastdnn cannot keep its compiled code") == 1
    else:
        assert folder.endswith("__pycache__")
        assert warned == "[]"
    assert statuses == "2 2"
    assert same == "True"


# --------------------------------------------------------------------------------- NUMBA_ variables
CALLS = [
    "fastdnn.kernels.linear_forward(np.ones((2, 3)), np.ones((4, 2)), None)",
    "fastdnn.textbook.linear_forward(np.ones((2, 3)), np.ones((4, 2)), np.ones((4, 1)))",
    "fastdnn.kernels.warmup()",
    "fastdnn.ScalarActivation(lambda z: z, lambda z: 1.0)",
    "model.fit(np.ones((4, 2)), np.ones(4), verbose=0)",
    "fastdnn.MLPRegressor().fit(np.ones((4, 2)), np.ones(4))",
]


def test_without_a_compiler_the_variable_is_named() -> None:
    program = (
        "import numpy as np, fastdnn\n"
        "model = fastdnn.Sequential([fastdnn.Dense(1)]); model.compile()\n"
        f"for call in {CALLS}:\n"
        "    try: eval(call)\n"
        "    except ValueError as error: print(error)\n"
        "    else: print('done:', call)"
    )
    said = run_python(program, {"NUMBA_DISABLE_JIT": "1"}).splitlines()
    wanted = "NUMBA_DISABLE_JIT: want 0, or the variable unset before Python starts"
    assert [line[: len(wanted)] for line in said] == [wanted] * len(CALLS)


def test_the_command_line_names_it_too() -> None:
    program = (
        "import sys; sys.stderr = sys.stdout\nfrom fastdnn.cli import main; print(main(['warmup']))"
    )
    first, status = run_python(program, {"NUMBA_DISABLE_JIT": "1"}).splitlines()
    assert first.startswith("fastdnn: error: NUMBA_DISABLE_JIT: want 0")
    assert status == "2"


CHANGED = """
import os, numba, numpy as np
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.cpu import threads
def twice(x):
    for i in numba.prange(x.size):
        x[i] = 2 * x[i]
def results(dtype):
    x = np.ones(5, dtype)
    types = (jit.vector(jit.FLOATS[np.dtype(dtype)]),)
    jit.compile_cached(twice, types, parallel=True).entry_point(x)
    jit.compile_plain(lambda z: 2 * z, (numba.float64,))
    return x.tolist() == [2.0] * 5
if {before}:
    print(results("f4"))
os.environ["NUMBA_NUM_THREADS"] = "7"
print(results("f8"), numba.config.NUMBA_NUM_THREADS, os.environ["NUMBA_NUM_THREADS"])
del os.environ["NUMBA_NUM_THREADS"]
jit.cache_folders.cache_clear()
numba.config.CACHE_DIR += "-other"
print(results("f8"), numba.config.NUMBA_NUM_THREADS, os.environ.get("NUMBA_NUM_THREADS"))
"""


@pytest.mark.parametrize(
    ("before", "at_import"),
    [
        (True, "2"),
        (False, "3"),
        pytest.param(True, "3", marks=pytest.mark.nightly),
        pytest.param(False, "2", marks=pytest.mark.nightly),
    ],
)
def test_a_number_of_threads_that_changes_later(
    before: bool, at_import: str, tmp_path: Path
) -> None:
    """In new folders all is compiled, and so the variable looked at, after it has changed."""
    variables = {"NUMBA_NUM_THREADS": at_import, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    said = run_python(CHANGED.format(before=before), variables).splitlines()
    assert said == ["True"] * before + [f"True {at_import} 7", f"True {at_import} None"]


def test_numba_finds_the_number_of_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    now = str(numba.config.NUMBA_NUM_THREADS)
    for given in ("1", "x", "", None):
        if given is None:
            monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("NUMBA_NUM_THREADS", given)
        with _environment.threads_of_the_import():
            default = str(numba.config.NUMBA_DEFAULT_NUM_THREADS)
            assert (os.environ.get("NUMBA_NUM_THREADS") or default) == now
        assert os.environ.get("NUMBA_NUM_THREADS") == given


# ----------------------------------------------------------------------------------------- OpenMP
OPENMP = """
import ctypes, os
from importlib.util import find_spec
if {torch} == 1: import torch
if {asked}: torch.set_num_threads({asked})
import numba, numpy as np, fastdnn
from fastdnn.kernels import linear_forward
fastdnn.set_num_threads(2)
a = np.random.default_rng(0).normal(size=(500, 500))
linear_forward(a, a, None)
model = fastdnn.Sequential([fastdnn.Dense(200), fastdnn.Dense(1)])
model.compile()
model.fit(a, a[:, 0], batch_size=250, verbose=0)
if {torch} == 2: import torch
runtime = ctypes.CDLL(find_spec("numba.np.ufunc.omppool").origin)
print(torch.get_num_threads() if {torch} else runtime.omp_get_max_threads(),
    runtime.omp_get_max_active_levels(), numba.threading_layer(), len(numba_threads()) == 2)
"""
COUNTED = """
import numba, numpy
@numba.njit(parallel=True)
def fill(x):
    for i in numba.prange(x.size):
        x[i] = numba.np.ufunc.parallel.get_thread_id()
def numba_threads():
    numba.set_num_threads(2)
    x = numpy.zeros(100)
    fill(x)
    return set(x.tolist())
"""


@linux
@pytest.mark.parametrize("layer", ["default", pytest.param("workqueue", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("imported", ["never", "before", "after"])
def test_others_keep_their_number_of_threads(layer: str, imported: str) -> None:
    when = {"never": 0, "before": 1, "after": 2}[imported]
    if when:
        pytest.importorskip("torch", reason="PyTorch shares the OpenMP runtime")
    program = COUNTED.replace("import numba, numpy", "") + OPENMP.format(torch=when, asked=0)
    program = "import numpy\n" + program.replace("@numba", "import numba\n@numba", 1)
    variables = {"NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer, "OMP_NUM_THREADS": "1"}
    count, levels, _, both = run_python(program, variables).split()
    assert (count, levels) == ("1", "1")
    assert both == "True", "numba's own loops have their threads"


@linux
def test_what_a_user_asked_pytorch_for_stays() -> None:
    pytest.importorskip("torch", reason="PyTorch shares the OpenMP runtime")
    program = "import numpy\nimport numba" + COUNTED.replace("import numba, numpy", "")
    program += OPENMP.format(torch=1, asked=1)
    variables = {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": None, "NUMBA_THREADING_LAYER": None}
    assert run_python(program, variables).split()[0] == "1"


# -------------------------------------------------------------------------------------------- TBB
@pytest.mark.parametrize("layer", ["tbb", "safe", "default", "omp", "workqueue"])
def test_tbb_of_pip_is_loaded_where_it_is_wanted(
    layer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pip puts it where the loader does not look: two folders above the packages."""
    packages, library = tmp_path / "lib/python/site-packages", tmp_path / "lib/libtbb.so.12"
    folder = packages / "tbb-2023.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tbb\nVersion: 2023.0\n")
    (folder / "RECORD").write_text("../../libtbb.so,,\n../../libtbb.so.12,,\n")
    library.touch()
    loaded: list[str] = []
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setattr(_environment.ctypes, "CDLL", lambda path, mode: loaded.append(path))
    monkeypatch.setattr(_environment.config, "THREADING_LAYER", layer)
    _environment.load_tbb()
    assert loaded == ([str(library)] if layer in ("tbb", "safe") else [])
    library.unlink()
    assert _environment.tbb_of_pip() is None
