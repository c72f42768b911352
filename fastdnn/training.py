"""The training loop: epochs of slices, each slice many steps in one native call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.engine import Engine
from fastdnn.kernels.step import FINITE, LOSS_NOT_FINITE

from ._inputs import Data
from .metrics import Metric
from .optimizers import Optimizer
from .progress import Callback

Array = NDArray[Any]
EVALUATION_BATCH = 1024  # samples
SLICE_SECONDS = 0.08  # of one native call: how long Ctrl-C and the progress bar wait
GUESSED_FLOPS = 2e9  # per second, for the first slice, before a step has been timed
INITIALIZATION, ORDER = range(2)  # purposes of random numbers


class DivergenceError(ArithmeticError):
    """A loss or a gradient was not finite. The parameters are those before that step."""


@dataclass
class State:
    """What a training goes on from: counters, and the seeds of its random numbers."""

    entropy: int
    steps: int = 0  # updates since `compile`
    epochs: int = 0  # since `compile`: each has an order of its own
    seconds_per_step: dict[int, float] = field(default_factory=dict)  # by batch size

    @property
    def dropout_seed(self) -> int:
        """The seed of dropout's masks."""
        return self.entropy & (2**63 - 1)

    def generator(self, *purpose: int) -> np.random.Generator:
        """The random numbers for one purpose, independent of those for any other."""
        return np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=purpose))

    def order(self, m: int) -> NDArray[np.int64]:
        """The samples in the random order of the present epoch."""
        return self.generator(ORDER, self.epochs).permutation(m)


def slices(engine: Engine, state: State, batch: int, steps: int) -> Iterator[tuple[int, int]]:
    """Cut an epoch's steps into (first, count) of `SLICE_SECONDS`; no result depends on it."""
    flops = 6 * batch * engine.parameters.size
    done = 0
    while done < steps:
        seconds = state.seconds_per_step.get(batch, flops / GUESSED_FLOPS)
        count = max(1, min(steps - done, int(SLICE_SECONDS / seconds)))
        start = perf_counter()
        yield done, count
        state.seconds_per_step[batch] = (perf_counter() - start) / count
        done += count


@dataclass
class Trainer:
    """One `fit`: the network, its data and its habits."""

    engine: Engine
    optimizer: Optimizer
    state: State
    data: Data
    batch: int
    shuffle: bool
    metrics: dict[str, Metric]
    validation: Data | None
    callbacks: Sequence[Callback]

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; returns its logs."""
        m = len(self.data.X)
        batch = min(self.batch, m)
        steps = -(-m // batch)
        order = self.state.order(m) if self.shuffle else np.empty(0, np.int64)
        outputs = self._outputs(m)
        rate = float(self.optimizer.learning_rates(np.array([self.state.steps]))[0])
        total = 0.0
        for first, count in slices(self.engine, self.state, batch, steps):
            total += self._slice(first, count, batch, order, outputs, epoch)
            seen = min((first + count) * batch, m)
            for callback in self.callbacks:
                callback.on_batches_end(first + count, steps, {"loss": total / seen})
        self.state.epochs += 1
        logs = {"loss": total / m}
        if outputs is not None:
            logs |= measure(self.metrics, self.data.y, outputs.reshape(m, -1))
        if self.validation is not None:
            values = evaluate(self.engine, self.validation, self.metrics)
            logs |= {f"val_{name}": value for name, value in values.items()}
        return logs | {"learning_rate": rate}

    def _outputs(self, m: int) -> Array | None:
        n = self.engine.layers[-1].n
        return np.empty(m * n, self.engine.dtype) if self.metrics else None

    def _slice(
        self, first: int, count: int, batch: int, order: Array, outputs: Array | None, epoch: int
    ) -> float:
        """Run `count` steps from the epoch's `first`; returns the sum of the samples' losses."""
        state, m = self.state, len(self.data.X)
        outcome = self.engine.train(
            self.data.X,
            self.data.targets,
            self.optimizer.rule(np.arange(state.steps, state.steps + count)),
            batch=batch,
            first=first,
            order=order,
            weights=self.data.weights,
            seed=state.dropout_seed,
            step_number=state.steps,
            outputs=outputs,
        )
        state.steps += outcome.done
        if outcome.reason != FINITE:
            what = "loss" if outcome.reason == LOSS_NOT_FINITE else "gradient"
            raise DivergenceError(
                f"training diverged: the {what} of step {first + outcome.done} of epoch {epoch} is"
                f" not finite (step {state.steps} in all, counted from 0). The parameters are those"
                " before it. Try a smaller learning rate, clipnorm, or scaled inputs."
            )
        sizes = np.minimum(batch, m - batch * np.arange(first, first + count))
        return float(np.dot(outcome.losses, sizes))


def measure(metrics: dict[str, Metric], y: Array, outputs: Array) -> dict[str, float]:
    """Each metric of the outputs."""
    return {name: float(function(y, outputs)) for name, function in metrics.items()}


def evaluate(
    engine: Engine, data: Data, metrics: dict[str, Metric], batch: int = EVALUATION_BATCH
) -> dict[str, float]:
    """The loss, penalties included, and the metrics."""
    loss, outputs = engine.evaluate(data.X, data.targets, weights=data.weights, batch=batch)
    return {"loss": loss + penalty(engine), **measure(metrics, data.y, outputs)}


def penalty(engine: Engine) -> float:
    """l1 sum |W| + l2 sum W^2 over the layers."""
    total = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.l1 or layer.l2:
            W = engine.weights(l).astype(np.float64)
            total += layer.l1 * float(np.abs(W).sum()) + layer.l2 * float(np.square(W).sum())
    return total
