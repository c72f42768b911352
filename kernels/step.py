"""The compiled training step: many steps of one network in one call, as one parallel region.

A step gathers its minibatch, runs the forward pass, the loss, the backward pass and the update; a
plan can leave out all that follows any of these, so prediction and evaluation are the same program.
The network is a row of integers per layer (`gemm`'s fields); all parameters lie in one vector: for
each layer W^T, row-major (n_prev x n: column j of W^T is unit j's weights), then b. Samples lie in
rows.

Every sum's order follows from shapes alone, so all results have the same bits for any number of
ranks.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import float32, float64, int64, types
from numpy.typing import NDArray

from ._arrays import Matrix
from ._jit import kernel, matrix, named, vector
from ._simd import span
from .activations import activate, differentiate
from .dropout import drop_range, dropout_key
from .entry import entry
from .gemm import (
    BACKWARD,
    DROP,
    FORWARD,
    N_PREV,
    ONE,
    PLAIN,
    A,
    B,
    N,
    Rank,
    S,
    W,
    gemm,
    scratch_size,
)
from .losses import loss_row
from .pack import gather_rows
from .reduce import column_sums
from .team import barrier
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

Floats = NDArray[Any]  # of the network's dtype
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


class Net(NamedTuple):
    """A network: its layers' rows, and vectors of one element per parameter."""

    table: Ints
    p: Floats
    gradient: Floats
    slots: Floats  # the update rule's memory
    chunks: Ints  # rows of (start, stop, tensor): what one rank updates at a time
    penalties: Doubles  # rows of (l1, l2), one per tensor


class Samples(NamedTuple):
    """The data of all samples; what there is none of is empty."""

    x32: Floats  # X, if float32
    x64: Floats  # X, if float64
    y: Floats  # dense targets, row-major
    labels: Ints
    weights: Floats
    order: Ints  # empty: 0, 1, 2, …
    outputs: Floats  # takes A_L


class Rule(NamedTuple):
    """How to update: the rule's coefficients, a row per step, and the bound of the norm."""

    coefficients: Floats
    limit: float


class Memory(NamedTuple):
    """What the steps work in."""

    ws: Floats  # A, S and dZ of a batch
    shared: Floats  # a packed block of B
    scratches: Floats  # a packed block of A for each rank
    partial: Doubles
    norms: Doubles  # of the chunks' gradients, squared
    losses: Doubles  # takes the loss of each step
    results: Ints


class Batch(NamedTuple):
    """The present step."""

    first: int  # sample, in the epoch's order
    m: int
    number: int  # of the step, since training began


@kernel
def rank_rows(m, rank, n_ranks):
    """The rank's share of m rows, for work whose sums do not cross rows."""
    return m * rank // n_ranks, m * (rank + 1) // n_ranks


@kernel
def sample_at(samples, i):
    """The number of the sample that is i-th in the epoch's order."""
    return samples.order[i] if samples.order.size else i


@kernel
def gather(plan, net, samples, memory, batch, rank):
    """A_0 = the batch's rows of X, dropped out where the input layer says so."""
    table, ws, order = net.table, memory.ws, samples.order
    n, a, drop = table[0, N], table[0, A], table[0, DROP]
    begin, end = rank_rows(batch.m, rank.number, rank.of)
    at, row, column = plan[X_OFFSET], plan[X_ROW], plan[X_COLUMN]
    if plan[X64] == 1:
        gather_rows(samples.x64, at, row, column, n, order, batch.first, begin, end, ws, a)
    else:
        gather_rows(samples.x32, at, row, column, n, order, batch.first, begin, end, ws, a)
    if drop > 0:
        to = a + begin * n
        key = dropout_key(plan[SEED], batch.number, 0)
        drop_range(ws, to, ws, to, (end - begin) * n, begin * n, drop, key)


@kernel
def forward(plan, net, memory, batch, rank):
    """A_l = g(W_l A_{l-1} + b_l) for all layers, from A_0; the last leaves Z_L."""
    table, p, ws = net.table, net.p, memory.ws
    for l in range(1, table.shape[0]):
        n, k = table[l, N], table[l, N_PREV]
        A_prev, weights = Matrix(ws, table[l - 1, A], k, ONE), Matrix(p, table[l, W], ONE, n)
        key = dropout_key(plan[SEED], batch.number, l)
        gemm(
            batch.m, n, k, A_prev, weights, ws, table[l, S], 1.0,
            FORWARD, table, l, p, ws, key, memory.shared, rank,
        )  # fmt: skip


