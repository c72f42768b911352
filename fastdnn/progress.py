"""Callbacks that watch a training: what they all share, the history and the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from time import perf_counter
from typing import Any, Protocol

from numpy.typing import NDArray

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}  {rate_fmt}{postfix}"


class Model(Protocol):
    """What callbacks need of a model; `Sequential` has it."""

    optimizer: Any
    stop_training: bool

    def get_weights(self) -> list[NDArray[Any]]:
        """Return all W and b."""

    def set_weights(self, weights: list[NDArray[Any]], /) -> None:
        """Replace all W and b."""

    def save(self, path: str, /) -> None:
        """Write the model to a file."""


class Callback:
    """Something to do at certain moments of `fit`; subclass it and write the methods you need.

    Epochs and steps count from 0. `logs` holds "loss", the metrics, the same with "val_" before
    them where there are validation data, and "learning_rate". Set ``self.model.stop_training``
    to True to end the training after this epoch.

    Attributes
    ----------
    model : Sequential
        The model that is trained.
    """

    model: Model

    def set_model(self, model: Model) -> None:
        """Remember the model; `fit` calls this before the training."""
        self.model = model

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse settings that do not suit the training; `fit` calls this before anything else.

        Parameters
        ----------
        names : collection of str
            What `logs` will hold at an epoch's end.
        """

    def on_train_begin(self) -> None:
        """Act before the first epoch."""

    def on_train_end(self) -> None:
        """Act after the last epoch, and also when an error or Ctrl-C ends the training.

        Every callback does, whatever another raises here; the first error comes through then.
        """

    def on_epoch_begin(self, epoch: int) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Act after an epoch and its validation."""

    def on_batches_end(self, step: int, n_steps: int, logs: dict[str, float]) -> None:
        """Act about every 0.1 s within an epoch.

        Parameters
        ----------
        step : int
            How many of the epoch's steps are done.
        n_steps : int
            How many steps the epoch has.
        logs : dict
            The mean "loss" of the epoch so far, and fastdnn's own metrics of the samples since the
            last call.
        """


class History(Callback):
    """What every epoch gave. `fit` returns it.

    Parameters
    ----------
    params : mapping, optional
        Facts of the training to keep beside it, such as {"epochs": 20, "steps": 469}.

    Attributes
    ----------
    epoch : list of int
        The numbers of the epochs, from 0.
    history : dict of lists of float
        For each name in the logs, its value in each of these epochs.
    params : dict
    """

    def __init__(self, params: Mapping[str, object] | None = None) -> None:
        self.params = dict(params or {})
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Append the epoch's logs."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class ProgressBar(Callback):
    """A line on stderr for every finished epoch, and a bar while the epoch lasts.

    The line is ``epoch 3/20  loss 0.3521  accuracy 0.8801  51234 samples/s``; the rate is that of
    the training, without the validation. The bar also shows the time left of the epoch.

    Parameters
    ----------
    epochs : int
        Where the count of the epochs ends.
    samples_per_epoch, batch_size : int
        A step is taken for `batch_size` samples, the epoch's last one perhaps for fewer.
    verbose : {"auto", 1, 2}
        1: bar and lines. 2: lines. "auto": 1 on a terminal, else 2, as the bar's redrawing would
        fill a log file. (0 is nothing: `fit` then makes no ProgressBar.)
    """

    def __init__(
        self, epochs: int, samples_per_epoch: int, batch_size: int, verbose: int | str = "auto"
    ) -> None:
        if verbose not in (1, 2, "auto"):
            raise ValueError(f"verbose: want 0, 1, 2 or 'auto', got {verbose!r}")
        from tqdm import tqdm

        self.epochs = epochs
        self.samples_per_epoch = samples_per_epoch
        self.batch_size = batch_size
        self._bar = tqdm(
            total=samples_per_epoch,
            disable=verbose == 2 or (verbose == "auto" and not sys.stderr.isatty()),
            unit=" samples",
            unit_scale=True,
            bar_format=BAR,
            dynamic_ncols=True,
            leave=False,
            miniters=1,  # tqdm's guess of it would skip calls, and they are rare
            delay=0.1,  # or it would be drawn now, before the first epoch
        )

    def on_epoch_begin(self, epoch: int) -> None:
        """Start the bar and the clock."""
        self._title = f"epoch {epoch + 1}/{self.epochs}"
        self._done = 0
        self._start = perf_counter()
        self._bar.set_description_str(self._title, refresh=False)
        self._bar.set_postfix_str("", refresh=False)
        self._bar.reset()

    def on_batches_end(self, step: int, n_steps: int, logs: dict[str, float]) -> None:
        """Move the bar."""
        self._done = min(step * self.batch_size, self.samples_per_epoch)
        self._seconds = perf_counter() - self._start
        self._bar.set_postfix_str(_shown(logs), refresh=False)
        self._bar.update(self._done - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the epoch's line, above the bar if there is one."""
        if self._done == 0:  # the epoch was over before it had anything to show
            self._done = self.samples_per_epoch
            self._seconds = perf_counter() - self._start
        rate = self._done / max(self._seconds, 1e-9)
        line = f"{self._title}  {_shown(logs)}  {rate:.0f} samples/s"
        self._bar.write(line, file=sys.stderr)

    def on_train_end(self) -> None:
        """Take the bar away; the lines stay."""
        self._bar.close()


def _shown(logs: Mapping[str, float]) -> str:
    """Return the logs as "loss 0.3521  accuracy 0.8801", small values as "1.00e-04"."""
    return "  ".join(
        f"{name} {value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{name} {value:.2e}"
        for name, value in logs.items()
    )
