"""The plan of a call: what every call of its kind has in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.elementwise.activations import Activation
from fastdnn.kernels.layers import layout

from .parameters import Parameters
from .placement import Place


def plan_of(
    place: Place,
    parameters: Parameters,
    batch: int,
    loss: int,
    fused: int,
    output: Activation,
    penalised: int,
    chunks: int,
    own: int,
    slots: int,
) -> NDArray[np.int64]:
    """Return the plan, with zeros where each call writes what is its own.

    Parameters
    ----------
    place, parameters
        The network's places in memory.
    batch : int
    loss, fused : int
        The code of the loss's row function, or -1; and whether it applies the output activation.
    output : Activation
        That of the last layer.
    penalised : int
        1 where some layer has a penalty, 2 where the batch's samples divide it; else 0.
    chunks : int
        Ranges of the parameters that are updated at a time.
    own : int
        Elements of a rank's own parameters, gradient and slots; 0 where ranks share them.
    slots : int
        Elements of the update rule's memory.
    """
    fields = {
        layout.BATCH: batch,
        layout.LOSS: loss,
        layout.FUSED: fused,
        layout.OUT_CODE: output.code,
        layout.OUT_FROM_Z: output.from_z,
        layout.PENALTIES: penalised,
        layout.TARGETS: place.targets,
        layout.REGIME: place.regime,
        layout.DEFERRED: place.deferred,
        layout.SEGMENT: place.segment,
        layout.CHUNK: place.chunk,
        layout.WORKSPACE: place.workspace,
        layout.PACKED_SIZE: place.packed + own,
        layout.DELTA_PANELS: place.panels,
        layout.PARAMETERS: parameters.size,
        layout.LAYERS: len(place.table),
        layout.CHUNKS: chunks,
        layout.REPLICA: place.packed if own else 0,
        layout.SLOTS: slots,
    }
    return np.array([fields.get(field, 0) for field in range(layout.PLAN)], np.int64)
