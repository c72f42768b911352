"""The training loop: epochs of slices, each slice many steps in one native call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels import threads
from fastdnn.kernels.calls import NO_LABELS, Outcome, Rule
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.layout import FINITE, LOSS_NOT_FINITE

from ._inputs import Data
from .losses import Loss
from .metrics import Metric, Named, resolve
from .optimizers import Optimizer
from .progress import Callback, Model

Array = NDArray[Any]
EVALUATION_BATCH = 1024  # samples
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


@dataclass
class Trainer:
    """One `fit`: the network, its data and its habits."""

    engine: Engine
    lock: RLock  # who holds it may use the engine
    optimizer: Optimizer
    state: State
    data: Data
    batch: int
    shuffle: bool
    metrics: dict[str, Metric]
    validation: Data | None
    callbacks: Sequence[Callback]

    def run(self, model: Model, epochs: range, refuse: Callable[[], None] | None = None) -> None:
        """Train for these epochs, or until a callback stops the model's training.

        `refuse` is called if a step of the first epoch, which reads all of X, is not finite.
        """
        for callback in self.callbacks:
            callback.set_model(model)
        self.engine.compile()  # or the first epoch's time would hold it
        model.stop_training = False
        with threads.run():
            self._run(model, epochs, refuse)

    def _run(self, model: Model, epochs: range, refuse: Callable[[], None] | None) -> None:
        try:
            for callback in self.callbacks:
                callback.on_train_begin()
            for epoch in epochs:
                for callback in self.callbacks:
                    callback.on_epoch_begin(epoch)
                rate = self.optimizer.learning_rates(np.array([self.state.steps]))[0]
                logs = self.epoch(epoch) | {"learning_rate": float(rate)}
                refuse = None
                for callback in self.callbacks:
                    callback.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
        except DivergenceError:
            if refuse is not None:
                refuse()
            raise
        finally:
            self._end()

    def _end(self) -> None:
        """Let every callback end, so that one's error costs no other's best weights."""
        errors: list[BaseException] = []
        for callback in self.callbacks:
            try:
                callback.on_train_end()
            except BaseException as error:  # Ctrl-C is no reason to leave one out, either
                errors.append(error)
        if errors:
            raise errors[0]

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; returns its logs, but for the learning rate."""
        m = len(self.data.y)
        batch = min(self.batch, m)
        steps = -(-m // batch)
        order = self._order(m)
        outputs = self._outputs(m)
        watching = [callback for callback in self.callbacks if watches_steps(callback)]
        done, total = 0, 0.0
        while done < steps:
            size = self.state.steps_of_a_slice(batch, self.engine.parameters.size)
            count = min(size, steps - done)
            total += self._slice(done, count, batch, order, outputs, epoch)
            begin, seen = done * batch, min((done + count) * batch, m)
            done += count
            if watching:
                rows = order[begin:seen] if self.shuffle else slice(begin, seen)
                logs = {"loss": total / seen, **self._running(rows, outputs)}
                for callback in watching:
                    callback.on_batches_end(done, steps, logs)
        self.state.epochs += 1
        logs = {"loss": total / m}
        if outputs is not None:
            logs |= measure(self.metrics, self.data.y, outputs.reshape(m, -1))
        if self.validation is not None:
            with self.lock:
                values = evaluate(self.engine, self.validation, self.metrics)
            logs |= {f"val_{name}": value for name, value in values.items()}
        return logs

    def _order(self, m: int) -> NDArray[np.int64]:
        """Return the samples in the epoch's order; empty for 0, 1, 2, …."""
        return self.state.order(m) if self.shuffle else NO_LABELS

    def _outputs(self, m: int) -> Array | None:
        n = self.engine.layers[-1].n
        return np.empty(m * n, self.engine.dtype) if self.metrics else None

    def _running(self, rows: Array | slice, outputs: Array | None) -> dict[str, float]:
        """The metrics of the samples just trained on."""
        if outputs is None:
            return {}
        metrics: dict[str, Metric] = {
            name: f for name, f in self.metrics.items() if isinstance(f, Named) and f.entry.quick
        }
        return measure(metrics, self.data.y[rows], outputs.reshape(len(self.data.y), -1)[rows])

    def _slice(
        self, first: int, count: int, batch: int, order: Array, outputs: Array | None, epoch: int
    ) -> float:
        """Run `count` steps from the epoch's `first`; returns the sum of the samples' losses."""
        state, m, number = self.state, len(self.data.y), self.state.steps
        rule = self.optimizer.rule(np.arange(number, number + count))
        # before the call: Ctrl-C is noticed right after it, when these steps are done
        state.steps += count
        with self.lock:
            start = perf_counter()
            outcome = self._train(rule, batch, first, order, number, outputs)
        state.seconds_per_step[batch] = (perf_counter() - start) / count
        state.steps = number + outcome.done
        if outcome.reason != FINITE:
            what = "loss" if outcome.reason == LOSS_NOT_FINITE else "gradient"
            raise DivergenceError(
                f"training diverged: the {what} of step {first + outcome.done} of epoch {epoch} is"
                f" not finite (step {state.steps} in all, counted from 0). The parameters are those"
                " before it. Try a smaller learning rate, clipnorm, or scaled inputs."
            )
        sizes = np.full(count, float(batch))
        sizes[-1] = min(batch, m - batch * (first + count - 1))
        return float(np.dot(outcome.losses, sizes))

    def _train(
        self, rule: Rule, batch: int, first: int, order: Array, number: int, outputs: Array | None
    ) -> Outcome:
        """Have the engine run the rule's steps, the first of which is number `number` in all."""
        return self.engine.train(
            self.data.X,
            self.data.targets,
            rule,
            batch=batch,
            first=first,
            order=order,
            weights=self.data.weights,
            seed=self.state.dropout_seed,
            step_number=number,
            outputs=outputs,
        )


def watches_steps(callback: Callback) -> bool:
    """Whether a callback does anything within an epoch."""
    act = callback.on_batches_end
    return getattr(act, "__func__", None) is not Callback.on_batches_end


def log_names(metrics: Iterable[str], validated: bool) -> list[str]:
    """What an epoch's logs hold."""
    names = ["loss", *metrics]
    return [*names, *(f"val_{name}" for name in names if validated), "learning_rate"]


def check_callbacks(callbacks: Iterable[Callback] | None, names: Collection[str]) -> list[Callback]:
    """The callbacks as a list, if they suit a training whose logs hold these names."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable | None):
        raise TypeError(f"callbacks: want a list of callbacks, got {callbacks!r}")
    found = list(callbacks or ())
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: want Callback objects, got {callback!r}")
        callback.check_logs(names)
    return found


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
