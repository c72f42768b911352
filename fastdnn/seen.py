"""What an epoch has trained on so far: the sums behind its logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluation import Measured

Array = NDArray[Any]


@dataclass
class Seen:
    """What an epoch has trained on so far."""

    measured: Measured
    steps: int = 0
    samples: int = 0
    total: float = 0.0  # the sum of the samples' losses, more or less
    losses: list[Array] = field(default_factory=list)  # sums of a step's samples
    is_whole: bool = False  # no steps are left

    def add(self, losses: Array, samples: int) -> None:
        """Count more steps."""
        self.steps += len(losses)
        self.samples += samples
        self.total += float(losses.sum())
        if len(losses):
            self.losses.append(losses)

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to go on with the epoch."""
        losses = np.concatenate(self.losses) if self.losses else np.empty(0)
        return {
            "is_whole": self.is_whole,
            "samples": self.samples,
            "losses": losses,
            **self.measured.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with an epoch."""
        self.measured.set_state(state)
        self.add(state["losses"], state["samples"])
        self.is_whole = state["is_whole"]

    def logs(self) -> dict[str, float]:
        """Return the mean loss, the same to the bit however the steps came, and the metrics."""
        total = self.total
        if len(self.losses) > 1:
            total = float(np.concatenate(self.losses).sum())
        return {"loss": total / self.samples, **self.measured.values()}
