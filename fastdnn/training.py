"""Training on samples in memory: epochs of slices, each slice many steps in one native call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.engine import Outcome, Rule, Targets

from ._inputs import Data
from .data.rows import Part, dense, is_readable, rows_at_once, rows_of
from .loop import Loop
from .seen import Seen

Array = NDArray[Any]
ORDERS = 1 << 21  # samples in the orders of one native call, at most: 16 MB


class Draw(NamedTuple):
    """The samples of a pass over the data, or of several."""

    order: NDArray[np.int64]  # every sample once, pass after pass; empty: 0, 1, 2, …
    weights: Array | None  # in the loss, sample by sample

    def of_pass(self, number: int, m: int) -> Draw:
        """Return one pass of several over m samples."""
        return Draw(self.order[number * m : (number + 1) * m], self.weights)

    def rows(self, begin: int, end: int) -> Part:
        """Return the samples at these places of the one pass."""
        return self.order[begin:end] if self.order.size else slice(begin, end)


@dataclass(kw_only=True)
class Trainer(Loop):
    """One `fit` of samples in memory, in batches of `batch`.

    The next epoch goes on where the last one ended; a pass that the training's end has cut short is
    not gone on with. `draw` is called with the number of a pass, `State.epochs`, and how many
    passes are wanted.
    """

    data: Data
    batch: int
    draw: Callable[[int, int], Draw]

    def __post_init__(self) -> None:
        super().__post_init__()
        m = len(self.data.y)
        self.batch = max(min(self.batch, m), 1)  # a shard may be empty
        self.steps_of_pass = -(-m // self.batch)
        self._steps = self.steps or self.steps_of_pass
        # steps done of the present pass, all and before this epoch; and A_L of the samples since
        self._place = self._begin = 0
        self._outputs: Array | None = None
        self._ahead = deque[float]()  # the mean losses of epochs that are trained whole already
        self._begun: tuple[Draw, Array] | None = None  # the pass after them, and its sums of losses

    @property
    def steps_of_epoch(self) -> int:
        """Return how many steps an epoch has."""
        return self._steps

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train to the end of the present pass over the data, or of the epoch."""
        m = len(self.data.y)
        if self._place == self._begin:
            self._begin_part(epoch, seen)
        end = min(self._place + self._steps - seen.steps, self.steps_of_pass)
        while self._place < end:
            step, count = self._place, 1
            if self._one_by_one:
                self.hooks("on_train_batch_begin", seen.steps, {})
            else:
                size = self.state.steps_of_a_slice(self.batch, self.engine.parameters.size)
                count = min(size, end - step, self._steps_to_save() or size)
            with self._signals_for(self.batch):
                losses = self._losses(step, count, (epoch, seen.steps))
                count = len(losses)
                seen.add(losses, min((step + count) * self.batch, m) - step * self.batch)
                self._place += count
            if self._watched and count:
                self._tell(seen, *self._piece(step, self._place))
            if step < self._place < end:
                self._offer(epoch, seen)
        if self._outputs is not None:
            seen.measured.add(*self._piece(self._begin, end))
        self._place = self._begin = end % self.steps_of_pass
        if self._place == 0:
            self._count_passes(1)
        if seen.steps < self._steps:
            self._offer(epoch, seen)
        return seen.steps < self._steps

    def _begin_part(self, epoch: int, seen: Seen) -> None:
        """Draw the samples of a new pass, or go on in one; make room for the outputs."""
        if self._place == 0 and self._begun is not None:
            (self._drawn, losses), self._begun = self._begun, None
            self._steps_ahead, self._place = 0, len(losses)
            seen.add(losses, min(self._place * self.batch, len(self.data.y)))
        elif self._place == 0:
            self._drawn = self.draw(self.state.epochs, 1)
        shape = len(self.data.y), self.engine.layers[-1].n
        self._outputs = np.empty(shape, self.engine.dtype) if self.metrics else None

    def _may_be_ahead(self) -> bool:
        """Return whether nothing but the callbacks looks at the model at an epoch's end."""
        looks = self.metrics or self.validation is not None or self._looks
        is_a_pass = self._begin == 0 and self._steps == self.steps_of_pass
        return is_a_pass and not looks and is_readable(self.data.X)

    def _passes_ahead(self, epoch: int) -> int:
        """Return how many passes, this one included, one native call may train."""
        if epoch + 1 >= self._until or not self._may_be_ahead():
            return 1
        of_slice = self.state.steps_of_a_slice(self.batch, self.engine.parameters.size)
        passes = min(of_slice // self.steps_of_pass, ORDERS // len(self.data.y))
        return min(passes, self._until - epoch, self.hooks.epochs_ahead())

    def _logs_ahead(self, epoch: int) -> dict[str, float] | None:
        """Return the logs of an epoch that one native call trains with others."""
        if not self._ahead and self._begun is None and self._place == 0:
            passes = self._passes_ahead(epoch)
            if passes > 1:
                self._train_ahead(epoch, passes)
        if not self._ahead:
            return None
        self._steps_ahead -= self._steps
        return {"loss": self._ahead.popleft()}

    def _train_ahead(self, epoch: int, passes: int) -> None:
        """Train this pass and more, each an epoch, until a signal or a divergence.

        The steps that are left of them are done in their own epochs.
        """
        drawn = self.draw(self.state.epochs, passes)
        self._drawn, self._is_ahead = drawn, True
        try:
            with self._signals_for(self.batch):
                losses = self._losses(0, passes * self.steps_of_pass, (epoch, 0))
        finally:
            self._is_ahead = False
        m, whole = len(self.data.y), len(losses) // self.steps_of_pass
        self._steps_ahead = len(losses)
        self._count_passes(whole)
        end = whole * self.steps_of_pass
        sums = losses[:end].reshape(whole, self.steps_of_pass).sum(axis=1)
        self._ahead.extend((sums / m).tolist())
        if end < len(losses):
            self._begun = drawn.of_pass(whole, m), losses[end:]

    def largest_batch(self) -> int:
        """Return how many samples a step has."""
        return self.batch

    def data_facts(self) -> dict[str, Any]:
        """Return what tells whether the data are those of before."""
        m, n_0 = self.data.X.shape
        return {**super().data_facts(), "samples": m, "features": n_0, "batch_size": self.batch}

    def get_place(self) -> dict[str, Any]:
        """Return how far the present pass over the data has come."""
        outputs = None
        if self._outputs is not None and self._begin < self._place:
            outputs = self._piece(self._begin, self._place)[1]
        return {"begin": self._begin, "steps": self._place, "outputs": outputs}

    def set_place(self, place: Mapping[str, Any]) -> None:
        """Go to that place."""
        self._begin, self._place = place["begin"], place["steps"]
        if self._place > 0:
            self._drawn = self.draw(self.state.epochs, 1)
        if self._begin < self._place:
            shape = len(self.data.y), self.engine.layers[-1].n
            self._outputs = np.empty(shape, self.engine.dtype) if self.metrics else None
        if self._outputs is not None and place["outputs"] is not None:
            rows = self._drawn.rows(self._begin * self.batch, self._place * self.batch)
            self._outputs[rows] = place["outputs"]

    def _end(self) -> None:
        self._count_passes(self._place > 0)  # or the next training would draw the same order

    def given_to(self, ahead: int) -> tuple[Array, Targets, Array | None]:
        """Return X, targets and weights of a step: the next one, or so many ahead of it."""
        first = (self._place + ahead) * self.batch
        rows, weights = self._drawn.rows(first, first + self.batch), self._drawn.weights
        X = dense(rows_of(self.data.X, rows), self.engine.dtype)
        return X, self.data.targets.rows(rows), None if weights is None else weights[rows]

    def _piece(self, begin: int, end: int) -> tuple[Array, Array]:
        """Return the targets and outputs of the samples of some steps of the pass."""
        outputs = self._outputs
        if outputs is None:
            return self.data.y, self.data.y
        if end - begin == self.steps_of_pass:
            return self.data.y, outputs
        rows = self._drawn.rows(begin * self.batch, end * self.batch)
        return self.data.y[rows], outputs[rows]

    def _losses(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Run `count` steps from the pass's `first`; returns the sums of their samples' losses.

        There are fewer if a signal has come.
        """
        start, m = perf_counter(), len(self.data.y)
        train = self._in_place if is_readable(self.data.X) else self._by_parts
        losses = train(first, count, at)
        if len(losses) == count:
            self.state.seconds_per_step[self.batch] = (perf_counter() - start) / count
        begins = np.arange(first, first + len(losses)) % self.steps_of_pass * self.batch
        losses *= np.minimum(m - begins, self.batch)
        return losses

    def _in_place(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Run the steps where the samples lie; returns their mean losses."""
        return self._slice(
            lambda rule, number: self._native(
                first, self.data.X, self.data.targets, rule, batch=self.batch, first=first,
                order=self._drawn.order, weights=self._drawn.weights,
                seed=self.state.dropout_seed, step_number=number, outputs=self._outputs,
                stop=self.interrupts.arrived,
            ),
            count, at,
        )  # fmt: skip

    def _native(self, step: int, X: Array, targets: Targets, rule: Rule, **how: Any) -> Outcome:
        """Run steps in one native call, the first of them this one of the pass."""
        return self.engine.train(X, targets, rule, **how)

    def _by_parts(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Return the same, with the samples of some steps at a time made into a matrix."""
        epoch, done = at
        size = rows_at_once(self.data.X, self.batch) // self.batch
        return np.concatenate(
            [
                self._part(first + i, min(size, count - i), (epoch, done + i))
                for i in range(0, count, size)
            ]
        )

    def _part(self, first: int, count: int, at: tuple[int, int]) -> Array:
        """Run steps with a matrix of their samples; returns their mean losses."""
        data, drawn = self.data, self._drawn
        begin, end = first * self.batch, min((first + count) * self.batch, len(data.y))
        rows = drawn.rows(begin, end)
        X, targets = dense(rows_of(data.X, rows), self.engine.dtype), data.targets.rows(rows)
        weights = None if drawn.weights is None else drawn.weights[rows]
        shape = end - begin, self.engine.layers[-1].n
        taken = None if self._outputs is None else np.empty(shape, self.engine.dtype)
        losses = self._slice(
            lambda rule, number: self._native(
                first, X, targets, rule, batch=self.batch, weights=weights,
                seed=self.state.dropout_seed, step_number=number, outputs=taken,
                stop=self.interrupts.arrived,
            ),
            count, at,
        )  # fmt: skip
        if self._outputs is not None:
            self._outputs[rows] = taken
        return losses
