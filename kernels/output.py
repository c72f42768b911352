"""The output layer: A_L = g(Z_L), the loss and dZ_L, in one pass over rows of the batch.

And what a call hands out of each sample: A_L, or dZ_1.
"""

from __future__ import annotations

from ._jit import kernel
from ._simd import exists, span
from .activations import activate, differentiate
from .layout import (
    DELTA,
    FUSED,
    LOGITS,
    LOSS,
    OF_FIRST,
    OF_LAST,
    OUT_CODE,
    OUT_FROM_Z,
    OUTPUTS,
    TARGETS,
    A,
    N,
    S,
)
from .losses import loss_rows
from .reduce import row_sum


@kernel
def sample_at(samples, i):
    """The number of the sample that is i-th in the epoch's order."""
    return samples.order[i] if exists(samples.order) else i


@kernel
def _targets(samples, memory, ws, at, n, batch, begin, end):
    """Copy the targets of the rows behind each other, where the samples are not in order."""
    for i in range(begin, end):
        sample = samples.order[batch.first + i]
        if exists(samples.labels):
            memory.labels[i] = samples.labels[sample]
        if exists(samples.y):
            row, source = span(ws, at + (i - begin) * n, n), span(samples.y, sample * n, n)
            for j in range(n):
                row[j] = source[j]


@kernel
def _loss_and_gradient(plan, samples, memory, ws, s, a, d, y, n, batch, ps, begin, end):
    """The samples' losses and dZ_L; returns the sum of the losses' shares in the batch."""
    rows, losses = end - begin, memory.sample_losses
    if exists(samples.order):
        _targets(samples, memory, ws, y, n, batch, begin, end)
        loss_rows(
            plan[LOSS], ws, s, ws, a, ws, y, memory.labels, begin, ws, d, rows, n,
            ps, losses, begin,
        )  # fmt: skip
    else:
        at = batch.first + begin
        loss_rows(
            plan[LOSS], ws, s, ws, a, samples.y, at * n, samples.labels, at, ws, d, rows, n,
            ps, losses, begin,
        )  # fmt: skip
    if plan[FUSED] == 0:
        differentiate(plan[OUT_CODE], ws, d, ws, s if plan[OUT_FROM_Z] == 1 else a, rows, n)
    total, share = 0.0, 1.0 / batch.m
    if not exists(samples.weights):
        dZ = span(ws, d, rows * n)
        scale = dZ.dtype.type(share)
        for e in range(rows * n):
            dZ[e] *= scale
        return row_sum(losses, begin, rows) * share
    for i in range(begin, end):
        share = samples.weights[sample_at(samples, batch.first + i)] / batch.m
        dZ = span(ws, d + (i - begin) * n, n)
        scale = dZ.dtype.type(share)
        for j in range(n):
            dZ[j] *= scale
        total += share * losses[i]
    return total


@kernel
def output_rows(plan, net, samples, memory, ws, batch, ps, begin, end, place):
    """A_L, the loss and dZ_L for rows [begin, end) of the batch; returns their part of the loss.

    In the workspace these rows begin with number `place`.
    """
    last = net.table.shape[0] - 1
    n = net.table[last, N]
    s, a = net.table[last, S] + place * n, net.table[last, A] + place * n
    total = 0.0
    if plan[FUSED] == 0:
        activate(plan[OUT_CODE], ws, s, ws, a, end - begin, n)
    if plan[LOSS] >= 0:
        d, y = net.table[last, DELTA] + place * n, plan[TARGETS] + place * n
        total = _loss_and_gradient(plan, samples, memory, ws, s, a, d, y, n, batch, ps, begin, end)
    if plan[OUTPUTS] == OF_LAST:
        # a loss of logits has left probabilities in A, and the layer's own outputs are Z
        given = s if plan[FUSED] == LOGITS else a
        for i in range(begin, end):
            to = sample_at(samples, batch.first + i) * n
            row, source = span(samples.outputs, to, n), span(ws, given + (i - begin) * n, n)
            for j in range(n):
                row[j] = source[j]
    return total


@kernel
def hand_out_delta(plan, net, samples, ws, first, m, row_stride, column_stride):
    """Copy dZ_1 of m samples from number `first`, with any strides in the workspace, if wanted."""
    if plan[OUTPUTS] == OF_FIRST:
        n, d = net.table[1, N], net.table[1, DELTA]
        for i in range(m):
            row = span(samples.outputs, (first + i) * n, n)
            source = span(ws, d + i * row_stride, (n - 1) * column_stride + 1)
            for j in range(n):
                row[j] = source[j * column_stride]
