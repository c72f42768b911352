"""Networks trained and used by the compiled step: what `fastdnn` may import of it."""

from .calls import (
    NO_LABELS,
    Outcome,
    Report,
    Rule,
    Stop,
    StoppedError,
    Targets,
    mean_loss,
    parts_of,
)
from .engine import CALL_FLOPS, Engine
from .many import run_all
from .parameters import Layer, size_of, tensors_of
from .stepwise import Stepwise
from .twins import doubled, frozen, twin_of

__all__ = [
    "CALL_FLOPS",
    "NO_LABELS",
    "Engine",
    "Layer",
    "Outcome",
    "Report",
    "Rule",
    "Stepwise",
    "Stop",
    "StoppedError",
    "Targets",
    "doubled",
    "frozen",
    "mean_loss",
    "parts_of",
    "run_all",
    "size_of",
    "tensors_of",
    "twin_of",
]
