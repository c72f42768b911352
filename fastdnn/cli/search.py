"""``fastdnn search``: many networks over folds of the training part, and the best one trained."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdnn
from fastdnn import workers
from fastdnn._files import replacing
from fastdnn.data.datasets import Dataset
from fastdnn.data.tables import Array
from fastdnn.divergence import DivergenceError
from fastdnn.metrics import accuracy, r2
from fastdnn.model import Sequential
from fastdnn.plots import plot_search
from fastdnn.progress import NetworkBar

from .networks import build, hidden_layers_of, optimizer_of, target_scaled
from .scores import metric_of, score_of_test
from .training import draw, load_data, output_of

# What a search takes one or more values of: their names among the arguments.
SEARCHED = (
    "layers",
    "activation",
    "normalization",
    "dropout",
    "l2",
    "optimizer",
    "learning_rate",
    "batch_size",
    "epochs",
)
SHOWN = 10  # candidates, in the printed table


def search(arguments: Namespace) -> int:
    """Score all candidates over the folds, say which is best, train it on all, and save it."""
    output = output_of(arguments, {".png": "the picture goes", ".csv": "the table goes"})
    candidates = [_Candidate(settings, arguments) for settings in _settings(arguments)]
    if arguments.threads is not None:
        fastdnn.set_num_threads(arguments.threads)
    dataset = load_data(arguments)
    folds = _folds(dataset, arguments.folds, arguments.seed)
    for one in candidates:
        one.prepare(dataset, len(folds))
    print(f"{len(candidates)} candidate{'s' * (len(candidates) != 1)} x {len(folds)} folds")
    sys.stdout.flush()  # the progress goes to stderr
    status = 0
    try:
        _score(candidates, dataset, folds)
    except KeyboardInterrupt:
        status = 130
        print("fastdnn: stopped by Ctrl-C; these are done:", file=sys.stderr)
    ranked = sorted(filter(_Candidate.is_done, candidates), key=_Candidate.order)
    if ranked:
        varied = [name for name in SEARCHED if len(getattr(arguments, name)) > 1]
        _show(ranked, varied, metric_of(dataset), output.with_suffix(".csv"))
        if ranked[0].diverged:
            raise ValueError("all of these diverged; want smaller values of --learning-rate")
        if varied:
            _draw(ranked, varied, metric_of(dataset), output.with_suffix(".png"))
    if status == 0:
        _train_best(ranked[0], dataset, output)
    return status


@dataclass
class _Candidate:
    """A network's settings, and how it did."""

    settings: dict[str, Any]
    arguments: Namespace
    scores: NDArray[np.float64] = field(init=False)  # NaN until a fold is done
    seconds: NDArray[np.float64] = field(init=False)  # of each
    diverged: bool = False
    parameters: int = 0

    def __post_init__(self) -> None:
        # as `fastdnn train` has its arguments
        self.arguments = Namespace(**{**vars(self.arguments), **self.settings})
        hidden_layers_of(self.arguments)  # a wrong name shows before the data are read
        optimizer_of(self.arguments)

    def prepare(self, dataset: Dataset, n_folds: int) -> None:
        """Count the parameters, by which the work is shared out."""
        self.scores, self.seconds = np.full(n_folds, np.nan), np.zeros(n_folds)
        self.parameters = self.network(dataset).count_params()

    def network(self, dataset: Dataset) -> Sequential:
        """Return a new compiled network."""
        hidden, optimizer = hidden_layers_of(self.arguments), optimizer_of(self.arguments)
        return build(hidden, optimizer, dataset, self.arguments)

    def fit(self, model: Sequential, X: Any, y: Any, **how: Any) -> None:
        """Train a network of these settings."""
        epochs, batch_size = self.arguments.epochs, self.arguments.batch_size
        model.fit(X, y, epochs=epochs, batch_size=batch_size, **how)

    def run(
        self, fold: int, rows: _Fold, dataset: Dataset, y: Array, bar: NetworkBar, share: float
    ) -> None:
        """Train on all other folds, and score on this one."""
        start, X = perf_counter(), dataset.X_train
        others, own = rows
        with bar.network(share, self.arguments.epochs) as followed:
            model = self.network(dataset)
            try:
                self.fit(model, X[others], y[others], verbose=0, callbacks=[followed])
            except DivergenceError:
                self.diverged = True
                self.scores[fold] = -np.inf
            else:
                A = model.predict(X[own])
                is_number = dataset.classes is None
                found = r2(y[own], A[:, 0]) if is_number else accuracy(y[own], A.argmax(axis=1))
                self.scores[fold] = found
        self.seconds[fold] = perf_counter() - start

    @property
    def cost(self) -> int:
        """Return how much work a fold is, beside others."""
        epochs: int = self.arguments.epochs
        return self.parameters * epochs

    def is_done(self) -> bool:
        """Return whether all folds are."""
        return not np.isnan(self.scores).any()

    def order(self) -> tuple[float, int]:
        """Return what the better candidates have less of: of equal scores, the smaller network."""
        return -self.scores.mean(), self.parameters


_Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # the rows of all others, and its own


def _settings(arguments: Namespace) -> list[dict[str, Any]]:
    """Return the candidates' settings: all combinations of the values, or some at random."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    values = {name: getattr(arguments, name) for name in SEARCHED}
    every = ParameterGrid(values)
    if arguments.candidates is None or arguments.candidates >= len(every):
        return list(every)
    return list(ParameterSampler(values, arguments.candidates, random_state=arguments.seed))


def _folds(dataset: Dataset, n: int, seed: int) -> list[_Fold]:
    """Cut the training part; each class is in each fold alike."""
    from sklearn.model_selection import KFold, StratifiedKFold

    y, kind = dataset.y_train, KFold
    if dataset.classes is not None:
        kind = StratifiedKFold
        least = int(np.bincount(y).min())
        if least < n:
            raise ValueError(
                f"--folds: {n}; want up to {least}, the training samples of the smallest class"
            )
    elif len(y) < n:
        raise ValueError(f"--folds: {n}; want up to {len(y)}, the training samples")
    return list(kind(n, shuffle=True, random_state=seed).split(dataset.X_train, y))


def _score(candidates: list[_Candidate], dataset: Dataset, folds: list[_Fold]) -> None:
    """Train every candidate on every fold, the costly ones first."""
    y = target_scaled(dataset, dataset.y_train)
    every = [(one, number) for one in candidates for number in range(len(folds))]
    with NetworkBar("search", len(every), "auto") as bar:
        tasks = [partial(one.run, number, folds[number], dataset, y, bar) for one, number in every]
        workers.run_by_cost(tasks, [one.cost for one, _ in every], bar.show)


def _show(ranked: list[_Candidate], varied: list[str], metric: str, table: Path) -> None:
    """Print the best candidates, and write all to a table."""
    rows = list(_rows(ranked, varied, metric))
    with replacing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    shown = [[str(value) for value in row] for row in rows[: SHOWN + 1]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        print("  ".join(text.rjust(n) for text, n in zip(row, widths, strict=True)))
    print(f"table: {table}, with all {len(ranked)}")


def _draw(ranked: list[_Candidate], varied: list[str], metric: str, picture: Path) -> None:
    """Draw the candidates, if matplotlib is there."""
    results = {
        "params": [{name: _told(one.settings[name]) for name in varied} for one in ranked],
        "mean_test_score": [one.scores.mean() for one in ranked],
    }
    draw("picture", picture, lambda: plot_search(results, picture, score=metric))


def _rows(ranked: list[_Candidate], varied: list[str], metric: str) -> Iterator[list[Any]]:
    """Give the lines of the table, the head first."""
    yield ["rank", *varied, metric, "deviation", "parameters", "seconds"]
    for rank, one in enumerate(ranked, 1):
        score = ["diverged", ""]
        if not one.diverged:
            score = [f"{one.scores.mean():.4f}", f"{one.scores.std():.4f}"]
        settings = [_told(one.settings[name]) for name in varied]
        yield [rank, *settings, *score, one.parameters, f"{one.seconds.sum():.2f}"]


def _told(value: Any) -> Any:
    """Return a setting as the command line has it."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value)) or None
    return "none" if value is None else value


def _train_best(best: _Candidate, dataset: Dataset, output: Path) -> None:
    """Train the best candidate on the whole training part, and use the test part, once."""
    model = best.network(dataset)
    best.fit(model, dataset.X_train, target_scaled(dataset, dataset.y_train))
    model.save(output, metadata=dataset.preparation.to_metadata())
    print(f"test {score_of_test(model, dataset)}")
    print(f"model: {output}")
