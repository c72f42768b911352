"""The compiled training step: many steps of one network in one call, as one parallel region.

A step gathers its minibatch, runs the forward pass, the loss, the backward pass and the update; a
plan can leave out all that follows any of these, so prediction and evaluation are the same program.
The network is a row of integers per layer (`layout`); all parameters lie in one vector: for each
layer W^T, row-major (n_prev x n: column j of W^T is unit j's weights), then b. Samples lie in rows.

Every sum's order follows from shapes alone, so all results have the same bits for any number of
ranks.
"""

from __future__ import annotations

import math

from numba import float64, int64

from fastdnn.kernels.base.constants import NO, ONE, YES, ZERO
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.compiler.jit import kernel, other, vector
from fastdnn.kernels.elementwise.update import (
    COEFFICIENTS,
    add_penalty_gradient,
    sum_of_squares,
    sum_ranges,
    update_range,
)
from fastdnn.kernels.layers.layout import (
    BATCH,
    BLOCKED,
    CHUNKS,
    CLIP,
    DONE,
    DROP,
    FACTORS,
    FIELDS,
    FINITE,
    FIRST,
    GIVEN,
    GRADIENT,
    GRADIENT_NOT_FINITE,
    LAYERS,
    LEARNING,
    LOSS,
    LOSS_NOT_FINITE,
    MADE,
    NEXT_ORDER,
    PACKED_SIZE,
    PARAMETERS,
    PENALTIES,
    PER_SAMPLE,
    REASON,
    REGIME,
    REPLICA,
    SAMPLES,
    SEGMENT,
    SLOTS,
    STEP,
    STEPS,
    STOPPED,
    UPDATE,
    WORKSPACE,
    X_DIRECT,
    Batch,
    Memory,
    N,
    Net,
    Rank,
    Rule,
    Samples,
)
from fastdnn.kernels.layers.operations import FOLLOW, is_operation, operate_on_columns
from fastdnn.kernels.layers.output import hand_out_delta
from fastdnn.kernels.layers.sharing import claimed, owner_of, part, turn_of
from fastdnn.kernels.llvm.denormals import flush_denormals, restore
from fastdnn.kernels.llvm.scalar import copy_strip
from fastdnn.kernels.llvm.simd import address, address_at, null, rows_at, span
from fastdnn.kernels.parallel.entry import entry
from fastdnn.kernels.parallel.team import barrier, is_stopped

from .blocked import backward
from .forward import UNIT, forward, gather_batch, loss
from .resident import reduces_pairs, resident_step, segments_of

UPDATE_WORK = 32  # multiply-adds that take as long as the update of a parameter


@kernel
def blocked_step(plan, net, samples, memory, batch, ps, stays, coefficients, may, rank):
    """Loss and gradient by products shared among the ranks.

    Returns the loss, and whether the parameters have been changed already, as they `may` be.
    """
    if plan[X_DIRECT] == 0 and not stays:
        gather_batch(plan, net, samples, memory.ws, batch, rank)
    forward(plan, net, samples, memory, batch, rank)
    total = loss(plan, net, samples, memory, batch, ps, rank)
    applied = False
    if plan[GRADIENT] == MADE:
        may = may and math.isfinite(total)
        applied = backward(plan, net, samples, memory, batch, coefficients, may, rank)
        if not applied:
            barrier(rank.team, rank.of, rank.number)
        begin, end = part(batch.m, ONE, rank.number, rank.of)
        n = net.table[1, N]
        rows = address(memory.ws, begin * n)
        hand_out_delta(plan, net, samples, rows, batch.first + begin, end - begin, n, ONE)
    return total, applied


