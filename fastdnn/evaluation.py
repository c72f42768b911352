"""The loss and the metrics of many samples, whole or batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.engine import Engine, Report, Stop, mean_loss

from ._inputs import Data
from .data.rows import parts
from .losses import Loss
from .metrics import Metric, Named, resolve
from .overflow import warn_of_loss
from .validation import EVALUATION_BATCH

Array = NDArray[Any]


def log_names(metrics: Iterable[str], validated: bool) -> list[str]:
    """Return what an epoch's logs hold."""
    names = ["loss", *metrics]
    return [*names, *(f"val_{name}" for name in names if validated), "learning_rate"]


def metric_functions(
    metrics: Iterable[str | Callable[..., float]], loss: Loss, n_outputs: int
) -> dict[str, Metric]:
    """Return the metrics by their names in the logs."""
    functions: dict[str, Metric] = {}
    for metric in metrics:
        name, function = resolve(metric, loss, n_outputs)
        if name in functions or name in ("loss", "learning_rate"):
            raise ValueError(
                f"metrics: the logs have {name!r} already; a function's __name__ is its name there"
            )
        functions[name] = function
    return functions


def quick_ones(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Return those that a progress bar can afford."""
    return {name: f for name, f in metrics.items() if isinstance(f, Named) and f.entry.quick}


def measure(metrics: dict[str, Metric], y: Array, outputs: Array) -> dict[str, float]:
    """Return each metric of the outputs."""
    return {name: _as_number(name, function(y, outputs)) for name, function in metrics.items()}


def _as_number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: want a number from {name!r}, got {value!r:.60}") from None


@dataclass
class Measured:
    """The metrics of samples that come piece by piece.

    Of those that are means over samples, two numbers are kept. For the others all targets and
    outputs are.
    """

    metrics: dict[str, Metric]
    _means: dict[str, list[float]] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=list)
    _pieces: list[tuple[Array, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._averaged: dict[str, Metric] = {
            name: f for name, f in self.metrics.items() if isinstance(f, Named) and f.entry.mean
        }
        self._others = {n: f for n, f in self.metrics.items() if n not in self._averaged}

    def add(self, y: Array, outputs: Array) -> None:
        """Take targets and outputs of more samples."""
        self._sizes.append(len(y))
        for name, value in measure(self._averaged, y, outputs).items():
            self._means.setdefault(name, []).append(value)
        if self._others:
            self._pieces.append((y, outputs))

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to go on with more samples."""
        return {"sizes": self._sizes, "means": self._means, "pieces": self._pieces}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with more samples."""
        self._sizes, self._means = list(state["sizes"]), dict(state["means"])
        self._pieces = [(y, outputs) for y, outputs in state["pieces"]]

    def extend(self, state: Mapping[str, Any]) -> None:
        """Take what another one has measured of more samples, by its `get_state`."""
        self._sizes = [*self._sizes, *state["sizes"]]
        for name, values in state["means"].items():
            self._means[name] = [*self._means.get(name, ()), *values]
        self._pieces = [*self._pieces, *state["pieces"]]

    def values(self) -> dict[str, float]:
        """Return the metrics of all samples, in the order that they were given in."""
        if not self.metrics:
            return {}
        found = {
            name: v[0] if len(v) == 1 else float(np.average(v, weights=self._sizes))
            for name, v in self._means.items()
        }
        if self._others:
            y, outputs = (_joined(list(pieces)) for pieces in zip(*self._pieces, strict=True))
            found |= measure(self._others, y, outputs)
        return {name: found[name] for name in self.metrics}


def loss_and_outputs(
    engine: Engine,
    data: Data,
    batch: int = EVALUATION_BATCH,
    report: Report | None = None,
    stop: Stop = None,
) -> tuple[float, Array]:
    """Return the loss without penalties, and A_L."""
    losses, outputs = [], []
    for part, X in parts(data.X, engine.dtype, batch):
        found, A = engine.batch_losses(
            X,
            data.targets.rows(part),
            weights=None if data.weights is None else data.weights[part],
            batch=batch,
            report=report,
            stop=stop,
        )
        losses.append(found)
        outputs.append(A)
    return mean_loss(np.concatenate(losses), len(data.y), batch), _joined(outputs)


def outputs_of(engine: Engine, X: Any, batch: int, report: Report | None = None) -> Array:
    """Return A_L for every row of X; dropout is off."""
    of_parts = parts(X, engine.dtype, batch)
    return _joined([engine.forward(one, batch=batch, report=report) for _, one in of_parts])


def _joined(outputs: list[Array]) -> Array:
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


def evaluate(
    reading: Callable[[], AbstractContextManager[Engine]],
    data: Data | Iterable[Data],
    metrics: dict[str, Metric],
    batch: int = EVALUATION_BATCH,
    report: Report | None = None,
    stop: Stop = None,
    *,
    warns: bool = False,
) -> dict[str, float]:
    """Return the loss, penalties included, and the metrics, of samples or of a stream of them.

    If it `warns`, it does of a loss that is not finite. Raises `StoppedError` when another thread
    has set `stop`.

    In ``with reading() as engine:`` nobody changes the engine. It is left before anything else is
    asked: a metric, or a source whose own thread may use the model.
    """

    def read(one: Data, of: str = "") -> tuple[float, float, Array]:
        with reading() as engine:
            loss, outputs = loss_and_outputs(engine, one, batch, report, stop)
            if warns:
                warn_of_loss(engine, one, loss, batch, of)
            return penalty(engine), loss, outputs

    if isinstance(data, Data):
        added, loss, outputs = read(data)
        return {"loss": loss + added, **measure(metrics, data.y, outputs)}
    measured, losses, sizes, added = Measured(metrics), list[float](), list[int](), 0.0
    for number, one in enumerate(data):
        added, loss, outputs = read(one, f" of batch {number}")
        measured.add(one.y, outputs)
        losses.append(loss)
        sizes.append(len(one.y))
    return {"loss": float(np.average(losses, weights=sizes)) + added, **measured.values()}


def penalty(engine: Engine) -> float:
    """Return l1 sum |W| + l2 sum W^2 over the layers."""
    total = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.l1 or layer.l2:
            W = engine.weights(l).astype(np.float64)
            total += layer.l1 * float(np.abs(W).sum()) + layer.l2 * float(np.square(W).sum())
    return total
