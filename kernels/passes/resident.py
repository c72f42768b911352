"""A step of a small network: a rank takes samples through all of it, with nothing to wait for.

A batch is cut into segments, a segment into chunks. A chunk's activations and the weights stay in
the caches of one core, from A_0 to dZ_1; each segment has a gradient of its own, to which its
chunks are added in order, and the update adds the segments' gradients, as a tree of neighbours.
Segments and chunks follow from shapes alone.

Where the gradients are small, each rank reads all of them and updates parameters of its own (a
*replica*): W never moves from core to core, and a rank that has updated need not wait.

In a *tiny* network, whose layers are narrower than a tile, vectors run along the samples: A_l is
n_l x m, the notes' own shape, for all layers but the last (the loss wants rows). A row of ones
below each makes the bias one more column of W, and db one more row of dW^T.
"""

from __future__ import annotations

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.base.constants import NO, ONE, YES, ZERO
from fastdnn.kernels.blas.operands import Region, Right, Target, transposed, zeros_at
from fastdnn.kernels.blas.products import dot_products
from fastdnn.kernels.blas.reduce import add_not_finite, column_sums
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.elementwise.activations import activate, differentiate
from fastdnn.kernels.elementwise.dropout import dropout_key
from fastdnn.kernels.layers.epilogue import finish_backward, finish_forward
from fastdnn.kernels.layers.gemm import packed_B
from fastdnn.kernels.layers.layout import (
    BATCH,
    CHUNK,
    CODE,
    DELTA_PANELS,
    DZ,
    FROM_Z,
    FUSED_RELU,
    GRADIENT,
    LEARNING,
    MADE,
    N_PREV,
    PACKED,
    PANELS,
    PARAMETERS,
    REGIME,
    REPLICA,
    SEED,
    SEGMENT,
    TINY,
    X_DIRECT,
    A,
    B,
    N,
    S,
    W,
)
from fastdnn.kernels.layers.linear import (
    input_gradient,
    multiply,
    multiply_deep,
    outputs,
    pack_deep,
    start_of,
    weight_gradient,
)
from fastdnn.kernels.layers.operations import (
    GRADIENTS,
    ROWS_BACKWARD,
    ROWS_FORWARD,
    is_operation,
    operate_on_columns,
    operate_on_rows,
)
from fastdnn.kernels.layers.output import hand_out_delta, output_of, output_rows
from fastdnn.kernels.layers.sharing import part
from fastdnn.kernels.llvm.simd import address, null, span
from fastdnn.kernels.parallel.team import barrier, is_stopped

from .forward import after_backward, after_forward, gather, input_of

LONG = 2  # samples to a unit: with as many, dW is scalar products, which need no packed dZ


# ---------------------------------------------------------------------------------- samples in rows
@kernel
def block_of_A(plan, packed, ws):
    """Return where a block of A is packed: behind all W, and before dZ."""
    return address(packed, plan[DELTA_PANELS] - packed_B(ws))


@small_kernel
def weights_of(net, l):
    """W_l^T."""
    return Matrix(net.p, net.table[l, W], net.table[l, N], ONE)


@kernel
def pack_weights(net, packed, backward):
    """W_l as panels for Z = W A_prev and for dA_prev = W^T dZ; one unit's is read as it lies."""
    table = net.table
    for l in range(1, table.shape[0]):
        n, k, weights = table[l, N], table[l, N_PREV], weights_of(net, l)
        if is_operation(table, l):
            continue
        if n > 1:
            pack_deep(weights, k, n, address(packed, table[l, PANELS]))
        if n > 1 and backward and l > 1:
            pack_deep(transposed(weights), n, k, address(packed, table[l, PACKED]))


@small_kernel
def start_of_layer(net, ws, l):
    """C0 of Z_l: b_l, or without one the zeros that the workspace begins with."""
    bias = net.table[l, B]
    return Matrix(net.p, bias, ZERO, ONE) if bias >= 0 else zeros_at(ws)


@kernel
def forward_layer(net, ws, x, panels, l, m, packed):
    """Z_l = A_{l-1} W_l^T + b_l, in rows; relu's A_l."""
    table, n = net.table, net.table[l, N]
    z = Target(address(ws, table[l, S]), n, m, n, table[l, FUSED_RELU] == 1)
    outputs(x, weights_of(net, l), panels, start_of_layer(net, ws, l), z, packed)


