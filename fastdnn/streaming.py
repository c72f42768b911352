"""Training on batches that come one after the other: each is a step of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.callers import warn
from fastdnn.kernels.engine import Outcome, Rule, Targets

from ._inputs import Data
from .data.streams import Stream
from .loop import Loop
from .progress import ProgressBar
from .seen import Seen

Array = NDArray[Any]


@dataclass(kw_only=True)
class StreamTrainer(Loop):
    """One `fit` of a stream of batches, which are trained on as they come.

    With `steps` the next epoch goes on in the pass where the last one ended, and a pass that ends
    within an epoch is followed by a new one.
    """

    stream: Stream
    _untold: list[tuple[Array, Array]] = field(default_factory=list)  # y and outputs, for the hooks
    _told: float = 0.0  # when the hooks have been called
    _has_warned: bool = False  # that an iterator is too short

    @property
    def steps_of_epoch(self) -> int | None:
        """Return how many steps an epoch has, if that is known."""
        return self.steps or self.stream.length

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train on the next batch."""
        is_full = seen.steps == self.steps
        data = None if is_full else self.stream.next()
        if data is None:
            return self._stop(seen, is_full)
        if self._one_by_one:
            self.hooks("on_train_batch_begin", seen.steps, {})
        m, self._present = len(data.y), data
        shape = m, self.engine.layers[-1].n
        outputs = np.empty(shape, self.engine.dtype) if self.metrics else None
        with self._signals_for(m):
            losses = self._slice(self._train(data, outputs), 1, (epoch, seen.steps))
            if not len(losses):  # a signal has ended the step
                self.stream.give_back()
                return True
            self.stream.accept()
            seen.add(losses * m, m)
            if outputs is not None:
                seen.measured.add(data.y, outputs)
        if self._watched:
            self._tell_now_and_then(seen, data.y, outputs)
        if self._saves and seen.steps != self.steps and self.stream.has_more():
            self._offer(epoch, seen)  # at the epoch's end it is offered after the hooks
        return True

    def _train(self, data: Data, outputs: Array | None) -> Callable[[Rule, int], Outcome]:
        """Return what trains on a batch.

        One smaller than the largest is trained on as the last of an epoch in memory is, so that its
        bits are the same.
        """
        return lambda rule, number: self.engine.train(
            data.X, data.targets, rule, batch=self.stream.largest,
            weights=data.weights, seed=self.state.dropout_seed, step_number=number,
            outputs=outputs, stop=self.interrupts.arrived,
        )  # fmt: skip

    def largest_batch(self) -> int:
        """Return how many samples a step has."""
        return max(self.stream.largest, 1)  # 1 before the first one

    def get_place(self) -> dict[str, Any]:
        """Return how far the present pass over the data has come."""
        return self.stream.get_state()

    def set_place(self, place: Mapping[str, Any]) -> None:
        """Go to that place."""
        self.stream.set_state(place)

    def given_to(self, ahead: int) -> tuple[Array, Targets, Array | None]:
        """Return X, targets and weights of the batch that is trained on."""
        data = self._present
        return data.X, data.targets, data.weights

    def _stop(self, seen: Seen, is_full: bool) -> bool:
        """End the epoch, or begin the next pass; returns whether the epoch goes on."""
        if not is_full:
            with self.interrupts:
                self._count_passes(True)
                self.stream.accept()
        if self.steps is not None and not is_full:
            if not self.stream.is_iterator:
                return True
            self._warn(f"after {seen.steps} of the epoch's {self.steps} steps")
        if self._untold:
            self._tell_all(seen)
        return False

    def _end(self) -> None:
        self._count_passes(self.stream.is_within)  # as after samples in memory

    def _tell_now_and_then(self, seen: Seen, y: Array, outputs: Array | None) -> None:
        self._untold.append((y, y if outputs is None else outputs))
        if self._one_by_one or self._is_long_ago(self._told):
            self._tell_all(seen)

    def _tell_all(self, seen: Seen) -> None:
        """Call the hooks, with the metrics of the batches since the last call."""
        y, outputs = map(np.concatenate, zip(*self._untold, strict=True))
        self._tell(seen, y, outputs)
        self._untold, self._told = [], perf_counter()

    def _is_over(self) -> bool:
        if not self.stream.is_iterator or self.stream.has_more():
            return False
        if not self._has_warned:
            self._warn("at an epoch's end")
        return True

    def _warn(self, when: str) -> None:
        """Say that the iterator was too short."""
        self._has_warned = True
        warn(
            f"X: the iterator has given its last batch, {when}, and the training ends; an iterable "
            "(a list, a function that returns a generator) is iterated anew for each pass",
            UserWarning,
        )


class StreamBar(ProgressBar):
    """A `ProgressBar` for a stream, which may learn its length in the first pass.

    Parameters
    ----------
    epochs : int
        Where the count of the epochs ends.
    stream : Stream
        Knows how far it is.
    steps : int or None
        The length of an epoch, if it is no pass.
    verbose : {"auto", 1, 2}
        As for `ProgressBar`.
    """

    def __init__(self, epochs: int, stream: Stream, steps: int | None, verbose: int | str) -> None:
        self._stream, self._steps = stream, steps
        super().__init__(epochs, None, 0, verbose)

    def on_epoch_begin(self, epoch: int) -> None:
        """Start the bar, as long as the epoch is known to be, and the clock."""
        self._before, steps = self._stream.given, self._steps or self._stream.length
        self.samples_per_epoch = None if steps is None else steps * self._stream.largest
        if self._steps is None and self._stream.samples is not None:
            self.samples_per_epoch = self._stream.samples
        super().on_epoch_begin(epoch)

    def _samples_of(self, step: int) -> int:
        return self._stream.given - self._before
