"""The output layer: A_L = g(Z_L), the loss and dZ_L, in one pass over rows of the batch.

And what a call hands out of each sample: A_L, or dZ_1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.blas.reduce import row_sum
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.elementwise.activations import activate, differentiate
from fastdnn.kernels.elementwise.losses import loss_rows
from fastdnn.kernels.llvm.simd import address, is_not_null, span

from .layout import (
    DZ,
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


@kernel
def sample_at(samples, i):
    """Return the number of the sample that is i-th in the epoch's order."""
    return samples.order[i] if is_not_null(samples.order) else i


class Rows(NamedTuple):
    """Rows [begin, end) of the batch, and where their Z_L, A_L, dZ_L and y lie."""

    begin: int
    end: int
    n: int
    s: Any
    a: Any
    d: Any
    y: Any


@small_kernel
def output_of(plan, net, ws, begin, end, place):
    """Return rows of the batch that begin in the workspace with number `place`."""
    last = net.table.shape[0] - 1
    n = net.table[last, N]
    at = place * n
    return Rows(
        begin, end, n, address(ws, net.table[last, S] + at), address(ws, net.table[last, A] + at),
        address(ws, net.table[last, DZ] + at), address(ws, plan[TARGETS] + at),
    )  # fmt: skip


@kernel
def _targets(samples, memory, batch, rows):
    """Copy the targets of the rows behind each other, where the samples are not in order."""
    n = rows.n
    for i in range(rows.begin, rows.end):
        sample = samples.order[batch.first + i]
        if is_not_null(samples.labels):
            memory.labels[i] = samples.labels[sample]
        if is_not_null(samples.y):
            row, source = span(rows.y, (i - rows.begin) * n, n), span(samples.y, sample * n, n)
            for j in range(n):
                row[j] = source[j]


@kernel
def _scale_row(d, at, n, share):
    dZ = span(d, at, n)
    scale = dZ.dtype.type(share)
    for j in range(n):
        dZ[j] *= scale


@kernel
def _loss_and_gradient(plan, samples, memory, batch, ps, rows):
    """Make the samples' losses and dZ_L; return the sum of the losses' shares in the batch."""
    n, count, losses = rows.n, rows.end - rows.begin, memory.sample_losses
    y, labels, label = rows.y, memory.labels, rows.begin
    if is_not_null(samples.order):
        _targets(samples, memory, batch, rows)
    else:
        label = batch.first + rows.begin
        y, labels = address(samples.y, label * n), samples.labels
    loss_rows(
        plan[LOSS], rows.s, ZERO, rows.a, ZERO, y, ZERO, labels, label, rows.d, ZERO, count, n, ps,
        losses, rows.begin,
    )  # fmt: skip
    if plan[FUSED] == 0:
        s = rows.s if plan[OUT_FROM_Z] == 1 else rows.a
        differentiate(plan[OUT_CODE], rows.d, ZERO, s, ZERO, count, n)
    total, share = 0.0, 1.0 / batch.m
    if not is_not_null(samples.weights):
        _scale_row(rows.d, ZERO, count * n, share)
        return row_sum(losses, rows.begin, count) * share
    for i in range(rows.begin, rows.end):
        share = samples.weights[sample_at(samples, batch.first + i)] / batch.m
        _scale_row(rows.d, (i - rows.begin) * n, n, share)
        total += share * losses[i]
    return total


@kernel
def output_rows(plan, samples, memory, batch, ps, rows):
    """A_L, the loss and dZ_L for some rows of the batch; returns their part of the loss."""
    n, total = rows.n, 0.0
    if plan[FUSED] == 0:
        activate(plan[OUT_CODE], rows.s, ZERO, rows.a, ZERO, rows.end - rows.begin, n)
    if plan[LOSS] >= 0:
        total = _loss_and_gradient(plan, samples, memory, batch, ps, rows)
    if plan[OUTPUTS] == OF_LAST:
        # a loss of logits has left probabilities in A, and the layer's own outputs are Z
        given = rows.s if plan[FUSED] == LOGITS else rows.a
        for i in range(rows.begin, rows.end):
            to = sample_at(samples, batch.first + i) * n
            row, source = span(samples.outputs, to, n), span(given, (i - rows.begin) * n, n)
            for j in range(n):
                row[j] = source[j]
    return total


@kernel
def hand_out_delta(plan, net, samples, ws, first, m, row_stride, column_stride):
    """Copy dZ_1 of m samples from number `first`, with any strides in the workspace, if wanted."""
    if plan[OUTPUTS] == OF_FIRST:
        n, d = net.table[1, N], net.table[1, DZ]
        for i in range(m):
            row = span(samples.outputs, (first + i) * n, n)
            source = span(ws, d + i * row_stride, (n - 1) * column_stride + 1)
            for j in range(n):
                row[j] = source[j * column_stride]