@kernel
def forward_rows(plan, net, samples, ws, batch, begin, m, packed):
    """A_l = g(W_l A_{l-1} + b_l) for all layers; the last leaves Z_L."""
    table, block, learning = net.table, block_of_A(plan, packed, ws), plan[LEARNING] == 1
    for l in range(1, table.shape[0]):
        n = table[l, N]
        if is_operation(table, l):
            operate_on_rows(ROWS_FORWARD, net, ws, l, ZERO, m, learning)
        else:
            x = input_of(plan, net, samples, ws, batch, begin, l)
            panels = Right(address(packed, table[l, PANELS]), ZERO, table[l, N_PREV])
            forward_layer(net, ws, x, panels, l, m, block)
        after = after_forward(table, l, ws, begin, dropout_key(plan[SEED], batch.number, l))
        finish_forward(after, address(ws, table[l, S]), n, Region(ZERO, m, ZERO, n))


@kernel
def backward_rows(plan, net, samples, ws, batch, begin, m, add, gradient, g0, packed):
    """dW_l and db_l of all layers, from dZ_L."""
    table, block, learning = net.table, block_of_A(plan, packed, ws), plan[LEARNING] == 1
    panels = address(packed, plan[DELTA_PANELS])
    for l in range(table.shape[0] - 1, 0, -1):
        n, k, d = table[l, N], table[l, N_PREV], table[l, DZ]
        if is_operation(table, l):
            to = address(gradient, g0)
            operate_on_columns(GRADIENTS, net, ws, l, m, ZERO, n, learning, add, to)
            if l > 1:
                operate_on_rows(ROWS_BACKWARD, net, ws, l, ZERO, m, learning)
        else:
            x, dZ = input_of(plan, net, samples, ws, batch, begin, l), Matrix(ws, d, n, ONE)
            dW = Target(address(gradient, g0 + table[l, W]), n, k, n, NO)
            weight_gradient(x, dZ, m, add, dW, ws, panels, block)
            if table[l, B] >= 0:
                column_sums(m, n, ws, d, n, 1.0, add, gradient, g0 + table[l, B])
            if l > 1:
                dA_prev = Target(address(ws, table[l - 1, DZ]), k, m, k, NO)
                weights = Right(address(packed, table[l, PACKED]), ZERO, n)
                input_gradient(dZ, weights_of(net, l), weights, dA_prev, ws, block)
        if l > 1:
            key = dropout_key(plan[SEED], batch.number, l - 1)
            after, dA = after_backward(table, l - 1, ws, begin, key), table[l - 1, DZ]
            finish_backward(after, address(ws, dA), k, Region(ZERO, m, ZERO, k))


# ------------------------------------------------------------------------------- samples in columns
@kernel
def add_ones(ws, at, m):
    """Write the row of ones below A_l."""
    row = span(ws, at, m)
    for i in range(m):
        row[i] = 1.0


@kernel
def forward_columns(net, ws, m):
    """A_l = g([W_l b_l] [A_{l-1}; 1]) for all layers; the last leaves Z_L, in rows (or a row)."""
    table, last = net.table, net.table.shape[0] - 1
    add_ones(ws, table[0, A] + table[0, N] * m, m)
    for l in range(1, last + 1):
        n, k, weights, A_prev = table[l, N], table[l, N_PREV], weights_of(net, l), table[l - 1, A]
        s, a, fused_relu = table[l, S], table[l, A], table[l, FUSED_RELU] == 1
        if l == last and n > 1:
            right = Right(address(net.p, table[l, W]), n, k)
            forward_layer(net, ws, Matrix(ws, A_prev, ONE, m), right, l, m, null(ws))
            return
        k += 1 if table[l, B] >= 0 else 0
        z = Target(address(ws, s), m, n, m, fused_relu)
        multiply_deep(transposed(weights), Right(address(ws, A_prev), m, k), zeros_at(ws), z)
        if l < last:
            if not fused_relu:
                activate(table[l, CODE], ws, s, ws, a if table[l, FROM_Z] else s, n, m)
            add_ones(ws, a + n * m, m)


