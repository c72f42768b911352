"""The backward pass of a step whose products are shared among the ranks: of a larger network.

For dW_l and dA_{l-1} a rank takes the same rows of W_l^T, so it alone reads and changes these;
where the inputs are cut, in the forward pass too.
"""

from __future__ import annotations

import math

import numpy as np

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.base.constants import NO, ONE, YES, ZERO
from fastdnn.kernels.blas.macrokernel import multiply_by_width, whole_vectors
from fastdnn.kernels.blas.microkernel import mc_of, mr_of, nr_of
from fastdnn.kernels.blas.operands import (
    Region,
    Right,
    Target,
    element,
    moved,
    rows_from,
    transposed,
    zeros_at,
)
from fastdnn.kernels.blas.pack import packs_A
from fastdnn.kernels.blas.reduce import add_absolutes, add_not_finite, column_sums
from fastdnn.kernels.compiler.jit import kernel
from fastdnn.kernels.elementwise.dropout import dropout_key
from fastdnn.kernels.elementwise.update import update_range, update_rows
from fastdnn.kernels.layers.epilogue import calls_of, finish_backward, scaled
from fastdnn.kernels.layers.gemm import (
    Factor,
    Size,
    block_depth,
    left_block,
    pack_whole_B,
    packed_B,
    product,
)
from fastdnn.kernels.layers.layout import (
    DEFERRED,
    DELTA_PANELS,
    DZ,
    LEARNING,
    N_PREV,
    PARAMETERS,
    SEED,
    UPDATE,
    WHOLE_ROW,
    B,
    N,
    W,
)
from fastdnn.kernels.layers.linear import unit_gradient
from fastdnn.kernels.layers.operations import (
    GRADIENTS,
    ROWS_BACKWARD,
    has,
    is_operation,
    operate_on_columns,
    operate_on_rows,
)
from fastdnn.kernels.layers.sharing import (
    claimed,
    column_pieces,
    columns_of,
    group_of,
    owner_of,
    part,
    piece_of,
    pieces_of,
    share,
    turn_of,
)
from fastdnn.kernels.llvm.simd import address, null, span
from fastdnn.kernels.parallel.team import barrier, is_stopped

from .forward import UNIT, after_backward, input_of

PIECE_ROWS = 64  # of dW^T, of the smallest piece that goes from rank to rank
# A block of dW that is used while it is in L2: its columns, and elements
BLOCK_COLUMNS, BLOCK_SIZE = 512, 32 * 1024


@kernel  # called from many places: put into each, it would make the first start 3 % longer
def rows_of(table, l, rank, c):
    """Return the rank's region of W_l^T and dW_l^T."""
    group = group_of(table, l, rank)
    region = share(group.end - group.begin, table[l, N], group.rank, YES, NO, c)
    top, bottom = group.begin + region.top, group.begin + region.bottom
    return Region(top, bottom, region.left, region.right)


@kernel
def gradient_by_pieces(plan, net, memory, m, x, l, rank):
    """dW_l^T = A_prev^T dZ_l into the gradient, and to the rank's flag what is not finite.

    Pieces of rows go from rank to rank where each has room to pack all of dZ; else each piece
    would pack it anew.
    """
    table, ws, found = net.table, memory.ws, address(memory.flags, rank.number)
    n, k, depth, packed = table[l, N], table[l, N_PREV], block_depth(m, ws), rank.packed
    dZ, zeros, size = Matrix(ws, table[l, DZ], n, ONE), zeros_at(ws), Size(k, n, m, depth)
    dW, panels, left, right = address(net.gradient, table[l, W]), null(packed), -1, -1
    has_room = packed_B(ws) + m * whole_vectors(n, ws) <= plan[DELTA_PANELS]
    turn = turn_of(rank, m * n * k if has_room else ZERO)
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        whole = rows_of(table, l, owner, ws)
        pieces = pieces_of(turn, whole.bottom - whole.top, PIECE_ROWS)
        for piece in claimed(turn, owner, pieces):
            if turn.owners > 1 and (whole.left != left or whole.right != right):
                left, right, panels = whole.left, whole.right, address(packed, packed_B(ws))
                pack_whole_B(dZ, m, depth, left, right, panels)
            begin, end = piece_of(whole.bottom - whole.top, mr_of(ws), piece, pieces)
            region = Region(whole.top + begin, whole.top + end, whole.left, whole.right)
            product(
                size, region, transposed(x), Factor(dZ, panels, YES), zeros, dW, scaled(1.0, ws),
                rank,
            )  # fmt: skip
            for i in range(region.top, region.bottom):
                at = table[l, W] + i * n
                add_not_finite(
                    net.gradient, at + region.left, region.right - region.left, ONE, found
                )


