"""The memory that the steps of a network work in; it grows to what the largest call needs."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import aligned_empty, grown
from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.layers.layout import BLOCKED
from fastdnn.kernels.passes.forward import LOSS_ROWS

from .parameters import Parameters
from .placement import Place


class Workspace:
    """Memory for the calls of one network.

    Parameters
    ----------
    dtype : dtype
        Of the network.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._ws = self._packed = self._gradients = np.empty(0, dtype)
        self._doubles = np.empty(0)
        self._labels = np.empty(0, np.int64)
        self.results = np.zeros(2, np.int64)
        self.version = 0  # rises when memory is replaced

    def of(
        self, place: Place, parameters: Parameters, batch: int, n_ranks: int, own: int
    ) -> tuple[NDArray[Any], ...]:
        """Return what a call needs, in `layout.Memory`'s order; a replica takes `own` elements."""
        spaces = 1 if place.regime == BLOCKED else n_ranks
        segments = place.segments(batch) * (2 if own else 1)
        chunks = len(parameters.tensor_chunks)
        parts = max(chunks, -(-batch // LOSS_ROWS), segments)
        doubles = parts, chunks, max(3 * n_ranks, segments), batch
        self._ws = self._grown(self._ws, spaces * place.workspace)
        self._packed = self._grown(self._packed, n_ranks * (place.packed + own))
        if segments > 1:
            self._gradients = self._grown(self._gradients, segments * parameters.size)
        self._doubles = self._grown(self._doubles, sum(doubles))
        self._labels = self._grown(self._labels, batch)
        cuts = [
            self._doubles[end - size : end]
            for end, size in zip(accumulate(doubles), doubles, strict=True)
        ]
        return self._ws, self._packed, self._gradients, *cuts, self._labels, self.results

    def _grown(self, memory: NDArray[Any], count: int) -> NDArray[Any]:
        enough = grown(memory, count)
        self.version += enough is not memory
        return enough


def zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros with more of them behind, that a tile may read past the last row."""
    memory = aligned_empty(count + ZEROS, dtype)
    memory[:] = 0
    return memory[:count]
