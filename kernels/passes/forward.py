"""The forward pass of a step whose products are shared among the ranks, and its loss.

Where a layer's inputs are cut (`DEPTH`; see `placement`), a group of ranks makes its part of all
of Z: the sum over its own inputs. A rank then adds the parts, in the order of the inputs, for the
columns that it reads in the next layer.
"""

from __future__ import annotations

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.base.constants import NO, ONE, YES, ZERO
from fastdnn.kernels.blas.operands import Region, moved, rows_from, zeros_at
from fastdnn.kernels.blas.pack import gather_other_rows, gather_rows
from fastdnn.kernels.blas.reduce import add_parts
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.elementwise.dropout import drop_range, dropout_key
from fastdnn.kernels.layers.epilogue import (
    BACKWARD,
    FORWARD,
    Epilogue,
    Mask,
    calls_of,
    finish_forward,
    scaled,
)
from fastdnn.kernels.layers.gemm import Factor, Size, block_depth, product
from fastdnn.kernels.layers.layout import (
    CODE,
    DEPTH,
    DROP,
    FROM_Z,
    FUSED_RELU,
    LEARNING,
    N_PREV,
    PARTS,
    SEED,
    WHOLE_ROW,
    X_COLUMN,
    X_DIRECT,
    X_OFFSET,
    X_OTHER,
    X_ROW,
    A,
    B,
    N,
    S,
    W,
)
from fastdnn.kernels.layers.operations import (
    ROWS_FORWARD,
    STATISTICS,
    has,
    is_operation,
    operate_on_columns,
    operate_on_rows,
)
from fastdnn.kernels.layers.output import output_of, output_rows
from fastdnn.kernels.layers.sharing import (
    blocks_of,
    claimed,
    column_pieces,
    columns_of,
    group_of,
    owner_of,
    part,
    share,
    turn_of,
)
from fastdnn.kernels.llvm.simd import address, null
from fastdnn.kernels.parallel.team import barrier, is_stopped

LOSS_ROWS = 32  # samples in a partial sum of the loss
GATHERED_ROWS = 4096  # before a rank looks whether to stop
UNIT = 16  # columns of A that one rank makes: of cache lines, whole ones


@kernel
def gather(plan, net, samples, ws, batch, begin, end, left, right, place, to_row, to_column):
    """A_0 = columns [left, right) of rows [begin, end) of the batch, from X.

    In the workspace the rows begin with number `place` and lie `to_row` apart, columns `to_column`.
    """
    table, order = net.table, samples.order
    n, count, first = right - left, end - begin, batch.first + begin
    a = table[0, A] + place * to_row + left * to_column
    row, column = plan[X_ROW], plan[X_COLUMN]
    at = plan[X_OFFSET] + left * column
    if plan[X_OTHER] == 1:
        gather_other_rows(
            ws, a, to_row, to_column, samples.x_other, at, row, column, n, order, first, ZERO, count
        )
    else:
        gather_rows(
            ws, a, to_row, to_column, samples.x, at, row, column, n, order, first, ZERO, count
        )
    if table[0, DROP] > 0:
        key = dropout_key(plan[SEED], batch.number, ZERO)
        calls, lines = calls_of(count, n, table[0, N])
        for i in range(calls):
            to, number = a + i * to_row, (begin + i) * table[0, N] + left
            drop_range(ws, to, ws, to, lines * n, number, table[0, DROP], key)


@small_kernel
def input_of(plan, net, samples, ws, batch, begin, l):
    """A_{l-1}, rows of samples: of the first layer X itself, where it can be read as it lies.

    Row `begin` of the batch is the first, and the first in the workspace.
    """
    if l == 1 and plan[X_DIRECT] == 1:
        at = plan[X_OFFSET] + (batch.first + begin) * plan[X_ROW]
        return Matrix(samples.x, at, plan[X_ROW], plan[X_COLUMN])
    return Matrix(ws, net.table[l - 1, A], net.table[l, N_PREV], ONE)


@small_kernel
def after_forward(table, l, ws, row, key):
    """A_l = g(Z_l) and dropout; Z_l begins with this row of the batch."""
    s, a = address(ws, table[l, S]), address(ws, table[l, A])
    return Epilogue(
        FORWARD, table[l, CODE], table[l, FUSED_RELU] == 1, table[l, WHOLE_ROW] == 1,
        a if table[l, FROM_Z] else s, a, Mask(table[l, DROP], row, key), 1.0,
    )  # fmt: skip


@small_kernel
def after_backward(table, l, ws, row, key):
    """dZ_l = dA_l * g'(Z_l), dropped as A_l was; dA_l begins with this row of the batch."""
    s = address(ws, table[l, S])
    mask = Mask(table[l, DROP], row, key)
    return Epilogue(BACKWARD, table[l, CODE], NO, table[l, WHOLE_ROW] == 1, s, s, mask, 1.0)


@kernel
def gather_batch(plan, net, samples, ws, batch, rank):
    """A_0, in rows: what the rank needs of it in layer 1."""
    group = group_of(net.table, ONE, rank)
    first, last = part(batch.m, ONE, group.rank.number, group.rank.of)
    for begin in range(first, last, GATHERED_ROWS):
        if is_stopped(rank):
            break
        end = min(begin + GATHERED_ROWS, last)
        gather(
            plan, net, samples, ws, batch, begin, end, group.begin, group.end, begin,
            net.table[0, N], ONE,
        )  # fmt: skip
    meet_before(group, rank)


@kernel
def meet_before(group, rank):
    """Wait for A_{l-1}, unless the rank has made all that its group needs in layer l."""
    if group.of == 1 or group.rank.of > 1:
        barrier(rank.team, rank.of, rank.number)


