"""What Python calls: a kernel that every rank of a team runs, inside one parallel region.

An `Entry` is two compiled functions. The kernel itself is serial code. A small ``parallel=True``
function starts the ranks, and calls the kernel by its address in each. That keeps the large kernel
out of the wrappers that numba makes around a parallel loop, each of which would compile all of it
again, and a forked child, which may start no threads, can call the kernel alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from fastdnn.kernels.base.forks import Lock
from fastdnn.kernels.compiler.compiling import block, quietly, work_of
from fastdnn.kernels.compiler.jit import (
    FLOATS,
    LEAVES,
    compile_cached,
    is_cached,
    kernel,
    load_leaves,
    part_name,
    vector,
    work_left,
)

from ._helper import helper, is_possible
from .team import barrier, join, team_size

_RANK = (types.int64, types.int64, vector(types.int64))  # rank, n_ranks, team
_NO_TEAM = np.zeros(team_size(1), np.int64)  # one rank never waits, and writes nothing here
_STARTED = (types.int64, types.intp, vector(types.int64))  # n_ranks, address, team
_lock = Lock()
_cold_start = Lock()  # threads that come later find the leaves loaded, and start no second helper
_import_pid = os.getpid()
_layer_is_safe = False


class _Compiled(NamedTuple):
    alone: Callable[..., None]
    address: int  # of the kernel
    kernel: Any  # owns the code at that address


class Entry:
    """A kernel that Python calls.

    Parameters
    ----------
    function : callable
        What one rank does: ``function(rank, n_ranks, team, *arguments)``; `team` is for `barrier`.
    signature : callable
        Maps a numba float type to the types of the arguments.
    large : bool
        Whether it takes as long to compile as all leaves do: then a second process compiles it.
    """

    def __init__(
        self,
        function: Callable[..., None],
        signature: Callable[[Any], tuple[Any, ...]],
        *,
        large: bool = False,
    ) -> None:
        self.function = function
        self.place = function.__module__, function.__name__  # where a second process finds it
        self.signature = signature
        self._large = large
        self._compiled: dict[np.dtype[Any], _Compiled] = {}
        self._starters: dict[np.dtype[Any], Callable[..., None]] = {}
        self._compiling = Lock()
        self.__doc__ = function.__doc__
        ENTRIES.append(self)

    def compile(self, dtype: DTypeLike, n_ranks: int = 1) -> _Compiled:
        """Compile for `dtype`, or read what the cache has; for several ranks, what starts them."""
        key = np.dtype(dtype)
        with block(lambda: self._work_left(key, n_ranks)):
            compiled = self._compiled_for(key)
            if n_ranks > 1:
                self.starter(key)
        return compiled

    def is_compiled(self, dtype: np.dtype[Any]) -> bool:
        """Return whether `compile` has been called for `dtype`."""
        return dtype in self._compiled

    def lacks_leaves(self, dtype: np.dtype[Any]) -> bool:
        """Return whether `compile` has leaves to compile first, which takes many seconds."""
        return dtype not in self._compiled and _leaves_left(dtype) > 0

    def own_work_left(self, dtype: np.dtype[Any], n_ranks: int = 2) -> float:
        """Return what `compile` has to do, as `compiling` counts it, beside the leaves."""
        work = 0.0 if dtype in self._compiled else work_left(self.function, self._types(dtype))
        if n_ranks > 1 and dtype not in self._starters:
            work += work_left(*self._start(dtype))
        return work

    def _work_left(self, dtype: np.dtype[Any], n_ranks: int) -> float:
        """Return all that `compile` has to do, without what a second process does meanwhile."""
        own = self.own_work_left(dtype, n_ranks)
        if dtype in self._compiled:
            return own
        leaves, large = _leaves_left(dtype), _large_entries(dtype)
        helped = sum(work_of(part_name(one.function)) for one in large)
        if not helped or not is_possible():
            return leaves + own
        if self in large:
            own -= work_of(part_name(self.function))
        return max(leaves, helped) + own

    def _compiled_for(self, key: np.dtype[Any]) -> _Compiled:
        if key not in self._compiled:
            with self._compiling:
                if key not in self._compiled:
                    self._compiled[key] = self._compile(key)
        return self._compiled[key]

    def _types(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return *_RANK, *self.signature(FLOATS[dtype])

    def _compile(self, dtype: np.dtype[Any]) -> _Compiled:
        with _cold_start, helper([one.place for one in _large_entries(dtype)], dtype.name):
            load_leaves(FLOATS[dtype])
        work = compile_cached(self.function, self._types(dtype))
        address = work.library.get_pointer_to_function(work.fndesc.llvm_func_name)
        return _Compiled(work.entry_point, address, work)

    def compile_for_cache(self, dtype: DTypeLike) -> None:
        """Have the cache filled by a process that will not run the code."""
        key = np.dtype(dtype)
        for leaf in LEAVES:
            leaf.promise(FLOATS[key])
        with quietly():
            compile_cached(self.function, self._types(key))

    def starter(self, dtype: np.dtype[Any]) -> Callable[..., None]:
        """Return what starts several ranks; it is compiled when it is asked for."""
        if dtype not in self._starters:
            with self._compiling:
                if dtype not in self._starters:
                    start = compile_cached(*self._start(dtype), parallel=True)
                    self._starters[dtype] = start.entry_point
        return self._starters[dtype]

    def _start(self, dtype: np.dtype[Any]) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Return what starts the ranks, and the types of its parameters."""
        arguments = types.Tuple(self.signature(FLOATS[dtype]))
        return _starter(arguments), (*_STARTED, arguments)

    def __call__(self, dtype: np.dtype[Any], n_ranks: int, *arguments: Any) -> None:
        """Run with `n_ranks` ranks, each on its own thread, or as many as numba has threads.

        GNU OpenMP ends a forked child at its first parallel call, so a child works as one rank.
        Numba's ``workqueue`` layer ends the process when two Python threads call it at once, so
        calls wait for each other until another layer is known to be in use.
        """
        global _layer_is_safe
        if n_ranks > 1:
            is_child = os.getpid() != _import_pid
            n_ranks = 1 if is_child else min(n_ranks, int(numba.config.NUMBA_NUM_THREADS))
        compiled = self._compiled.get(dtype) or self.compile(dtype, n_ranks)
        if n_ranks == 1:
            compiled.alone(0, 1, _NO_TEAM, *arguments)
            return
        start = self._starters.get(dtype) or self.starter(dtype)
        team = np.zeros(team_size(n_ranks), np.int64)
        before = numba.get_num_threads()
        try:
            numba.set_num_threads(n_ranks)
            if _layer_is_safe:
                start(n_ranks, compiled.address, team, arguments)
            else:
                with _lock:
                    start(n_ranks, compiled.address, team, arguments)
                _layer_is_safe = numba.threading_layer() != "workqueue"
        finally:
            numba.set_num_threads(before)


