"""How many threads work: the CPUs that this process may use, unless the user says otherwise."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from operator import index

import numba

from . import cgroup

SHARED_FLOPS = 200_000  # fewer, from one barrier to the next, are not worth sharing
AWAKE_FLOPS = 16_000_000  # as many are done before a second thread is awake
ELEMENT_FLOPS = 32  # take about as long as an element of X or A that is read, or g of it
_threads: int | None = None
_own = threading.local()  # `threads`: what `num_threads` says in this Python thread; `runs`: depth
_runs = 0  # Python threads that train at present
_counting = threading.Lock()


def available_cpus() -> int:
    """The CPUs that this process may use: its affinity, and its container's quota.

    Numba reads the affinity only; in a container with a quota below it, threads would wait for each
    other.
    """
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cpus = os.cpu_count() or 1
    return int(max(min(cpus, _quota()), 1))


@cache
def _quota() -> float:
    """The CPUs of the container's quota; reading it takes as long as a small network's step."""
    return cgroup.quota()


def get_num_threads() -> int:
    """The number of threads that fastdnn's kernels use.

    Returns
    -------
    int
        What `set_num_threads` was given last; before that, the CPUs that the process may use. At
        most as many as numba has.
    """
    own: int | None = getattr(_own, "threads", None)
    wanted = own or _threads or available_cpus()
    return min(wanted, int(numba.config.NUMBA_NUM_THREADS))


def workers(flops: int, of_call: int | None = None) -> int:
    """How many ranks to start: `get_num_threads`, as far as it is worth it.

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
    return count if _runs < 2 else min(count, max(available_cpus() // _runs, 1))


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
    _threads = _checked(n)


def _checked(n: int) -> int:
    """Return `n` as a positive integer."""
    try:
        number = index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool):
        raise TypeError(f"n: want an integer number of threads, got {n!r}")
    n = number
    if n < 1:
        raise ValueError(f"n: want at least 1 thread, got {n}")
    return n


@contextmanager
def num_threads(n: int, *, blas: bool = False) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this Python thread; afterwards, as before.

    Parameters
    ----------
    n : int
        As `set_num_threads` takes it.
    blas : bool
        Limit the BLAS and OpenMP libraries of the process too (NumPy's and SciPy's products,
        scikit-learn), in all of its threads: for preprocessing and scores beside a training.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer.
    """
    before = getattr(_own, "threads", None)
    _own.threads = _checked(n)
    limits = nullcontext()
    if blas:
        from threadpoolctl import threadpool_limits  # scikit-learn needs it too

        limits = threadpool_limits(n)
    try:
        with limits:
            yield
    finally:
        _own.threads = before


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
    """Forget the parent's trainings: a forked child has none of its threads but one."""
    global _runs, _counting
    _runs, _counting = 0, threading.Lock()
    _own.runs = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_runs)
