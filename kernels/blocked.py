"""A step whose products are shared among the ranks: for layers too large for one core's cache.

A rank makes the same part of each product whenever it can: columns of A_l, and for dW_l and
dA_{l-1} the same rows of W_l^T. So it alone reads and changes these in the backward pass.
"""

from __future__ import annotations

import numpy as np

from ._arrays import Matrix
from ._jit import kernel
from ._simd import address
from .dropout import drop_range, dropout_key
from .gemm import BACKWARD, FORWARD, PLAIN, Start, part, product, share
from .layout import (
    DROP,
    GRADIENT_A,
    GRADIENT_B,
    N_PREV,
    ONE,
    SEED,
    WHOLE_ROW,
    X_COLUMN,
    X_DIRECT,
    X_OFFSET,
    X_OTHER,
    X_ROW,
    ZERO,
    A,
    B,
    N,
    S,
    W,
)
from .output import output_rows
from .pack import gather_other_rows, gather_rows
from .reduce import add_not_finite, column_sums
from .team import barrier

LOSS_ROWS = 32  # samples in a partial sum of the loss


@kernel
def gather(plan, net, samples, ws, batch, begin, end, place, to_row, to_column):
    """A_0 = rows [begin, end) of the batch, from X.

    In the workspace they begin with row `place`; rows lie `to_row` apart, columns `to_column`.
    """
    table, order = net.table, samples.order
    n, count, first = table[0, N], end - begin, batch.first + begin
    a = table[0, A] + place * to_row
    at, row, column = plan[X_OFFSET], plan[X_ROW], plan[X_COLUMN]
    if plan[X_OTHER] == 1:
        gather_other_rows(
            ws, a, to_row, to_column, samples.x_other, at, row, column, n, order, first, ZERO, count
        )
    else:
        gather_rows(
            ws, a, to_row, to_column, samples.x, at, row, column, n, order, first, ZERO, count
        )
    if table[0, DROP] > 0:
        key = dropout_key(plan[SEED], batch.number, 0)
        drop_range(ws, a, ws, a, count * n, begin * n, table[0, DROP], key)


@kernel
def input_of(plan, net, samples, memory, batch, l):
    """A_{l-1}, rows of samples: of the first layer X itself, where it can be read as it lies."""
    k = net.table[l, N_PREV]
    if l == 1 and plan[X_DIRECT] == 1:
        at = plan[X_OFFSET] + batch.first * plan[X_ROW]
        return Matrix(samples.x, at, plan[X_ROW], plan[X_COLUMN])
    return Matrix(memory.ws, net.table[l - 1, A], k, ONE)


@kernel
def start_of(net, l):
    """C0 of the forward product: the bias, or the zeros with which the workspace begins."""
    return Start(max(net.table[l, B], 0), ZERO, ONE if net.table[l, B] >= 0 else ZERO)


@kernel
def forward(plan, net, samples, memory, batch, rank):
    """A_l = g(W_l A_{l-1} + b_l) for all layers, from A_0; the last leaves Z_L."""
    table, p, ws = net.table, net.p, memory.ws
    for l in range(1, table.shape[0]):
        n, k = table[l, N], table[l, N_PREV]
        weights = Matrix(p, table[l, W], n, ONE)
        region = share(batch.m, n, rank, False, table[l, WHOLE_ROW] == 1, ws)
        key = dropout_key(plan[SEED], batch.number, l)
        product(
            region, n, k, input_of(plan, net, samples, memory, batch, l), weights,
            p if table[l, B] >= 0 else ws, start_of(net, l), ws, table[l, S], True,
            FORWARD, table, l, ws, 1.0, key, rank.packed,
        )  # fmt: skip
        barrier(rank.team, rank.of, rank.number)


@kernel
def loss(plan, net, samples, memory, batch, loss_parameter, rank):
    """The batch's loss without penalties, the same on every rank; dZ_L for the backward pass."""
    chunks = (batch.m + LOSS_ROWS - 1) // LOSS_ROWS
    for chunk in range(rank.number, chunks, rank.of):
        begin = chunk * LOSS_ROWS
        end = min(begin + LOSS_ROWS, batch.m)
        memory.partial[chunk] = output_rows(
            plan, net, samples, memory, memory.ws, batch, loss_parameter, begin, end, begin
        )
    barrier(rank.team, rank.of, rank.number)
    total = 0.0
    for chunk in range(chunks):
        total += memory.partial[chunk]
    return total


@kernel
def backward(plan, net, samples, memory, batch, rank):
    """dW_l and db_l of all layers into the gradient, from dZ_L, which holds the 1 / m."""
    table, p, ws, m = net.table, net.p, memory.ws, batch.m
    d, other = plan[GRADIENT_A], plan[GRADIENT_B]
    zeros, found = Start(ZERO, ZERO, ZERO), address(memory.flags, rank.number)
    found[0] = 0.0
    for l in range(table.shape[0] - 1, 0, -1):
        n, k = table[l, N], table[l, N_PREV]
        if l > 1:
            # dA_prev = W^T dZ, and dZ_prev = dA_prev * g'
            region = share(m, k, rank, False, table[l - 1, WHOLE_ROW] == 1, ws)
            dZ, weights = Matrix(ws, d, n, ONE), Matrix(p, table[l, W], ONE, n)
            key = dropout_key(plan[SEED], batch.number, l - 1)
            product(
                region, k, n, dZ, weights, ws, zeros, ws, other, True,
                BACKWARD, table, l - 1, ws, 1.0, key, rank.packed,
            )  # fmt: skip
        # dW^T = A_prev^T dZ
        region = share(k, n, rank, True, False, ws)
        x = input_of(plan, net, samples, memory, batch, l)
        A_prev = Matrix(x.flat, x.offset, x.column_stride, x.row_stride)
        product(
            region, n, m, A_prev, Matrix(ws, d, n, ONE), ws, zeros, net.gradient, table[l, W], True,
            PLAIN, table, l, ws, 1.0, np.uint64(0), rank.packed,
        )  # fmt: skip
        for i in range(region.top, region.bottom):
            at = table[l, W] + i * n
            add_not_finite(net.gradient, at + region.left, region.right - region.left, found)
        if table[l, B] >= 0:
            begin, end = part(n, 16, rank.number, rank.of)
            to = table[l, B] + begin
            column_sums(m, end - begin, ws, d + begin, n, 1.0, False, net.gradient, to)
            add_not_finite(net.gradient, to, end - begin, found)
        d, other = other, d
        if l > 1:
            barrier(rank.team, rank.of, rank.number)
