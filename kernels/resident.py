"""A step of a small network: a rank takes samples through all of it, with nothing to wait for.

A batch is cut into segments, a segment into chunks. A chunk's activations and the weights stay in
the caches of one core, from A_0 to dZ_1; each segment has a gradient of its own, to which its
chunks are added in order, and the update adds the segments' gradients, by pairs and these in order.
Segments and chunks follow from shapes alone.

Where the gradients are small, each rank reads all of them and updates parameters of its own (a
*replica*): W never moves from core to core, and a rank that has updated need not wait.

In a *tiny* network, whose layers are narrower than a tile, vectors run along the samples: A_l is
n_l x m, the notes' own shape, for all layers but the last (the loss wants rows). A row of ones
below each makes the bias one more column of W, and db one more row of dW^T.
"""

from __future__ import annotations

from ._jit import kernel
from ._simd import address, nowhere, span
from .activations import activate, differentiate
from .arrays import Matrix
from .dropout import dropout_key
from .forward import gather, input_of
from .gemm import (
    DIRECT_ROWS,
    block_depth,
    block_rows,
    finish_backward,
    finish_forward,
    pack_whole_B,
    packed_B,
)
from .layout import (
    BATCH,
    CHUNK,
    CODE,
    DELTA,
    DELTA_PANELS,
    FROM_Z,
    GRADIENT,
    LEARNING,
    MADE,
    N_PREV,
    NO,
    ONE,
    PACKED,
    PANELS,
    PARAMETERS,
    RECTIFY,
    REGIME,
    REPLICA,
    SEED,
    SEGMENT,
    TINY,
    X_DIRECT,
    YES,
    ZERO,
    A,
    B,
    N,
    S,
    W,
)
from .macrokernel import multiply_by_width, whole_vectors
from .operations import (
    BACKWARD,
    FORWARD,
    GRADIENTS,
    is_operation,
    operate_on_columns,
    operate_on_rows,
)
from .output import hand_out_delta, output_rows
from .pack import crowds, pack_A_block, packs_A
from .products import scalar_products
from .reduce import add_not_finite, column_sums, outer_product, weighted_sums
from .sharing import part
from .team import barrier, is_stopped

PACKED_ROWS = 24  # of dW^T: as many repay packing dZ
PACKED_SIZE = 128  # rows of A, and steps of k: as many of both repay packing it
LONG = 2  # samples to a unit: with as many, dW is scalar products, which need no packed dZ


@kernel
def pack_deep(source, row_stride, column_stride, k, n, panels):
    """Pack a k x n matrix for `multiply_deep`."""
    pack_whole_B(
        Matrix(source, ZERO, row_stride, column_stride), k, block_depth(k, panels), ZERO, n, panels
    )


@kernel
def multiply_deep(k, a, rs, ks, b, ldb, c0, ld0, step0, c, ldc, m, n, rectify):
    """`macrokernel.multiply` of any depth, in blocks; A is not packed."""
    depth = block_depth(k, c)
    kc, last = min(depth, k), k <= depth
    multiply_by_width(a, rs, ks, False, b, ldb, kc, c0, ld0, step0, c, ldc, m, n, rectify and last)
    along = whole_vectors(n, c) if ldb == 0 else ldb
    for pc in range(depth, k, depth):
        left, right = address(a, pc * ks), address(b, pc * along)
        kc, last = min(depth, k - pc), pc + depth >= k
        multiply_by_width(
            left, rs, ks, False, right, ldb, kc, c, ldc, ONE, c, ldc, m, n, rectify and last
        )


# ---------------------------------------------------------------------------------- samples in rows
@kernel
def repays_packing(m, n, k, k_stride, c):
    """Whether it pays to pack A, m x k, for n columns."""
    if m >= PACKED_SIZE and k >= PACKED_SIZE:
        return packs_A(n, k_stride, c)
    return m >= DIRECT_ROWS and crowds(n, k_stride, c)


