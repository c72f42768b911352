"""What the compiled step reads: the network's integer table, the plan of a call, and its memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# A layer's row in the integer table. Offsets count elements; A and S lie in the workspace, W and b
# among the parameters. S is what the backward pass reads: Z, or A before dropout, or (the same
# place as) A. DZ is where dZ lies.
(
    N_PREV, N, W, B, CODE, FROM_Z, WHOLE_ROW, A, S, DZ, DROP, PACKED, PANELS, FUSED_RELU,
    DEPTH, PARTS, OPERATION, PHASES, DETAILS, KEPT,
) = range(20)  # fmt: skip
FIELDS = 20
# B < 0: no bias; an operation's parameters lie from W to B. CODE < 0: g is not applied here (the
# output layer's belongs to the loss).
# DROP: the dropout probability times dropout.LEVELS. PACKED, PANELS: where a rank keeps W packed,
# for dA_prev and for A. FUSED_RELU: g is relu, which the product does. DEPTH: inputs in a block of
# the forward product, where ranks may share these (else 0); PARTS: where the sums of such blocks
# lie.
# OPERATION: what makes Z_l instead of a product, by where its functions' addresses lie, else 0;
# PHASES: bits of those that it has; DETAILS: the address of its own integers; KEPT: where it
# keeps what its backward pass needs. See `operations`.

# The plan: what one call does. The first fields change from call to call.
(
    SAMPLES,  # samples in all
    FIRST,  # the number of the first step within the epoch; past its end it begins anew
    STEPS,  # how many steps
    STEP,  # the number of the first step since training began: dropout's masks depend on it
    SEED,  # of dropout
    GRADIENT,  # MADE: run the backward pass; GIVEN: the caller has, and nothing else is run
    UPDATE,  # code of the update rule, or -1: leave the gradient as it is
    CLIP,  # 0: no clipping, 1: by each tensor's norm, 2: by the norm of all
    OUTPUTS,  # what is wanted of each sample: OF_LAST or OF_FIRST
    X_OTHER,  # 1: X has the other float type
    X_OFFSET,
    X_ROW,
    X_COLUMN,
    X_DIRECT,  # 1: A_0 is X where it lies
    LEARNING,  # 1: what a layer knows of the batch, as its mean, is of this batch
    NEXT_ORDER,  # where the order of the next epoch begins; 0: all have one, or none
    FACTORS,  # 1: each step's gradient is multiplied by a number, and its penalties are told
    BATCH,  # samples in a full batch
    LOSS,  # code of the loss's row function, or -1: stop after the forward pass
    FUSED,  # 1: the loss applies the output activation itself; LOGITS: and A_L is Z_L nevertheless
    OUT_CODE,  # the output activation
    OUT_FROM_Z,  # 1: its derivative needs Z
    PENALTIES,  # 1: some layer has one; PER_SAMPLE: and they are divided by the batch's samples
    TARGETS,  # offset of the batch's rows of y in the workspace
    REGIME,  # one of the three below
    DEFERRED,  # blocked, 1: each dZ has a place of its own, and all dW follow when all dZ are there
    SEGMENT,  # resident: samples in a part of the batch that has a gradient of its own
    CHUNK,  # resident: samples that go through the net together
    WORKSPACE,  # elements of the workspace; of each rank's, where it is resident
    PACKED_SIZE,  # elements of each rank's packed blocks
    DELTA_PANELS,  # where in these a rank packs dZ; blocked: where it makes a block of dW
    PARAMETERS,
    LAYERS,  # rows of the table
    CHUNKS,  # rows of the ranges to update
    REPLICA,  # resident: where in its packed blocks a rank keeps parameters of its own; 0: nowhere
    SLOTS,  # elements of the update rule's memory
) = range(36)
PLAN, VARYING = 36, 17
PER_SAMPLE = 2
LOGITS = 2

MADE, GIVEN = 1, 2
OF_LAST, OF_FIRST = 1, 2  # A_L; dZ_1

# How a step is shared among ranks, chosen from shapes alone (see `placement`)
BLOCKED, RESIDENT, TINY = range(3)

# Results: steps done, and why it stopped before its end
DONE, REASON = 0, 1
FINITE, LOSS_NOT_FINITE, GRADIENT_NOT_FINITE, STOPPED = range(4)

# The step's arguments are addresses: an array would be seven values for each function to pass on.
Floats = Any  # the address of elements of the network's dtype
Ints = Any
Doubles = Any


class Net(NamedTuple):
    """A network: its layers' rows, and vectors of one element per parameter."""

    table: NDArray[np.int64]
    p: Floats
    gradient: Floats
    slots: Floats  # the update rule's memory


class Samples(NamedTuple):
    """The data of all samples; what there is none of has the address 0."""

    x: Floats  # X, if of the network's dtype
    x_other: Any  # X, if of the other one
    y: Floats  # dense targets, row-major
    labels: Ints
    weights: Floats
    order: Ints  # none: 0, 1, 2, …
    outputs: Floats  # takes A_L or dZ_1, if the plan wants it


class Rule(NamedTuple):
    """How to update."""

    coefficients: Floats  # of the update rule, a row per step
    limit: float  # of the gradient's norm
    chunks: NDArray[np.int64]  # rows of (start, stop, tensor): what one rank updates at a time
    penalties: Doubles  # rows of (l1, l2), one per tensor


class Memory(NamedTuple):
    """What the steps work in."""

    ws: Floats  # A, S, dZ and y of a batch, or of a chunk for each rank
    packed: Floats  # packed blocks, for each rank
    gradients: Floats  # of the segments, one after the other
    partial: Doubles  # sums of parts of the batch or the parameters
    norms: Doubles  # of the chunks' gradients, squared
    flags: Doubles  # of each segment or rank: what of its gradient is not finite; then bounds
    sample_losses: Doubles  # of the batch
    labels: Ints  # of the batch
    losses: Doubles  # takes the loss of each step; then holds its factor, and takes its penalties
    results: Ints


class Batch(NamedTuple):
    """The present step."""

    first: int  # sample, in the epoch's order
    m: int
    number: int  # of the step, since training began


class Rank(NamedTuple):
    """A rank's place in its team, and the memory that is its own."""

    number: int | np.int64
    of: int  # how many ranks there are
    packed: Floats
    team: NDArray[np.int64]
    stop: Ints  # a number: unless it is 0, the call shall end; or the address 0