@kernel
def region_forward(plan, net, ws, batch, x, l, group, region):
    """A_l = g(W_l A_{l-1} + b_l) on a region; or the group's part of Z_l, if inputs are cut."""
    table, p, m = net.table, net.p, batch.m
    n, k, depth, is_cut = table[l, N], table[l, N_PREV], table[l, DEPTH], group.of > 1
    if depth == 0:
        depth = block_depth(k, ws)
    step, key = depth if is_cut else k, dropout_key(plan[SEED], batch.number, l)
    after = scaled(1.0, ws) if is_cut else after_forward(table, l, ws, ZERO, key)
    for at in range(group.begin, group.end, step):
        # The first group adds block to block, as one rank would; then each block is added to these
        start, to = zeros_at(ws), address(ws, table[l, S])
        if group.number > 0:
            to = address(ws, table[l, PARTS] + (at // depth - 1) * m * n)
        elif at > 0:
            start = rows_from(to, n)
        elif table[l, B] >= 0:
            start = Matrix(p, table[l, B], ZERO, ONE)
        size = Size(m, n, min(step, group.end - at), depth)
        weights = Factor(Matrix(p, table[l, W] + at * n, n, ONE), null(p), YES)
        product(size, region, moved(x, ZERO, at), weights, start, to, after, group.rank)


@kernel
def layer_forward(plan, net, samples, ws, batch, l, group):
    """A_l = g(W_l A_{l-1} + b_l); or, where the inputs are cut, the group's part of Z_l."""
    table, m = net.table, batch.m
    n, whole_rows = table[l, N], table[l, WHOLE_ROW] == 1
    x = input_of(plan, net, samples, ws, batch, ZERO, l)
    # where inputs are cut, the rows of W^T stay with their group
    turn = turn_of(group.rank, m * n * table[l, N_PREV] if group.of == 1 else ZERO)
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        region = share(m, n, owner, NO, whole_rows, ws)
        pieces = column_pieces(turn, region, whole_rows)
        for piece in claimed(turn, owner, pieces):
            taken = columns_of(region, piece, pieces, ws)
            region_forward(plan, net, ws, batch, x, l, group, taken)


@kernel
def add_groups(table, ws, m, l, groups, top, bottom, left, right):
    """Z_l = the sum of the groups' parts on a region, or relu's A_l."""
    n, blocks = table[l, N], blocks_of(table, l)
    added, at = blocks // groups, top * n + left
    calls, lines = calls_of(bottom - top, right - left, n)
    parts = address(ws, table[l, PARTS] + (added - 1) * m * n + at)
    add_parts(
        calls, lines * (right - left), n, address(ws, table[l, S] + at), parts, m * n,
        blocks - added, table[l, FUSED_RELU] == 1,
    )  # fmt: skip


@kernel
def operate_forward(plan, net, ws, batch, l, rank):
    """A_l of another operation: each rank's of some samples, if need be after the statistics."""
    table, m, learning = net.table, batch.m, plan[LEARNING] == 1
    if learning and has(table, l, STATISTICS):
        left, right = part(table[l, N], UNIT, rank.number, rank.of)
        operate_on_columns(STATISTICS, net, ws, l, m, left, right, YES, NO, null(ws))
        barrier(rank.team, rank.of, rank.number)
    top, bottom = part(m, ONE, rank.number, rank.of)
    operate_on_rows(ROWS_FORWARD, net, ws, l, top, bottom, learning)
    after = after_forward(table, l, ws, ZERO, dropout_key(plan[SEED], batch.number, l))
    n = table[l, N]
    finish_forward(after, address(ws, table[l, S]), n, Region(top, bottom, ZERO, n))
    barrier(rank.team, rank.of, rank.number)


@kernel
def forward(plan, net, samples, memory, batch, rank):
    """A_l = g(W_l A_{l-1} + b_l) for all layers, from A_0; the last leaves Z_L or its parts."""
    table, ws, m = net.table, memory.ws, batch.m
    for l in range(1, table.shape[0]):
        if is_operation(table, l):
            operate_forward(plan, net, ws, batch, l, rank)
            continue
        group = group_of(table, l, rank)
        layer_forward(plan, net, samples, ws, batch, l, group)
        barrier(rank.team, rank.of, rank.number)
        if group.of > 1 and l + 1 < table.shape[0]:
            following, key = group_of(table, l + 1, rank), dropout_key(plan[SEED], batch.number, l)
            width = following.end - following.begin
            left, right = part(width, UNIT, following.rank.number, following.rank.of)
            left, right = following.begin + left, following.begin + right
            add_groups(table, ws, m, l, group.of, ZERO, m, left, right)
            after, z = after_forward(table, l, ws, ZERO, key), address(ws, table[l, S])
            finish_forward(after, z, table[l, N], Region(ZERO, m, left, right))
            meet_before(following, rank)


@kernel
def loss(plan, net, samples, memory, batch, ps, rank):
    """Return the batch's loss without penalties, on every rank the same; write dZ_L."""
    chunks, last = (batch.m + LOSS_ROWS - 1) // LOSS_ROWS, net.table.shape[0] - 1
    groups = group_of(net.table, last, rank).of
    for chunk in range(rank.number, chunks, rank.of):
        if is_stopped(rank):
            break
        begin = chunk * LOSS_ROWS
        end = min(begin + LOSS_ROWS, batch.m)
        if groups > 1:
            n = net.table[last, N]
            add_groups(net.table, memory.ws, batch.m, last, groups, begin, end, ZERO, n)
        rows = output_of(plan, net, memory.ws, begin, end, begin)
        memory.partial[chunk] = output_rows(plan, samples, memory, batch, ps, rows)
    barrier(rank.team, rank.of, rank.number)
    total = 0.0
    for chunk in range(chunks):
        total += memory.partial[chunk]
    return total
