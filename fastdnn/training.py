"""The training loop: epochs of slices, each slice many steps in one native call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import RLock
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels import threads
from fastdnn.kernels.calls import Outcome, Report, Rule
from fastdnn.kernels.compiling import quietly
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.layout import FINITE, LOSS_NOT_FINITE

from ._inputs import Data
from .hooks import Callback, Hooks, Model
from .losses import Loss
from .metrics import Metric, Named, resolve
from .optimizers import Optimizer
from .validation import EVALUATION_BATCH, Validation

Array = NDArray[Any]
SLICE_SECONDS = 0.08  # of one native call: how long Ctrl-C and the progress bar wait
SOON_COPIED = 8  # elements of X are read while one is copied into new pages
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

    def steps_of_a_slice(self, batch: int, n_parameters: int) -> int:
        """How many steps take about `SLICE_SECONDS`; no result depends on it."""
        guess = 6 * batch * n_parameters / GUESSED_FLOPS
        return max(1, int(SLICE_SECONDS / self.seconds_per_step.get(batch, guess)))


def tells_of_X(engine: Engine, X: Array) -> bool:
    """Whether `fit` looks for NaN and infinity in X only when a step has met them.

    dW_1 = dZ_1 X^T is not finite where X is not, unless dropout takes that out of X; and a step
    that is not finite changes no parameter. So X need not be read twice, if what the steps before
    would have changed is soon copied.
    """
    changed = 3 * engine.parameters.size  # with two slots
    return engine.input_dropout == 0 and X.size > SOON_COPIED * changed


class Draw(NamedTuple):
    """The samples of one pass over the data."""

    order: NDArray[np.int64]  # every sample once; empty: 0, 1, 2, …
    weights: Array | None  # in the loss, sample by sample


@dataclass(slots=True)
class _Seen:
    """What an epoch has trained on so far."""

    steps: int = 0
    samples: int = 0
    loss: float = 0.0  # the sum of the samples'
    pieces: list[tuple[Array, Array]] = field(default_factory=list)  # y and outputs, for metrics


@dataclass
class Trainer:
    """One `fit`: the network, its data and its habits.

    An epoch has `steps` steps; by default it is one pass over the data. The next epoch goes on
    where the last one ended; a pass that the training's end has cut short is not gone on with.
    `draw` is called with the number of each pass, `State.epochs`.
    """

    engine: Engine
    lock: RLock  # who holds it may use the engine
    optimizer: Optimizer
    state: State
    data: Data
    batch: int
    draw: Callable[[int], Draw]
    metrics: dict[str, Metric]
    validation: Validation | None = None
    callbacks: Iterable[Callback] = ()
    steps: int | None = None

    def __post_init__(self) -> None:
        self.hooks = Hooks(self.callbacks)
        self.batch = min(self.batch, len(self.data.y))
        self._steps_of_pass = -(-len(self.data.y) // self.batch)
        self._steps = self.steps or self._steps_of_pass
        self._place = 0  # steps done of the present pass
        acts = self.hooks.acts
        self._one_by_one = acts("on_train_batch_begin") or acts("on_train_batch_end")
        self._watched = self._one_by_one or acts("on_batches_end")

    def run(
        self,
        model: Model,
        epochs: range,
        refuse: Callable[[], None] | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        """Train for these epochs, or until a callback stops the model's training.

        `refuse` is called if a step of the first epoch, which reads all of X, is not finite. If
        `quiet`, nothing is shown of a first compilation.
        """
        self.hooks.begin(model, {"epochs": epochs.stop, "steps": self._steps})
        with quietly(quiet):  # now, or the first epoch's time would hold it
            self.engine.compile(self.batch)
        model.stop_training = False
        with threads.run():
            self._run(model, epochs, refuse)

    def _run(self, model: Model, epochs: range, refuse: Callable[[], None] | None) -> None:
        hooks, logs = self.hooks, dict[str, float]()
        try:
            hooks("on_train_begin", {})
            for epoch in epochs:
                hooks("on_epoch_begin", epoch, {})
                rate = self.optimizer.learning_rates(np.array([self.state.steps]))[0]
                logs = self.epoch(epoch) | {"learning_rate": float(rate)}
                refuse = None
                hooks("on_epoch_end", epoch, logs)
                if model.stop_training:
                    break
            self.state.epochs += self._place > 0  # or the next training would draw the same order
        except DivergenceError as error:
            if refuse is not None:
                refuse()
            model.stop_training = False  # who has set it for this epoch does not know of the error
            hooks("on_divergence", error)
            if not model.stop_training:
                raise
        finally:
            hooks.end(logs)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; returns its logs, but for the learning rate."""
        seen = _Seen()
        while seen.steps < self._steps:
            self._go_on(epoch, seen)
        logs = {"loss": seen.loss / seen.samples}
        if self.metrics:
            y, outputs = seen.pieces[0]
            if len(seen.pieces) > 1:
                y, outputs = map(np.concatenate, zip(*seen.pieces, strict=True))
            logs |= measure(self.metrics, y, outputs)
        if self.validation is not None and self.validation.is_due(epoch):
            self.hooks("on_test_begin", {})
            with self.lock:
                values = evaluate(
                    self.engine, self.validation.data, self.metrics, self.validation.batch
                )
            self.hooks("on_test_end", values)
            logs |= {f"val_{name}": value for name, value in values.items()}
        return logs

    def _go_on(self, epoch: int, seen: _Seen) -> None:
        """Train to the end of the present pass over the data, or of the epoch."""
        hooks, begin = self.hooks, self._place
        if begin == 0:
            self._drawn = self.draw(self.state.epochs)
        step, end = begin, min(begin + self._steps - seen.steps, self._steps_of_pass)
        outputs = self._outputs()
        while step < end:
            count = 1
            if self._one_by_one:
                hooks("on_train_batch_begin", seen.steps, {})
            else:
                size = self.state.steps_of_a_slice(self.batch, self.engine.parameters.size)
                count = min(size, end - step)
            seen.loss += self._slice(step, count, outputs, epoch, seen.steps)
            seen.samples += min((step + count) * self.batch, len(self.data.y)) - step * self.batch
            seen.steps += count
            if self._watched:
                logs = {"loss": seen.loss / seen.samples}
                logs |= self._running(step, step + count, outputs)
                hooks("on_train_batch_end", seen.steps - 1, logs)
                hooks("on_batches_end", seen.steps, self._steps, logs)
            step += count
        if outputs is not None:
            seen.pieces.append(self._piece(begin, end, outputs))
        self._place = end % self._steps_of_pass
        self.state.epochs += self._place == 0

    def _outputs(self) -> Array | None:
        """Where the steps of a pass leave A_L of every sample, for the metrics."""
        shape = len(self.data.y), self.engine.layers[-1].n
        return np.empty(shape, self.engine.dtype) if self.metrics else None

    def _piece(self, begin: int, end: int, outputs: Array) -> tuple[Array, Array]:
        """The targets and outputs of the samples of some steps of the pass."""
        if end - begin == self._steps_of_pass:
            return self.data.y, outputs
        part, order = slice(begin * self.batch, end * self.batch), self._drawn.order
        rows = order[part] if order.size else part
        return self.data.y[rows], outputs[rows]

    def _running(self, begin: int, end: int, outputs: Array | None) -> dict[str, float]:
        """The metrics of the samples just trained on."""
        if outputs is None:
            return {}
        metrics: dict[str, Metric] = {
            name: f for name, f in self.metrics.items() if isinstance(f, Named) and f.entry.quick
        }
        return measure(metrics, *self._piece(begin, end, outputs)) if metrics else {}

    def _slice(self, first: int, count: int, outputs: Array | None, epoch: int, done: int) -> float:
        """Run `count` steps from the pass's `first`; returns the sum of the samples' losses."""
        state, m, batch, number = self.state, len(self.data.y), self.batch, self.state.steps
        rule = self.optimizer.rule(np.arange(number, number + count))
        # before the call: Ctrl-C is noticed right after it, when these steps are done
        state.steps += count
        with self.lock:
            start = perf_counter()
            outcome = self._train(rule, first, number, outputs)
        state.seconds_per_step[batch] = (perf_counter() - start) / count
        state.steps = number + outcome.done
        if outcome.reason != FINITE:
            what = "loss" if outcome.reason == LOSS_NOT_FINITE else "gradient"
            raise DivergenceError(
                f"training diverged: the {what} of step {done + outcome.done} of epoch {epoch} is"
                f" not finite (step {state.steps} in all, counted from 0). The parameters are those"
                " before it. Try a smaller learning rate, clipnorm, or scaled inputs."
            )
        sizes = np.full(count, float(batch))
        sizes[-1] = min(batch, m - batch * (first + count - 1))
        return float(np.dot(outcome.losses, sizes))

    def _train(self, rule: Rule, first: int, number: int, outputs: Array | None) -> Outcome:
        """Have the engine run the rule's steps, the first of which is number `number` in all."""
        return self.engine.train(
            self.data.X,
            self.data.targets,
            rule,
            batch=self.batch,
            first=first,
            order=self._drawn.order,
            weights=self._drawn.weights,
            seed=self.state.dropout_seed,
            step_number=number,
            outputs=outputs,
        )