@kernel
def combine(plan, net, memory, batch, start, stop, rank):
    """Add the segments' gradients, where they have their own, as a tree of neighbours."""
    if plan[REGIME] != BLOCKED and plan[SEGMENT] < plan[BATCH]:
        count, size, vectors = segments_of(plan, batch.m), plan[PARAMETERS], memory.gradients
        if reduces_pairs(plan, count, rank):
            sum_ranges(net.gradient, vectors, start, stop - start, 2 * size, count // 2, 4)
        else:
            sum_ranges(net.gradient, vectors, start, stop - start, size, count, 8)


@kernel
def gradient_is_finite(plan, memory, batch, rank):
    """Return whether no part of the backward pass has flagged a NaN or infinity."""
    count = rank.of if plan[REGIME] == BLOCKED else segments_of(plan, batch.m)
    found = 0.0
    for i in range(count):
        found += memory.flags[i]
    return found == 0.0


@kernel
def penalise(plan, net, rule, memory, batch, rank):
    """Add the penalties' gradient; to clip, sum each chunk's squares. Returns the penalties.

    A gradient that the caller has given holds them already.
    """
    chunks, gradient = rule.chunks, net.gradient
    share = 1.0 / batch.m if plan[PENALTIES] == PER_SAMPLE else 1.0
    begin, end = part(chunks.shape[0], ONE, rank.number, rank.of)
    for c in range(begin, end):
        start, stop, tensor = chunks[c, 0], chunks[c, 1], chunks[c, 2]
        combine(plan, net, memory, batch, start, stop, rank)
        l1, l2 = share * rule.penalties[2 * tensor], share * rule.penalties[2 * tensor + 1]
        memory.partial[c] = 0.0
        if plan[GRADIENT] == MADE and (l1 != 0.0 or l2 != 0.0):
            memory.partial[c] = add_penalty_gradient(net.p, gradient, start, stop, l1, l2)
        if plan[CLIP] > 0:
            memory.norms[c] = sum_of_squares(gradient, start, stop)
    barrier(rank.team, rank.of, rank.number)
    total = 0.0
    for c in range(chunks.shape[0]):
        total += memory.partial[c]
    return total


@kernel
def clip_factor(plan, chunks, norms, tensor, limit, factor):
    """factor min(1, limit / ||factor g||), for one tensor's g or for all."""
    total = 0.0
    for c in range(chunks.shape[0]):
        if plan[CLIP] == 2 or chunks[c, 2] == tensor:
            total += norms[c]
    norm = factor * math.sqrt(total)
    return factor * (limit / norm) if norm > limit else factor


@kernel
def update(plan, net, memory, batch, rule, coefficients, factor, combined, rank):
    """A step of the update rule: on each rank's chunks of the parameters, or on all of its own."""
    chunks, clipped, of = rule.chunks, factor, -1
    mine = rank
    if plan[REPLICA] > 0:
        mine = Rank(ZERO, ONE, rank.packed, rank.team, rank.stop)
    turn = turn_of(mine, plan[PARAMETERS] * UPDATE_WORK if plan[REGIME] == BLOCKED else ZERO)
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        begin, end = part(chunks.shape[0], ONE, owner.number, owner.of)
        for piece in claimed(turn, owner, end - begin):
            chunk = begin + piece
            start, stop, tensor = chunks[chunk, 0], chunks[chunk, 1], chunks[chunk, 2]
            if not combined:
                combine(plan, net, memory, batch, start, stop, rank)
            if plan[CLIP] > 0 and of != tensor:
                of = tensor
                clipped = clip_factor(plan, chunks, memory.norms, tensor, rule.limit, factor)
            update_range(
                plan[UPDATE], net.p, net.gradient, net.slots, plan[PARAMETERS], start, stop,
                clipped, coefficients,
            )  # fmt: skip


@kernel
def replica(plan, net, rank):
    """Return the network with parameters, gradient and slots of the rank's own."""
    size = plan[PARAMETERS]
    p = address(rank.packed, plan[REPLICA])
    gradient = address(p, size + ZEROS)
    slots = address(gradient, size + ZEROS)
    for to, source, count in ((p, net.p, size + ZEROS), (slots, net.slots, plan[SLOTS])):
        copy_strip(count, span(to, ZERO, count), ZERO, span(source, ZERO, count), ZERO)
    return Net(net.table, p, gradient, slots)


@kernel
def double_buffered(plan, memory, s):
    """Double-buffer what the segments leave: odd steps use the second half."""
    count = segments_of(plan, plan[BATCH]) * (s % 2)
    return Memory(
        memory.ws, memory.packed, address(memory.gradients, count * plan[PARAMETERS]),
        address(memory.partial, count), memory.norms, address(memory.flags, count),
        memory.sample_losses, memory.labels, memory.losses, memory.results,
    )  # fmt: skip


@kernel
def steps(plan, net, samples, rule, ps, places, ws, rank):
    """Run all steps of the plan as one rank; `ps` holds the loss's parameters."""
    own, memory = plan[REPLICA] > 0, places
    per_epoch = (plan[SAMPLES] + plan[BATCH] - 1) // plan[BATCH]
    # what needs all of the gradient before any parameter changes
    first_sum = plan[GRADIENT] > 0 and (plan[UPDATE] < 0 or plan[CLIP] > 0 or plan[PENALTIES] > 0)
    for s in range(plan[STEPS]):
        number = plan[FIRST] + s
        first = number % per_epoch * plan[BATCH]
        m = min(plan[BATCH], plan[SAMPLES] - first)
        batch = Batch(first + number // per_epoch * plan[NEXT_ORDER], m, plan[STEP] + s)
        if own:
            memory = double_buffered(plan, places, s)
        elif s > 0:
            barrier(rank.team, rank.of, rank.number)
        coefficients = address(rule.coefficients, s * COEFFICIENTS)
        factor = memory.losses[plan[STEPS] + s] if plan[FACTORS] == 1 else 1.0
        if plan[GRADIENT] == GIVEN:
            total, applied = 0.0, False
        elif plan[REGIME] == BLOCKED:
            # a full batch stays where it is, unless dropout thins it or the next order moves it
            stays = s > 0 and per_epoch == 1 and net.table[0, DROP] == 0
            stays = stays and plan[NEXT_ORDER] == 0
            may = plan[UPDATE] >= 0 and not first_sum and plan[FACTORS] == 0
            total, applied = blocked_step(
                plan, net, samples, memory, batch, ps, stays, coefficients, may, rank
            )
        else:
            applied = False
            total = resident_step(plan, net, samples, memory, ws, batch, ps, rank)
        reason, penalties = FINITE, 0.0
        finite = applied or plan[GRADIENT] != MADE or gradient_is_finite(plan, memory, batch, rank)
        if not finite:
            reason = GRADIENT_NOT_FINITE
        if first_sum:
            # the ranks have read the parts of the loss before they write those of the penalties
            barrier(rank.team, rank.of, rank.number)
            penalties = penalise(plan, net, rule, memory, batch, rank)
            total += penalties
        if plan[LOSS] >= 0 and not math.isfinite(total):
            reason = LOSS_NOT_FINITE
        # Every rank has found the same total and flags, so all stop together
        stop = plan[UPDATE] >= 0 and reason != FINITE
        if not stop:
            reason = FINITE
        # a rank that has skipped anything saw this before the ranks met, and left a flag
        if (stop or plan[UPDATE] < 0) and is_stopped(rank):
            reason = STOPPED
        if rank.number == 0:
            memory.losses[s] = total
            if plan[FACTORS] == 1:
                memory.losses[plan[STEPS] + s] = penalties
            memory.results[DONE] = s if stop else s + 1
            memory.results[REASON] = reason
        if stop:
            return
        if plan[UPDATE] >= 0 and not applied:
            update(plan, net, memory, batch, rule, coefficients, factor, first_sum, rank)
            if plan[LEARNING] == 1:
                follow(net, memory, batch.m, rank)


@kernel
def follow(net, memory, m, rank):
    """Have what layers keep of the batches, as moving averages, follow the step."""
    for l in range(1, net.table.shape[0]):
        if is_operation(net.table, l):
            begin, end = part(net.table[l, N], UNIT, rank.number, rank.of)
            operate_on_columns(FOLLOW, net, memory.ws, l, m, begin, end, YES, NO, null(net.p))


# What `run` is given the addresses of, in the order of `layout`'s tuples. Those before the table's
# change from call to call.
TARGETS_AT, COEFFICIENTS_AT, STOP, TABLE, NET, RULE, MEMORY, LOSS_PARAMETERS = (
    0, 4, 5, 6, 7, 10, 12, 21,
)  # fmt: skip


@entry(
    lambda t: (
        *(vector(int64),) * 2,
        float64,
        *(vector(t), vector(other(t)), vector(t), vector(float64)),
    ),
    large=True,
)
def run(number, n_ranks, team, plan, at, limit, x, x_other, outputs, losses):
    """Run a plan; see `engine.Engine`, which makes the arguments.

    `at` holds addresses; what changes from call to call has an argument of its own. One of `x` and
    `x_other` is empty, `outputs` may be.
    """
    net = Net(
        rows_at(address_at(at, TABLE, plan), plan[LAYERS], FIELDS),
        address_at(at, NET, x),
        address_at(at, NET + 1, x),
        address_at(at, NET + 2, x),
    )
    samples = Samples(
        address(x, ZERO),
        address(x_other, ZERO),
        address_at(at, TARGETS_AT, x),
        address_at(at, TARGETS_AT + 1, plan),
        address_at(at, TARGETS_AT + 2, x),
        address_at(at, TARGETS_AT + 3, plan),
        address(outputs, ZERO),
    )
    rule = Rule(
        address_at(at, COEFFICIENTS_AT, x),
        limit,
        rows_at(address_at(at, RULE, plan), plan[CHUNKS], 3),
        address_at(at, RULE + 1, losses),
    )
    memory = Memory(
        address_at(at, MEMORY, x),
        address_at(at, MEMORY + 1, x),
        address_at(at, MEMORY + 2, x),
        address_at(at, MEMORY + 3, losses),
        address_at(at, MEMORY + 4, losses),
        address_at(at, MEMORY + 5, losses),
        address_at(at, MEMORY + 6, losses),
        address_at(at, MEMORY + 7, plan),
        address(losses, ZERO),
        address_at(at, MEMORY + 8, plan),
    )
    packed = address(memory.packed, number * plan[PACKED_SIZE])
    rank = Rank(number, n_ranks, packed, team, address_at(at, STOP, plan))
    ws = address(memory.ws, 0 if plan[REGIME] == BLOCKED else number * plan[WORKSPACE])
    zeros = span(ws, 0, ZEROS)
    for i in range(ZEROS):
        zeros[i] = 0
    if plan[REPLICA] > 0 and number > 0:
        net = replica(plan, net, rank)
    mode = flush_denormals()
    steps(plan, net, samples, rule, address_at(at, LOSS_PARAMETERS, x), memory, ws, rank)
    restore(mode)