@kernel
def layer_gradient(plan, net, samples, memory, batch, l, rank):
    """dW_l and db_l into the gradient, and to the rank's flag what of them is not finite."""
    if is_stopped(rank):
        return
    table, ws, m, found = net.table, memory.ws, batch.m, address(memory.flags, rank.number)
    n, d, x = table[l, N], table[l, DZ], input_of(plan, net, samples, ws, batch, ZERO, l)
    if n == 1 and l > 1:
        region = rows_of(table, l, rank, ws)
        at = table[l, W] + region.top
        dW = Target(address(net.gradient, at), ONE, region.bottom - region.top, ONE, NO)
        unit_gradient(moved(x, ZERO, region.top), rows_from(address(ws, d), n), m, NO, dW)
        add_not_finite(net.gradient, at, region.bottom - region.top, ONE, found)
    else:
        gradient_by_pieces(plan, net, memory, m, x, l, rank)
    if table[l, B] >= 0:
        begin, end = part(n, UNIT, rank.number, rank.of)
        to = table[l, B] + begin
        column_sums(m, end - begin, ws, d + begin, n, 1.0, False, net.gradient, to)
        add_not_finite(net.gradient, to, end - begin, ONE, found)


@kernel
def is_bounded(plan, net, samples, memory, batch, rank):
    """Return whether no gradient can overflow: |dW| <= sum |A| sum |dZ|, |db| <= sum |dZ|."""
    table, ws, sums = net.table, memory.ws, address(memory.flags, rank.of)
    of_A, of_dZ = address(sums, 2 * rank.number), address(sums, 2 * rank.number + 1)
    of_A[0], of_dZ[0] = 1.0, 0.0
    for l in range(1, table.shape[0]):
        # of A_{l-1} and dZ_{l-1}, what the rank has made or read
        k, group = table[l, N_PREV], group_of(table, l, rank)
        begin, end = part(batch.m, ONE, group.rank.number, group.rank.of)
        left, width = group.begin, group.end - group.begin
        if l > 1:
            at = table[l - 1, DZ] + begin * k + left
            add_absolutes(end - begin, width, ws, at, k, ONE, of_dZ)
        x = input_of(plan, net, samples, ws, batch, ZERO, l)
        at = x.offset + begin * x.row_stride + left * x.column_stride
        add_absolutes(end - begin, width, x.flat, at, x.row_stride, x.column_stride, of_A)
    if is_stopped(rank):  # then nothing may be changed any more
        of_A[0] = np.inf
    begin, end = part(batch.m, ONE, rank.number, rank.of)
    last = table.shape[0] - 1
    n, at = table[last, N], table[last, DZ] + begin * table[last, N]
    add_absolutes(end - begin, n, ws, at, n, ONE, of_dZ)
    barrier(rank.team, rank.of, rank.number)
    A, dZ = 0.0, 0.0
    for i in range(rank.of):
        A += sums[2 * i]
        dZ += sums[2 * i + 1]
    bound = span(ws, ZERO, ONE).dtype.type(2.0 * A * dZ)  # twice: sums are rounded
    return math.isfinite(bound)


