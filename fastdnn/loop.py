"""The training loop: epochs, the callbacks' moments, and what one training leaves to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.compiler.compiling import quietly
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import Engine, Outcome, Rule, StoppedError, Targets
from fastdnn.kernels.layers.layout import FINITE, LOSS_NOT_FINITE, STOPPED
from fastdnn.kernels.layers.orders import compile_orders, draw_orders

from ._log import LOGGER, info, network_facts
from .divergence import DivergenceError, find_layer
from .evaluation import Measured, evaluate, measure, quick_ones
from .hooks import Callback, Hooks, Model
from .interrupts import Interrupts, of_thread
from .metrics import Metric
from .optimizers import Optimizer
from .resume import state_of, take_up
from .seen import Seen
from .turns import Turns
from .validation import Validation

Array = NDArray[Any]
SLICE_SECONDS = 0.08  # of one native call: how long Ctrl-C and the progress bar wait
GUESSED_FLOPS = 2e9  # per second
INITIALIZATION, ORDER, DROPOUT = range(3)  # purposes of random numbers


def _guessed_seconds(batch: int, n_parameters: int) -> float:
    """Return how long a step takes at most, more or less, before one has been timed."""
    return 6 * batch * n_parameters / GUESSED_FLOPS


@dataclass
class State:
    """What a training goes on from: counters, and the seeds of its random numbers."""

    entropy: int
    steps: int = 0  # updates since `compile`
    epochs: int = 0  # since `compile`: each has an order of its own
    seconds_per_step: dict[int, float] = field(default_factory=dict)  # by batch size

    def __copy__(self) -> State:
        return replace(self, seconds_per_step=dict(self.seconds_per_step))

    @property
    def dropout_seed(self) -> int:
        """Return the seed of dropout's masks."""
        return self.entropy & (2**63 - 1)

    def generator(self, *purpose: int) -> np.random.Generator:
        """Return the random numbers for one purpose, independent of those for any other."""
        return np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=purpose))

    def orders(
        self, m: int, first: int, passes: int, dtype: np.dtype[Any], *rank: int
    ) -> NDArray[np.int64]:
        """Return m samples in the random orders of these passes, of a rank its own.

        They are for a network of this dtype, on which they do not depend.
        """
        return draw_orders(self.entropy, (ORDER, *rank), first, passes, m, dtype)

    def steps_of_a_slice(self, batch: int, n_parameters: int) -> int:
        """Return how many steps take about `SLICE_SECONDS`; no result depends on it."""
        guess = _guessed_seconds(batch, n_parameters)
        return max(1, int(SLICE_SECONDS / self.seconds_per_step.get(batch, guess)))


