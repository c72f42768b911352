"""Training on shards: each rank on its own samples in memory, or its own batches as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdnn.data.rows import dense, is_readable, rows_of
from fastdnn.progress import ProgressBar
from fastdnn.seen import Seen
from fastdnn.streaming import StreamTrainer
from fastdnn.training import Trainer

from .together import Array, Together


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

    def _may_be_ahead(self) -> bool:
        """Return False: the ranks add their gradients after each step."""
        return False

    def _go_on(self, epoch: int, seen: Seen) -> bool:
        """Train to the end of the present pass over the data, or of the epoch."""
        if self._place == self._begin:
            self._begin_part(epoch, seen)
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