def log_names(metrics: Iterable[str], validated: bool) -> list[str]:
    """What an epoch's logs hold."""
    names = ["loss", *metrics]
    return [*names, *(f"val_{name}" for name in names if validated), "learning_rate"]


def metric_functions(
    metrics: Iterable[str | Callable[..., float]], loss: Loss, n_outputs: int
) -> dict[str, Metric]:
    """The metrics by their names in the logs."""
    functions: dict[str, Metric] = {}
    for metric in metrics:
        name, function = resolve(metric, loss, n_outputs)
        if name in functions or name in ("loss", "learning_rate"):
            raise ValueError(
                f"metrics: the logs have {name!r} already; a function's __name__ is its name there"
            )
        functions[name] = function
    return functions


def measure(metrics: dict[str, Metric], y: Array, outputs: Array) -> dict[str, float]:
    """Each metric of the outputs."""
    return {name: _as_number(name, function(y, outputs)) for name, function in metrics.items()}


def _as_number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: want a number from {name!r}, got {value!r:.60}") from None


def evaluate(
    engine: Engine,
    data: Data,
    metrics: dict[str, Metric],
    batch: int = EVALUATION_BATCH,
    report: Report | None = None,
) -> dict[str, float]:
    """The loss, penalties included, and the metrics."""
    loss, outputs = engine.evaluate(
        data.X, data.targets, weights=data.weights, batch=batch, report=report
    )
    return {"loss": loss + penalty(engine), **measure(metrics, data.y, outputs)}


def penalty(engine: Engine) -> float:
    """l1 sum |W| + l2 sum W^2 over the layers."""
    total = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.l1 or layer.l2:
            W = engine.weights(l).astype(np.float64)
            total += layer.l1 * float(np.abs(W).sum()) + layer.l2 * float(np.square(W).sum())
    return total