@dataclass(kw_only=True)
class Loop:
    """One `fit`: the network and its habits. A subclass knows its data, and trains on them.

    An epoch has `steps` steps; None is one pass over the data.
    """

    engine: Engine
    lock: Turns  # who holds it may use the engine
    optimizer: Optimizer
    state: State
    metrics: dict[str, Metric]
    validation: Validation | None = None
    callbacks: Sequence[Callback] = ()
    steps: int | None = None
    resumed: Mapping[str, Any] | None = None  # the state of a training, to go on with
    interrupts: Interrupts = field(default_factory=of_thread)

    def __post_init__(self) -> None:
        self.hooks = Hooks(self.callbacks)
        acts = self.hooks.acts
        self._one_by_one = acts("on_train_batch_begin") or acts("on_train_batch_end")
        self._watched = self._one_by_one or acts("on_batches_end")
        self._quick = quick_ones(self.metrics)
        self._saves = acts("on_safe_point")
        self._looks = self._watched or self._saves or acts("on_interrupt")
        self._within: tuple[int, Seen] | None = None  # the epoch whose steps are under way
        self._until = 0  # the number of the epoch that ends the training
        self._is_ahead = False  # steps are trained of epochs that have not begun yet
        self._steps_ahead = 0  # how many steps have been
        strides = [getattr(one, "every_n_steps", None) for one in self.callbacks]
        self._strides = [one for one in strides if one is not None]

    @property
    def steps_of_epoch(self) -> int | None:
        """Return how many steps an epoch has, if that is known."""
        return self.steps

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
        self.hooks.begin(model, {"epochs": epochs.stop, "steps": self.steps_of_epoch})
        with quietly(quiet):  # now, or the first epoch's time would hold it
            self._compile()
        start = perf_counter()
        info(
            "fit begins: epochs %d to %d, %s; "
            "network %s, %d parameters, %s, %s, %d threads; seed %d",
            lambda: (
                epochs.start, epochs.stop, self.data_facts(),
                *network_facts(self.engine, self.largest_batch()), self.state.entropy,
            ),
        )  # fmt: skip
        with self.lock.training, threads.run():
            model.stop_training = False
            self.interrupts.start()
            try:
                self._run(model, epochs, refuse)
            finally:
                self.interrupts.stop()
                seconds = perf_counter() - start
                info("fit ends: %.1f s, step %d in all", lambda: (seconds, self.state.steps))

    def _run(self, model: Model, epochs: range, refuse: Callable[[], None] | None) -> None:
        hooks, logs, begun = self.hooks, dict[str, float](), self.resumed
        self.model = model
        try:
            hooks("on_train_begin", {})
            if begun is not None:
                epochs = range(begun["epoch"], epochs.stop)
                if begun["seen"] is None:
                    take_up(self, begun)
                    epochs, begun = range(0) if begun["stops"] else epochs, None
            self._until = epochs.stop
            for epoch in epochs:
                hooks("on_epoch_begin", epoch, {})
                self._agree()
                self.rate = self.optimizer.learning_rate_at(self.state.steps - self._steps_ahead)
                found = self._logs_ahead(epoch) if begun is None else None
                if found is None:
                    seen = Seen(Measured(self.metrics))
                    if begun is not None:
                        # what began the epoch has been called again, for those that show it
                        take_up(self, begun)
                        self.rate = begun["learning_rate"]
                        seen.set_state(begun["seen"])
                        begun = None
                    found = self._trained(epoch, seen)
                logs = found | {"learning_rate": self.rate}
                refuse = None
                info("epoch %d ends: %s", lambda: (epoch, logs))  # noqa: B023 - called at once
                hooks("on_epoch_end", epoch, logs)
                self._agree()
                self._offer(epoch + 1, None)
                if model.stop_training or (epoch + 1 < epochs.stop and self._is_over()):
                    break
            self._end()
        except DivergenceError as error:
            if refuse is not None:
                refuse()
            LOGGER.warning("%s", error)
            model.stop_training = False  # who has set it for this epoch does not know of the error
            hooks("on_divergence", error)
            self._agree()
            if not model.stop_training:
                raise
        except (KeyboardInterrupt, SystemExit) as error:
            LOGGER.warning("fit is stopped by %r at step %d", error, self.state.steps)
            if self._within is not None:  # within an epoch, before its end is told
                self._call_with_save("on_interrupt", *self._within)
            raise
        finally:
            hooks.end(logs)

    def _logs_ahead(self, epoch: int) -> dict[str, float] | None:
        """Return the logs of an epoch that is trained already; None if it is to be."""
        return None

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; returns its logs, but for the learning rate."""
        return self._trained(epoch, Seen(Measured(self.metrics)))

    def _trained(self, epoch: int, seen: Seen) -> dict[str, float]:
        """Train an epoch to its end, which a resumed one may have reached."""
        self._within = epoch, seen
        while not seen.is_whole:
            seen.is_whole = not self._go_on(epoch, seen)
        logs = seen.logs()
        if self.validation is not None and self.validation.is_due(epoch):
            self.hooks("on_test_begin", {})
            values = self._validated(self.validation)
            self.hooks("on_test_end", values)
            logs |= {f"val_{name}": value for name, value in values.items()}
        self._within = None
        return logs

    def _validated(self, given: Validation) -> dict[str, float]:
        while True:
            self._signals_for(given.batch).forget()
            stop = self.interrupts.arrived
            try:
                return evaluate(self._reading, given.data, self.metrics, given.batch, stop=stop)
            except StoppedError:  # by a signal that a callback has handled, or it were raised here
                continue

    @contextmanager
    def _reading(self) -> Iterator[Engine]:
        with self.lock.using():
            yield self.engine

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train some steps of the epoch; returns whether it has more."""
        raise NotImplementedError

    def _is_over(self) -> bool:
        """Return whether there are no data for another epoch."""
        return False

    def _count_passes(self, more: int) -> None:
        """Count passes over data; a single step of another thread may be counted at the time."""
        with self.lock:
            self.state.epochs += more

    def _compile(self) -> None:
        """Have the steps' program compiled, or read from the cache."""
        self.engine.compile(self.largest_batch())
        compile_orders(self.engine.dtype)

    def _agree(self) -> None:
        """Have what callbacks may set be the same on all ranks of a job."""

    def _end(self) -> None:
        """Leave the state to the next training, after the last epoch."""

    # ------------------------------------------------------------------------- saving and resuming
    def _steps_to_save(self) -> int | None:
        """Return how many steps there are to the next one after which a callback wants to save."""
        ahead = [stride - self.state.steps % stride for stride in self._strides]
        return min(ahead, default=None)

    def _offer(self, epoch: int, seen: Seen | None) -> None:
        """Let callbacks save the training, which will go on in this epoch, at its start or not."""
        if self._saves:
            self._call_with_save("on_safe_point", epoch, seen)

    def _call_with_save(self, hook: str, epoch: int, seen: Seen | None) -> None:
        """Call a hook that may save the training as it is."""
        self.hooks(
            hook,
            epoch,
            self.state.steps,
            lambda path: self.model.save_training(path, state_of(self, epoch, seen)),
        )

    def largest_batch(self) -> int:
        """Return how many samples a step has."""
        raise NotImplementedError

    def data_facts(self) -> dict[str, Any]:
        """Return what tells whether the data are those of before."""
        return {"steps_per_epoch": self.steps}

    def adapted(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state that a file holds as one of this training, if it is to be changed."""
        return state

    def get_place(self) -> dict[str, Any]:
        """Return how far the present pass over the data has come."""
        raise NotImplementedError

    def set_place(self, place: Mapping[str, Any]) -> None:
        """Go to that place."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------- steps
    def _tell(self, seen: Seen, y: Array | None, outputs: Array | None) -> None:
        """Call the hooks of steps, with the metrics of the samples just trained on."""
        logs = {"loss": seen.total / seen.samples}
        if self._quick and y is not None and outputs is not None:
            logs |= measure(self._quick, y, outputs)
        self.hooks("on_train_batch_end", seen.steps - 1, logs)
        self.hooks("on_batches_end", seen.steps, self.steps_of_epoch, logs)

    def _signals_for(self, batch: int) -> Interrupts:
        """Watch for signals within native calls, if a single step may take long."""
        if _guessed_seconds(batch, self.engine.parameters.size) > SLICE_SECONDS:
            self.interrupts.watch()
        return self.interrupts

    def _is_long_ago(self, then: float) -> bool:
        """Return whether the hooks of steps, called then, are due."""
        return perf_counter() - then > SLICE_SECONDS

    def _slice(
        self, train: Callable[[Rule, int], Outcome], count: int, at: tuple[int, int]
    ) -> Array:
        """Have `train` run `count` steps of the rule in one native call; returns their mean losses.

        `at` is the epoch, and the number of the first step in it. There are fewer steps, or none,
        if a signal has ended the call.
        """
        with self.lock:
            state, number = self.state, self.state.steps
            rule = self.optimizer.rule(np.arange(number, number + count))
            # before the call: where nobody holds Ctrl-C back, it comes right after these steps
            state.steps += count
            outcome = train(rule, number)
            state.steps = number + outcome.done
        losses = outcome.losses
        if outcome.reason not in (FINITE, STOPPED):
            if not self._is_ahead:
                raise self._divergence(outcome, *at)
            losses = losses[: outcome.done]  # the step is tried once more, in its own epoch
        if outcome.done:
            self._last_loss = float(losses[-1])
        return losses

    def _divergence(self, outcome: Outcome, epoch: int, done: int) -> DivergenceError:
        """Say which step's numbers are not finite, and where they began to be so."""
        what = "loss" if outcome.reason == LOSS_NOT_FINITE else "gradient"
        step = done + outcome.done
        ahead = step - (done if self._within is None else self._within[1].steps)
        layer, of_layer = self._found(ahead)
        where = "" if layer is None else f", by layer {layer}'s {of_layer}"
        last = None
        if outcome.done > 0:
            last = float(outcome.losses[outcome.done - 1])
        elif ahead > 0:  # the steps of a slice may be in several calls
            last = self._last_loss
        elif self._within is not None and self._within[1].losses:
            last = float(self._within[1].losses[-1][-1]) / self._samples_before()
        before = "" if last is None else f" The loss of the step before was {last:.6g}."
        error = DivergenceError(
            f"training diverged: the {what} of step {step} of epoch {epoch} is not finite{where} "
            f"(step {self.state.steps} in all, counted from 0). The parameters are those before it."
            f"{before} Try a smaller learning rate, clipnorm, or scaled inputs."
        )
        error.epoch, error.step, error.layer, error.last_loss = epoch, step, layer, last
        return error

    def _found(self, ahead: int) -> tuple[int | None, str]:
        """Return which layer's numbers are not finite in a step, and what of them."""
        with self.lock:
            return find_layer(self.engine, *self.given_to(ahead))

    def _samples_before(self) -> int:
        """Return how many samples the last step had."""
        return self.largest_batch()

    def given_to(self, ahead: int) -> tuple[Array, Targets, Array | None]:
        """Return X, targets and weights of a step: the next one, or so many ahead of it."""
        raise NotImplementedError
