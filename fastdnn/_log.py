"""What an operator reads: the logger "fastdnn", silent unless it is configured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastdnn.kernels.cpu.threads import get_num_threads
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.layers.layout import BLOCKED, RESIDENT, TINY

LOGGER = logging.getLogger("fastdnn")
LOGGER.addHandler(logging.NullHandler())  # or warnings would go to stderr
REGIMES = {BLOCKED: "blocked", RESIDENT: "resident", TINY: "tiny"}


def info(message: str, facts: Callable[[], tuple[Any, ...]]) -> None:
    """Log a message with facts that are worked out only if somebody reads it."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info(message, *facts())


def network_facts(engine: Engine, batch: int) -> tuple[Any, ...]:
    """Return a network's widths, parameters, dtype, regime for such batches, and the threads."""
    widths = "-".join(str(n) for n in (engine.layers[0].n_prev, *(one.n for one in engine.layers)))
    regime = REGIMES[engine.place(batch).regime]
    return widths, engine.parameters.size, engine.dtype, regime, get_num_threads()
