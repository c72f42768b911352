"""The compiled kernels, for who wants them alone: arrays in the notes' shapes (n, m)."""

from __future__ import annotations

from .about import info, warmup
from .dense import (
    activation_backward,
    activation_forward,
    bias_gradient,
    linear_backward,
    linear_forward,
)
from .elementwise.activations import ACTIVATIONS
from .elementwise.losses import LOSSES
from .elementwise.update import UPDATES

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "UPDATES",
    "activation_backward",
    "activation_forward",
    "bias_gradient",
    "info",
    "linear_backward",
    "linear_forward",
    "warmup",
]
