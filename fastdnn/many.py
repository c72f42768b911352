"""`fit_many`: many networks trained by one call, each with the bits of its own `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdnn.kernels.base.callers import warn
from fastdnn.kernels.cpu import threads

from . import spread, workers
from ._checks import check_batch_size, check_count
from ._inputs import Data
from .data.rows import is_sparse
from .divergence import DivergenceError
from .evaluation import log_names
from .fitting import BATCH_SIZE
from .history import History
from .hooks import Callback, check_callbacks
from .loop import State
from .model import Sequential
from .progress import NetworkBar
from .validation import check_validation

SETUP = 2_000  # samples that take as long as what a training does beside its steps, more or less
NAMED = 5  # networks that a warning names


def fit_many(
    models: Iterable[Sequential],
    X: Any,
    y: ArrayLike | None = None,
    *,
    subsets: Iterable[ArrayLike] | None = None,
    epochs: int | Sequence[int] = 1,
    batch_size: int | Sequence[int] | None = None,
    validation_data: Any = None,
    callbacks: Iterable[Callback] | Sequence[Iterable[Callback]] | None = None,
    n_threads: int | None = None,
    verbose: int | str = "auto",
) -> list[History]:
    """Train many networks side by side: for searches, folds, seeds, a network for each customer.

    Each thread takes whole networks, the costly ones first; the last ones share the threads that
    have no other work. Every network ends with the bits of its own `Sequential.fit`.

    Parameters
    ----------
    models : iterable of Sequential
        Compiled networks of any layers, optimizers, losses and seeds.
    X, y : array_like
        The data of all of them, as `Sequential.fit` takes them. Or X is a list of tuples (X, y),
        one for each network, and y is None.
    subsets : iterable of array_like of int, optional
        The rows of X and y that each network is trained on, repeated ones too: folds, bootstraps.
    epochs, batch_size : int or sequence of int
        As in `Sequential.fit`: one for all networks, or one for each.
    validation_data : tuple or list of tuples, optional
        As in `Sequential.fit`: a tuple for all networks, or a list with one, or None, for each.
    callbacks : iterable of Callback, or sequence of iterables of Callback, optional
        For all networks, each of which has a copy of its own; or a list for each. They are called
        in the thread that trains their network.
    n_threads : int, optional
        How many threads train; None is `fastdnn.get_num_threads`. Any number gives the same bits.
    verbose : {"auto", 0, 1, 2}
        0 is silent, 1 a bar, 2 a line for each tenth of the work; "auto" is 1 on a terminal and in
        a notebook, else 2.

    Returns
    -------
    list of History
        One for each network. Where the training has diverged, `History.error` is the error; the
        network has its last finite parameters, and the others are trained to their end.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, before any network is trained.
    RuntimeError
        If a network is not compiled.
    BaseException
        What a callback raises. The networks that are being trained then stop after their present
        steps, and so they do by Ctrl-C: what is done is kept, and each ``model.history`` tells it.

    Warns
    -----
    RuntimeWarning
        If a training has diverged.

    Notes
    -----
    Within ``joblib.parallel_config`` with a backend of processes, such as Dask's or Ray's, these
    train shares of the networks, by one thread each. Callbacks act there; what their `get_state`
    tells is given to `set_state` here.
    """
    limit = threads.of_call(n_threads)
    given = _given(models, X, y, subsets)
    n = len(given)
    checked = (
        _each("epochs", epochs, n, lambda one: check_count("epochs", one, 0)),
        _each("batch_size", batch_size, n, lambda one: check_batch_size(one, BATCH_SIZE)),
        _validations(validation_data, n),
        _callbacks(callbacks, n),
    )
    trainings = [
        _Training(*one, *settings)
        for one, settings in zip(given, zip(*checked, strict=True), strict=True)
    ]
    seen = set[tuple[int, str]]()
    data = [_check(number, training, seen) for number, training in enumerate(trainings)]
    with limit:
        for training, one in zip(trainings, data, strict=True):
            training.model._ready(one)
        with NetworkBar("fit_many", len(trainings), verbose) as bar:
            backend = spread.chosen_backend()
            if backend is None:
                _train(trainings, bar)
            else:
                _train_elsewhere(trainings, bar, backend)
    histories = [training.model.history for training in trainings]
    _tell_divergence(histories)
    return histories


class _Result(NamedTuple):
    """What a training changes of a network and of what it is trained with."""

    values: NDArray[Any]
    slots: NDArray[Any]
    state: State
    learning_rate: Any
    stop_training: bool
    history: History
    callbacks: list[dict[str, Any]]


@dataclass
class _Training:
    """One of the networks, and how it is trained."""

    model: Sequential
    X: Any
    y: Any
    rows: NDArray[np.int64] | None
    epochs: int
    batch_size: int
    validation_data: Any
    callbacks: list[Callback]

    @property
    def cost(self) -> int:
        """Return how much work it is, beside others."""
        samples = len(self.y) if self.rows is None else len(self.rows)
        return self.model.parameters.size * (samples + SETUP) * max(self.epochs, 1)

    def result(self) -> _Result:
        """Return what the training has changed."""
        model = self.model
        del model.history.model  # whose numbers are beside it
        return _Result(
            model.engine.values, model.engine.slots, model._state, model.optimizer.learning_rate,
            model.stop_training, model.history, [one.get_state() for one in self.callbacks],
        )  # fmt: skip

    def take(self, result: _Result) -> None:
        """Have the network be as another process has trained it."""
        model = self.model
        with model.lock:
            model.engine.values[...] = result.values
            model.engine.slots = result.slots
            model._state = result.state
        if model.optimizer.learning_rate != result.learning_rate:
            model.optimizer.learning_rate = result.learning_rate
        model.stop_training, model.history = result.stop_training, result.history
        model.history.model = model
        for callback, state in zip(self.callbacks, result.callbacks, strict=True):
            callback.set_model(model)
            callback.set_state(state)

    def run(self, bar: NetworkBar, share: float) -> None:
        """Train the network, which is this share of all work."""
        X, y = self.X, self.y
        if self.rows is not None:
            X, y = _rows_of(X, self.rows), y[self.rows]
        with bar.network(share, self.epochs) as followed:
            try:
                self.model.fit(
                    X, y, self.batch_size, self.epochs, verbose=0,
                    callbacks=[*self.callbacks, followed], validation_data=self.validation_data,
                )  # fmt: skip
            except DivergenceError as error:
                self.model.history.error = error


def _given(
    models: Iterable[Sequential], X: Any, y: Any, subsets: Iterable[ArrayLike] | None
) -> list[tuple[Sequential, Any, Any, NDArray[np.int64] | None]]:
    """Return each network with its data, and which rows of them it is trained on."""
    networks = list(models)
    for number, model in enumerate(networks):
        if not isinstance(model, Sequential):
            raise TypeError(f"models: want Sequential objects, got {model!r} at {number}")
    if len({id(model) for model in networks}) < len(networks):
        raise ValueError("models: want each network once, got one several times")
    n = len(networks)
    if y is None:
        pairs = _listed("X, without y", X, n, "tuples (X, y)")
        if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
            raise TypeError("X: without y, want a list of tuples (X, y), one for each network")
    else:
        pairs = [(X, y)] * n
    of_rows: list[Any] = [None] * n if subsets is None else _listed("subsets", subsets, n, "rows")
    return [
        (
            model,
            one,
            np.asarray(targets) if rows is not None else targets,
            _rows(rows, len(targets)),
        )
        for model, (one, targets), rows in zip(networks, pairs, of_rows, strict=True)
    ]


def _listed(name: str, given: Any, n: int, what: str) -> list[Any]:
    """Return a list with something for each network."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name}: want a list of {what}, one for each network, got {given!r:.60}")
    found = list(given)
    if len(found) != n:
        raise ValueError(f"{name}: want {what} for each of the {n} networks, got {len(found)}")
    return found


