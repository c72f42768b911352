"""The compiled training step: many steps of one network in one call, as one parallel region.

A step gathers its minibatch, runs the forward pass, the loss, the backward pass and the update; a plan can
leave out all that follows any of these, so prediction and evaluation are the same program. The network is a row
of integers per layer (`gemm`'s fields); all parameters lie in one vector: for each layer W^T, row-major
(n_prev x n: column j of W^T is unit j's weights), then b. Samples lie in rows.

Every sum's order follows from shapes alone, so all results have the same bits for any number of ranks.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, float64, int64, prange, types

from ._jit import entry, kernel, matrix, vector
from .activations import activate, differentiate
from .dropout import drop_range, dropout_key
from .gemm import A, BACKWARD, CODE, DROP, FORWARD, N, N_PREV, ONE, PLAIN, S, W, B, gemm, scratch_size
from .losses import loss_row
from .pack import gather_rows
from .reduce import column_sums
from .team import barrier, join
from .update import add_penalty_gradient, sum_of_squares, update_range

# The plan: what one call does
(
    BATCH,  # samples in a full batch
    SAMPLES,  # samples in all
    FIRST,  # the number of the first step within the epoch; past its end it begins anew
    STEPS,  # how many steps
    STEP,  # the number of the first step since training began: dropout's masks depend on it
    SEED,  # of dropout
    LOSS,  # code of the loss's row function, or -1: stop after the forward pass
    FUSED,  # 1: the loss applies the output activation itself
    OUT_CODE,  # the output activation
    OUT_FROM_Z,  # 1: its derivative needs Z
    GRADIENT,  # 1: run the backward pass
    UPDATE,  # code of the update rule, or -1: leave the gradient as it is
    CLIP,  # 0: no clipping, 1: by each tensor's norm, 2: by the norm of all
    X64,  # 1: X is the float64 one
    X_OFFSET,
    X_ROW,
    X_COLUMN,
    GRADIENT_A,  # offsets of two buffers for dZ in the workspace
    GRADIENT_B,
) = range(19)
PLAN = 19

LOSS_ROWS = 32  # samples in a partial sum of the loss

# Results: steps done, and why it stopped before its end
DONE, REASON = 0, 1
FINITE, LOSS_NOT_FINITE, GRADIENT_NOT_FINITE = range(3)


@kernel
def rank_rows(m, rank, n_ranks):
    """The rank's share of m rows, for work whose sums do not cross rows."""
    return m * rank // n_ranks, m * (rank + 1) // n_ranks


@kernel
def forward(plan, table, p, ws, m, step, shared, scratch, rank, n_ranks, team):
    """A_l = g(W_l A_{l-1} + b_l) for all layers, from A_0 in the workspace; the last leaves Z."""
    for l in range(1, table.shape[0]):
        n, k = table[l, N], table[l, N_PREV]
        gemm(
            m, n, k, ws, table[l - 1, A], k, ONE, p, table[l, W], n, ONE, ws, table[l, S], n, 1.0,
            FORWARD, table, l, p, ws, dropout_key(plan[SEED], step, l), shared, scratch, rank, n_ranks, team,
        )  # fmt: skip


@kernel
def gather(plan, table, x32, x64, order, first, m, step, ws, rank, n_ranks):
    """A_0 = the batch's rows of X, dropped out where the input layer says so."""
    n, a, drop = table[0, N], table[0, A], table[0, DROP]
    begin, end = rank_rows(m, rank, n_ranks)
    at, rs, cs = plan[X_OFFSET], plan[X_ROW], plan[X_COLUMN]
    if plan[X64] == 1:
        gather_rows(x64, at, rs, cs, n, order, first, begin, end, ws, a)
    else:
        gather_rows(x32, at, rs, cs, n, order, first, begin, end, ws, a)
    if drop > 0:
        to = a + begin * n
        key = dropout_key(plan[SEED], step, 0)
        drop_range(ws, to, ws, to, (end - begin) * n, begin * n, drop, key)