@kernel
def backward_columns(plan, net, ws, m, add, gradient, g0, packed):
    """dW_l and db_l of all layers, from dZ_L in rows."""
    table, last = net.table, net.table.shape[0] - 1
    panels = address(packed, plan[DELTA_PANELS])
    for l in range(last, 0, -1):
        n, k, d, other = table[l, N], table[l, N_PREV], table[l, DZ], table[l - 1, DZ]
        in_rows, in_columns = Matrix(ws, d, n, ONE), Matrix(ws, d, ONE, m)  # dZ, as it may lie
        A_prev, with_bias = Matrix(ws, table[l - 1, A], m, ONE), k + (1 if table[l, B] >= 0 else 0)
        dW = Target(address(gradient, g0 + table[l, W]), n, with_bias, n, NO)
        start = start_of(dW, add, ws)
        # dZ is wanted as m x n for dW and as n x m for dA_prev; the other one of the two is packed
        if (l < last or n == 1) and m >= LONG * n:
            dot_products(m, A_prev, in_columns, start, dW)
        else:
            dZ = Right(address(ws, d), n, m)
            if l < last:
                dZ = pack_deep(in_columns, m, n, panels)
            multiply(A_prev, dZ, start, dW, null(ws))
        if l > 1:
            dZ = Right(address(ws, d), m, n)
            if l == last and n > 1:
                dZ = pack_deep(transposed(in_rows), n, m, panels)
            dA_prev = Target(address(ws, other), m, k, m, NO)
            multiply_deep(weights_of(net, l), dZ, zeros_at(ws), dA_prev)
            differentiate(table[l - 1, CODE], ws, other, ws, table[l - 1, S], k, m)


# ----------------------------------------------------------------------------------------- the step
@kernel
def chunk_step(plan, net, samples, memory, ws, batch, ps, begin, end, add, gradient, g0, packed):
    """Run the step but for its update on rows [begin, end) of the batch; return their loss."""
    m, n, tiny = end - begin, net.table[0, N], plan[REGIME] == TINY
    if tiny:
        gather(plan, net, samples, ws, batch, begin, end, ZERO, n, ZERO, ONE, m)
        forward_columns(net, ws, m)
    else:
        if plan[X_DIRECT] == 0:
            gather(plan, net, samples, ws, batch, begin, end, ZERO, n, ZERO, n, ONE)
        forward_rows(plan, net, samples, ws, batch, begin, m, packed)
    rows = output_of(plan, net, ws, begin, end, ZERO)
    total = output_rows(plan, samples, memory, batch, ps, rows)
    if plan[GRADIENT] == MADE:
        if tiny:
            backward_columns(plan, net, ws, m, add, gradient, g0, packed)
        else:
            backward_rows(plan, net, samples, ws, batch, begin, m, add, gradient, g0, packed)
        in_columns, n = tiny and net.table.shape[0] > 2, net.table[1, N]
        row_stride, column_stride = (ONE, m) if in_columns else (n, ONE)
        hand_out_delta(plan, net, samples, ws, batch.first + begin, m, row_stride, column_stride)
    return total


@kernel
def segments_of(plan, m):
    """Return how many parts a batch of m samples has."""
    return (m + plan[SEGMENT] - 1) // plan[SEGMENT]


@kernel
def reduces_pairs(plan, count, rank):
    """Return whether each rank adds its pairs of segments before the others read them."""
    return plan[REPLICA] > 0 and count % (2 * rank.of) == 0


@kernel
def resident_step(plan, net, samples, memory, ws, batch, ps, rank):
    """Loss and gradients of all segments; returns the loss, the same on every rank."""
    count = segments_of(plan, batch.m)
    size = plan[PARAMETERS]
    mine, end_of_mine = part(count, ONE, rank.number, rank.of)
    if plan[REGIME] != TINY and mine < end_of_mine:
        pack_weights(net, rank.packed, plan[GRADIENT] == MADE)
    # a batch that is one segment leaves its gradient where it is wanted
    gradient = memory.gradients if plan[SEGMENT] < plan[BATCH] else net.gradient
    for segment in range(mine, end_of_mine):
        first = segment * plan[SEGMENT]
        last = min(first + plan[SEGMENT], batch.m)
        total = 0.0
        for begin in range(first, last, plan[CHUNK]):
            if is_stopped(rank):
                break
            end = min(begin + plan[CHUNK], last)
            total += chunk_step(
                plan, net, samples, memory, ws, batch, ps, begin, end, begin > first,
                gradient, segment * size, rank.packed,
            )  # fmt: skip
        memory.partial[segment] = total
        if plan[GRADIENT] == MADE:
            memory.flags[segment] = 0.0
            add_not_finite(gradient, segment * size, size, count, address(memory.flags, segment))
            if is_stopped(rank):
                memory.flags[segment] += 1.0
            if segment % 2 == 1 and reduces_pairs(plan, count, rank):
                at, before = segment * size, (segment - 1) * size
                column_sums(ONE, size, gradient, at, size, 1.0, YES, gradient, before)
    barrier(rank.team, rank.of, rank.number)
    total = 0.0
    for segment in range(count):
        total += memory.partial[segment]
    return total
