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
from fastdnn.divergence import find_layer
from fastdnn.evaluation import Measured, loss_and_outputs, penalty
from fastdnn.hooks import Hooks
from fastdnn.interrupts import Interrupts
from fastdnn.kernels.engine import Outcome, Rule
from fastdnn.kernels.finite import all_finite
from fastdnn.kernels.layers.layout import FINITE, GRADIENT_NOT_FINITE, LOSS_NOT_FINITE
from fastdnn.kernels.layers.operations import MOVED
from fastdnn.loop import DROPOUT, SLICE_SECONDS, Loop
from fastdnn.seen import Seen
from fastdnn.validation import Validation

from .job import Job

Array = NDArray[Any]
# What goes with the gradient: sums over the ranks. TICK: rank 0 wants callbacks called.
LOSS, SAMPLES, MORE, TICK, SIGINT, SIGTERM = range(6)
SIGNALS = {signal.SIGINT: SIGINT, signal.SIGTERM: SIGTERM}
RULES = 64  # steps whose coefficients are computed at a time


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
        """Return the signal that has come, if one has."""
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
