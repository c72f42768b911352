"""What the kernels run on, and compiling them all ahead of time."""

from __future__ import annotations

import platform

import llvmlite.binding as llvm
import numba
import numpy as np

from .compiler import jit
from .compiler.compiling import block
from .cpu import targets, threads
from .elementwise.losses import SPARES
from .layers.operation_table import LEAVES
from .parallel import entry

# what is compiled for who chooses it
_CHOSEN = (*SPARES, *(leaf for leaves in LEAVES.values() for leaf in leaves.values()))


def warmup() -> None:
    """Compile every kernel for both dtypes, or read it from the cache: for container builds."""
    with block(_work_left):
        for _ in entry.warmup():
            pass
        for one in _CHOSEN:
            for kind in jit.FLOATS.values():
                one.load(kind)


def _work_left() -> float:
    """Return all that is to be compiled."""
    kinds, parts = jit.FLOATS.values(), (*jit.LEAVES, *_CHOSEN)
    leaves = sum(one.work_left(kind) for one in parts for kind in kinds)
    return leaves + sum(one.own_work_left(dtype) for one in entry.ENTRIES for dtype in jit.FLOATS)


def info() -> dict[str, str | int]:
    """Versions, CPU, vector width, threads, numba's threading layer and the cache of compiled code.

    Returns
    -------
    dict of str to str or int
    """
    target = targets.host()
    folder = jit.cache_folder()
    files = [] if folder is None else list(folder.glob("*.nbc"))
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "cpu": llvm.get_host_cpu_name(),
        "kernels for": target.name,
        "vector bits": target.bits,
        "threads": threads.get_num_threads(),
        "cpus": threads.available_cpus(),
        "threading layer": _threading_layer(),
        "cache folder": "none that can be written" if folder is None else str(folder),
        "cache files": len(files),
        "cache bytes": sum(file.stat().st_size for file in files),
    }


def _threading_layer() -> str:
    """Return the library of numba's threads; the first parallel function chooses it."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        entry.ENTRIES[0].starter(np.dtype(np.float32))  # any of them
        return str(numba.threading_layer())
