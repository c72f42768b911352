"""Training on shards: each rank has its own samples, and every step is one of all ranks.

A rank computes the gradient of its batch, the ranks add theirs, weighted by the samples in them,
and each makes the same update with the sum. What ranks tell each other in a step goes with the
gradient, so that all see at the same step that a rank's loss is not finite, that a signal has come
to one, or that it is time to call the callbacks.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn._inputs import Data
from fastdnn.data.rows import dense, is_readable, rows_of
from fastdnn.divergence import find_layer
from fastdnn.evaluation import Measured, loss_and_outputs, penalty
from fastdnn.hooks import Hooks
from fastdnn.interrupts import Interrupts
from fastdnn.kernels.calls import Outcome, Rule
from fastdnn.kernels.finite import all_finite
from fastdnn.kernels.layout import FINITE, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE
from fastdnn.kernels.operations import MOVED
from fastdnn.loop import SLICE_SECONDS, Loop, Seen
from fastdnn.progress import ProgressBar
from fastdnn.streaming import StreamTrainer
from fastdnn.training import Trainer
from fastdnn.validation import Validation

from .job import Job

Array = NDArray[Any]
# What goes with the gradient: sums over the ranks. TICK: rank 0 wants callbacks called.
LOSS, SAMPLES, MORE, TICK, SIGINT, SIGTERM = range(6)
SIGNALS = {signal.SIGINT: SIGINT, signal.SIGTERM: SIGTERM}
RULES = 64  # steps whose coefficients are computed at a time
DROPOUT = 2  # a purpose of random numbers, beside those of `loop`


class Announced(Interrupts):
    """Signals that end the training when all ranks know of them, at the end of a step.

    The second one ends this rank at once, and so the job.
    """

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._is_held = self._pending != number
        super()._handle(number, frame)

    def start(self) -> None:
        """Take the signals over, where nobody else has."""
        self._is_held = True
        super().start()

    def stop(self) -> None:
        """Give the signals back; one that came after the last step ends this rank."""
        super().stop()
        super().__exit__(None, None, None)

    @property
    def pending(self) -> int | None:
        """The signal that has come, if one has."""
        return self._pending

    def taken(self) -> None:
        """Forget the signal, which is raised on all ranks now."""
        self._pending = None

    def __enter__(self) -> None:
        """Hold signals back, as always."""

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Go on to hold them back."""


