"""Every operation (see `operations`), and its code for those who choose it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import embeddings, joins, norms
from ._jit import FLOATS, Leaf
from .arrays import address_of
from .compiling import block
from .layout import OPERATION, PHASES
from .lookup import lookup
from .operations import (
    FOLLOW,
    OF_ROWS,
    Operation,
    columns_signature,
    rows_signature,
)

OPERATIONS: dict[str, Operation] = {
    **joins.OPERATIONS,
    **norms.OPERATIONS,
    **embeddings.OPERATIONS,
}


def _leaves_of(entry: Operation) -> dict[int, Leaf]:
    """An operation's functions, by their places in the table that `operations` calls them from."""
    functions = entry.statistics, entry.forward, entry.gradients, entry.backward, entry.follow
    return {
        phase: Leaf(function, rows_signature if phase in OF_ROWS else columns_signature)
        for phase, function in enumerate(functions)
        if function is not None
    }


LEAVES = {name: _leaves_of(entry) for name, entry in OPERATIONS.items()}
_places: dict[tuple[str, str], NDArray[np.int64]] = {}


def operation_of(name: str) -> Operation:
    """Return an entry of the table; the nearest known name is proposed for another one."""
    return lookup("operation", name, OPERATIONS)


def link(table: NDArray[np.int64], operations: Sequence[str | None], dtype: np.dtype[Any]) -> None:
    """Write into a network's table where each layer's operation lies, of those that have one.

    What is not compiled yet is compiled first.
    """
    every = {leaf for name in operations if name for leaf in LEAVES[name].values()}
    with block(lambda: sum(leaf.work_left(FLOATS[dtype]) for leaf in every)):
        for l, name in enumerate(operations, 1):
            if name is not None:
                table[l, [OPERATION, PHASES]] = native_code(name, dtype)


def native_code(name: str, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return what the step knows an operation by: an address, and bits of its functions."""
    leaves, key = LEAVES[name], (name, dtype.name)
    if key not in _places:
        place = np.zeros((FOLLOW + 1, 2), np.int64)
        for phase, leaf in leaves.items():
            place[phase, 0] = leaf.address(FLOATS[dtype])
        # of two threads the first one's stays: its address may be in use
        _places.setdefault(key, place)
    return address_of(_places[key]), sum(1 << phase for phase in leaves)