@kernel
def multiply_rows(k, a, rs, ks, b, ldb, c0, ld0, step0, c, ldc, m, n, rectify, packed):
    """`multiply_deep`, where that pays with A packed at `packed`; a tiny network's is too small."""
    if not repays_packing(m, n, k, ks, c):
        multiply_deep(k, a, rs, ks, b, ldb, c0, ld0, step0, c, ldc, m, n, rectify)
        return
    depth, block = block_depth(k, c), block_rows(m, c)
    along = whole_vectors(n, c) if ldb == 0 else ldb
    for pc in range(0, k, depth):
        kc, last, right = min(depth, k - pc), pc + depth >= k, address(b, pc * along)
        for top in range(0, m, block):
            rows, to = min(block, m - top), address(c, top * ldc)
            start, ld, step = to, ldc, ONE
            if pc == 0:
                start, ld, step = address(c0, top * ld0), ld0, step0
            pack_A_block(address(a, top * rs + pc * ks), rs, ks, rows, kc, packed)
            multiply_by_width(
                packed, ZERO, ZERO, YES, right, ldb, kc, start, ld, step, to, ldc, rows, n,
                rectify and last,
            )  # fmt: skip


@kernel
def block_of_A(plan, packed, ws):
    """Where a block of A is packed: behind all W, and before dZ."""
    return address(packed, plan[DELTA_PANELS] - packed_B(ws))


@kernel
def pack_weights(net, packed, backward):
    """W_l as panels for Z = W A_prev and for dA_prev = W^T dZ; one unit's is read as it lies."""
    table = net.table
    for l in range(1, table.shape[0]):
        n, k, source = table[l, N], table[l, N_PREV], address(net.p, table[l, W])
        if is_operation(table, l):
            continue
        if n > 1:
            pack_deep(source, n, ONE, k, n, address(packed, table[l, PANELS]))
        if n > 1 and backward and l > 1:
            pack_deep(source, ONE, n, n, k, address(packed, table[l, PACKED]))


@kernel
def forward_layer(net, ws, x, weights, ldb, l, m, packed):
    """Z_l = A_{l-1} W_l^T + b_l, in rows; relu's A_l."""
    table, p = net.table, net.p
    n, k, bias = table[l, N], table[l, N_PREV], table[l, B]
    a, z, rectify = address(x.flat, x.offset), address(ws, table[l, S]), table[l, RECTIFY] == 1
    # without a bias, Z begins with the zeros that the workspace begins with
    c0, step0 = (address(p, bias), ONE) if bias >= 0 else (address(ws, ZERO), ZERO)
    if n == 1:  # one unit, of rows: in tiles, only one lane of each would count
        w = address(p, table[l, W])
        scalar_products(ONE, m, k, w, k, a, x.row_stride, c0, ZERO, ZERO, z, m, rectify)
        return
    multiply_rows(
        k, a, x.row_stride, x.column_stride, weights, ldb, c0, ZERO, step0, z, n, m, n, rectify,
        packed,
    )  # fmt: skip


@kernel
def weight_gradient(k, n, m, ws, a, rs, ks, b, ldb, add, gradient, at, packed):
    """dW^T = A_prev^T dZ, added to what is there or in its place; A^T is k x m, dZ m x n."""
    c, zeros = address(gradient, at), address(ws, ZERO)
    c0, ld0, step0 = (c, n, ONE) if add else (zeros, ZERO, ZERO)
    multiply_rows(m, a, rs, ks, b, ldb, c0, ld0, step0, c, n, k, n, NO, packed)


@kernel
def forward_rows(plan, net, samples, ws, batch, begin, m, packed):
    """A_l = g(W_l A_{l-1} + b_l) for all layers; the last leaves Z_L."""
    block, learning = block_of_A(plan, packed, ws), plan[LEARNING] == 1
    for l in range(1, net.table.shape[0]):
        if is_operation(net.table, l):
            operate_on_rows(FORWARD, net, ws, l, ZERO, m, learning)
        else:
            x = input_of(plan, net, samples, ws, batch, begin, l)
            forward_layer(net, ws, x, address(packed, net.table[l, PANELS]), ZERO, l, m, block)
        key = dropout_key(plan[SEED], batch.number, l)
        finish_forward(net.table, l, ws, ZERO, begin, m, ZERO, net.table[l, N], key)


