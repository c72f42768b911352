"""A user without a name, a home and a folder to write to; caches that are read-only, cut or killed.

Nightly, everything is compiled as such a user, which takes minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.compiler import jit
from tests import tiers
from tests.kernels.common import start_python

NOBODY = 54321  # a user id without a name
KILLS = tiers.times(1, 200)
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can become a user without a name, by util-linux' setpriv",
)


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that every user can read: pytest's own are its user's."""
    folder = Path(tempfile.mkdtemp(prefix="fastdnn-test-"))
    folder.chmod(0o755)
    yield folder
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o755)
    shutil.rmtree(folder)


def package(top: Path, *, warm: bool) -> Path:
    """A copy of the package that nobody may write, with the compiled code or without."""
    site = top / "site"
    shutil.copytree(
        Path(fastdnn.__file__).parent,
        site / "fastdnn",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    beside = site / "fastdnn" / "kernels" / "__pycache__"
    beside.mkdir()
    for folder in jit.cache_folders() if warm else ():
        for file in folder.glob("*.nbc"):
            shutil.copy(file, beside)
    close(site)
    return site


def close(folder: Path) -> None:
    """Take from everybody the right to write there."""
    for one in (*folder.rglob("*"), folder):
        one.chmod(stat.S_IMODE(one.stat().st_mode) & 0o555)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """What there is in a folder, with its sizes and times."""
    found = [(path, path.stat()) for path in folder.rglob("*")]
    return {str(path): (of.st_size, of.st_mtime_ns) for path, of in found}


def run(
    arguments: Sequence[str | Path], site: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python as the user without a name, who may read everything and write next to nothing."""
    read = "+dac_read_search"  # the interpreter may lie in root's home
    rights = ["--inh-caps", f"-all,{read}", "--ambient-caps", f"-all,{read}"]
    user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *rights]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    elsewhere = {"TMPDIR": "/proc", "PYTHONPATH": str(site), "NUMBA_NUM_THREADS": "2"}
    return subprocess.run(
        [*user, sys.executable, *map(str, arguments)],
        env={**kept, **elsewhere, **(variables or {})},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )


TRAIN = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np, fastdnn
    X = np.arange(40.0).reshape(10, 4) / 40
    model = fastdnn.Sequential([fastdnn.Dense(3, "tanh"), fastdnn.Dense(1)], seed=0)
    model.compile("adam", "mse")
    model.fit(X, X[:, 0], epochs=2, verbose=0)  # here
    found = model.predict(X).tolist()
told = [(str(one.message), one.filename, one.lineno) for one in caught]
print(json.dumps([found, told]))
"""
TRIPLE = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numba, numpy as np
    from fastdnn.kernels.compiler import jit
    def triple(x):
        for i in range(x.size):
            x[i] = 3 * x[i]
    found = []
    for of in (numba.float32, numba.float64):
        x = np.arange(3.0).astype(str(of))
        jit.compile_cached(triple, (jit.vector(of),)).entry_point(x)  # here
        found.append(x.tolist())
told = [(str(one.message), one.filename, one.lineno) for one in caught]
print(json.dumps([found, told]))
"""
TRIPLES = [[0.0, 3.0, 6.0]] * 2


def program(top: Path, text: str) -> Path:
    """A user's script."""
    path = top / "user.py"
    path.write_text(text.lstrip())
    path.chmod(0o644)
    return path


def line_of(path: Path) -> int:
    """Where the script calls fastdnn."""
    lines = path.read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if line.endswith("# here"))


def check_told(told: list[Any], script: Path) -> None:
    """One warning, with the variable's name, at the user's line."""
    ((message, filename, line),) = told
    assert "Set NUMBA_CACHE_DIR to a writable folder" in message
    assert (filename, line) == (str(script), line_of(script))


def expected() -> list[Any]:
    """What `TRAIN` predicts; all that it needs is compiled then."""
    scope: dict[str, Any] = {}
    exec(TRAIN.replace("print(", "("), scope)
    return list(scope["found"])


# ------------------------------------------------------------------------------ read-only packages
@as_root
def test_compiled_code_that_may_only_be_read_is_used(top: Path) -> None:
    wanted = expected()
    site = package(top, warm=True)
    before = files(site)
    done = run([program(top, TRAIN)], site)
    found, told = json.loads(done.stdout)
    assert told == []
    assert "compiling" not in done.stderr
    np.testing.assert_array_equal(found, wanted)
    assert files(site) == before


@as_root
def test_without_compiled_code_it_works_and_warns_once_at_the_users_line(top: Path) -> None:
    site, script = package(top, warm=False), program(top, TRIPLE)
    before = files(top)
    for home in ({}, {"HOME": "/nonexistent"}):
        found, told = json.loads(run([script], site, home).stdout)
        assert found == TRIPLES
        check_told(told, script)
    assert files(top) == before


@as_root
def test_a_cache_of_the_users_choice(top: Path) -> None:
    site, script, cache = package(top, warm=False), program(top, TRIPLE), top / "cache"
    cache.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    variables = {"NUMBA_CACHE_DIR": str(cache)}
    assert json.loads(run([script], site, variables).stdout) == [TRIPLES, []]
    close(cache)
    before = files(cache)
    assert len([name for name in before if name.endswith(".nbc")]) >= 2
    script.write_text(
        f"import numba.core.compiler as c\nc.compile_extra = None\n{script.read_text()}"
    )
    assert json.loads(run([script], site, variables).stdout) == [TRIPLES, []]
    assert files(cache) == before


@as_root
@pytest.mark.nightly
def test_training_cold_and_after_a_warmup(top: Path) -> None:
    wanted = expected()
    site, script, cache = package(top, warm=False), program(top, TRAIN), top / "cache"
    found, told = json.loads(run([script], site).stdout)
    np.testing.assert_array_equal(found, wanted)
    check_told(told, script)
    cache.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    variables = {"NUMBA_CACHE_DIR": str(cache)}
    run(["-m", "fastdnn", "warmup"], site, variables)
    close(cache)
    before = files(cache)
    done = run([script], site, variables)
    found, told = json.loads(done.stdout)
    np.testing.assert_array_equal(found, wanted)
    assert told == []
    assert "compiling" not in done.stderr
    assert files(cache) == before


# ----------------------------------------------------------------------------- killed and cut
def test_processes_killed_while_they_compile_and_files_cut_in_half(tmp_path: Path) -> None:
    cache = tmp_path / "fastdnn"

    def start() -> subprocess.Popen[str]:
        return start_python(TRIPLE, {"NUMBA_CACHE_DIR": str(tmp_path)})

    def result() -> Any:
        process = start()
        out, err = process.communicate()
        assert process.returncode == 0, err
        return json.loads(out)

    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "big"))
    for _ in range(KILLS):
        process = start()
        time.sleep(rng.uniform(0.5, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for file in cache.glob("*"):
            if rng.random() < 0.5:
                os.truncate(file, file.stat().st_size // 2)
    assert result() == [TRIPLES, []]
    for file in cache.glob("*"):
        os.truncate(file, file.stat().st_size // 2)
    assert result() == [TRIPLES, []]
    whole = files(cache)
    assert result() == [TRIPLES, []]  # they are whole again, and stay
    assert files(cache) == whole
