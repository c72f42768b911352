"""What the kernels' tests share: layouts, error bounds, compiled test programs, other processes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdnn
from fastdnn.kernels import ACTIVATIONS
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.parallel.entry import ENTRIES, Entry, entry
from fastdnn.kernels.parallel.team import team_size
from tests import naive

Array: TypeAlias = NDArray[Any]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
RANKS = (1, 2, 3, 4)
ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------------------------------- layouts
def _strided(x: Array) -> Array:
    other = np.nan if x.dtype.kind == "f" else 1
    big = np.full((2 * x.shape[0] + 1, 3 * x.shape[1] + 1), other, x.dtype)
    view = big[1::2, 1::3]
    view[...] = x
    return view


def _read_only(x: Array) -> Array:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def _unaligned(x: Array) -> Array:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _field(x: Array) -> Array:
    records = np.zeros(x.shape, [("number", np.int8), ("value", x.dtype)])
    records["value"] = x
    return records["value"]


# name: the same values in another order in memory, with NaN around them where there is room
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "strided Fortran": lambda x: _strided(x.T).T,
    "rows backwards": lambda x: x[::-1].copy()[::-1],
    "all backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "strided backwards": lambda x: _strided(x[:, ::-1])[:, ::-1],
    "read-only": _read_only,
    "unaligned": _unaligned,
    "field of records": _field,
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def nan(*shape: int, dtype: Any) -> Array:
    """An output that must be overwritten, not added to."""
    return np.full(shape, np.nan, dtype)


def draw(seed: int, *shape: int, dtype: Any = np.float64) -> Array:
    """Normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def at_the_end_of_memory(x: Array) -> Array:
    """A copy of `x` with a page behind it that nobody may read; for a process of its own."""
    size = -(-max(x.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    closed = ctypes.CDLL(None, use_errno=True).mprotect(
        ctypes.c_void_p(begin + size), ctypes.c_size_t(mmap.PAGESIZE), 0
    )
    assert closed == 0, os.strerror(ctypes.get_errno())
    copy = np.frombuffer(pages, x.dtype, x.size, size - x.nbytes).reshape(x.shape)
    copy[...] = x
    return copy


# ----------------------------------------------------------------------------------- error bounds
def unit(dtype: Any) -> float:
    """Half a unit in the last place of 1: the largest relative error of one rounding."""
    return float(np.finfo(dtype).eps) / 2


def roundings(count: Any, dtype: Any) -> Any:
    """The relative error of `count` roundings in dtype, and of as many in naive's float64."""
    one = count * unit(dtype)
    return one / (1 - one) + count * unit(np.float64)


def product_bound(a: Array, b: Array, dtype: Any, more: int = 0) -> Array:
    """|A B - exact| <= k eps |A| |B|, with `more` roundings after the product."""
    a, b = np.abs(a).astype(np.float64), np.abs(b).astype(np.float64)
    bound: Array = roundings(a.shape[1] + more, dtype) * (a @ b)
    return bound


# An activation or its derivative takes at most so many roundings: a library function may err by a
# whole unit in the last place (two roundings), and of sums like 1 - a^2 the error is relative to 1.
OPERATIONS = 8
# The largest |g'| of an elementwise activation but exp, a little rounded up: gelu's, if no other's.
_Z = np.linspace(-20, 20, 40_001)[None]
STEEPEST = 1.001 * max(
    float(np.abs(naive.ACTIVATIONS[name][1](np.ones_like(_Z), _Z)).max())
    for name, entry in ACTIVATIONS.items()
    if not entry.whole_row and name != "exponential"
)


def activation_bound(name: str, A: Array, dZ: Array | float, dtype: Any) -> Array:
    """|g(Z + dZ) - g(Z)| where it is computed in dtype."""
    error = np.broadcast_to(dZ, A.shape)
    if name in ("identity", "relu"):
        return error
    if name == "softmax":  # the sum of n terms, and 2 a_j max |dZ| to first order
        relative = roundings(len(A) + OPERATIONS, dtype) + 3 * error.max(axis=0, initial=0)
        return np.asarray(A * relative)
    if name == "exponential":  # to first order its slope is A; a rounded Z may be larger
        return np.asarray(A * (roundings(OPERATIONS, dtype) + 2 * error))
    return np.asarray(roundings(OPERATIONS, dtype) * (1 + np.abs(A)) + STEEPEST * error)


def derivative_bound(name: str, dA: Array, Z: Array, dtype: Any) -> Array:
    """The error of dA * g'(Z) where g' is computed in dtype from a rounded Z or A."""
    count: Any = 2.0 * OPERATIONS
    size = np.abs(dA)
    if name == "identity":
        count = 0.0
    elif name == "softmax":
        A = naive.softmax(Z)
        count += len(A)
        size = A * (size + (size * A).sum(axis=0))
    elif name == "exponential":
        # from an A that is rounded to a denormal number, or to 0
        denormal = 2 * np.finfo(dtype).smallest_subnormal * size
        return np.asarray(roundings(count, dtype) * size * np.exp(Z) + denormal)
    return np.asarray(roundings(count, dtype) * size)


def assert_within(got: Array, wanted: Array, bound: Array | float) -> None:
    """Every element is `wanted` up to `bound`, and NaN and infinite where `wanted` is."""
    assert got.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(got[~finite], wanted[~finite])
    error = np.abs(np.where(finite, got, 0).astype(np.float64) - np.where(finite, wanted, 0))
    # near 0 roundings are absolute
    allowed = np.where(finite, bound, 0) + OPERATIONS * np.finfo(got.dtype).smallest_subnormal
    worst = np.unravel_index(np.argmax(error - allowed), got.shape) if got.size else None
    assert worst is None or error[worst] <= allowed[worst], (
        f"at {worst}: got {got[worst]}, want {wanted[worst]}, allowed {allowed[worst]}"
    )


# Roundings are of either sign: of the n of a sum some sqrt(n) remain (Higham and Mary 2019). Few
# sums here have more than 4096 terms, and each result comes from sums of three kinds: Z, dA and dW.
# The largest errors seen are 22 roundings, 29 without FMA; other tiles and vectors have room.
ROUNDINGS = 3 * 64
VACUOUS = 0.01  # of the largest number: so large a bound lets wrong results pass


def assert_near(
    got: Array | float, wanted: Array | float, dtype: Any, *, size: float = 0.0, more: float = 0.0
) -> None:
    """Every element is `wanted` up to `ROUNDINGS` of the largest, or of `size`, and `more`."""
    given, right = np.atleast_1d(got), np.atleast_1d(wanted)
    largest = float(np.abs(right).max())
    bound = roundings(ROUNDINGS, dtype) * max(size, largest) + more
    assert largest == 0 or bound < VACUOUS * largest, f"a bound of {bound} says nothing"
    assert_within(given, right, bound)


# -------------------------------------------------------------------------------- compiled programs
def compiled(
    signature: Callable[[Any], tuple[Any, ...]],
) -> Callable[[Callable[..., None]], Entry]:
    """Decorate an entry of a test's own.

    Like the kernels' entries it is kept on disk. The kernels' sources are part of its name in the
    cache; here the test file's own text joins them.
    """

    def decorate(function: Callable[..., None]) -> Entry:
        text = Path(function.__code__.co_filename).read_bytes()
        function.__name__ += "_" + hashlib.sha256(text).hexdigest()[:16]
        made = entry(signature)(function)
        ENTRIES.remove(made)  # warmup() is for the library's own
        return made

    return decorate


def run_python(
    program: str, variables: Mapping[str, str | None] | None = None, *, root: Path = ROOT
) -> str:
    """What `program` prints in a new process; None takes a variable out of its environment."""
    run = start_python(program, variables, root=root)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, f"exit status {run.returncode}\n{out}\n{err}"
    return out


def start_python(
    program: str, variables: Mapping[str, str | None] | None = None, *, root: Path = ROOT
) -> subprocess.Popen[str]:
    """A new process that runs `program` with the fastdnn that is below `root`."""
    given = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)]),
        **(variables or {}),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={name: value for name, value in given.items() if value is not None},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def for_each_count(run: Callable[[], Array]) -> list[bytes]:
    """The bits of what `run` returns, for 1, 2, 3 and 4 threads."""
    bits = []
    for n in RANKS:
        with fastdnn.num_threads(n):
            bits.append(run().tobytes())
    return bits


def team_after(one: Entry, dtype: Any, n_ranks: int, *arguments: Any) -> Array:
    """Call an entry; returns its team as the ranks have left it (zeros where one rank has none)."""
    start, teams = one.starter(dtype), [np.zeros(team_size(1), np.int64)]

    def kept(n: int, address: int, team: Array, given: Any) -> None:
        start(n, address, team, given)
        teams.append(team)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(one._starters, dtype, kept)
        one(dtype, n_ranks, *arguments)
    return teams[-1]


def use_folders(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Keep compiled code in the first of these that can be written."""
    monkeypatch.setattr(jit, "cache_folders", lambda: folders)
    again = functools.cache(jit.cache_folder.__wrapped__)  # it finds the folder anew
    monkeypatch.setattr(jit, "cache_folder", again)