@kernel
def output_rows(plan, net, samples, ws, batch, loss_parameter, begin, end):
    """A_L = g(Z_L), the loss and dZ_L for a range of the batch; returns its share of the loss."""
    table = net.table
    last = table.shape[0] - 1
    n, code = table[last, N], plan[OUT_CODE]
    total = 0.0
    for i in range(begin, end):
        sample = sample_at(samples, batch.first + i)
        s, a, d = table[last, S] + i * n, table[last, A] + i * n, plan[GRADIENT_A] + i * n
        if plan[FUSED] == 0:
            activate(code, ws, s, ws, a, n)
        if plan[LOSS] >= 0:
            label = samples.labels[sample] if samples.labels.size else 0
            y = sample * n
            value = loss_row(
                plan[LOSS], ws, s, ws, a, samples.y, y, label, ws, d, n, loss_parameter
            )
            if plan[FUSED] == 0:
                differentiate(code, ws, d, ws, s if plan[OUT_FROM_Z] == 1 else a, n)
            share = (samples.weights[sample] if samples.weights.size else 1.0) / batch.m
            dZ = span(ws, d, n)
            for j in range(n):
                dZ[j] *= share
            total += share * value
        if samples.outputs.size:
            for j in range(n):
                samples.outputs[sample * n + j] = ws[a + j]
    return total


@kernel
def sum_first(partial, count):
    """partial[0] + partial[1] + …, in this order."""
    total = 0.0
    for i in range(count):
        total += partial[i]
    return total


@kernel
def loss(plan, net, samples, memory, batch, loss_parameter, rank):
    """The batch's loss without penalties, the same on every rank; dZ_L for the backward pass."""
    barrier(rank.team, rank.of)
    chunks = (batch.m + LOSS_ROWS - 1) // LOSS_ROWS
    for chunk in range(rank.number, chunks, rank.of):
        begin = chunk * LOSS_ROWS
        end = min(begin + LOSS_ROWS, batch.m)
        memory.partial[chunk] = output_rows(
            plan, net, samples, memory.ws, batch, loss_parameter, begin, end
        )
    barrier(rank.team, rank.of)
    return sum_first(memory.partial, chunks)


@kernel
def backward(plan, net, memory, batch, rank):
    """dW_l and db_l of all layers into the gradient, from dZ_L, which holds the 1 / m."""
    table, p, ws, m = net.table, net.p, memory.ws, batch.m
    d, other = plan[GRADIENT_A], plan[GRADIENT_B]
    for l in range(table.shape[0] - 1, 0, -1):
        n, k = table[l, N], table[l, N_PREV]
        # dW^T = A_prev^T dZ
        A_prev, dZ = Matrix(ws, table[l - 1, A], ONE, k), Matrix(ws, d, ONE, n)
        gemm(
            k, n, m, A_prev, dZ, net.gradient, table[l, W], 1.0,
            PLAIN, table, l, p, ws, np.uint64(0), memory.shared, rank,
        )  # fmt: skip
        if table[l, B] >= 0:
            column_sums(m, n, ws, d, n, 1.0, net.gradient, table[l, B], rank.number, rank.of)
        if l > 1:
            # dA_prev = W^T dZ, and dZ_prev = dA_prev * g'
            dZ, weights = Matrix(ws, d, n, ONE), Matrix(p, table[l, W], n, ONE)
            key = dropout_key(plan[SEED], batch.number, l - 1)
            gemm(
                m, k, n, dZ, weights, ws, other, 1.0,
                BACKWARD, table, l - 1, p, ws, key, memory.shared, rank,
            )  # fmt: skip
            d, other = other, d


