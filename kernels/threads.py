"""How many threads work: the CPUs that this process may use, unless the user says otherwise."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from operator import index
from pathlib import Path

import numba

SHARED_FLOPS = 200_000  # fewer, from one barrier to the next, are not worth sharing
AWAKE_FLOPS = 16_000_000  # as many are done before a second thread is awake
ELEMENT_FLOPS = 32  # take about as long as an element of X or A that is read, or g of it
_threads: int | None = None
_own = threading.local()  # `threads`: what `num_threads` says in this Python thread; `runs`: depth
_runs = 0  # Python threads that train at present
_counting = threading.Lock()


def available_cpus() -> int:
    """The CPUs that this process may use: its affinity, and its container's quota (cgroup v2).

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
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return math.inf


def get_num_threads() -> int:
    """The number of threads that fastdnn's kernels use.

    Returns
    -------
    int
        What `set_num_threads` was given last; before that, the CPUs that the process may use (at
        most ``NUMBA_NUM_THREADS`` where that is set).
    """
    own: int | None = getattr(_own, "threads", None)
    if own is not None:
        return own
    if _threads is not None:
        return _threads
    return min(available_cpus(), int(numba.config.NUMBA_NUM_THREADS))


def workers(flops: int, of_call: int | None = None) -> int:
    """How many ranks to start: `get_num_threads`, as far as numba has them and it is worth it.

    Parameters
    ----------
    flops : int
        From one barrier to the next, or of the call.
    of_call : int, optional
        Of the whole call.
    """
    if flops < SHARED_FLOPS or (flops if of_call is None else of_call) < AWAKE_FLOPS:
        return 1
    count = min(get_num_threads(), int(numba.config.NUMBA_NUM_THREADS))
    # those who train side by side share the CPUs: threads that wait for each other would take turns
    return count if _runs < 2 else min(count, max(available_cpus() // _runs, 1))


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, in all of the process; any `n` gives the same bits.

    A call that is over before a second thread would be awake uses one.

    Parameters
    ----------
    n : int
        At least 1. No more are started than numba has: as many as there are CPUs, or what
        ``NUMBA_NUM_THREADS`` says in the environment when Python starts.

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
        n = index(n)
    except TypeError:
        raise TypeError(f"n: want an integer number of threads, got {n!r}") from None
    if n < 1:
        raise ValueError(f"n: want at least 1 thread, got {n}")
    return n


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this Python thread; afterwards, as before."""
    before = getattr(_own, "threads", None)
    _own.threads = _checked(n)
    try:
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