@dataclass(kw_only=True)
class Together(Loop):
    """What a training has in common with those of the other ranks; see `Loop`.

    Batch normalization works with each rank's own batch, and its moving averages are those of the
    ranks', weighted by their samples, after each step.
    """

    job: Job
    interrupts: Announced = field(default_factory=Announced)

    def join(self) -> None:
        """Agree with the other ranks on what the training does when; all call it at once."""
        job, callbacks = self.job, self.callbacks
        if job.rank > 0:
            callbacks = [one for one in callbacks if not one.writes]
        self.hooks = Hooks(callbacks)
        flags = self._one_by_one, self._watched, self._saves
        found, strides = zip(*job.comm.allgather((flags, self._strides)), strict=True)
        self._one_by_one, self._watched, self._saves = (any(of) for of in zip(*found, strict=True))
        self._strides = sorted({stride for of_rank in strides for stride in of_rank})
        self.engine.gradients()  # so that there is one
        engine = self.engine
        self._moved = [
            one
            for l in range(1, len(engine.layers) + 1)
            for one in engine.tensors(l, MOVED).values()
        ]
        self._tail = np.zeros(6)
        self._rules: list[Rule] = []
        self._clock = perf_counter()
        self._last_samples = 1.0
        # rank 0's are those of one process
        self._dropout_seed = self.state.dropout_seed
        if job.rank > 0:
            rng = self.state.generator(DROPOUT, job.rank)
            self._dropout_seed = int(rng.integers(2**63 - 1))
        self._join_data(max(job.comm.allgather(self.largest_batch())))

    def _join_data(self, largest: int) -> None:
        """Agree on what depends on the data; `largest` is the largest batch of a rank."""
        self._reference = largest

    def run(self, *arguments: Any, **keywords: Any) -> None:
        """Train; an error after the last epoch, of a file perhaps, is raised on all ranks."""
        failure = None
        try:
            super().run(*arguments, **keywords)
        except Exception as error:
            if not self._is_over_for_all:
                raise
            failure = error
        self.job.share(failure)
        self.job.broadcast_start(getattr(self.engine, "engine", self.engine), self.state)

    _is_over_for_all = False

    def _end(self) -> None:
        super()._end()
        self._raise_pending(self._signals())
        self._is_over_for_all = True

    def _compile(self) -> None:
        """Let the first rank of each machine compile, and the others read its cache."""
        for is_first in (True, False):
            if self.job.is_first_here == is_first:
                super()._compile()
                all_finite(np.zeros(1, self.engine.dtype))
            self.job.wait()

    def _agree(self) -> None:
        """Have all stop if one does, and take rank 0's learning rate."""
        rate = self.optimizer.learning_rate
        given = rate if isinstance(rate, float) else None
        found = self.job.comm.allgather((given, bool(self.model.stop_training)))
        if found[0][0] is not None:
            self.optimizer.learning_rate = found[0][0]
        self.model.stop_training = any(stops for _, stops in found)

    # ---------------------------------------------------------------------------------------- steps
    def _differentiate(self, number: int) -> tuple[float, int]:
        """Leave the gradient of this rank's next batch in the engine; returns its loss and size."""
        raise NotImplementedError

    def _rule_of(self, number: int) -> Rule:
        """Return the rule of one step; callbacks may change it when they are called."""
        if not self._rules:
            many = self.optimizer.rule(np.arange(number, number + RULES))
            rows = many.coefficients
            self._rules = [many._replace(coefficients=rows[i : i + 1]) for i in range(RULES)]
            self._rules.reverse()
        return self._rules.pop()

    def _step(self, epoch: int, seen: Seen, more: bool) -> bool:
        """Take a step together; returns whether any rank has `more` samples in this pass."""
        tail = self._tail
        with self.lock:
            number = self.state.steps
            loss, m = self._differentiate(number)
            tail[:] = self._signals()
            tail[LOSS], tail[SAMPLES], tail[MORE] = loss * m, m, more
            tail[TICK] = self.job.rank == 0 and perf_counter() - self._clock > SLICE_SECONDS
            reason = self._update(number, m)
        if reason != FINITE:
            raise self._divergence(Outcome(np.empty(0), 0, reason), epoch, seen.steps)
        self._last_samples = tail[SAMPLES]
        seen.add(tail[LOSS : LOSS + 1].copy(), int(tail[SAMPLES]))
        return bool(tail[MORE])

    def _update(self, number: int, m: int) -> int:
        """Add the ranks' gradients and update the parameters; returns a reason not to."""
        engine, exchange, tail, share = self.engine, self.job.exchange, self._tail, self._reference
        gradient = engine.gradient
        if m == 0:
            gradient[:] = 0.0
        elif m != share:
            gradient *= m / share
        exchange.add(gradient, tail)
        samples = float(tail[SAMPLES])
        if samples != share:
            # a power of 2 where all batches are alike and the ranks are one, and then it is exact
            gradient *= share / samples
        if not np.isfinite(tail[LOSS]):
            return LOSS_NOT_FINITE
        if not all_finite(gradient):
            return GRADIENT_NOT_FINITE
        self.state.steps = number + 1
        engine.update(self._rule_of(number))
        if self._moved:
            self._average(m / samples)
        return FINITE

    def _average(self, share: float) -> None:
        """Make the moving averages those of all ranks."""
        total = np.concatenate([one.ravel() for one in self._moved]).astype(np.float64) * share
        self.job.exchange.add(total)
        for one, part in zip(
            self._moved, np.split(total, np.cumsum([one.size for one in self._moved])[:-1]),
            strict=True,
        ):  # fmt: skip
            one[...] = part.reshape(one.shape)

    def _signals(self) -> Array:
        """Return which signals have come to this rank, in their places of what goes with a step."""
        found = np.zeros(len(self._tail))
        pending = self.interrupts.pending
        if pending is not None:
            found[SIGNALS[signal.Signals(pending)]] = 1.0
        return found

    def _raise_pending(self, of_rank: Array) -> None:
        """Raise on all ranks what has come to one."""
        self.job.exchange.add(of_rank)
        self._raise_signals(of_rank)

    def _raise_signals(self, found: Array) -> None:
        if found[SIGINT] or found[SIGTERM]:
            self.interrupts.taken()
            is_int = found[SIGINT] > 0
            error = KeyboardInterrupt() if is_int else SystemExit(128 + int(signal.SIGTERM))
            self.job.raise_common(error)

    def _is_due(self) -> bool:
        """Return whether callbacks are called after the step just taken."""
        strides = any(self.state.steps % stride == 0 for stride in self._strides)
        return bool(self._tail[TICK]) or self._one_by_one or strides

    def _show(self, seen: Seen, y: Array, outputs: Array | None) -> None:
        """Count the metrics of the steps since the last time, and call the hooks of steps."""
        piece = Measured(self.metrics)
        if self.metrics:
            own = Measured(self.metrics)
            if outputs is not None and len(y):
                own.add(y, outputs)
            for state in self.job.comm.allgather(own.get_state()):
                piece.extend(state)
            seen.measured.extend(piece.get_state())
        if self._watched:
            logs = {"loss": seen.total / seen.samples}
            if self._quick:
                quick = Measured(self._quick)
                quick.set_state(piece.get_state())
                logs |= quick.values()
            self.hooks("on_train_batch_end", seen.steps - 1, logs)
            self.hooks("on_batches_end", seen.steps, self.steps_of_epoch, logs)
        self._rules, self._clock = [], perf_counter()

    # ----------------------------------------------------------------------- what the loop asks for
    def _validated(self, given: Validation) -> dict[str, float]:
        """Evaluate this rank's validation data; returns the means over all ranks."""
        own, total, m, data = Measured(self.metrics), 0.0, 0, given.data
        for one in [data] if isinstance(data, Data) else data:
            if len(one.y):
                with self._reading() as engine:
                    loss, outputs = loss_and_outputs(engine, one, given.batch)
                own.add(one.y, outputs)
                total, m = total + loss * len(one.y), m + len(one.y)
        of_all, losses, samples = Measured(self.metrics), 0.0, 0
        for part, size, state in self.job.comm.allgather((total, m, own.get_state())):
            losses, samples = losses + part, samples + size
            of_all.extend(state)
        with self._reading() as engine:
            return {"loss": losses / samples + penalty(engine), **of_all.values()}

    def _found(self, ahead: int) -> tuple[int | None, str]:
        """Return what the first rank finds that finds anything."""
        X, targets, weights = self.given_to(ahead)
        mine: tuple[int | None, str] = None, ""
        if X.shape[0]:
            with self.lock:
                mine = find_layer(self.engine, X, targets, weights)
        found = self.job.comm.allgather(mine)
        return next((one for one in found if one[0] is not None), mine)

    def _samples_before(self) -> float:  # type: ignore[override]
        return self._last_samples

    def adapted(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state of any number of ranks as one of this rank's."""
        state = dict(state)
        if self.job.rank > 0:  # which need not have rank 0's callbacks
            left = list(state["callbacks"])
            names = [type(one).__name__ for one in self.callbacks if one.is_kept]
            kept = []
            for name in names:
                at = next((i for i, one in enumerate(left) if one["class"] == name), None)
                if at is not None:
                    kept.append(left[at])
                    del left[: at + 1]
            state["callbacks"] = kept
        return state


@dataclass(kw_only=True)
class ShardTrainer(Together, Trainer):
    """One `fit` of a shard in memory; see `Trainer`.

    A pass has as many steps as the largest shard; a rank whose samples are all used waits for it.
    """

    def _join_data(self, largest: int) -> None:
        super()._join_data(largest)
        m, n_0 = self.data.X.shape
        sizes = self.job.comm.allgather((m, self.batch if m else 0, self.steps_of_pass))
        samples, batches, steps = zip(*sizes, strict=True)
        self.steps_of_pass = max(steps)
        self._steps = self.steps or self.steps_of_pass
        self._facts = {
            "steps_per_epoch": self.steps, "samples": sum(samples), "features": n_0,
            "batch_size": sum(batches),
        }  # fmt: skip
        for bar in self.callbacks:
            if isinstance(bar, ProgressBar):
                bar.batch_size = sum(batches)
                bar.samples_per_epoch = min(self._steps * sum(batches), sum(samples))
        if sum(samples) == 0:
            self.job.raise_common(ValueError("X: got no samples on any rank; want at least one"))

    def data_facts(self) -> dict[str, Any]:
        """Return what tells whether the data are those of before: of all ranks."""
        return self._facts

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train to the end of the present pass over the data, or of the epoch."""
        if self._place == self._begin:
            self._begin_part()
        end = self.steps_of_pass
        if self.steps is not None:
            end = min(self._place + self._steps - seen.steps, end)
        while self._place < end:
            if self._one_by_one:
                self.hooks("on_train_batch_begin", seen.steps, {})
            self._step(epoch, seen, True)
            self._place += 1
            if self._place == end or self._is_due():
                self._show(seen, *self._piece(self._begin, self._place))
                self._begin = self._place
                if self._place < end:
                    self._offer(epoch, seen)
            self._raise_signals(self._tail)
        self._place = self._begin = end % self.steps_of_pass
        self._count_passes(self._place == 0)
        more = self.steps is not None and seen.steps < self._steps
        if more:
            self._offer(epoch, seen)
        return more

    def _differentiate(self, number: int) -> tuple[float, int]:
        data, drawn, first, engine = self.data, self._drawn, self._place, self.engine
        begin, end = first * self.batch, min((first + 1) * self.batch, len(data.y))
        if begin >= end:
            return 0.0, 0
        seed: dict[str, Any] = {
            "batch": self.batch,
            "seed": self._dropout_seed,
            "step_number": number,
        }
        if is_readable(data.X):
            loss = engine.step_gradient(
                data.X, data.targets, first=first, order=drawn.order, weights=drawn.weights,
                outputs=self._outputs, **seed,
            )  # fmt: skip
            return loss, end - begin
        rows = drawn.rows(begin, end)
        X, weights = dense(rows_of(data.X, rows), engine.dtype), drawn.weights
        shape = end - begin, engine.layers[-1].n
        taken = None if self._outputs is None else np.empty(shape, engine.dtype)
        loss = engine.step_gradient(
            X, data.targets.rows(rows), weights=None if weights is None else weights[rows],
            outputs=taken, **seed,
        )  # fmt: skip
        if self._outputs is not None:
            self._outputs[rows] = taken
        return loss, end - begin

    def get_place(self) -> dict[str, Any]:
        """Return how far the present pass over the data has come."""
        ranks = {"ranks": self.job.size, "steps_of_pass": self.steps_of_pass}
        return {"begin": self._place, "steps": self._place, "outputs": None, **ranks}

    def set_place(self, place: Mapping[str, Any]) -> None:
        """Go to that place."""
        super().set_place({**place, "begin": 0})
        self._begin = self._place

    def adapted(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state of any number of ranks, at the same share of the pass over the data."""
        state = dict(super().adapted(state))
        facts, place, own = state["data"], dict(state["place"]), self._facts
        same = place.get("ranks", 1), facts["batch_size"]
        if same != (self.job.size, own["batch_size"]):
            former = place.get("steps_of_pass", -(-facts["samples"] // facts["batch_size"]))
            place["steps"] = place["steps"] * self.steps_of_pass // former
            state["data"] = {**facts, "batch_size": own["batch_size"]}
        place["begin"], place["outputs"] = place["steps"], None
        state["place"] = place
        return state


@dataclass(kw_only=True)
class StreamShardTrainer(Together, StreamTrainer):
    """One `fit` of each rank's own stream of batches; see `StreamTrainer`."""

    _is_idle: bool = False  # it has no more batches, in this pass or at all
    _places: list[dict[str, Any]] = field(default_factory=list)

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train on the next batch of each rank."""
        data = None if self._is_idle else self.stream.next()
        if data is not None:
            self._present = data
        self._given = data
        if self._one_by_one:
            self.hooks("on_train_batch_begin", seen.steps, {})
        goes_round = self.steps is not None and not self.stream.is_iterator
        more = goes_round or (data is not None and self._has_more())
        more = self._step(epoch, seen, more)
        if data is not None:
            self.stream.accept()
            self._untold.append((data.y, data.y if self._taken is None else self._taken))
            if not self._has_more():
                self._finish_pass(goes_round)
        is_over = not more or seen.steps == self.steps
        if is_over or self._is_due():
            untold = [self._empty()] if not self._untold else self._untold
            self._show(seen, *map(np.concatenate, zip(*untold, strict=True)))
            self._untold = []
            if not is_over:
                self._offer(epoch, seen)
        self._raise_signals(self._tail)
        if is_over:
            self._is_idle = self.stream.is_iterator and self._is_idle
            if not more and self.steps is not None and seen.steps < self.steps:
                self._warn(f"after {seen.steps} of the epoch's {self.steps} steps")
        return not is_over

    def _has_more(self) -> bool:
        """Return whether the present pass has another batch."""
        return self.stream.has_more()

    def _finish_pass(self, goes_round: bool) -> None:
        """End a pass over this rank's batches."""
        self.stream.next()
        self.stream.accept()
        self._count_passes(True)
        self._is_idle = not goes_round

    def _empty(self) -> tuple[Array, Array]:
        none = np.empty((0, self.engine.layers[-1].n), self.engine.dtype)
        return none, none

    def _differentiate(self, number: int) -> tuple[float, int]:
        data, self._taken = self._given, None
        if data is None:
            return 0.0, 0
        if self.metrics:
            self._taken = np.empty((len(data.y), self.engine.layers[-1].n), self.engine.dtype)
        loss = self.engine.step_gradient(
            data.X, data.targets, batch=self.stream.largest, weights=data.weights,
            seed=self._dropout_seed, step_number=number, outputs=self._taken,
        )  # fmt: skip
        return loss, len(data.y)

    def _is_over(self) -> bool:
        """Return whether no rank has data for another epoch."""
        mine = self.stream.is_iterator and not self.stream.has_more()
        if not all(self.job.comm.allgather(mine)):
            return False
        return super()._is_over()

    def given_to(self, ahead: int) -> tuple[Array, Any, Array | None]:
        """Return X, targets and weights of the batch that is trained on."""
        data = self._present if self._given is not None else self._present.rows(slice(0))
        return data.X, data.targets, data.weights

    # ------------------------------------------------------------------------- saving and resuming
    def _call_with_save(self, hook: str, epoch: int, seen: Seen | None) -> None:
        self._places = self.job.comm.allgather(self._own_place())
        super()._call_with_save(hook, epoch, seen)

    def _own_place(self) -> dict[str, Any]:
        return {**self.stream.get_state(), "is_idle": int(self._is_idle)}

    def get_place(self) -> dict[str, Any]:
        """Return how far each rank's present pass over its data has come."""
        of_ranks = {
            f"{name} of rank {rank}": value
            for rank, place in enumerate(self._places)
            for name, value in place.items()
        }
        return {**self._places[0], "ranks": self.job.size, **of_ranks}

    def set_place(self, place: Mapping[str, Any]) -> None:
        """Go to that place."""
        self._is_idle = bool(place["is_idle"])
        super().set_place(place)

    def adapted(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a state of any number of ranks, at the same share of the pass over the data."""
        state = dict(super().adapted(state))
        place, own = state["place"], self._own_place()
        ranks = place.get("ranks", 1)
        if ranks == self.job.size:
            state["place"] = {name: place[f"{name} of rank {self.job.rank}"] for name in own}
        else:
            done = [place.get(f"_number of rank {rank}", 0) for rank in range(ranks)]
            number = (sum(done) if "ranks" in place else place["_number"]) // self.job.size
            if self.stream.length is not None:
                number = min(number, self.stream.length - 1)
            state["place"] = {**own, "passes": place["passes"], "_number": number}
        return state