@kernel
def backward_rows(plan, net, samples, ws, batch, begin, m, add, gradient, g0, packed):
    """dW_l and db_l of all layers, from dZ_L."""
    table, block, learning = net.table, block_of_A(plan, packed, ws), plan[LEARNING] == 1
    for l in range(table.shape[0] - 1, 0, -1):
        n, k, d, other = table[l, N], table[l, N_PREV], table[l, DELTA], table[l - 1, DELTA]
        dZ, key = address(ws, d), dropout_key(plan[SEED], batch.number, l - 1)
        if is_operation(table, l):
            to = address(gradient, g0)
            operate_on_columns(GRADIENTS, net, ws, l, m, ZERO, n, learning, add, to)
            if l > 1:
                operate_on_rows(BACKWARD, net, ws, l, ZERO, m, learning)
                finish_backward(table, l - 1, ws, other, ZERO, begin, m, ZERO, k, key)
            continue
        x = input_of(plan, net, samples, ws, batch, begin, l)
        a, rows, ldb = address(x.flat, x.offset), dZ, n
        dW = g0 + table[l, W]
        if n == 1:
            weighted_sums(m, k, a, x.row_stride, dZ, ONE, add, address(gradient, dW))
        else:
            if k >= PACKED_ROWS:
                rows, ldb = address(packed, plan[DELTA_PANELS]), ZERO
                pack_deep(dZ, n, ONE, m, n, rows)
            weight_gradient(
                k, n, m, ws, a, x.column_stride, x.row_stride, rows, ldb, add, gradient, dW, block
            )
        if table[l, B] >= 0:
            column_sums(m, n, ws, d, n, 1.0, add, gradient, g0 + table[l, B])
        if l > 1:
            # dA_prev = W^T dZ, and dZ_prev = dA_prev * g'
            weights, dA = address(packed, table[l, PACKED]), address(ws, other)
            if n == 1:
                outer_product(m, k, dZ, address(net.p, table[l, W]), dA, k)
            else:
                multiply_rows(
                    n, dZ, n, ONE, weights, ZERO, address(ws, ZERO), ZERO, ZERO, dA, k, m, k, NO,
                    block,
                )  # fmt: skip
            finish_backward(table, l - 1, ws, other, ZERO, begin, m, ZERO, k, key)


# ------------------------------------------------------------------------------- samples in columns
@kernel
def add_ones(ws, at, m):
    """The row of ones below A_l."""
    row = span(ws, at, m)
    for i in range(m):
        row[i] = 1.0


@kernel
def forward_columns(net, ws, m):
    """A_l = g([W_l b_l] [A_{l-1}; 1]) for all layers; the last leaves Z_L, in rows (or a row)."""
    table, last = net.table, net.table.shape[0] - 1
    add_ones(ws, table[0, A] + table[0, N] * m, m)
    zeros = address(ws, ZERO)
    for l in range(1, last + 1):
        n, k = table[l, N], table[l, N_PREV]
        weights, A_prev = address(net.p, table[l, W]), address(ws, table[l - 1, A])
        s, a, rectify = table[l, S], table[l, A], table[l, RECTIFY] == 1
        if l == last and n > 1:
            x = Matrix(ws, table[l - 1, A], ONE, m)
            forward_layer(net, ws, x, weights, n, l, m, nowhere(ws))
            return
        k += 1 if table[l, B] >= 0 else 0
        multiply_deep(
            k, weights, ONE, n, A_prev, m, zeros, ZERO, ZERO, address(ws, s), m, n, m, rectify
        )
        if l < last:
            if not rectify:
                activate(table[l, CODE], ws, s, ws, a if table[l, FROM_Z] else s, n, m)
            add_ones(ws, a + n * m, m)