@kernel
def descend_by_blocks(plan, net, ws, m, x, coefficients, l, rank):
    """Change W_l by blocks of dW, each used while it is in cache, which go from rank to rank."""
    table, size, nr, mr, packed = net.table, plan[PARAMETERS], nr_of(ws), mr_of(ws), rank.packed
    n, dZ, left, right = table[l, N], Matrix(ws, table[l, DZ], table[l, N], ONE), -1, -1
    panels, block = address(packed, packed_B(ws)), address(packed, plan[DELTA_PANELS])
    turn = turn_of(rank, m * n * table[l, N_PREV])
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        region = rows_of(table, l, owner, ws)
        wide = max(min(region.right - region.left, BLOCK_COLUMNS // nr * nr), 1)
        height = min(max(BLOCK_SIZE // wide // mr, 1) * mr, mc_of(ws))
        pieces = (region.bottom - region.top + height - 1) // height
        for piece in claimed(turn, owner, pieces):
            if region.left != left or region.right != right:
                left, right = region.left, region.right
                pack_whole_B(dZ, m, m, left, right, panels)
            i0 = region.top + piece * height
            rows, packs = min(height, region.bottom - i0), packs_A(right - left, x.row_stride, ws)
            A_prev = left_block(moved(transposed(x), i0, ZERO), rows, m, packs, packed)
            for j0 in range(left, right, wide):
                columns, at = min(wide, right - j0), table[l, W] + i0 * n + j0
                of_dZ = Right(address(panels, (j0 - left) * m), ZERO, m)
                dW = Target(block, columns, rows, columns, NO)
                multiply_by_width(A_prev, of_dZ, zeros_at(ws), dW)
                calls, lines = calls_of(rows, columns, n)
                update_rows(
                    plan[UPDATE], net.p, block, net.slots, size, at, calls, lines * columns, n,
                    columns, 1.0, null(block), ZERO, coefficients,
                )  # fmt: skip


@kernel
def descend_by_rows(plan, net, ws, x, coefficients, l, region):
    """Descend by one sample: each row of dW^T is dZ times an element of A_prev."""
    n, size = net.table[l, N], plan[PARAMETERS]
    rows, columns = region.bottom - region.top, region.right - region.left
    at = net.table[l, W] + region.top * n + region.left
    dZ = address(ws, net.table[l, DZ] + region.left)
    factors = element(x, ZERO, region.top)
    update_rows(
        plan[UPDATE], net.p, dZ, net.slots, size, at, rows, columns, n, ZERO,
        1.0, factors, x.column_stride, coefficients,
    )  # fmt: skip


@kernel
def descend_unit(plan, net, ws, m, x, coefficients, l, region, packed):
    """Descend in a layer of one unit, whose dW is one vector."""
    block, size = address(packed, plan[DELTA_PANELS]), plan[PARAMETERS]
    dZ = rows_from(address(ws, net.table[l, DZ]), ONE)
    for top in range(region.top, region.bottom, BLOCK_SIZE):
        bottom, at = min(top + BLOCK_SIZE, region.bottom), net.table[l, W] + top
        unit_gradient(moved(x, ZERO, top), dZ, m, NO, Target(block, ONE, bottom - top, ONE, NO))
        dW, to = address(block, -at), at + bottom - top
        update_range(plan[UPDATE], net.p, dW, net.slots, size, at, to, 1.0, coefficients)


@kernel
def layer_descent(plan, net, samples, memory, batch, coefficients, l, rank):
    """Change W_l and b_l by their gradients, of which dW is not stored."""
    table, ws, m = net.table, memory.ws, batch.m
    n, d = table[l, N], table[l, DZ]
    x = input_of(plan, net, samples, ws, batch, ZERO, l)
    if m == 1:
        descend_by_rows(plan, net, ws, x, coefficients, l, rows_of(table, l, rank, ws))
    elif n == 1 and l > 1:
        region = rows_of(table, l, rank, ws)
        descend_unit(plan, net, ws, m, x, coefficients, l, region, rank.packed)
    else:
        descend_by_blocks(plan, net, ws, m, x, coefficients, l, rank)
    if table[l, B] >= 0:
        begin, end = part(n, UNIT, rank.number, rank.of)
        at, to = table[l, B] + begin, table[l, B] + end
        column_sums(m, end - begin, ws, d + begin, n, 1.0, False, net.gradient, at)
        update_range(
            plan[UPDATE], net.p, net.gradient, net.slots, plan[PARAMETERS], at, to, 1.0,
            coefficients,
        )  # fmt: skip


@kernel
def propagate(net, memory, batch, key, l, rank):
    """dA_{l-1} = W_l^T dZ_l, and dZ_{l-1} = dA_{l-1} * g'."""
    table, ws = net.table, memory.ws
    n, k = table[l, N], table[l, N_PREV]
    whole, turn = table[l - 1, WHOLE_ROW] == 1, turn_of(rank, batch.m * n * k)
    dZ, dA_prev = Matrix(ws, table[l, DZ], n, ONE), address(ws, table[l - 1, DZ])
    weights = Factor(Matrix(net.p, table[l, W], ONE, n), null(ws), YES)
    size = Size(batch.m, k, n, block_depth(n, ws))
    after = after_backward(table, l - 1, ws, ZERO, key)
    for ahead in range(turn.owners):
        owner = owner_of(turn, ahead)
        group = group_of(table, l, owner)
        inner = share(batch.m, group.end - group.begin, group.rank, NO, whole, ws)
        left, right = group.begin + inner.left, group.begin + inner.right
        region = Region(inner.top, inner.bottom, left, right)
        pieces = column_pieces(turn, region, whole)
        for piece in claimed(turn, owner, pieces):
            taken = columns_of(region, piece, pieces, ws)
            product(size, taken, dZ, weights, zeros_at(ws), dA_prev, after, rank)


@kernel
def operate_backward(plan, net, memory, batch, l, rank):
    """Compute the derivatives by another operation's tensors, and dZ_{l-1}.

    What of them is not finite goes to the rank's flag.
    """
    table, ws, m, learning = net.table, memory.ws, batch.m, plan[LEARNING] == 1
    n, k = table[l, N], table[l, N_PREV]
    if has(table, l, GRADIENTS):
        left, right = part(n, UNIT, rank.number, rank.of)
        operate_on_columns(GRADIENTS, net, ws, l, m, left, right, learning, NO, net.gradient)
        barrier(rank.team, rank.of, rank.number)
        begin, end = part(table[l, B] - table[l, W], UNIT, rank.number, rank.of)
        found = address(memory.flags, rank.number)
        add_not_finite(net.gradient, table[l, W] + begin, end - begin, ONE, found)
    if l > 1:
        top, bottom = part(m, ONE, rank.number, rank.of)
        operate_on_rows(ROWS_BACKWARD, net, ws, l, top, bottom, learning)
        after = after_backward(table, l - 1, ws, ZERO, dropout_key(plan[SEED], batch.number, l - 1))
        finish_backward(after, address(ws, table[l - 1, DZ]), k, Region(top, bottom, ZERO, k))
        barrier(rank.team, rank.of, rank.number)


@kernel
def backward(plan, net, samples, memory, batch, coefficients, may, rank):
    """Make the gradient from dZ_L, which holds the 1 / m; or at once what it changes.

    Returns whether the parameters have been changed. That is done where it `may` be, dW is
    deferred and no gradient can be infinite or NaN: a step that is not finite must change no
    parameter, so this has to be known of all layers before any dW is made.
    """
    memory.flags[rank.number] = 0.0
    last, applies = net.table.shape[0] - 1, False
    for stage in range(2):  # a layer's dZ_{l-1} and then dW_l; or all dZ and then all dW
        if stage == 1 and plan[DEFERRED] == 1:
            applies = may and is_bounded(plan, net, samples, memory, batch, rank)
        for l in range(last, 0, -1):
            if is_operation(net.table, l):
                if stage == 0:
                    operate_backward(plan, net, memory, batch, l, rank)
                continue
            if stage == 0 and l > 1:
                key = dropout_key(plan[SEED], batch.number, l - 1)
                propagate(net, memory, batch, key, l, rank)
            if stage == plan[DEFERRED]:
                if applies:
                    layer_descent(plan, net, samples, memory, batch, coefficients, l, rank)
                else:
                    layer_gradient(plan, net, samples, memory, batch, l, rank)
            if stage == 0 and l > 1:
                barrier(rank.team, rank.of, rank.number)
    if is_stopped(rank):
        memory.flags[rank.number] += 1.0
    return applies
