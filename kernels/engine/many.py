"""Forward passes of many networks in one native call: each rank takes whole networks.

The compiled step is called by its address, with arguments that lie in memory: to it, each is a call
of one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import int64, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import address_of
from fastdnn.kernels.compiler.jit import kernel, vector
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.parallel.entry import call_stored, entry
from fastdnn.kernels.parallel.team import claim, team_size
from fastdnn.kernels.passes import step

from .calls import Arguments

_NO_TEAM = np.zeros(team_size(1), np.int64)  # of one rank, which waits for nobody
_NONE = np.empty(0)
_LIMIT = np.array(np.inf).view(np.int64).item()


class Pass(NamedTuple):
    """A forward pass of one network: the arguments of `step.run` with one rank."""

    arguments: Arguments
    x: NDArray[Any]
    outputs: NDArray[Any]
    losses: NDArray[np.float64]
    flops: int

    def words(self) -> list[int]:
        """Return the arguments as they lie in memory."""
        plan, addresses, _ = self.arguments
        found = [*_words(plan), *_words(addresses), _LIMIT]
        is_own = self.x.dtype == self.outputs.dtype
        xs = (self.x, _NONE) if is_own else (_NONE, self.x)
        for array in (*xs, self.outputs, self.losses):
            found += _words(array)
        return found


def _words(array: NDArray[Any]) -> list[int]:
    """An array as numba passes it: who owns it, its size, its address, its shape and stride."""
    size, item = array.size, array.itemsize
    return [0, 0, size, item, address_of(array), size, item]


@intrinsic
def _call(typing: Any, like: Any, address: Any, team: Any, place: Any) -> Any:
    """Call the step at an address, as one rank, with the arguments that lie at a place."""
    arguments = types.Tuple(step.run.signature(like.dtype))

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, address, team, place = given
        alone = [context.get_constant(int64, number) for number in (0, 1)]
        call_stored(context, builder, address, [*alone, team], place, arguments)
        return context.get_dummy_value()

    return types.void(like, int64, team, int64), emit


@kernel
def _call_step(like, address, team, place):  # or a loop would lose the intrinsic's types
    _call(like, address, team, place)


@kernel
def _next(team, n_ranks, before, count):
    if n_ranks == 1:
        return before + 1
    return claim(team, n_ranks, 0, 0, count)


@entry(lambda t: (vector(t), int64, *(vector(int64),) * 2))
def _run_all(number, n_ranks, team, like, address, places, no_team):
    i = _next(team, n_ranks, -1, places.size)
    while i < places.size:
        _call_step(like, address, no_team, places[i])
        i = _next(team, n_ranks, i, places.size)


def run_all(passes: Sequence[Pass], dtype: np.dtype[Any]) -> None:
    """Run all passes, of networks of one dtype."""
    address = step.run.compile(dtype).address
    memory = np.array([one.words() for one in passes], np.int64)
    places = address_of(memory) + memory.strides[0] * np.arange(len(passes))
    n_ranks = min(threads.workers(sum(one.flops for one in passes)), len(passes))
    like = np.empty(0, dtype)
    _run_all(dtype, n_ranks, like, address, places, _NO_TEAM)
