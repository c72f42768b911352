"""`Fitting`: a compiled network with `fit`; `Sequential` adds its list of layers, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from numpy.typing import ArrayLike

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import NO_LABELS

from . import checkpoint
from ._checks import check_batch_size, check_count, check_flag, check_number
from ._inputs import Data, check_finite, split, weigh_classes
from .building import ending
from .data.streams import Stream, is_source, refuse_lonely, refuse_targets
from .evaluation import log_names
from .gradients import Differentiable
from .history import History
from .hooks import Callback, Model, check_callbacks
from .loop import Loop
from .machines import Alone, ShardTrainer, StreamShardTrainer, job_of
from .progress import ProgressBar
from .resume import check, check_same, unpack
from .snapshot import Snapshot, pays
from .streaming import StreamBar, StreamTrainer
from .training import Draw, Trainer
from .validation import (
    Validation,
    check_validation,
    check_validation_batches,
    plan_validation,
)

BATCH_SIZE = 32  # samples in a step


class _Given(NamedTuple):
    """What `fit` was given, checked as far as it does not depend on the data."""

    epochs: range
    steps: int | None
    validation_data: Any
    plan: Callable[[Data | Stream], Validation]
    class_weight: Mapping[int, float] | None
    callbacks: Iterable[Callback] | None
    verbose: int | str
    resume_from: str | Path | None
    job: Alone


class _Start(NamedTuple):
    """A training that can begin: what it calls if a first step is not finite, and its file."""

    trainer: Loop
    history: History
    saved: checkpoint.Content | None
    refuse: Callable[[], None] | None = None


class Fitting(Differentiable):
    """A compiled network with `fit`: what `Sequential` is without a list to change, and files."""

    history: History
    stop_training: bool

    def __getstate__(self) -> dict[str, Any]:
        with self.lock.still():
            return {**super().__getstate__(), "history": copy(self.history)}

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | None = (),
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
        resume_from: str | Path | None = None,
        *,
        n_threads: int | None = None,
        comm: Any = None,
    ) -> History:
        """Train by minibatch gradient descent.

        Parameters
        ----------
        X : array_like of shape (m, n_0), or source of batches
            Any layout; float32 and float64 are read where they lie, memory-mapped files too. Other
            numbers and SciPy's sparse rows become floats for some batches at a time. Shuffled
            samples are read fastest in C order: pass ``np.ascontiguousarray(X)`` where X has
            Fortran order, as a DataFrame's ``to_numpy()`` gives.
            A source gives batches, tuples or lists (X, y) or (X, y, sample_weight), each of which
            is a step: an iterable, such as a list, a ``torch.utils.data.DataLoader`` or
            `fastdnn.data.ParquetBatches`; a function without arguments that returns one, as a
            generator function does; or an object with a length that gives a batch by its number,
            whose ``on_epoch_end()`` is called after each pass if it has one, as Keras does. It is
            iterated anew for each pass, in its own order. An iterator that can be read once serves
            one epoch, or several with `steps_per_epoch`; with a warning, the training ends where
            it does. The batches of an array in its order give the array's parameters, to the bit.
        y : array_like, optional
            Class numbers (m,) for the sparse loss, else targets (m, n_L), or (m,) where n_L is 1.
            None with a source of batches.
        batch_size : int, optional
            Samples in a step, 32 by default; an epoch's last step takes what is left.
        epochs : int
            How many epochs to train. Those before `initial_epoch` count: with 5 there, and 8 here,
            it is three.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal and in a
            notebook, else 2.
        callbacks : iterable of Callback
        validation_split : float
            Share of the data, taken from the end before shuffling, to use as validation data
            where no `validation_data` are given: the nearest whole number of samples, and at least
            one for each part. Not with a source.
        validation_data : tuple (X, y) or (X, y, sample_weight), or source of batches, optional
            Evaluated at an epoch's end. A source is iterated anew for each evaluation, so it can
            be no iterator.
        shuffle : bool
            Draw a new order of the samples for every pass over the data; a source has its own.
        class_weight : dict of class number to float, optional
            Multiplies the weights of the training samples of that class, of a source's too.
        sample_weight : array_like of shape (m,), optional
            w_i in the loss sum_i w_i l_i / m. A source has its weights in its batches.
        initial_epoch : int
            The number of the first epoch, to go on with a training.
        steps_per_epoch : int, optional
            The length of an epoch; by default an epoch is one pass over the data. The next epoch
            goes on with the pass where the last one ended, and a pass that ends within an epoch is
            followed by a new one. The next `fit` begins a new pass.
        validation_steps : int, optional
            Evaluate only so many batches of the validation data, from their beginning; of a
            source, so many of its own.
        validation_batch_size : int, optional
            Samples in such a batch, `batch_size` by default; it also bounds the memory of the
            validation, to 1024 samples by default.
        validation_freq : int or iterable of int
            Evaluate at the end of every so many epochs; or of these, counted from 1.
        resume_from : str or Path, optional
            A file that `ModelCheckpoint` wrote in a training that was cut short. With the same
            model, data and arguments the training goes on where it was and ends with the bits of
            one that was never stopped, with any number of threads. A source is read up to that
            place and must give the same batches again; one with ``set_epoch`` is told the pass.
            `epochs` may be more than before. None trains from the model as it is.
        n_threads : int, optional
            How many threads work for this call, its validation and what its callbacks call; None is
            `fastdnn.get_num_threads`. Any number gives the same bits.
        comm : mpi4py.MPI.Comm, optional
            Train one network by all of the communicator's processes, such as ``MPI.COMM_WORLD``.
            Each gives its own shard of the samples, or source, and of the validation data;
            `batch_size` is the rank's. Rank 0's parameters are the start; every rank ends with the
            same ones, and with the same `History`. See docs/machines.md.

        Returns
        -------
        History
            ``history["loss"]`` and so on, a value per epoch; the "learning_rate" is that of the
            epoch's first step.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; the model is as before then. Of much data it is a step that
            meets NaN or infinity in X, and what the steps before it have changed is undone. A
            batch of a source is checked when it comes, the first one before any work: its number
            in the pass is named, and the steps before it are kept. What the source itself raises
            comes through as it is.
        RuntimeError
            If `compile` has not been called; or another thread trains the model, and a callback or
            source of it waits for this call.
        MemoryError
            If the network's parameters cannot fit in memory.
        DivergenceError
            If a loss or gradient is not finite; the parameters are the last finite ones. With
            `TerminateOnNaN` among the callbacks the training ends without it.

        Notes
        -----
        Ctrl-C ends the call by KeyboardInterrupt between two steps: the model stays usable. Of
        several threads that train one model, each waits for the `fit` before.
        """
        job = job_of(comm)

        def check() -> tuple[_Given, Callable[[], _Start], AbstractContextManager[None]]:
            ahead = range(
                check_count("initial_epoch", initial_epoch, 0), check_count("epochs", epochs, 0)
            )
            steps = steps_per_epoch
            steps = None if steps is None else check_count("steps_per_epoch", steps, 1)
            check_number("validation_split", validation_split, "[0, 1)")
            shuffles = check_flag("shuffle", shuffle)
            each = check_batch_size(batch_size, BATCH_SIZE)
            plan = plan_validation(validation_steps, validation_batch_size, validation_freq, each)
            limit = threads.of_call(job.threads() if n_threads is None else n_threads)
            self._check_compiled()
            # what all trainings have in common; the rest depends on where the samples are
            given = _Given(
                ahead, steps, validation_data, plan, class_weight, callbacks,
                job.verbose(verbose), resume_from, job,
            )  # fmt: skip
            if y is not None:
                refuse_targets(X, y)
                start = partial(
                    self._with_samples, X, y, sample_weight, validation_split, shuffles, each, given
                )
                return given, start, limit
            refuse_lonely(
                X, batch_size=batch_size, validation_split=validation_split,
                sample_weight=sample_weight,
            )  # fmt: skip
            return given, partial(self._with_batches, X, given), limit

        with job.running():
            given, start, limit = job.agreed(check)
            with limit, self.lock.training:
                return self._train(job.agreed(start), given)

    def _train(self, start: _Start, given: _Given) -> History:
        """Train, all ranks of a job together."""
        trainer, history, saved, refuse = start
        job = given.job
        job.begin(trainer, optimizer=self.optimizer, loss=self.loss, epochs=given.epochs)
        job.agreed(lambda: self._take_up(given.resume_from, saved, trainer))
        self.history = history
        trainer.run(cast(Model, self), given.epochs, refuse, quiet=given.verbose == 0)
        return history

    def _with_samples(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        validation_split: float,
        shuffle: bool,
        batch_size: int,
        given: _Given,
    ) -> _Start:
        """Prepare to train on samples in memory."""
        data = given.job.shard(
            partial(self._checked, n_0=self.input_size, finite=False, whole=False),
            X, y, sample_weight,
        )  # fmt: skip
        reads_all = len(given.epochs) > 0 and validation_split == 0 and given.steps is None
        reads_all = reads_all and given.resume_from is None and not given.job.is_shared
        kept = None
        if reads_all and self._engine is not None and pays(self._engine, data.X):
            kept = Snapshot(self._engine, self._state)
        else:
            check_finite("X", data.X, self.dtype)
        all_of_X, validation = data.X, None
        if given.validation_data is None:
            data, unseen = split(data, validation_split)
            validation = None if unseen is None else given.plan(unseen)
        else:
            validation = self._validation(given, data.X.shape[1])
        data = self._weighed(data, given)
        m = len(data.y)
        bar = None
        if given.verbose != 0:
            samples = m if given.steps is None else given.steps * min(batch_size, m)
            bar = ProgressBar(given.epochs.stop, samples, batch_size, given.verbose)
        history, callbacks = self._callbacks(given, validation is not None, bar)
        previous = self.history

        def refuse() -> None:
            try:
                check_finite("X", all_of_X, self.dtype)
            except ValueError as error:
                assert kept is not None
                kept.restore()
                self.history = previous
                raise error from None

        saved, state = self._training_of(given.resume_from)
        kind = given.job.kind_of(Trainer, ShardTrainer)
        trainer = kind(
            engine=self._ready(data), lock=self.lock, optimizer=self.optimizer, state=self._state,
            metrics=self.metrics, validation=validation, callbacks=callbacks, steps=given.steps,
            data=data, batch=batch_size, draw=self._draws(data, shuffle, given.job.rank),
            resumed=state,
        )  # fmt: skip
        return _Start(trainer, history, saved, None if kept is None else refuse)

    def _with_batches(self, source: Any, given: _Given) -> _Start:
        """Prepare to train on batches as they come."""

        def check(X: Any, y: Any, sample_weight: Any) -> Data:
            # the first batch of a new model gives it its input size
            return self._weighed(self._checked(X, y, sample_weight, self.input_size), given)

        stream = Stream(source, check, passes=self._state.epochs)
        if stream.is_iterator and given.steps is None and len(given.epochs) > 1:
            raise ValueError(
                f"X: want batches that can be read in each of {len(given.epochs)} epochs, got an "
                "iterator, which can be read once; give a list, a function that returns a "
                "generator, or steps_per_epoch"
            )
        bar = None
        if given.verbose != 0:
            bar = StreamBar(given.epochs.stop, stream, given.steps, given.verbose)
        history, callbacks = self._callbacks(given, given.validation_data is not None, bar)
        # what an iterator gives now is lost if anything is wrong
        data = stream.first()
        validation = self._validation(given, data.X.shape[1])
        saved, state = self._training_of(given.resume_from)
        kind = given.job.kind_of(StreamTrainer, StreamShardTrainer)
        trainer = kind(
            engine=self._ready(data), lock=self.lock, optimizer=self.optimizer, state=self._state,
            metrics=self.metrics, validation=validation, callbacks=callbacks, steps=given.steps,
            stream=stream, resumed=state,
        )  # fmt: skip
        return _Start(trainer, history, saved)

    def _training_of(
        self, path: str | Path | None
    ) -> tuple[checkpoint.Content | None, dict[str, Any] | None]:
        """Return what a file holds, and the state of the training in it."""
        if path is None:
            return None, None
        saved = checkpoint.read(path)
        if not isinstance(saved.config, dict) or "training" not in saved.config:
            raise ValueError(
                f"resume_from: {path}: want a file that ModelCheckpoint wrote, got a model alone"
            )
        try:
            return saved, unpack(saved.config["training"], saved.tensors)
        except checkpoint.WRONG as error:
            raise checkpoint.damaged(path, error) from None

    def _take_up(
        self, path: str | Path | None, saved: checkpoint.Content | None, trainer: Loop
    ) -> None:
        """Take the model over from a file, if it is this one's and the training is this one."""
        if saved is None or trainer.resumed is None:
            return
        check(trainer, trainer.resumed, path)
        config, tensors = saved.config, saved.tensors
        mine, _ = self.get_state()
        for part in ("layers", "input_size", "dtype", "loss"):
            check_same(path, f"model's {part}", mine.get(part), config.get(part))
        rules = [one.get("optimizer", {}) for one in (mine, config)]
        rule, of_file = ({**one} if isinstance(one, dict) else {"class": one} for one in rules)
        if isinstance(rule.get("learning_rate"), float):
            # a callback may have changed it: the state of the training holds it
            rule["learning_rate"] = of_file.get("learning_rate")
        check_same(path, "optimizer's", rule, of_file)
        try:
            self._restore_values(config, tensors)
        except checkpoint.WRONG as error:
            raise checkpoint.damaged(str(path), error) from error

    def _validation(self, given: _Given, n_0: int) -> Validation | None:
        """Return what to evaluate after an epoch, of what `fit` was given for that."""

        def check(X: Any, y: Any, sample_weight: Any) -> Data:
            return self._checked(X, y, sample_weight, n_0, whole=False)

        if given.validation_data is None:
            return None
        unseen = given.validation_data
        check_it = check_validation_batches if is_source(unseen) else check_validation
        return given.plan(check_it(unseen, check))

    def _weighed(self, data: Data, given: _Given) -> Data:
        if given.class_weight is None:
            return data
        return weigh_classes(data, given.class_weight, ending(self.layers)[0], self.dtype)

    def _callbacks(
        self, given: _Given, is_validated: bool, bar: Callback | None
    ) -> tuple[History, list[Callback]]:
        """Return a new history, and what the training calls."""
        history = History()
        callbacks = check_callbacks(given.callbacks, log_names(self.metrics, is_validated))
        return history, [*callbacks, history, *([] if bar is None else [bar])]

    def _draws(self, data: Data, shuffle: bool, rank: int) -> Callable[[int, int], Draw]:
        """Return what draws the samples of passes over the data: of a rank, orders of its own."""
        orders, m, own = self._state.orders, len(data.y), [rank] if rank else []
        return lambda first, passes: Draw(
            orders(m, first, passes, self.dtype, *own) if shuffle else NO_LABELS, data.weights
        )
