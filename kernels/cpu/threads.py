"""How many threads work: the CPUs that this process may use, unless the user says otherwise."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from operator import index
from time import monotonic
from typing import Any

import numba

from fastdnn.kernels.base.forks import Lock

from . import cgroup

SHARED_FLOPS = 200_000  # fewer, from one barrier to the next, are not worth sharing
# as many are done before a second thread is awake: docs/measurements/2026-11-26-short-calls.md
AWAKE_FLOPS = 16_000_000
ELEMENT_FLOPS = 32  # take about as long as an element of X or A that is read, or g of it
QUOTA_SECONDS = 10.0  # from one look at a container's quota to the next: it may be changed
_threads: int | None = None
_AS_BEFORE = nullcontext()
_own = threading.local()  # `threads`: what `num_threads` says in this Python thread; `runs`: depth
_runs = 0  # Python threads that train at present
_counting = threading.Lock()


def available_cpus() -> int:
    """Return the CPUs that this process may use: its affinity, and its container's quota.

    Numba reads the affinity only; in a container with a quota below it, threads would wait for each
    other.
    """
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cpus = os.cpu_count() or 1
    return int(max(min(cpus, _quota(monotonic() // QUOTA_SECONDS)), 1))


@lru_cache(maxsize=1)
def _quota(period: float) -> float:
    """Return the CPUs of the container's quota, which takes a small network's step to read."""
    return cgroup.quota()


class Pool:
    """The Python threads that work side by side for one call, which has `n` threads in all.

    A member's native calls have its share of them: one each while there is work for all, and more
    when the others have run out of it.
    """

    def __init__(self, n: int) -> None:
        self._n, self._members = n, 0
        self._lock = threading.Lock()

    @property
    def share(self) -> int:
        """Return how many threads a member has now."""
        return max(self._n // max(self._members, 1), 1)

    @contextmanager
    def member(self) -> Iterator[None]:
        """Have the calling thread be one, inside a ``with`` block."""
        before = getattr(_own, "threads", None)
        self._count(1)
        _own.threads = self
        try:
            yield
        finally:
            _own.threads = before
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._members += more


def get_num_threads() -> int:
    """Return the number of threads that fastdnn's kernels use.

    Returns
    -------
    int
        What `set_num_threads` was given last; before that, the CPUs that the process may use. At
        most as many as numba has.
    """
    own: int | Pool | None = getattr(_own, "threads", None)
    wanted = own.share if isinstance(own, Pool) else own or _threads or available_cpus()
    return min(wanted, int(numba.config.NUMBA_NUM_THREADS))


def workers(flops: int, of_call: int | None = None) -> int:
    """Return how many ranks to start: `get_num_threads`, as far as it is worth it.

    Parameters
    ----------
    flops : int
        From one barrier to the next, or of the call.
    of_call : int, optional
        Of the whole call.
    """
    if flops < SHARED_FLOPS or (flops if of_call is None else of_call) < AWAKE_FLOPS:
        return 1
    count = get_num_threads()
    # those who train side by side share the CPUs: threads that wait for each other would take turns
    is_shared = _runs > 1 and not isinstance(getattr(_own, "threads", None), Pool)
    return min(count, max(available_cpus() // _runs, 1)) if is_shared else count


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, in all of the process; any `n` gives the same bits.

    A call that is over before a second thread would be awake uses one.

    Parameters
    ----------
    n : int
        At least 1. A greater number than numba has stands for that one: as many as there are CPUs,
        or what ``NUMBA_NUM_THREADS`` says in the environment when Python starts.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer.
    """
    global _threads
    _threads = _checked("n", n)


def _checked(name: str, n: int) -> int:
    """Return `n` as a positive integer."""
    try:
        number = index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool):
        raise TypeError(f"{name}: want an integer number of threads, got {n!r}")
    if number < 1:
        raise ValueError(f"{name}: want at least 1 thread, got {number}")
    return number


def of_call(n_threads: int | None) -> AbstractContextManager[None]:
    """Return what holds while a call works that was given `n_threads`; None: what held before.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.
    """
    return _AS_BEFORE if n_threads is None else num_threads(_checked("n_threads", n_threads))


@contextmanager
def num_threads(n: int, *, blas: bool = False) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this Python thread; afterwards, as before.

    Parameters
    ----------
    n : int
        As `set_num_threads` takes it.
    blas : bool
        Limit the BLAS and OpenMP libraries of the process too (NumPy's and SciPy's products,
        scikit-learn): for preprocessing and scores beside a training. A BLAS is limited in all
        threads of the process; of blocks in several threads at once, the least number holds.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer.
    """
    before = getattr(_own, "threads", None)
    _own.threads = _checked("n", n)
    try:
        with _blas_limit(_own.threads) if blas else _AS_BEFORE:
            yield
    finally:
        _own.threads = before


class _Limits:
    """The blocks that limit the BLAS: it has one number, which the last of them gives back."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.of_blocks: list[int] = []
        self._before: Any = None

    def set(self) -> None:
        """Have the least number hold, or without a block the one of before."""
        if self.of_blocks:
            made = _limited("blas", min(self.of_blocks))
            self._before = self._before or made
        elif self._before is not None:
            self._before.restore_original_limits()
            self._before = None


_limits = _Limits()


def _limited(kind: str, n: int) -> Any:
    """Limit the libraries of a kind, and no others, until the limit is lifted."""
    from threadpoolctl import ThreadpoolController  # scikit-learn needs it too

    return ThreadpoolController().select(user_api=kind).limit(limits=n)


@contextmanager
def _blas_limit(n: int) -> Iterator[None]:
    """Limit BLAS and OpenMP in a ``with`` block."""
    with _limited("openmp", n):  # a thread's own
        with _limits.lock:
            _limits.of_blocks.append(n)
            _limits.set()
        try:
            yield
        finally:
            with _limits.lock:
                _limits.of_blocks.remove(n)
                _limits.set()


@contextmanager
def run() -> Iterator[None]:
    """Count this Python thread among those that train, inside a ``with`` block."""
    depth = getattr(_own, "runs", 0)
    _own.runs = depth + 1
    _count(depth == 0)
    try:
        yield
    finally:
        _own.runs = depth
        _count(-(depth == 0))


def _count(more: int) -> None:
    global _runs
    with _counting:
        _runs += more


def _forget_runs() -> None:
    """Forget what other threads of the parent train: a forked child has none of them."""
    global _runs, _counting
    _runs, _counting = int(getattr(_own, "runs", 0) > 0), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_runs)
