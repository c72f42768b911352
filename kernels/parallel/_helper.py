"""A second process that shares a cold start: it compiles entries, while this one does the leaves.

Numba compiles with one thread, under a lock. The step's program and the leaves that it calls take
about as long as each other and know each other by names alone, so two processes need half the time.
What the helper made is read from the disk cache; where there is none, or only one CPU, or no
interpreter to start, or the helper fails, this process compiles all by itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fastdnn.kernels.compiler.jit import cache_folder
from fastdnn.kernels.cpu.threads import available_cpus

PATIENCE = 120  # seconds: ten times what it takes
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from importlib import import_module
for module, name in {entries!r}:
    getattr(import_module(module), name).compile_for_cache({dtype!r})
"""


@contextmanager
def helper(entries: Sequence[tuple[str, str]], dtype: str) -> Iterator[None]:
    """Have entries (module, name) compiled into the cache meanwhile; wait for that at the end."""
    process = _start(entries, dtype) if entries and is_possible() else None
    if process is None:
        yield
        return
    try:
        yield
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


def is_possible() -> bool:
    """Return whether a second process can help: it needs a CPU, a cache, an interpreter."""
    # in a frozen or an embedded program, `sys.executable` may be that program
    is_python = Path(sys.executable or "").stem.lower().startswith("python")
    frozen = getattr(sys, "frozen", False)
    return is_python and not frozen and available_cpus() > 1 and cache_folder() is not None


def _start(entries: Sequence[tuple[str, str]], dtype: str) -> subprocess.Popen[bytes] | None:
    program = _PROGRAM.format(path=sys.path, entries=list(entries), dtype=dtype)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError:  # no more processes, or none allowed
        return None
