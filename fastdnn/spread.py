"""Work in the processes of a backend of joblib's: Dask's and Ray's on many machines, or loky's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")
SHARES = 2  # for each worker, so that one that is quick may take more than another


def active_backend() -> tuple[Any, bool]:
    """Return joblib's backend, and whether the user has chosen it, or how many jobs it has.

    They do by ``joblib.parallel_config("dask")`` and its like.
    """
    from joblib.parallel import DEFAULT_BACKEND, get_active_backend

    backend, n_jobs = get_active_backend()
    is_default = type(backend).__name__.lower() == f"{DEFAULT_BACKEND}backend"
    return backend, not is_default or n_jobs not in (None, 1)


def chosen_backend() -> Any:
    """Return joblib's backend if the user has chosen one with processes, else None."""
    if "joblib" not in sys.modules:  # it takes a while to import, and then nobody has chosen
        return None
    backend, is_chosen = active_backend()
    return backend if is_chosen and not getattr(backend, "supports_sharedmem", False) else None


def split(costs: Sequence[int]) -> list[list[int]]:
    """Return shares of the work, as numbers into `costs`, about equally costly."""
    from joblib import effective_n_jobs

    count = min(SHARES * effective_n_jobs(None), len(costs))
    shares: list[list[int]] = [[] for _ in range(count)]
    least = [(0, number) for number in range(count)]
    for i in sorted(range(len(costs)), key=costs.__getitem__, reverse=True):
        cost, number = heappop(least)
        shares[number].append(i)
        heappush(least, (cost + costs[i], number))
    return shares


def run(
    function: Callable[[Given], Result], given: Sequence[Given], backend: Any
) -> Iterator[Result]:
    """Call the function with each of these by the chosen backend; yield results as they come.

    Raises
    ------
    Exception
        What a call raises.
    """
    from joblib import Parallel, delayed

    # Ray's pool gives all at the end
    streams = backend.supports_return_generator and backend.supports_retrieve_callback
    parallel = Parallel(return_as="generator_unordered" if streams else "list")
    yield from parallel(delayed(function)(one) for one in given)
