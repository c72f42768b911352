"""Where a batch's activations lie, and how a step is shared.

All of it follows from shapes (and the CPU's tile), never from the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastdnn.kernels.base.arrays import rounded
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.cpu.targets import Tile
from fastdnn.kernels.elementwise.dropout import threshold_of
from fastdnn.kernels.elementwise.update import UPDATES
from fastdnn.kernels.layers.gemm import DIRECT_ROWS, packed_elements
from fastdnn.kernels.layers.layout import (
    BLOCKED,
    CODE,
    DEPTH,
    DROP,
    DZ,
    FROM_Z,
    KEPT,
    N_PREV,
    OPERATION,
    PARTS,
    RESIDENT,
    TINY,
    WHOLE_ROW,
    A,
    N,
    S,
)
from fastdnn.kernels.layers.operation_table import operation_of
from fastdnn.kernels.passes.blocked import BLOCK_COLUMNS, BLOCK_SIZE

from .parameters import TABLE, Layer, Parameters

# A network is resident if W, W packed and dW stay near one core, and the samples repay packing W.
# These bounds and the cuts' sizes: docs/measurements/2026-11-26-segments.md.
RESIDENT_PARAMETERS, RESIDENT_ROWS = 80_000, DIRECT_ROWS
RESIDENT_LINES = 5_000  # cache lines of the largest W: it is read and its dW written in each chunk
# So is a larger one of at most so many, if the batch has so many segments, in each of which are at
# least so many activations to a parameter: they need not move, but W is packed by each rank.
LARGE_PARAMETERS, LARGE_SEGMENTS, LARGE_SHARE = 1_000_000, 4, 0.75
TINY_VECTORS = 2  # of as many units a layer has at most, where samples lie in columns
FEW_SEGMENTS = 8  # that small batches are cut into too: as many ranks find work
REPLICA_GRADIENTS = 40_000  # elements of these that each rank may read, to update all by itself
# The inputs of a layer are cut where there are more, and this moves so much less between cores.
CUT_INPUTS, CUT_GAIN = 32, 2
DESCENT = 10**10  # multiply-adds of all dW that change W at once: those cannot be stopped
WHOLE_SIZE = 4 * 1024 * 1024  # elements of a dZ, up to which each rank has room to pack all of it
CHUNK_SIZE = 24_000  # activations of a chunk: with the weights they stay in L2
MOST_SLOTS = max(rule.n_slots for rule in UPDATES.values())


class Cuts(NamedTuple):
    """How the batch of a resident network is cut into segments, and these into chunks."""

    few_rows: int  # samples that repay a gradient of their own, if there are few segments
    more_rows: int  # and if there are more
    gradients: int  # elements of all segments' gradients: they are written and read in every step
    chunk_rows: int  # samples that a chunk may always have: dW wants depth, and W is read less


SMALL = Cuts(32, 128, 150_000, 64)
LARGE = Cuts(128, 256, 4_000_000, 256)  # of a larger network: its W does not stay in L2 anyway


class Place(NamedTuple):
    """The places of a batch, and how its step is shared."""

    table: TABLE
    undropped_table: TABLE  # the same without dropout: of a gradient outside training
    plain_table: TABLE  # of forward passes alone: nor are inputs cut
    regime: int
    segment: int
    chunk: int
    deferred: bool  # all dW follow when all dZ are there
    targets: int
    workspace: int  # elements; of each rank's, unless blocked
    packed: int  # elements, of each rank's
    panels: int  # where in these dZ is packed
    replica: int  # elements of a rank's own parameters, gradient and slots; 0: all ranks share them

    def segments(self, batch: int) -> int:
        """Return how many parts with gradients of their own a batch has."""
        return -(-batch // self.segment)

    def reads_in_place(self, column_stride: int) -> bool:
        """Return whether X is read where it lies, if nothing else forbids it."""
        if self.table[1, OPERATION]:
            return False
        if column_stride == 1:
            return self.regime != TINY
        # tiles take any strides, but the scalar products of a single unit take rows
        return self.regime == BLOCKED and bool(self.table[1, N] > 1)


def place_batch(
    layers: Sequence[Layer], input_dropout: float, parameters: Parameters, tile: Tile, batch: int
) -> Place:
    """Choose the regime for batches of so many samples, and lay out what it works in."""
    table = parameters.table.copy()
    dropouts = [input_dropout, *(layer.dropout for layer in layers)]
    regime, segment, chunk = _regime(layers, table, parameters, any(dropouts), tile, batch)
    is_plain = all(layer.is_dense for layer in layers)
    is_shared = parameters.step_work(batch, MOST_SLOTS) >= threads.SHARED_FLOPS
    if regime == BLOCKED and is_plain and is_shared:
        _cut_inputs(table, tile, batch)
    at = ZEROS
    for l, (row, dropout) in enumerate(zip(table, dropouts, strict=True)):
        size = rounded(chunk * (int(row[N]) + 1))  # tiny: with a row of ones
        row[DROP] = threshold_of(dropout)
        row[S] = row[A] = at
        at += size
        # X is dropped where it lies; the loss reads Z and writes A
        if l == len(layers) or (l > 0 and (row[FROM_Z] or dropout)):
            row[A] = at
            at += size
        if l > 0 and not layers[l - 1].is_dense:
            each, once = operation_of(layers[l - 1].operation).kept(layers[l - 1])
            row[KEPT] = at
            at += rounded(chunk * each + once)
    widest = int(table[:, N].max())
    # elements of each dZ, packed
    whole = [-(-int(n) // tile.nr) * tile.nr * batch for n in table[1:, N]]
    # with room for every dZ, and one block of depth, the gradient need not be stored
    deferred = (
        regime == BLOCKED
        and is_plain
        and batch <= tile.kc
        and max(whole) <= WHOLE_SIZE
        and batch * parameters.size <= DESCENT
    )
    # where paths join, the dZ of several layers are wanted at once
    widths = table[:0:-1, N].tolist() if deferred or not is_plain else [widest, widest]
    places = at + np.cumsum([0, *(rounded(chunk * n) for n in widths)])
    table[:0:-1, DZ] = places[np.arange(len(layers)) % len(widths)]
    targets = int(places[-1])
    # of every block of inputs but the first; a group may make a layer's before another one has
    # read those of the layer before
    cut = table[:, DEPTH] > 0
    parts = (-(-table[cut, N_PREV] // table[cut, DEPTH]) - 1) * table[cut, N] * batch
    size = rounded(int(parts.max(initial=0)))
    table[:, PARTS] = targets + np.arange(len(table)) % 2 * size
    targets += 2 * size
    undropped = table.copy()
    undropped[:, DROP] = 0
    # without dropout, A lies at S wherever g' does not need Z
    same = (table[:, FROM_Z] == 0) & (table[:, CODE] >= 0)
    undropped[same, A] = undropped[same, S]
    plain = undropped.copy()
    # where no W changes, it need not stay with a rank; and a sample has the same outputs, to the
    # bit, in a batch of any size
    plain[:, DEPTH] = 0
    # dZ packed: rows by panels, and where it lies in columns the other way round too
    panels = rounded(max(chunk * (widest + tile.nr), widest * (chunk + tile.nr)))
    at_panels = 0
    if regime == RESIDENT:
        at_panels = parameters.packed + packed_elements(tile, 0)  # W, and a block of A
    elif regime == BLOCKED:
        at_panels = packed_elements(tile, widest, max(w for w in (0, *whole) if w <= WHOLE_SIZE))
        panels = max(BLOCK_SIZE, tile.mr * BLOCK_COLUMNS)
    size, segments = parameters.size, -(-batch // segment)
    replicates = is_plain and 1 < segments <= REPLICA_GRADIENTS // size
    # what is read past a matrix's end lies in the workspace too
    workspace = targets + rounded(chunk * layers[-1].n) + ZEROS
    return Place(
        table,
        undropped,
        plain,
        regime,
        segment,
        chunk,
        deferred,
        targets,
        workspace,
        rounded(at_panels + panels),
        at_panels,
        rounded((2 + MOST_SLOTS) * (size + ZEROS)) if replicates else 0,
    )


def _cut_inputs(table: TABLE, tile: Tile, batch: int) -> None:
    """Let groups of ranks share the inputs of the layers where this moves less between cores.

    Counted for two ranks. If they share outputs, each reads half of W, which the other has updated,
    and half of A_prev where that is cut; if inputs, half of the parts of Z, and of A_prev where
    that is not cut.
    """
    for l in range(1, len(table)):
        k, n = (int(v) for v in table[l, [N_PREV, N]])
        blocks = -(-k // tile.kc)
        blocks += blocks % 2
        was_cut = table[l - 1, DEPTH] > 0
        outputs = (n + (batch if was_cut else 0)) * k / 2
        inputs = batch * n * (2 + blocks) / 4 + (0 if was_cut or l == 1 else batch * k / 2)
        # softmax needs whole rows; a single unit's Z is a scalar product
        can = n > 1 and not (table[l, WHOLE_ROW] or table[l - 1, WHOLE_ROW])
        if can and k > CUT_INPUTS and CUT_GAIN * inputs <= outputs:
            depth = -(-k // (4 * blocks)) * 4
            while depth > 4 and -(-k // depth) % 2:  # what the rounding has left out
                depth -= 4
            table[l, DEPTH] = depth


def _regime(
    layers: Sequence[Layer],
    table: TABLE,
    parameters: Parameters,
    drops: bool,
    tile: Tile,
    batch: int,
) -> tuple[int, int, int]:
    """Return the regime, the samples of a segment and of a chunk."""
    others = [operation_of(layer.operation) for layer in layers if not layer.is_dense]
    if any(operation.over_batch for operation in others):
        return BLOCKED, batch, batch
    widths, size = table[:, N], parameters.size
    largest = max((layer.n_prev * layer.n for layer in layers if layer.is_dense), default=0)
    narrow = TINY_VECTORS * tile.lanes
    few_parameters = size <= RESIDENT_PARAMETERS and largest <= RESIDENT_LINES * tile.line
    is_tiny = few_parameters and widths.max() <= narrow and not drops
    is_tiny = is_tiny and not others and not table[:, WHOLE_ROW].any()
    is_small = is_tiny or (few_parameters and batch >= RESIDENT_ROWS)
    cuts = SMALL
    if not is_small:
        repaying = math.ceil(LARGE_SHARE * size / int(widths[1:].sum()))
        cuts = LARGE._replace(
            few_rows=max(LARGE.few_rows, repaying), more_rows=max(LARGE.more_rows, repaying)
        )
        if size > LARGE_PARAMETERS or batch < LARGE_SEGMENTS * cuts.few_rows:
            return BLOCKED, batch, batch
    segments, is_shared = 1, not is_tiny and parameters.work * batch >= threads.SHARED_FLOPS
    while is_shared and segments * size <= cuts.gradients:
        if 2 * segments * (cuts.few_rows if segments < FEW_SEGMENTS else cuts.more_rows) > batch:
            break
        segments *= 2  # so that 2, 4 or 8 ranks share them evenly
    segment = -(-batch // segments)
    chunks = max(-(-segment // max(CHUNK_SIZE // int(widths.sum()), cuts.chunk_rows)), 1)
    return TINY if is_tiny else RESIDENT, segment, max(-(-segment // chunks), 1)