@kernel
def penalise(net, memory, rank):
    """Add the penalties' gradient, then sum each chunk's squares; returns the penalties."""
    barrier(rank.team, rank.of)
    chunks, gradient = net.chunks, net.gradient
    for c in range(rank.number, chunks.shape[0], rank.of):
        start, stop, tensor = chunks[c, 0], chunks[c, 1], chunks[c, 2]
        l1, l2 = net.penalties[tensor, 0], net.penalties[tensor, 1]
        memory.partial[c] = 0.0
        if l1 != 0.0 or l2 != 0.0:
            memory.partial[c] = add_penalty_gradient(net.p, gradient, start, stop, l1, l2)
        memory.norms[c] = sum_of_squares(gradient, start, stop)
    barrier(rank.team, rank.of)
    return sum_first(memory.partial, chunks.shape[0])


@kernel
def clip_factor(plan, chunks, norms, tensor, limit):
    """min(1, limit / ||g||), for one tensor's g or for all."""
    total = 0.0
    for c in range(chunks.shape[0]):
        if plan[CLIP] == 2 or chunks[c, 2] == tensor:
            total += norms[c]
    norm = math.sqrt(total)
    return limit / norm if norm > limit else 1.0


@kernel
def update(plan, net, memory, rule, s, rank):
    """The plan's step s of the update rule, on this rank's chunks of the parameters."""
    row = rule.coefficients[s]
    c = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
    factor, of = 1.0, -1
    for chunk in range(rank.number, net.chunks.shape[0], rank.of):
        start, stop, tensor = net.chunks[chunk, 0], net.chunks[chunk, 1], net.chunks[chunk, 2]
        if plan[CLIP] > 0 and of != tensor:
            factor, of = clip_factor(plan, net.chunks, memory.norms, tensor, rule.limit), tensor
        scale = net.p.dtype.type(factor)
        update_range(plan[UPDATE], net.p, net.gradient, net.slots, start, stop, scale, c)


@kernel
def steps(plan, net, samples, rule, loss_parameter, memory, rank):
    """All steps of the plan, as one rank."""
    per_epoch = (plan[SAMPLES] + plan[BATCH] - 1) // plan[BATCH]
    for s in range(plan[STEPS]):
        first = (plan[FIRST] + s) % per_epoch * plan[BATCH]
        batch = Batch(first, min(plan[BATCH], plan[SAMPLES] - first), plan[STEP] + s)
        barrier(rank.team, rank.of)
        # a full batch stays where it is from step to step, unless dropout thins it
        if s == 0 or per_epoch > 1 or net.table[0, DROP] > 0:
            gather(plan, net, samples, memory, batch, rank)
        forward(plan, net, memory, batch, rank)
        total = loss(plan, net, samples, memory, batch, loss_parameter, rank)
        reason = FINITE
        if plan[GRADIENT] == 1:
            backward(plan, net, memory, batch, rank)
            total += penalise(net, memory, rank)
            if not math.isfinite(sum_first(memory.norms, net.chunks.shape[0])):
                reason = GRADIENT_NOT_FINITE
        if plan[LOSS] >= 0 and not math.isfinite(total):
            reason = LOSS_NOT_FINITE
        # Every rank has found the same total and norms, so all stop together
        stop = plan[UPDATE] >= 0 and reason != FINITE
        if rank.number == 0:
            memory.losses[s] = total
            memory.results[DONE] = s if stop else s + 1
            memory.results[REASON] = reason if stop else FINITE
        if stop:
            return
        if plan[UPDATE] >= 0:
            update(plan, net, memory, rule, s, rank)


def _signature(t: types.Float) -> tuple[types.Type, ...]:
    data = vector(float32, writable=False), vector(float64, writable=False)
    v, ints, doubles = vector(t), vector(int64), vector(float64)
    return (
        ints,
        named(Net, matrix(int64), v, v, v, matrix(int64), matrix(float64)),
        named(Samples, *data, v, ints, v, ints, v),
        named(Rule, matrix(t), float64),
        float64,
        named(Memory, v, v, v, doubles, doubles, doubles, ints),
    )


@entry(_signature)
def run(number, n_ranks, team, plan, net, samples, rule, loss_parameter, memory):
    """Run a plan; see `engine.Engine`, which makes the arguments."""
    each = scratch_size(memory.ws)
    rank = Rank(number, n_ranks, span(memory.scratches, number * each, each), team)
    steps(plan, net, samples, rule, loss_parameter, memory, rank)
