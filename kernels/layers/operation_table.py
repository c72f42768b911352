"""Every operation (see `operations`), and its code for those who choose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.compiler.compiling import block
from fastdnn.kernels.compiler.jit import FLOATS, Leaf
from fastdnn.kernels.compiler.native import kept_calls

from . import embeddings, joins, norms
from .layout import OPERATION, PHASES
from .operations import FOLLOW, OF_ROWS, Operation, columns_signature, rows_signature

OPERATIONS: dict[str, Operation] = {
    **joins.OPERATIONS,
    **norms.OPERATIONS,
    **embeddings.OPERATIONS,
}


@cache
def _leaf(function: Callable[..., None], of_rows: bool) -> Leaf:
    """Return the same leaf for each operation that has the function."""
    return Leaf(function, rows_signature if of_rows else columns_signature)


def _leaves_of(entry: Operation) -> dict[int, Leaf]:
    """An operation's functions, by their places in the table that `operations` calls them from."""
    functions = entry.statistics, entry.forward, entry.gradients, entry.backward, entry.follow
    return {
        phase: _leaf(function, phase in OF_ROWS)
        for phase, function in enumerate(functions)
        if function is not None
    }


LEAVES = {name: _leaves_of(entry) for name, entry in OPERATIONS.items()}


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
    leaves = LEAVES[name]

    def calls() -> list[tuple[int, int]]:
        found = {phase: leaf.address(FLOATS[dtype]) for phase, leaf in leaves.items()}
        return [(found.get(phase, 0), 0) for phase in range(FOLLOW + 1)]

    return kept_calls((name, dtype.name), calls), sum(1 << phase for phase in leaves)
