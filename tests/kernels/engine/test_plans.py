"""The plan of a call: what it holds, and that it leaves a call's own fields empty."""

import numpy as np

from fastdnn.kernels.cpu import targets
from fastdnn.kernels.elementwise.activations import ACTIVATIONS
from fastdnn.kernels.engine.parameters import Layer, place_parameters
from fastdnn.kernels.engine.placement import place_batch
from fastdnn.kernels.engine.plans import plan_of
from fastdnn.kernels.layers import layout

LAYERS = [Layer(5, 4, "relu"), Layer(4, 3, "gelu")]


def test_what_a_plan_holds() -> None:
    tile = targets.tile(np.dtype(np.float32))
    parameters = place_parameters(LAYERS, tile)
    place = place_batch(LAYERS, 0.0, parameters, tile, 7)
    for own in (0, 64):
        plan = plan_of(place, parameters, 7, 2, 1, ACTIVATIONS["gelu"], True, 9, own, 78)
        assert plan.shape == (layout.PLAN,)
        assert not plan[: layout.VARYING].any()
        assert plan[layout.PARAMETERS] == 4 * 6 + 3 * 5
        assert plan[layout.LAYERS] == len(LAYERS) + 1
        names = ["BATCH", "LOSS", "FUSED", "PENALTIES", "CHUNKS", "SLOTS", "OUT_FROM_Z"]
        found = [plan[getattr(layout, name)] for name in names]
        assert found == [7, 2, 1, 1, 9, 78, 1]
        assert plan[layout.OUT_CODE] == ACTIVATIONS["gelu"].code
        assert plan[layout.PACKED_SIZE] == place.packed + own
        assert plan[layout.REPLICA] == (place.packed if own else 0)
