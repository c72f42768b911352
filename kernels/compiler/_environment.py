"""What the compiler and its threads read of the process's environment, and what they change there.

What others of the process find is left as it was.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numba.core import config

_THREADS = "NUMBA_NUM_THREADS"
_NEED_TBB = "tbb", "safe"  # of numba's names of layers
_TBB = "libtbb.so.12", "libtbb.12.dylib"  # on Windows the loader finds it


@contextmanager
def to_compile(parallel: bool = False) -> Iterator[None]:
    """Have numba compile in a ``with`` block; `parallel` code starts its threads there."""
    _refuse_disabled()
    # Compiling makes millions of objects and hardly any cycles: looking for these is a tenth.
    enabled = gc.isenabled()
    gc.disable()
    try:
        with threads_of_the_import(), ExitStack() as stack:
            if parallel:
                load_tbb()
                stack.enter_context(short_spins())  # first: the other one loads OpenMP
                stack.enter_context(openmp_as_it_was())
            yield
    finally:
        if enabled:
            gc.enable()


def load_tbb() -> None:
    """Load TBB from where pip has put it, if numba has been told to use it.

    ``pip install tbb`` leaves the library in the environment's own folder, where the loader does
    not look: numba would raise an error. Which layer numba takes by default is left to it.
    """
    if str(config.THREADING_LAYER).lower() not in _NEED_TBB:
        return
    path = tbb_of_pip()
    if path is not None:
        with suppress(OSError):  # numba says what is missing
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def tbb_of_pip() -> Path | None:
    """Return where ``pip install tbb`` has put the library that numba loads, if it has."""
    from importlib.metadata import PackageNotFoundError, distribution  # takes a while

    try:
        files = distribution("tbb").files or []
    except PackageNotFoundError:
        return None
    found = [Path(str(one.locate())) for one in files if one.name in _TBB]
    return next((one.resolve() for one in found if one.exists()), None)


def _refuse_disabled() -> None:
    """Refuse to work where numba has been told to compile nothing."""
    if config.DISABLE_JIT:
        raise ValueError(
            "NUMBA_DISABLE_JIT: want 0, or the variable unset before Python starts, as fastdnn's "
            f"kernels run compiled only; got {os.environ.get('NUMBA_DISABLE_JIT', '1')}"
        )


def user_cache(variable: str, *below: str) -> Path | None:
    """Return the user's folder for caches: what the variable says, else one below the home folder.

    None where neither is known, as in a container whose user has no name. A relative path would be
    another folder in each working folder, so it does not count.
    """
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given
    try:
        return Path.home().joinpath(*below)
    except RuntimeError:
        return None


@contextmanager
def short_spins() -> Iterator[None]:
    """Have GNU OpenMP, where it is loaded now, let idle workers spin for some microseconds only.

    It reads the variable when it is loaded: by numba with the first parallel function. OpenBLAS's
    workers spin too, and a NumPy product between two calls would wait for both (8 ms instead of 0.3
    were measured). The variable does not stay: PyTorch, loaded later or in a process that inherits
    it, takes two to five times as long for small networks with it.
    """
    decided = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if not decided:
        os.environ["GOMP_SPINCOUNT"] = "100"
    try:
        yield
    finally:
        if not decided:
            os.environ.pop("GOMP_SPINCOUNT", None)


@contextmanager
def threads_of_the_import() -> Iterator[None]:
    """Have numba find the number of threads in the environment that it found when it was imported.

    It reads the variable anew whenever it compiles, and raises an error if its threads have started
    and their number is another one now.
    """
    given = os.environ.get(_THREADS)
    if (given or str(config.NUMBA_DEFAULT_NUM_THREADS)) == str(config.NUMBA_NUM_THREADS):
        yield
        return
    os.environ[_THREADS] = str(config.NUMBA_NUM_THREADS)
    try:
        yield
    finally:
        if given is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = given


@contextmanager
def openmp_as_it_was() -> Iterator[None]:
    """Leave OpenMP's settings as they were before numba started its threads in the block.

    Its ``omp`` layer sets how many threads a parallel loop has, and that loops may be nested, for
    all who share the runtime; PyTorch does. Its own loops say their number each time.
    """
    before = []
    for runtime in _openmp_runtimes():
        settings = runtime.omp_get_max_threads(), runtime.omp_get_max_active_levels()
        before.append((runtime, settings))
    try:
        yield
    finally:
        for runtime, (count, levels) in before:
            runtime.omp_set_num_threads(count)
            runtime.omp_set_max_active_levels(levels)


def _openmp_runtimes() -> list[Any]:
    """Those that numba's ``omp`` layer may call: its own, and one that all of the process sees."""
    if str(config.THREADING_LAYER).lower() in ("tbb", "workqueue"):
        return []
    runtimes = []
    spec = find_spec("numba.np.ufunc.omppool")
    for name in (None, None if spec is None else spec.origin):
        with suppress(OSError, AttributeError, TypeError):  # there is no such library
            library = ctypes.CDLL(name)
            for function in ("omp_get_max_threads", "omp_get_max_active_levels"):
                getattr(library, function).restype = ctypes.c_int
            runtimes.append(library)
    return runtimes