@kernel
def output_rows(
    plan, table, ws, begin, end, y, labels, weights, loss_parameter, order, first, m, outputs
):  # fmt: skip
    """A_L = g(Z_L), the loss and dZ_L for a range of the batch; returns its loss / m."""
    last = table.shape[0] - 1
    n, code = table[last, N], plan[OUT_CODE]
    total = 0.0
    for i in range(begin, end):
        sample = order[first + i] if order.size else first + i
        s, a, d = table[last, S] + i * n, table[last, A] + i * n, plan[GRADIENT_A] + i * n
        if plan[FUSED] == 0:
            activate(code, ws, s, ws, a, n)
        if plan[LOSS] >= 0:
            label = labels[sample] if labels.size else 0
            l = loss_row(plan[LOSS], ws, s, ws, a, y, sample * n, label, ws, d, n, loss_parameter)
            if plan[FUSED] == 0:
                differentiate(code, ws, d, ws, s if plan[OUT_FROM_Z] == 1 else a, n)
            share = (weights[sample] if weights.size else 1.0) / m
            for j in range(n):
                ws[d + j] *= share
            total += share * l
        if outputs.size:
            for j in range(n):
                outputs[sample * n + j] = ws[a + j]
    return total


@kernel
def loss(
    plan, table, ws, y, labels, weights, loss_parameter, order, first, m, outputs, partial, rank, n_ranks, team
):  # fmt: skip
    """The batch's loss without penalties, the same on every rank."""
    barrier(team, n_ranks)
    chunks = (m + LOSS_ROWS - 1) // LOSS_ROWS
    for chunk in range(rank, chunks, n_ranks):
        begin = chunk * LOSS_ROWS
        partial[chunk] = output_rows(
            plan, table, ws, begin, min(begin + LOSS_ROWS, m),
            y, labels, weights, loss_parameter, order, first, m, outputs,
        )  # fmt: skip
    barrier(team, n_ranks)
    return sum_first(partial, chunks)


@kernel
def sum_first(partial, count):
    """partial[0] + partial[1] + …, in this order."""
    total = 0.0
    for i in range(count):
        total += partial[i]
    return total


@kernel
def backward(plan, table, p, gradient, ws, m, step, shared, scratch, rank, n_ranks, team):
    """dW_l, db_l for all layers into `gradient`, from dZ_L (which holds the 1/m) in the workspace."""
    d, other = plan[GRADIENT_A], plan[GRADIENT_B]
    for l in range(table.shape[0] - 1, 0, -1):
        n, k = table[l, N], table[l, N_PREV]
        # dW^T = A_prev^T dZ
        gemm(
            k, n, m, ws, table[l - 1, A], ONE, k, ws, d, n, ONE, gradient, table[l, W], n, 1.0,
            PLAIN, table, l, p, ws, np.uint64(0), shared, scratch, rank, n_ranks, team,
        )  # fmt: skip
        if table[l, B] >= 0:
            column_sums(m, n, ws, d, n, 1.0, gradient, table[l, B], rank, n_ranks)
        if l > 1:
            # dA_prev = W^T dZ, and dZ_prev = dA_prev * g'
            gemm(
                m, k, n, ws, d, n, ONE, p, table[l, W], ONE, n, ws, other, k, 1.0,
                BACKWARD, table, l - 1, p, ws, dropout_key(plan[SEED], step, l - 1),
                shared, scratch, rank, n_ranks, team,
            )  # fmt: skip
            d, other = other, d


@kernel
def penalise(chunks, penalties, p, gradient, norms, partial, rank, n_ranks, team):
    """Add the penalties' gradient, sum each chunk's squares in `norms`; returns the penalties' loss."""
    barrier(team, n_ranks)
    for c in range(rank, chunks.shape[0], n_ranks):
        start, stop, tensor = chunks[c, 0], chunks[c, 1], chunks[c, 2]
        l1, l2 = penalties[tensor, 0], penalties[tensor, 1]
        partial[c] = 0.0
        if l1 != 0.0 or l2 != 0.0:
            partial[c] = add_penalty_gradient(p, gradient, start, stop, l1, l2)
        norms[c] = sum_of_squares(gradient, start, stop)
    barrier(team, n_ranks)
    return sum_first(partial, chunks.shape[0])


