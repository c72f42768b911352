"""Where parameters lie: what is trained first and in one piece, the rest behind it."""

from __future__ import annotations

import numpy as np
import pytest

from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.parameters import Layer, place_parameters, size_of, tensors_of
from fastdnn.kernels.layers.layout import DETAILS, B, N, W
from fastdnn.kernels.layers.operations import TRAINED
from tests.kernels import stacks

TILE = targets.tile(np.dtype(np.float32))


@pytest.mark.parametrize("kind", [*sorted(stacks.ROWS), "residual"])
def test_tensors_lie_behind_each_other(kind: str) -> None:
    layers = stacks.residual() if kind == "residual" else stacks.layers_of(kind)
    places = place_parameters(layers, TILE)
    every = [one for own in places.tensors for one in own]
    spans = sorted((one.start, one.start + one.size) for one in every)
    assert [begin for begin, _ in spans] == [0, *(end for _, end in spans[:-1])]
    trained = sum(one.size for one in every if one.tensor.role == TRAINED)
    assert places.size == trained
    assert places.size + places.state == spans[-1][1]
    assert max(one.start for one in every if one.tensor.role == TRAINED) < places.size
    for l, layer in enumerate(layers, 1):
        own = [one for one in places.tensors[l - 1] if one.tensor.role == TRAINED]
        if not layer.is_dense:
            begin, end = places.table[l, [W, B]]
            assert end - begin == sum(one.size for one in own)
            assert not own or begin == own[0].start
            assert places.table[l, DETAILS] != 0
        assert places.table[l, N] == layer.n


def test_chunks_cover_what_is_trained_once() -> None:
    layers = stacks.layers_of("batch")
    places = place_parameters(layers, TILE)
    for chunks in (places.chunks, places.tensor_chunks):
        covered = np.zeros(places.size, int)
        for start, stop, _ in chunks:
            covered[start:stop] += 1
        assert (covered == 1).all()
    assert len(places.penalties) == 4  # gamma, beta, W and b


def test_a_view_is_the_tensor_and_w_lies_transposed() -> None:
    layers = [Layer(2, 3)]
    (own,) = place_parameters(layers, TILE).tensors
    values = np.arange(9.0)
    np.testing.assert_array_equal(own[0].view(values), [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(own[1].view(values), [6, 7, 8])
    assert [size_of(tensor) for tensor in tensors_of(layers[0])] == [6, 3]
    assert len(tensors_of(Layer(2, 3, use_bias=False))) == 1
