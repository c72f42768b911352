"""Layers that are no product W A + b: operations on rows of samples, one entry each in one table.

An operation makes Z_l from A_{l-1}; its row of the network's table may have an activation and
dropout behind it, like any row. An entry states up to five functions. Those of *rows* work on
samples by themselves, so ranks share the samples; those of *columns* add over samples, in their
order, so ranks share the columns of Z_l:

    ``statistics``  columns, before `forward`: what it needs of the whole batch
    ``forward``     rows: Z_l
    ``gradients``   columns: the derivatives by the operation's tensors
    ``backward``    rows, after `gradients`: dA_{l-1} from dZ_l
    ``follow``      columns, after an update: what moves with each step and is not trained

No function is compiled into the step. It is a leaf of its own, compiled for who chooses the
operation, and called by its address, which stands in the table. So an operation costs nobody
anything who does not use it.

To add one, write its functions and its line in a table such as `norms.OPERATIONS`; see
`operation_table`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import boolean, int64

from fastdnn.kernels.compiler.jit import kernel, pointer, small_kernel
from fastdnn.kernels.compiler.native import CALL_BYTES, call_at
from fastdnn.kernels.llvm.simd import address, address_at, span

from .layout import DETAILS, DZ, FIELDS, KEPT, N_PREV, OPERATION, PHASES, A, N, S

# What becomes of a tensor: the update rule trains it, `follow` moves it, or it stays as it is made.
TRAINED, MOVED, CONSTANT = "trained", "moved", "constant"


class Tensor(NamedTuple):
    """An array of a layer's own, and how it starts."""

    name: str
    shape: tuple[int, ...]
    start: Any = 0.0  # a number, or an array of this shape
    role: str = TRAINED


class Operation(NamedTuple):
    """A table entry; what is None is not needed."""

    tensors: Callable[[Any], tuple[Tensor, ...]]  # of a row, a `parameters.Layer`
    forward: Callable[..., None]
    backward: Callable[..., None]
    statistics: Callable[..., None] | None = None
    gradients: Callable[..., None] | None = None
    follow: Callable[..., None] | None = None
    # the integers that the functions read: from the row, and from where each tensor lies
    details: Callable[[Any, dict[str, int]], tuple[int, ...]] = lambda row, at: ()
    kept: Callable[[Any], tuple[int, int]] = lambda row: (0, 0)  # elements: a sample's, the batch's
    is_smooth: bool = True  # it has second derivatives everywhere
    over_batch: bool = False  # Z of a sample depends on the whole batch
    keeps_outputs: bool = False  # `backward` reads Z, so no activation may take its place


def none(row: Any) -> tuple[Tensor, ...]:
    """Of an operation without tensors."""
    return ()


STATISTICS, ROWS_FORWARD, GRADIENTS, ROWS_BACKWARD, FOLLOW = range(5)
OF_ROWS = ROWS_FORWARD, ROWS_BACKWARD


# ---------------------------------------------------------------- what an operation's functions see
@small_kernel
def details_of(table, l):
    """Return the address of the operation's own integers."""
    return address_at(table, l * FIELDS + DETAILS, table)


@small_kernel
def widths_of(table, l):
    """n_{l-1} and n_l."""
    return table[l * FIELDS + N_PREV], table[l * FIELDS + N]


@small_kernel
def inputs_of(table, l, ws, top):
    """Return the address of A_{l-1}, from row `top`."""
    return address(ws, table[(l - 1) * FIELDS + A] + top * table[l * FIELDS + N_PREV])


@small_kernel
def outputs_of(table, l, ws, top):
    """Return the address of Z_l, from row `top`."""
    return address(ws, table[l * FIELDS + S] + top * table[l * FIELDS + N])


@small_kernel
def delta_of(table, l, ws, top):
    """Return the address of dZ_l, which is dA_l until it is multiplied by g', from row `top`."""
    return address(ws, table[l * FIELDS + DZ] + top * table[l * FIELDS + N])


@small_kernel
def kept_of(table, l, ws, at):
    """Return the address of what `forward` keeps for `backward`, from element `at`."""
    return address(ws, table[l * FIELDS + KEPT] + at)


@small_kernel
def cast(of, value):
    """A number in the type of a vector's elements."""
    return span(of, 0, 1).dtype.type(value)


# ---------------------------------------------------------------------------- calling by an address
def rows_signature(t: Any) -> tuple[Any, ...]:
    """Return the types of (code, table, l, p, ws, top, m, learning)."""
    return int64, pointer(int64), int64, pointer(t), pointer(t), int64, int64, boolean


def columns_signature(t: Any) -> tuple[Any, ...]:
    """Return the types of (code, table, l, p, ws, m, left, right, learning, add, gradient)."""
    return (
        *(int64, pointer(int64), int64, pointer(t), pointer(t), int64, int64, int64),
        *(boolean, boolean, pointer(t)),
    )


def _rows(code, table, l, p, ws, top, m, learning):
    pass


def _columns(code, table, l, p, ws, m, left, right, learning, add, gradient):
    pass


_call_rows = call_at(_rows, rows_signature)
_call_columns = call_at(_columns, columns_signature)


@small_kernel
def is_operation(table, l):
    """Return whether row l is no product."""
    return table[l, OPERATION] != 0


@small_kernel
def has(table, l, phase):
    """Return whether the operation of row l has this function."""
    return (table[l, PHASES] >> phase) & 1 == 1


@kernel
def operate_on_rows(phase, net, ws, l, top, bottom, learning):
    """Run `forward` or `backward` of row l on samples [top, bottom).

    `learning`: where a statistic is the batch's own, and not what training has left.
    """
    table = net.table
    if bottom > top:
        code = table[l, OPERATION] + CALL_BYTES * phase
        _call_rows(code, address(table, 0), l, net.p, ws, top, bottom - top, learning)


@kernel
def operate_on_columns(phase, net, ws, l, m, left, right, learning, add, gradient):
    """Run another function of row l, if it has that, on columns [left, right) of m samples.

    Derivatives go to `gradient`, which begins as the parameters do: added to what it holds, or in
    its place.
    """
    table, p = net.table, net.p
    if right > left and has(table, l, phase):
        code = table[l, OPERATION] + CALL_BYTES * phase
        _call_columns(code, address(table, 0), l, p, ws, m, left, right, learning, add, gradient)
