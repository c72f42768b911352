"""What a loss is beside its formulas: the facts of an entry in the table of `losses`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

Function = Callable[..., None]  # of a `mean_losses.Strip`
Interval = tuple[float, float]
ANY, PROBABILITY, NOT_NEGATIVE = (-inf, inf), (0.0, 1.0), (0.0, inf)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What everything outside the kernels reads of a loss."""

    equation: str = ""  # of a loss without settings: the first line of its class's documentation
    labels: bool = False  # targets are class numbers
    targets: Interval = ANY  # where dense targets lie
    outputs: Interval = ANY  # where outputs have to lie
    least_outputs: int = 1
    # What a sample is, and so which accuracy suits: "multiclass" one of n classes, "multilabel" a
    # yes or no for each output, "any" one of both by the number of outputs, "regression" neither.
    kind: str = "any"
    other_form: str | None = None  # what takes one-hot rows instead, or class numbers
    parameters: tuple[float, ...] = (0.0,)  # by default; outputs take them in turn
    is_smooth: bool = True  # its second derivatives exist everywhere


@dataclass(frozen=True, kw_only=True)
class Form(Facts):
    """A loss as the file of its formulas states it."""

    strip: Function
    fused: Mapping[str, Function] = field(default_factory=dict)  # by the output's activation
    rare: bool = False  # compiled for who chooses it, not into the step


@dataclass(frozen=True, kw_only=True)
class Loss(Facts):
    """A table entry."""

    code: int
    fused: Mapping[Any, int] = field(default_factory=dict)  # activation -> its function's code