def _rows(given: Any, m: int) -> NDArray[np.int64] | None:
    """Return the numbers of rows of m samples."""
    if given is None:
        return None
    rows = np.asarray(given)
    if rows.dtype == np.bool_ and rows.shape == (m,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(
            f"subsets: want vectors of row numbers, got {rows.dtype} of shape {rows.shape}"
        )
    if rows.size == 0:
        raise ValueError("subsets: want at least one row for each network, got none")
    if rows.min() < 0 or rows.max() >= m:
        raise ValueError(f"subsets: want rows in [0, {m}), got {rows.min()} to {rows.max()}")
    return rows.astype(np.int64, copy=False)


def _rows_of(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of whatever `fit` takes."""
    if hasattr(X, "iloc"):  # pandas, where X[rows] are columns
        return X.iloc[rows]
    if is_sparse(X):
        return X.tocsr()[rows]
    return X[rows] if hasattr(X, "shape") else np.asarray(X)[rows]


def _each(name: str, given: Any, n: int, check: Callable[[Any], int]) -> list[int]:
    """Return a number for each network."""
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        return [check(one) for one in _listed(name, given, n, "numbers")]
    return [check(given)] * n


def _validations(given: Any, n: int) -> list[Any]:
    if isinstance(given, list):
        return _listed("validation_data", given, n, "tuples")
    return [given] * n


def _callbacks(given: Any, n: int) -> list[list[Callback]]:
    """Return a list for each network."""
    given = () if given is None else given
    if isinstance(given, Callback) or not isinstance(given, Iterable):
        raise TypeError(f"callbacks: want a list of callbacks, got {given!r}")
    found = list(given)
    if not found:
        return [[] for _ in range(n)]
    if any(isinstance(one, Callback) for one in found):
        return [deepcopy(found) for _ in range(n)]
    return [list(one) for one in _listed("callbacks", found, n, "callbacks")]


def _check(number: int, training: _Training, seen: set[tuple[int, str]]) -> Data:
    """Refuse what `fit` would; the numbers of data that several have in common are read once."""
    model, unseen = training.model, training.validation_data

    def check(X: Any, y: Any, weights: Any, of: Any = None) -> Data:
        key = id(X), model.dtype.name  # what is finite in float64 may not be in float32
        data = model._checked(
            X, y, weights, of or model.input_size, finite=key not in seen, whole=False
        )
        seen.add(key)
        return data

    try:
        data = check(training.X, training.y, None)
        if unseen is not None:
            n_0 = data.X.shape[1]
            check_validation(unseen, lambda X, y, weights: check(X, y, weights, n_0))
        check_callbacks(training.callbacks, log_names(model.metrics, unseen is not None))
    except (TypeError, ValueError, RuntimeError) as error:
        error.add_note(f"of network {number}")
        raise
    return data


def _train(trainings: list[_Training], bar: NetworkBar) -> None:
    """Train all in the threads of this process, the costly ones first."""
    tasks = [partial(training.run, bar) for training in trainings]
    workers.run_by_cost(tasks, [training.cost for training in trainings], bar.show)


def _train_elsewhere(trainings: list[_Training], bar: NetworkBar, backend: Any) -> None:
    """Train all in the processes of a backend of joblib's, each of them a share."""
    costs = [training.cost for training in trainings]
    shares = [{i: trainings[i] for i in share} for share in spread.split(costs)]
    for results in spread.run(_train_share, shares, backend):
        for i, result in results.items():
            with bar.network(costs[i] / max(sum(costs), 1), 0):
                trainings[i].take(result)
        bar.show()


def _train_share(share: dict[int, _Training]) -> dict[int, _Result]:
    """Train some networks in this process, by one thread: its neighbours have the other CPUs."""
    with threads.num_threads(1), NetworkBar("fit_many", len(share), 0) as bar:
        _train(list(share.values()), bar)
    return {i: training.result() for i, training in share.items()}


def _tell_divergence(histories: list[History]) -> None:
    """Warn of the networks that have diverged."""
    failed = [i for i, history in enumerate(histories) if history.error is not None]
    if failed:
        named = ", ".join(map(str, failed[:NAMED])) + (", …" if len(failed) > NAMED else "")
        warn(
            f"fit_many: {len(failed)} of {len(histories)} networks diverged: {named}; "
            f"{histories[failed[0]].error}"
        )
