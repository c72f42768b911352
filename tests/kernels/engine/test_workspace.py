"""The steps' memory grows to what the largest call needs, and tells when it is another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.base.arrays import ALIGNMENT
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.parameters import Layer, Parameters, place_parameters
from fastdnn.kernels.engine.placement import Place, place_batch
from fastdnn.kernels.engine.workspace import Workspace
from fastdnn.kernels.layers.layout import BLOCKED, Memory
from fastdnn.kernels.passes.forward import LOSS_ROWS
from tests.kernels.common import Array, each_dtype

WIDE = [Layer(784, 512, "relu"), Layer(512, 10)]
NARROW = [Layer(64, 100, "relu"), Layer(100, 10)]


def places(layers: list[Layer], dtype: Any, batch: int) -> tuple[Place, Parameters]:
    tile = targets.tile(np.dtype(dtype))
    parameters = place_parameters(layers, tile)
    return place_batch(layers, 0.0, parameters, tile, batch), parameters


def memory(
    workspace: Workspace,
    layers: list[Layer],
    dtype: Any,
    batch: int,
    n_ranks: int = 1,
    own: int = 0,
) -> dict[str, Array]:
    place, parameters = places(layers, dtype, batch)
    names = [name for name in Memory._fields if name != "losses"]
    return dict(zip(names, workspace.of(place, parameters, batch, n_ranks, own), strict=True))


@each_dtype
@pytest.mark.parametrize("layers", [WIDE, NARROW])
@pytest.mark.parametrize("batch", [1, 31, 200, 1000])
@pytest.mark.parametrize("n_ranks", [1, 3])
@pytest.mark.parametrize("own", [0, 640])
def test_there_is_room_for_every_call(
    dtype: Any, layers: list[Layer], batch: int, n_ranks: int, own: int
) -> None:
    place, parameters = places(layers, dtype, batch)
    found = memory(Workspace(np.dtype(dtype)), layers, dtype, batch, n_ranks, own)
    spaces = 1 if place.regime == BLOCKED else n_ranks
    segments = place.segments(batch)
    assert found["ws"].size >= spaces * place.workspace
    assert found["packed"].size >= n_ranks * (place.packed + own)
    if segments > 1:  # replicas take those of every other step elsewhere
        assert found["gradients"].size >= segments * (2 if own else 1) * parameters.size
    assert found["partial"].size >= max(segments, -(-batch // LOSS_ROWS))
    assert found["norms"].size >= len(parameters.tensor_chunks)
    assert found["flags"].size >= max(3 * n_ranks, segments)
    assert found["sample_losses"].size >= batch
    assert found["labels"].size >= batch
    for name in ("ws", "packed"):
        assert found[name].dtype == dtype
        assert found[name].ctypes.data % ALIGNMENT == 0


def test_no_two_of_them_overlap() -> None:
    found = list(memory(Workspace(np.dtype(np.float32)), NARROW, np.float32, 200, 2).values())
    for i, one in enumerate(found):
        assert not any(np.shares_memory(one, other) for other in found[:i])


def test_it_is_replaced_by_larger_calls_only() -> None:
    workspace = Workspace(np.dtype(np.float32))
    before = memory(workspace, WIDE, np.float32, 64)
    version = workspace.version
    assert version > 0
    for batch in (64, 8):
        again = memory(workspace, WIDE, np.float32, batch)
        assert all(np.shares_memory(again[name], before[name]) for name in ("ws", "packed"))
    assert workspace.version == version
    larger = memory(workspace, WIDE, np.float32, 128)
    assert not np.shares_memory(larger["ws"], before["ws"])
    assert workspace.version > version
