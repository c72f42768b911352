"""What a training changes of a model, kept so that it can be undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.engine import Engine

from .loop import State

SOON_COPIED = 8  # elements of X are read while one is copied into new pages


class Snapshot:
    """An engine's parameters and slots and a training's counters, as they are now."""

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine, self._state = engine, state
        self._values, self._slots = engine.values.copy(), engine.slots.copy()
        self._counters = state.steps, state.epochs

    def restore(self) -> None:
        """Make all as it was."""
        self._engine.values[...], self._engine.slots = self._values, self._slots
        self._state.steps, self._state.epochs = self._counters


def pays(engine: Engine, X: NDArray[Any]) -> bool:
    """Return whether a snapshot costs less than to look through X for NaN and infinity.

    With it, `fit` looks only when a step has met them: dW_1 = dZ_1 X^T is not finite where X is
    not, unless dropout takes that out of X; and a step that is not finite changes no parameter.
    """
    changed = 3 * engine.parameters.size  # with two slots
    is_met = engine.input_dropout == 0 and X.dtype.kind == "f"
    return is_met and np.size(X) > SOON_COPIED * changed