@kernel
def add_products(k, n, m, ws, a, dZ, add, dW):
    """dW^T = A_prev dZ^T, added to what is there or in its place; both have the samples in rows."""
    if n == 1:  # as a row: one vector of sums
        c0, step0 = (dW, ONE) if add else (address(ws, ZERO), ZERO)
        scalar_products(ONE, k, m, dZ, m, a, m, c0, ZERO, step0, dW, k, NO)
        return
    c0, ld0, step0 = (dW, n, ONE) if add else (address(ws, ZERO), ZERO, ZERO)
    scalar_products(k, n, m, a, m, dZ, m, c0, ld0, step0, dW, n, NO)


@kernel
def backward_columns(plan, net, ws, m, add, gradient, g0, packed):
    """dW_l and db_l of all layers, from dZ_L in rows."""
    table, last = net.table, net.table.shape[0] - 1
    panels, zeros = address(packed, plan[DELTA_PANELS]), address(ws, ZERO)
    for l in range(last, 0, -1):
        n, k, d, other = table[l, N], table[l, N_PREV], table[l, DELTA], table[l - 1, DELTA]
        dZ = address(ws, d)
        # dZ is wanted as m x n for dW and as n x m for dA_prev; the other one of the two is packed
        rows, row_stride = dZ, n
        columns, column_stride = dZ, m
        a, dW = address(ws, table[l - 1, A]), g0 + table[l, W]
        with_bias = k + (1 if table[l, B] >= 0 else 0)
        if (l < last or n == 1) and m >= LONG * n:
            add_products(with_bias, n, m, ws, a, dZ, add, address(gradient, dW))
        else:
            if l < last:
                pack_deep(dZ, ONE, m, m, n, panels)
                rows, row_stride = panels, ZERO
            weight_gradient(
                with_bias, n, m, ws, a, m, ONE, rows, row_stride, add, gradient, dW, nowhere(ws)
            )
        if l > 1:
            if l == last and n > 1:
                pack_deep(dZ, ONE, n, n, m, panels)
                columns, column_stride = panels, ZERO
            weights = address(net.p, table[l, W])
            multiply_deep(
                n, weights, n, ONE, columns, column_stride, zeros, ZERO, ZERO,
                address(ws, other), m, k, m, NO,
            )  # fmt: skip
            differentiate(table[l - 1, CODE], ws, other, ws, table[l - 1, S], k, m)


# ----------------------------------------------------------------------------------------- the step
@kernel
def chunk_step(plan, net, samples, memory, ws, batch, ps, begin, end, add, gradient, g0, packed):
    """All of the step but the update, for rows [begin, end) of the batch; returns their loss."""
    m, n, tiny = end - begin, net.table[0, N], plan[REGIME] == TINY
    if tiny:
        gather(plan, net, samples, ws, batch, begin, end, ZERO, n, ZERO, ONE, m)
        forward_columns(net, ws, m)
    else:
        if plan[X_DIRECT] == 0:
            gather(plan, net, samples, ws, batch, begin, end, ZERO, n, ZERO, n, ONE)
        forward_rows(plan, net, samples, ws, batch, begin, m, packed)
    total = output_rows(plan, net, samples, memory, ws, batch, ps, begin, end, ZERO)
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
    """How many parts a batch of m samples has."""
    return (m + plan[SEGMENT] - 1) // plan[SEGMENT]


@kernel
def joins(plan, count, rank):
    """Whether each rank adds the gradients of its pairs of segments before the others read them."""
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
            if segment % 2 == 1 and joins(plan, count, rank):
                at, before = segment * size, (segment - 1) * size
                column_sums(ONE, size, gradient, at, size, 1.0, YES, gradient, before)
    barrier(rank.team, rank.of, rank.number)
    total = 0.0
    for segment in range(count):
        total += memory.partial[segment]
    return total
