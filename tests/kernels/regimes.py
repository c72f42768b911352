"""The ways to share a step among ranks, each forced upon networks of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine import placement
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.parameters import place_parameters
from fastdnn.kernels.engine.placement import Place, place_batch
from fastdnn.kernels.layers import layout

HUGE = 2**40
ONE, MORE = placement.Cuts(HUGE, HUGE, 0, HUGE), placement.Cuts(5, 5, HUGE, HUGE)
# name: thresholds of `placement`
REGIMES: dict[str, dict[str, Any]] = {
    "blocked": {"RESIDENT_PARAMETERS": 0, "LARGE_PARAMETERS": 0, "CUT_GAIN": HUGE},
    "cut": {"RESIDENT_PARAMETERS": 0, "LARGE_PARAMETERS": 0, "CUT_GAIN": 0, "CUT_INPUTS": 0},
    "one segment": {"SMALL": ONE},
    "chunks": {"SMALL": ONE._replace(chunk_rows=1), "CHUNK_SIZE": 200},
    "segments": {"SMALL": MORE},
    "segments and chunks": {
        "SMALL": MORE._replace(few_rows=9, more_rows=9, chunk_rows=1),
        "CHUNK_SIZE": 200,
    },
}
RESIDENT = [name for name in REGIMES if name not in ("blocked", "cut")]
each_regime = pytest.mark.parametrize("regime", REGIMES)


def force(monkeypatch: pytest.MonkeyPatch, regime: str) -> None:
    """Have engines that are made from now on work so.

    A network whose layers are all narrow, without dropout or softmax inside, is tiny in all but
    the blocked regime, and a tiny one has a single segment.
    """
    monkeypatch.setattr(placement, "RESIDENT_PARAMETERS", HUGE)
    monkeypatch.setattr(placement, "RESIDENT_LINES", HUGE)
    monkeypatch.setattr(placement, "RESIDENT_ROWS", 0)
    for name, value in REGIMES[regime].items():
        monkeypatch.setattr(placement, name, value)


def place_of(net: Engine, batch: int, input_dropout: float = 0.0) -> Place:
    """Where batches of so many samples lie, and how their step is shared."""
    tile = targets.tile(net.dtype)
    return place_batch(net.layers, input_dropout, place_parameters(net.layers, tile), tile, batch)


def assert_shared(net: Engine, batch: int, regime: str, input_dropout: float = 0.0) -> None:
    """That a step is really shared as `regime` says; a batch has 30 samples at least."""
    place = place_of(net, batch, input_dropout)
    if regime in ("blocked", "cut"):
        assert place.regime == layout.BLOCKED
        whole = place.table[:, layout.WHOLE_ROW] > 0
        can = ~(whole[1:] | whole[:-1]) & (place.table[1:, [layout.N_PREV, layout.N]] > 1).all(1)
        cut = can & (regime == "cut")
        np.testing.assert_array_equal(place.table[1:, layout.DEPTH] > 0, cut)
        return
    assert place.regime in (layout.RESIDENT, layout.TINY)
    several_segments = regime.startswith("segments") and place.regime == layout.RESIDENT
    assert (place.segment < batch) == several_segments
    assert (place.chunk < place.segment) == regime.endswith("chunks")
