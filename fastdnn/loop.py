"""The training loop: epochs, the callbacks' moments, and what one training leaves to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels import threads
from fastdnn.kernels.calls import Outcome, Rule
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.layout import FINITE, LOSS_NOT_FINITE

from .evaluation import Measured, evaluate, measure, quick_ones
from .hooks import Callback, Hooks, Model
from .metrics import Metric
from .optimizers import Optimizer
from .validation import Validation

Array = NDArray[Any]
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

    def steps_of_a_slice(self, batch: int, n_parameters: int) -> int:
        """How many steps take about `SLICE_SECONDS`; no result depends on it."""
        guess = 6 * batch * n_parameters / GUESSED_FLOPS
        return max(1, int(SLICE_SECONDS / self.seconds_per_step.get(batch, guess)))


@dataclass
class Seen:
    """What an epoch has trained on so far."""

    measured: Measured
    steps: int = 0
    samples: int = 0
    total: float = 0.0  # the sum of the samples' losses, more or less
    losses: list[Array] = field(default_factory=list)  # sums of a step's samples

    def add(self, losses: Array, samples: int) -> None:
        """Count more steps."""
        self.steps += len(losses)
        self.samples += samples
        self.total += float(losses.sum())
        self.losses.append(losses)

    def logs(self) -> dict[str, float]:
        """Return the mean loss, the same to the bit however the steps came, and the metrics."""
        losses = self.losses[0] if len(self.losses) == 1 else np.concatenate(self.losses)
        return {"loss": float(losses.sum()) / self.samples, **self.measured.values()}


@dataclass(kw_only=True)
class Loop:
    """One `fit`: the network and its habits. A subclass knows its data, and trains on them.

    An epoch has `steps` steps; None is one pass over the data.
    """

    engine: Engine
    lock: RLock  # who holds it may use the engine
    optimizer: Optimizer
    state: State
    metrics: dict[str, Metric]
    validation: Validation | None = None
    callbacks: Iterable[Callback] = ()
    steps: int | None = None

    def __post_init__(self) -> None:
        self.hooks = Hooks(self.callbacks)
        acts = self.hooks.acts
        self._one_by_one = acts("on_train_batch_begin") or acts("on_train_batch_end")
        self._watched = self._one_by_one or acts("on_batches_end")
        self._quick = quick_ones(self.metrics)

    @property
    def steps_of_epoch(self) -> int | None:
        """How many steps an epoch has, if that is known."""
        return self.steps

    def run(self, model: Model, epochs: range, refuse: Callable[[], None] | None = None) -> None:
        """Train for these epochs, or until a callback stops the model's training.

        `refuse` is called if a step of the first epoch, which reads all of X, is not finite.
        """
        self.hooks.begin(model, {"epochs": epochs.stop, "steps": self.steps_of_epoch})
        self.engine.compile()  # or the first epoch's time would hold it
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
                if model.stop_training or (epoch + 1 < epochs.stop and self._is_over()):
                    break
            self._end()
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
        seen = Seen(Measured(self.metrics))
        while self._go_on(epoch, seen):
            pass
        logs = seen.logs()
        if self.validation is not None and self.validation.is_due(epoch):
            self.hooks("on_test_begin", {})
            with self.lock:
                values = evaluate(
                    self.engine, self.validation.data, self.metrics, self.validation.batch
                )
            self.hooks("on_test_end", values)
            logs |= {f"val_{name}": value for name, value in values.items()}
        return logs

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train some steps of the epoch; returns whether it has more."""
        raise NotImplementedError

    def _is_over(self) -> bool:
        """Whether there are no data for another epoch."""
        return False

    def _end(self) -> None:
        """Leave the state to the next training, after the last epoch."""

    def _tell(self, seen: Seen, y: Array | None, outputs: Array | None) -> None:
        """Call the hooks of steps, with the metrics of the samples just trained on."""
        logs = {"loss": seen.total / seen.samples}
        if self._quick and y is not None and outputs is not None:
            logs |= measure(self._quick, y, outputs)
        self.hooks("on_train_batch_end", seen.steps - 1, logs)
        self.hooks("on_batches_end", seen.steps, self.steps_of_epoch, logs)

    def _slice(
        self, train: Callable[[Rule, int], Outcome], count: int, at: tuple[int, int]
    ) -> Array:
        """Have `train` run `count` steps of the rule in one native call; returns their mean losses.

        `at` is the epoch, and the number of the first step in it.
        """
        state = self.state
        with self.lock:
            number = state.steps
            rule = self.optimizer.rule(np.arange(number, number + count))
            # before the call: Ctrl-C is noticed right after it, when these steps are done
            state.steps += count
            outcome = train(rule, number)
            state.steps = number + outcome.done
        if outcome.reason != FINITE:
            epoch, done = at
            what = "loss" if outcome.reason == LOSS_NOT_FINITE else "gradient"
            raise DivergenceError(
                f"training diverged: the {what} of step {done + outcome.done} of epoch {epoch} is"
                f" not finite (step {state.steps} in all, counted from 0). The parameters are those"
                " before it. Try a smaller learning rate, clipnorm, or scaled inputs."
            )
        return outcome.losses