def call_stored(
    context: Any, builder: Any, address: Any, rank: list[Any], place: Any, arguments: types.Tuple
) -> None:
    """Emit the call of a kernel by its address: `rank` is given, its arguments lie at `place`."""
    parameters = (*_RANK, *arguments)
    function = context.call_conv.get_function_type(types.none, parameters)
    stored = context.get_value_type(arguments).as_pointer()
    values = cgutils.unpack_tuple(builder, builder.load(builder.inttoptr(place, stored)))
    function = builder.inttoptr(address, function.as_pointer())
    context.call_conv.call_function(builder, function, types.none, parameters, [*rank, *values])


def _starter(arguments: types.Tuple) -> Callable[..., None]:
    """Return the parallel function for kernels that take these arguments.

    Numba's parallel loops take no tuples, so the ranks find the arguments where the function has
    put them on its stack.
    """

    @intrinsic
    def put_on_stack(typing: Any, values: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.ptrtoint(cgutils.alloca_once_value(builder, given[0]), cgutils.intp_t)

        return types.intp(arguments), emit

    @intrinsic
    def call_address(
        typing: Any, address: Any, rank: Any, n_ranks: Any, team: Any, place: Any
    ) -> Any:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            address, *rank, place = given
            call_stored(context, builder, address, rank, place, arguments)
            return context.get_dummy_value()

        return types.void(types.intp, *_RANK, types.intp), emit

    @kernel
    def call(address, rank, n_ranks, team, place):  # a parallel loop loses an intrinsic's types
        call_address(address, rank, n_ranks, team, place)

    def start(n_ranks, address, team, arguments):
        place = put_on_stack(arguments)
        for i in prange(n_ranks):
            size = join(team, n_ranks)
            number = np.int64(i) if size > 1 else 0
            if size > 0:
                call(address, number, size, team, place)
                # who ends the parallel loop before others would soon sleep, and have to be woken
                barrier(team, size, number)

    return start


ENTRIES: list[Entry] = []


def _leaves_left(dtype: np.dtype[Any]) -> float:
    return sum(one.work_left(FLOATS[dtype]) for one in LEAVES)


def _large_entries(dtype: np.dtype[Any]) -> list[Entry]:
    """Return the large entries that a cold start has to compile beside the leaves."""
    if all(leaf.is_loaded(FLOATS[dtype]) for leaf in LEAVES):
        return []
    return [one for one in ENTRIES if one._large and not is_cached(one.function, one._types(dtype))]


def entry(
    signature: Callable[[Any], tuple[Any, ...]], *, large: bool = False
) -> Callable[[Callable[..., None]], Entry]:
    """Decorate a kernel as an `Entry`."""
    return partial(Entry, signature=signature, large=large)


def warmup() -> Iterator[str]:
    """Compile every entry for both dtypes, one at a time, saying which."""
    for one in ENTRIES:
        for dtype in FLOATS:
            one.compile(dtype)
            one.starter(np.dtype(dtype))
            yield f"{part_name(one.function)} {dtype}"
