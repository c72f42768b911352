"""The progress bar of `fit`, and of long predictions and evaluations."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from fastdnn.kernels.base.forks import Renewed, without_others
from fastdnn.kernels.compiler.compiling import quietly
from fastdnn.kernels.engine import Report

from . import _shown
from ._closed import closed
from ._streams import standard
from .hooks import Callback

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}  {rate_fmt}{postfix}"
ENDLESS = "{desc} {n_fmt} samples  {elapsed}  {rate_fmt}{postfix}"  # as far as anyone knows
OF_NETWORKS = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
SOON = 0.5  # seconds: what is over by then needs no bar


class _LockOfBars(Renewed):
    """The lock of tqdm's bars: in a forked child, a thread may hold it that is not there."""

    def renew(self) -> None:
        """Let go of it, if another thread has it."""
        std = sys.modules.get("tqdm.std")
        if std is None:
            return
        of_all = std.TqdmDefaultWriteLock
        lock = without_others(of_all.th_lock)
        if lock is not of_all.th_lock:
            of_all.th_lock = lock
            std.tqdm.set_lock(of_all())


_lock_of_bars = _LockOfBars()


def _bar(verbose: int | str, total: float | None, **options: Any) -> Any:
    """A tqdm bar of samples, or of something else: a widget in a notebook, else on stderr.

    `verbose` may forbid it.
    """
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose: want 0, 1, 2 or 'auto', got {verbose!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        from tqdm.autonotebook import tqdm
    in_notebook = any(one.__module__ == "tqdm.notebook" for one in tqdm.__mro__)
    stream = standard("stderr")
    is_shown = verbose == 1 or (verbose == "auto" and (in_notebook or stream.isatty()))
    settings: dict[str, Any] = {
        "unit": " samples",
        "unit_scale": True,
        "bar_format": ENDLESS if total is None else BAR,
        "dynamic_ncols": True,
        "leave": False,
        "miniters": 1,  # tqdm's guess of it would skip calls, and they are rare
    }
    return tqdm(file=stream, total=total, disable=not is_shown, **settings | options)


def _take_away(bar: Any) -> None:
    """Close a bar; a notebook would keep one that is not full, in red."""
    bar.n = bar.total
    bar.close()


@contextmanager
def sample_bar(what: str, total: int | None, verbose: int | str) -> Iterator[Report | None]:
    """Give a function to tell how many more of all samples are done; None if nobody wants it."""
    if verbose == 0:
        with quietly():
            yield None
        return
    bar = _bar(verbose, total, desc=what, delay=SOON)
    try:
        yield bar.update
    finally:
        _take_away(bar)


@closed()
class ProgressBar(Callback):
    """A line on stderr for every finished epoch, and a bar while the epoch lasts.

    The line is ``epoch 3/20  loss 0.3521  accuracy 0.8801  51234 samples/s``; the rate is that of
    the training, without the validation. The bar also shows the time left of the epoch.

    Parameters
    ----------
    epochs : int
        Where the count of the epochs ends.
    samples_per_epoch : int or None
        None if nobody knows: then there is a count in the bar's place.
    batch_size : int
        A step is taken for so many samples, the epoch's last one perhaps for fewer.
    verbose : {"auto", 1, 2}
        1: bar and lines. 2: lines. "auto": 1 on a terminal and in a notebook, else 2, as the bar's
        redrawing would fill a log file. (0 is nothing: `fit` then makes no ProgressBar.)
    """

    def __init__(
        self,
        epochs: int,
        samples_per_epoch: int | None,
        batch_size: int,
        verbose: int | str = "auto",
    ) -> None:
        self.epochs = epochs
        self.samples_per_epoch = samples_per_epoch
        self.batch_size = batch_size
        # without the delay it would be drawn now, before the first epoch
        self._bar = _bar(verbose, samples_per_epoch, delay=0.1)

    is_kept = False

    def on_epoch_begin(self, epoch: int) -> None:
        """Start the bar and the clock."""
        self._title = f"epoch {epoch + 1}/{self.epochs}"
        self._done = 0
        self._start = perf_counter()
        self._bar.set_description_str(self._title, refresh=False)
        self._bar.set_postfix_str("", refresh=False)
        self._bar.bar_format = ENDLESS if self.samples_per_epoch is None else BAR
        self._bar.total = self.samples_per_epoch
        self._bar.reset()

    def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
        """Move the bar."""
        self._done = self._samples_of(step)
        self._seconds = perf_counter() - self._start
        self._bar.set_postfix_str(_shown.logs(logs), refresh=False)
        self._bar.update(self._done - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the epoch's line, above the bar if there is one."""
        if self._done == 0:  # the epoch was over before it had anything to show
            self._done = self.samples_per_epoch or 0
            self._seconds = perf_counter() - self._start
        rate = self._done / max(self._seconds, 1e-9)
        line = f"{self._title}  {_shown.logs(logs)}  {rate:.0f} samples/s"
        self._bar.write(line, file=standard("stderr"))

    def _samples_of(self, step: int) -> int:
        """Return how many of the epoch's samples are done after this step."""
        done = step * self.batch_size
        return done if self.samples_per_epoch is None else min(done, self.samples_per_epoch)

    def on_train_end(self) -> None:
        """Take the bar away; the lines stay."""
        _take_away(self._bar)


class NetworkBar:
    """How much of many networks' training is done: a bar, or a line for each tenth of it.

    Parameters
    ----------
    what : str
        The call that trains them.
    total : int
        How many networks there are.
    verbose : {"auto", 0, 1, 2}
        As `fit_many` takes it.
    """

    def __init__(self, what: str, total: int, verbose: int | str) -> None:
        bar = _bar(verbose, 1.0, desc=what, delay=SOON, bar_format=OF_NETWORKS)
        self._bar, self._what, self._total = bar, what, total
        self._has_lines = bar.disable and verbose != 0
        self._networks: list[_Followed] = []
        self._told = 0
        self._start = perf_counter()

    def __enter__(self) -> NetworkBar:
        return self

    def __exit__(self, *_: object) -> None:
        _take_away(self._bar)

    @contextmanager
    def network(self, share: float, epochs: int) -> Iterator[Callback]:
        """Give the callback that follows a network's training, which is this share of all work."""
        followed = _Followed(share / max(epochs, 1))
        self._networks.append(followed)
        yield followed
        followed.done, followed.has_ended = share, True  # an early end is an end

    def show(self) -> None:
        """Draw the bar, or write a line if another tenth is done."""
        done = min(sum(one.done for one in self._networks), 1.0)
        ended = sum(one.has_ended for one in self._networks)
        seconds = max(perf_counter() - self._start, 1e-9)
        if self._has_lines:
            tenths = int(10 * done + 1e-6)
            if tenths > self._told and seconds > SOON:
                left = seconds * (1 - done) / done
                rate = f"{ended}/{self._total} networks, {ended / seconds:.3g} networks/s"
                print(
                    f"{self._what}: {rate}, about {left:.0f} s left",
                    file=standard("stderr"), flush=True,
                )  # fmt: skip
            self._told = tenths
        else:
            rate = f"{ended}/{self._total} networks, {ended / seconds:.3g} networks/s"
            self._bar.set_postfix_str(rate, refresh=False)
            self._bar.update(done - self._bar.n)


class _Followed(Callback):
    """Counts the epochs of one network."""

    is_kept = False

    def __init__(self, of_epoch: float) -> None:
        self._of_epoch = of_epoch
        self.done, self.has_ended = 0.0, False  # of all work

    def epochs_ahead(self) -> int:
        """Return a great number: the model is not looked at."""
        return sys.maxsize

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Count one more."""
        self.done += self._of_epoch