@kernel
def clip_factor(plan, chunks, norms, tensor, limit):
    """min(1, limit / ||g||) for one tensor, or for all."""
    total = 0.0
    for c in range(chunks.shape[0]):
        if plan[CLIP] == 2 or chunks[c, 2] == tensor:
            total += norms[c]
    norm = math.sqrt(total)
    return limit / norm if norm > limit else 1.0


@kernel
def update(plan, chunks, p, gradient, slots, norms, coefficients, limit, rank, n_ranks):
    """One step of the update rule on this rank's chunks of the parameters."""
    factor, of = 1.0, -1
    for c in range(rank, chunks.shape[0], n_ranks):
        start, stop, tensor = chunks[c, 0], chunks[c, 1], chunks[c, 2]
        if plan[CLIP] > 0 and of != tensor:
            factor, of = clip_factor(plan, chunks, norms, tensor, limit), tensor
        scale = p.dtype.type(factor)
        update_range(plan[UPDATE], p, gradient, slots, start, stop, scale, coefficients)


@kernel
def work(
    plan, table, chunks, penalties, p, gradient, slots, x32, x64, y, labels, weights, loss_parameter,
    order, coefficients, limit, ws, shared, scratches, partial, norms, losses, outputs, results,
    rank, n_ranks, team,
):  # fmt: skip
    """All steps of the plan, as one rank of n_ranks."""
    size = scratch_size(ws)
    scratch = scratches[rank * size : (rank + 1) * size]
    per_epoch = (plan[SAMPLES] + plan[BATCH] - 1) // plan[BATCH]
    for s in range(plan[STEPS]):
        first = (plan[FIRST] + s) % per_epoch * plan[BATCH]
        m = min(plan[BATCH], plan[SAMPLES] - first)
        step = plan[STEP] + s
        barrier(team, n_ranks)
        gather(plan, table, x32, x64, order, first, m, step, ws, rank, n_ranks)
        forward(plan, table, p, ws, m, step, shared, scratch, rank, n_ranks, team)
        total = loss(
            plan, table, ws, y, labels, weights, loss_parameter, order, first, m, outputs, partial, rank, n_ranks, team
        )  # fmt: skip
        reason = FINITE
        if plan[GRADIENT] == 1:
            backward(plan, table, p, gradient, ws, m, step, shared, scratch, rank, n_ranks, team)
            total += penalise(chunks, penalties, p, gradient, norms, partial, rank, n_ranks, team)
            if not math.isfinite(sum_first(norms, chunks.shape[0])):
                reason = GRADIENT_NOT_FINITE
        if plan[LOSS] >= 0 and not math.isfinite(total):
            reason = LOSS_NOT_FINITE
        if rank == 0:
            losses[s] = total
            results[DONE] = s
            results[REASON] = reason
        if plan[UPDATE] >= 0:
            if reason != FINITE:
                return
            c = coefficients[s]
            update(
                plan, chunks, p, gradient, slots, norms,
                (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]), limit, rank, n_ranks,
            )  # fmt: skip
        if rank == 0:
            results[DONE] = s + 1


def _signature(t: types.Float) -> tuple[types.Type, ...]:
    data = vector(float32, writable=False), vector(float64, writable=False)
    return (
        vector(int64), matrix(int64), matrix(int64), matrix(float64),
        vector(t), vector(t), vector(t), *data, vector(t), vector(int64), vector(t), float64,
        vector(int64), matrix(t), float64, vector(t), vector(t), vector(t), vector(float64), vector(float64),
        vector(float64), vector(t), vector(int64), vector(int64),
    )  # fmt: skip


@entry(_signature)
def run(
    n_ranks, plan, table, chunks, penalties, p, gradient, slots, x32, x64, y, labels, weights, loss_parameter,
    order, coefficients, limit, ws, shared, scratches, partial, norms, losses, outputs, results, team,
):  # fmt: skip
    """Run a plan; see `engine.Engine`, which makes the arguments."""
    for rank in prange(n_ranks):
        size = join(team, n_ranks)
        if size > 0:
            work(
                plan, table, chunks, penalties, p, gradient, slots, x32, x64, y, labels, weights, loss_parameter,
                order, coefficients, limit, ws, shared, scratches, partial, norms, losses, outputs, results,
                np.int64(rank) if size > 1 else 0, size, team,
            )  # fmt: skip
