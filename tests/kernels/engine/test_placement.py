"""Where parameters and batches lie, and the choice of a regime: from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.base.arrays import ALIGNMENT
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.elementwise.activations import ACTIVATIONS
from fastdnn.kernels.elementwise.dropout import LEVELS
from fastdnn.kernels.engine import placement
from fastdnn.kernels.engine.parameters import LARGEST_CHUNK, Layer, place_parameters
from fastdnn.kernels.engine.placement import (
    LARGE,
    LARGE_PARAMETERS,
    LARGE_SEGMENTS,
    LARGE_SHARE,
    RESIDENT_PARAMETERS,
    RESIDENT_ROWS,
    SMALL,
    WHOLE_SIZE,
    Place,
    place_batch,
)
from fastdnn.kernels.layers import layout
from fastdnn.kernels.layers.gemm import packed_elements
from fastdnn.kernels.layers.layout import BLOCKED, RESIDENT, TINY
from tests.kernels import regimes
from tests.kernels.common import DTYPES, RANKS, each_dtype

TILES = {dtype: targets.tile(dtype) for dtype in DTYPES}
BATCHES = (1, 2, 31, 32, 33, 64, 100, 1000)


def layers_of(sizes: Sequence[int], activation: str = "tanh", **settings: Any) -> list[Layer]:
    pairs = list(pairwise(sizes))
    return [
        Layer(n_prev, n, "identity" if l == len(pairs) else activation, **settings)
        for l, (n_prev, n) in enumerate(pairs, 1)
    ]


def placed(layers: Sequence[Layer], dtype: Any, batch: int, input_dropout: float = 0.0) -> Place:
    tile = TILES[dtype]
    return place_batch(layers, input_dropout, place_parameters(layers, tile), tile, batch)


NETS = {
    "tiny": layers_of([3, 4, 4, 2]),
    "without bias": layers_of([3, 4, 4, 2], use_bias=False),
    "one layer": layers_of([784, 10]),
    "small": layers_of([20, 64, 33, 3], "relu"),
    "softmax inside": layers_of([3, 4, 4, 2], "softmax"),
    "from Z": layers_of([20, 64, 33, 3], "gelu"),
    "dropout": layers_of([3, 4, 4, 2], dropout=0.25),
    "large": layers_of([784, 300, 100, 10], "relu"),
}
each_net = pytest.mark.parametrize("name", NETS)


# ------------------------------------------------------------------------------------- parameters
@each_dtype
@each_net
def test_tensors_lie_behind_each_other(dtype: Any, name: str) -> None:
    layers = NETS[name]
    parameters = place_parameters(layers, TILES[dtype])
    at = 0
    for layer, row in zip(layers, parameters.table[1:], strict=True):
        assert (row[layout.N_PREV], row[layout.N]) == (layer.n_prev, layer.n)
        assert row[layout.W] == at
        at += layer.n_prev * layer.n
        assert row[layout.B] == (at if layer.use_bias else -1)
        at += layer.n if layer.use_bias else 0
    assert parameters.size == at


@each_net
def test_chunks_cover_each_tensor_once(name: str) -> None:
    layers = [layer._replace(l1=0.1 * l, l2=0.2 * l) for l, layer in enumerate(NETS[name], 1)]
    parameters = place_parameters(layers, TILES[DTYPES[0]])
    sizes, penalties = [], []
    for layer in layers:
        sizes.append(layer.n_prev * layer.n)
        penalties.append((layer.l1, layer.l2))
        if layer.use_bias:
            sizes.append(layer.n)
            penalties.append((0.0, 0.0))
    np.testing.assert_array_equal(parameters.penalties, penalties)
    at = 0
    for start, stop, tensor in parameters.tensor_chunks.tolist():
        assert start == at
        assert 0 < stop - start <= LARGEST_CHUNK
        assert sum(sizes[:tensor]) <= start < stop <= sum(sizes[: tensor + 1])
        at = stop
    assert at == parameters.size
    ends = [0, *parameters.chunks[:, 1].tolist()]  # and all parameters as if they were one tensor
    assert parameters.chunks[:, 0].tolist() == ends[:-1]
    assert ends[-1] == parameters.size
    assert 0 < np.diff(ends).min() <= np.diff(ends).max() <= LARGEST_CHUNK


def test_packed_weights_do_not_overlap() -> None:
    for dtype in DTYPES:
        for layers in NETS.values():
            tile, parameters = TILES[dtype], place_parameters(layers, TILES[dtype])
            at = 0
            for l, layer in enumerate(layers, 1):
                row = parameters.table[l]
                assert row[layout.PANELS] >= at
                at = row[layout.PANELS] + layer.n_prev * -(-layer.n // tile.nr) * tile.nr
                if l > 1:
                    assert row[layout.PACKED] >= at
                    at = row[layout.PACKED] + layer.n * -(-layer.n_prev // tile.nr) * tile.nr
                assert row[layout.PANELS] % ALIGNMENT == row[layout.PACKED] % ALIGNMENT == 0
            assert at <= parameters.packed


def test_what_each_activation_asks_for() -> None:
    for name, g in ACTIVATIONS.items():
        table = place_parameters(layers_of([3, 4, 5], name), TILES[DTYPES[0]]).table
        fields = [layout.CODE, layout.FROM_Z, layout.WHOLE_ROW, layout.FUSED_RELU]
        assert table[1, fields].tolist() == [g.code, g.from_z, g.whole_row, g.rectifies]
        last = place_parameters([Layer(3, 4, name)], TILES[DTYPES[0]]).table[1]
        # the output layer's belongs to the loss
        assert last[[layout.CODE, layout.WHOLE_ROW, layout.FUSED_RELU]].tolist() == [-1, 0, 0]


# ---------------------------------------------------------------------------------------- batches
def spaces(table: Any, place: Place) -> list[tuple[int, int]]:
    """(start, elements) of all that lies in the workspace, in the order of the starts."""
    ones = place.regime == TINY
    found = {}
    for row in table:
        for field in (layout.S, layout.A):
            found[int(row[field])] = place.chunk * (int(row[layout.N]) + ones)
    for row in table[1:]:
        size = place.chunk * int(row[layout.N])
        found[int(row[layout.DZ])] = max(size, found.get(int(row[layout.DZ]), 0))
    cut = table[:, layout.DEPTH] > 0
    if cut.any():
        blocks = -(-table[cut, layout.N_PREV] // table[cut, layout.DEPTH])
        size = place.chunk * int(((blocks - 1) * table[cut, layout.N]).max())
        found |= dict.fromkeys(table[:, layout.PARTS].tolist(), size)
    found[place.targets] = place.chunk * int(table[-1, layout.N])
    return sorted(found.items())


@each_dtype
@each_net
@pytest.mark.parametrize("regime", [None, *regimes.REGIMES])
@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_overlaps_in_the_workspace(
    dtype: Any, name: str, regime: str | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if regime is not None:
        regimes.force(monkeypatch, regime)
    place = placed(NETS[name], dtype, batch)
    for table in (place.table, place.plain_table):
        at = ZEROS
        for start, size in spaces(table, place):
            assert start >= at
            assert start % ALIGNMENT == 0  # a cache line
            at = start + size
        # a tile may read past the end of the last
        assert at + TILES[dtype].nr <= place.workspace
    assert place.workspace % ALIGNMENT == place.packed % ALIGNMENT == 0


@each_dtype
@each_net
@pytest.mark.parametrize("more", [0, 1])
def test_each_delta_has_its_place_where_the_batch_is_one_block(
    dtype: Any, name: str, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, "blocked")
    place = placed(NETS[name], dtype, TILES[dtype].kc + more)
    deltas = place.table[1:, layout.DZ].tolist()
    assert place.deferred == (more == 0)
    assert len(set(deltas)) == (len(deltas) if place.deferred else min(len(deltas), 2))
    assert all(a != b for a, b in pairwise(deltas))


@each_dtype
@each_net
def test_where_a_and_s_are_one(dtype: Any, name: str) -> None:
    place, layers = placed(NETS[name], dtype, 64, input_dropout=0.25), NETS[name]
    for table, drops in ((place.table, True), (place.plain_table, False)):
        assert table[0, layout.A] == table[0, layout.S]
        assert table[-1, layout.A] != table[-1, layout.S]
        assert table[0, layout.DROP] == (LEVELS // 4 if drops else 0)
        for layer, row in zip(layers[:-1], table[1:-1], strict=True):
            apart = ACTIVATIONS[layer.activation].from_z or (drops and layer.dropout > 0)
            assert (row[layout.A] != row[layout.S]) == apart
            assert row[layout.DROP] == (round(layer.dropout * LEVELS) if drops else 0)


@each_dtype
@each_net
@pytest.mark.parametrize("regime", [None, *regimes.REGIMES])
@pytest.mark.parametrize("batch", BATCHES)
def test_segments_and_chunks_cover_the_batch(
    dtype: Any, name: str, regime: str | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if regime is not None:
        regimes.force(monkeypatch, regime)
    place = placed(NETS[name], dtype, batch)
    assert 1 <= place.chunk <= place.segment <= batch
    if place.regime in (BLOCKED, TINY):
        assert place.segment == batch
    if place.regime == BLOCKED:
        assert place.chunk == batch
    # none is empty
    segments = -(-batch // place.segment)
    assert (segments - 1) * place.segment < batch


@each_dtype
def test_a_chunk_of_a_deep_net_repays_reading_its_weights(dtype: Any) -> None:
    place = placed([Layer(64, 64, "tanh")] * 17, dtype, 1024)
    assert place.regime == RESIDENT
    chunks = -(-place.segment // place.chunk)
    assert 1 < chunks <= -(-place.segment // SMALL.chunk_rows)


@each_dtype
@pytest.mark.parametrize(
    ("name", "regime"),
    [
        ("tiny", TINY), ("without bias", TINY), ("one layer", RESIDENT), ("small", RESIDENT),
        ("softmax inside", RESIDENT), ("dropout", RESIDENT), ("from Z", RESIDENT),
        ("large", BLOCKED),
    ],
)  # fmt: skip
def test_the_regime_of_each_net(dtype: Any, name: str, regime: int) -> None:
    for batch in (*BATCHES, RESIDENT_ROWS - 1, RESIDENT_ROWS):
        # few samples do not repay packing W
        few = regime == RESIDENT and batch < RESIDENT_ROWS
        assert placed(NETS[name], dtype, batch).regime == (BLOCKED if few else regime)


def test_a_large_matrix_of_a_small_net_is_not_resident() -> None:
    wide = [Layer(784, 64, "relu"), Layer(64, 10, "softmax")]
    deep = [Layer(64, 64, "tanh")] * 17
    for dtype, tile in TILES.items():
        largest, most = 784 * 64, placement.RESIDENT_LINES * tile.line
        for layers, fits in ((wide, largest <= most), (deep, True)):
            assert place_parameters(layers, tile).size <= RESIDENT_PARAMETERS
            assert placed(layers, dtype, 200).regime == (RESIDENT if fits else BLOCKED)
    # as many bytes in either dtype
    assert {placed(wide, dtype, 200).regime for dtype in TILES} == {RESIDENT, BLOCKED}


@each_dtype
def test_a_large_net_is_resident_if_the_batch_is_much_larger(dtype: Any) -> None:
    layers = NETS["large"]
    size, units = place_parameters(layers, TILES[dtype]).size, sum(layer.n for layer in layers)
    rows = math.ceil(LARGE_SHARE * size / units)
    assert RESIDENT_PARAMETERS < size <= LARGE_PARAMETERS
    assert LARGE.few_rows < rows
    assert placed(layers, dtype, LARGE_SEGMENTS * rows - 1).regime == BLOCKED
    place = placed(layers, dtype, LARGE_SEGMENTS * rows)
    assert place.regime == RESIDENT
    assert place.segment == rows
    place = placed(layers, dtype, 100_000)
    assert place.segments(100_000) * size <= 2 * LARGE.gradients
    assert place.chunk >= LARGE.chunk_rows // 2
    # many units to a parameter: a segment still has enough samples
    wide, batch = layers_of([10, 8000, 2]), LARGE_SEGMENTS * LARGE.few_rows
    assert placed(wide, dtype, batch - 1).regime == BLOCKED
    assert placed(wide, dtype, batch).segment == LARGE.few_rows
    assert placed(layers_of([1000, 1000, 10]), dtype, 100_000).regime == BLOCKED


@each_dtype
def test_dropout_of_x_is_not_tiny(dtype: Any) -> None:
    assert placed(NETS["tiny"], dtype, 64).regime == TINY
    assert placed(NETS["tiny"], dtype, 64, input_dropout=0.1).regime == RESIDENT


@each_dtype
def test_a_layer_wider_than_two_vectors_is_not_tiny(dtype: Any) -> None:
    most = 2 * TILES[dtype].lanes
    for sizes in ([most, most, most], [1, most, 1]):
        assert placed(layers_of(sizes), dtype, 64).regime == TINY
        for i in range(len(sizes)):
            wider = [*sizes[:i], most + 1, *sizes[i + 1 :]]
            assert placed(layers_of(wider), dtype, 64).regime == RESIDENT


@each_dtype
@each_net
def test_the_number_of_threads_changes_no_place(dtype: Any, name: str) -> None:
    places = []
    for n in RANKS:
        with fastdnn.num_threads(n):
            place = placed(NETS[name], dtype, 1000)
        places.append(([table.tobytes() for table in place[:3]], place[3:]))
    assert all(place == places[0] for place in places)


@each_dtype
@pytest.mark.parametrize("more", [0, 1])
def test_dZ_is_packed_as_a_whole_where_it_is_not_too_large(dtype: Any, more: int) -> None:
    tile, batch = TILES[dtype], 16
    widest = WHOLE_SIZE // batch // tile.nr * tile.nr + more
    place = placed([Layer(3, widest, "relu"), Layer(widest, 2)], dtype, batch)
    assert place.deferred == (more == 0)
    # there is room behind a block of A, for the narrower dZ too
    assert place.panels >= packed_elements(tile, widest)
    assert (place.panels >= packed_elements(tile, 0) + widest * batch) == (more == 0)


@each_dtype
def test_there_is_room_for_packed_blocks(dtype: Any) -> None:
    tile = TILES[dtype]
    assert placed(NETS["large"], dtype, 64).packed >= packed_elements(tile, 784)
    small = place_parameters(NETS["small"], tile)
    assert placed(NETS["small"], dtype, 64).packed >= small.packed
    place = placed(NETS["tiny"], dtype, 64)
    for rows, columns in ((place.chunk, 5), (5, place.chunk)):  # dZ, either way round
        assert place.packed >= rows * -(-columns // tile.nr) * tile.nr


@each_dtype
@pytest.mark.parametrize(
    ("layers", "batch", "cut"),
    [
        (layers_of([784, 128, 10], "relu"), 128, [True, True]),
        (layers_of([784, 512, 512, 10], "relu"), 8, [True, True, True]),
        (layers_of([784, 512, 512, 1], "relu"), 8, [True, True, False]),  # a scalar product
        (layers_of([30, 1024, 1024, 10], "relu"), 8, [False, True, True]),  # too few inputs
        (layers_of([784, 512, 512, 10], "softmax"), 8, [False, False, False]),  # needs whole rows
        # what would move of Z is no less than W
        (layers_of([1024, 1024, 1024, 10], "relu"), 1024, [False, False, False]),
        (layers_of([784, 10], "relu"), 1, [False]),  # serial
        # depths of whole steps leave an odd number of blocks
        (layers_of([40_000, 128, 10], "relu"), 32, [True, True]),
        (layers_of([25_000, 128, 10], "relu"), 32, [True, True]),
        (layers_of([14_000, 128, 10], "relu"), 32, [True, True]),
    ],
)
def test_which_layers_inputs_are_cut(
    dtype: Any, layers: list[Layer], batch: int, cut: list[bool]
) -> None:
    place, kc = placed(layers, dtype, batch), TILES[dtype].kc
    depths = place.table[1:, layout.DEPTH]
    assert place.regime == BLOCKED
    assert (depths > 0).tolist() == cut
    for k, depth in zip(place.table[1:, layout.N_PREV].tolist(), depths.tolist(), strict=True):
        if depth:
            assert depth <= kc
            assert -(-k // depth) % 2 == 0  # so that two ranks share the blocks evenly
