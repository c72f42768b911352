"""`Stack`: layers laid out as the rows that the engine runs."""

from __future__ import annotations

from typing import Any

from fastdnn.kernels.elementwise.activations import OwnActivation
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.engine import Layer as Row
from fastdnn.kernels.layers.operation_table import operation_of

FORK = "fork"  # what it passes is wanted as it is


class Stack:
    """The rows of layers, of which each adds its own to those before.

    An activation and a dropout become part of the row before them, where that has none of its own
    in the way; else they are rows themselves.

    Attributes
    ----------
    rows : list of Row
    owners : list of (layer, int)
        The layers that have parameters, each with the number of its row, from 1.
    n : int
        The outputs of the last row.
    input_dropout : float
    """

    def __init__(self, input_size: int) -> None:
        self.rows: list[Row] = []
        self.owners: list[tuple[Any, int]] = []
        self.n = input_size
        self.input_dropout = 0.0

    def push(self, row: Row, owner: Any = None) -> int:
        """Add a row, of a layer that has its parameters if there is an owner; return its number."""
        self.rows.append(row)
        self.n = row.n
        if owner is not None:
            self.owners.append((owner, len(self.rows)))
        return len(self.rows)

    def operate(
        self, operation: str, n: int | None = None, owner: Any = None, **settings: Any
    ) -> int:
        """Add a row that is no product; `n` outputs, or as many as inputs."""
        row = Row(self.n, self.n if n is None else n, operation=operation, settings=settings)
        return self.push(row, owner)

    def activate(self, activation: str | OwnActivation) -> None:
        """Apply an activation to the outputs of the last row."""
        last = self.rows[-1] if self.rows else None
        if last is None or not _takes_activation(last):
            self.operate("identity")
        self.rows[-1] = self.rows[-1]._replace(activation=activation)

    def drop(self, rate: float) -> None:
        """Thin the outputs of the last row, or the input."""
        if not self.rows:
            self.input_dropout = either(self.input_dropout, rate)
            return
        if self.rows[-1].operation == FORK:
            self.operate("identity")
        self.rows[-1] = self.rows[-1]._replace(dropout=either(self.rows[-1].dropout, rate))

    def place(self, engine: Engine) -> None:
        """Give the owners their rows of an engine."""
        for owner, l in self.owners:
            owner.place(engine, l)


def _takes_activation(row: Row) -> bool:
    if row.activation != "identity" or row.dropout or row.operation == FORK:
        return False
    return row.is_dense or not operation_of(row.operation).keeps_outputs


def either(p: float, q: float) -> float:
    """Return the probability to be dropped by one or the other of two dropouts."""
    return 1.0 - (1.0 - p) * (1.0 - q)
