"""What every epoch of a training gave."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdnn.kernels.base.forks import Lock

from . import _shown
from ._closed import closed
from .hooks import Callback

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from .divergence import DivergenceError

_changing = Lock()  # records, or reading them to copy them


@closed()
class History(Callback):
    """What every epoch gave. `fit` returns it.

    Attributes
    ----------
    epoch : list of int
        The numbers of the epochs, from 0.
    history : dict of lists of float
        For each name in the logs, its value in each of these epochs that had one: an epoch without
        validation has no "val_" values.
    params : dict
        Facts of the training: {"epochs": 20, "steps": 469}.
    error : DivergenceError or None
        What has ended the training in `fastdnn.fit_many`, which does not raise it.
    """

    def __init__(self) -> None:
        self.params: dict[str, object] = {}
        self.error: DivergenceError | None = None
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self._epochs: dict[str, list[int]] = {}

    def epochs_ahead(self) -> int:
        """Return a great number: only the logs are recorded."""
        return sys.maxsize

    def on_train_begin(self) -> None:
        """Forget an earlier training."""
        self.epoch, self.history, self._epochs = [], {}, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Append the epoch's logs."""
        with _changing:
            self.epoch.append(epoch)
            for name, value in logs.items():
                self.history.setdefault(name, []).append(value)
                self._epochs.setdefault(name, []).append(epoch)

    def __getstate__(self) -> dict[str, Any]:
        """Return whole epochs only, whatever another thread appends."""
        with _changing:
            records = copy.deepcopy(self.get_state())
        names = {"epoch": "epoch", "history": "history", "_epochs": "epochs"}
        return {**self.__dict__, **{name: records[key] for name, key in names.items()}}

    def get_state(self) -> dict[str, Any]:
        """Return the records."""
        return {"epoch": self.epoch, "history": self.history, "epochs": self._epochs}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with these records."""
        self.epoch, self.history = list(state["epoch"]), dict(state["history"])
        self._epochs = dict(state["epochs"])

    def epochs_of(self, name: str) -> list[int]:
        """Return the numbers of the epochs that gave ``history[name]``."""
        return list(self._epochs[name])

    def to_frame(self) -> DataFrame:
        """Return a pandas DataFrame: a row for each epoch, by its number, a column for each name.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame, Index, Series
        except ImportError:
            raise ImportError(
                "to_frame needs pandas, which is not installed: pip install 'fastdnn[data]'"
            ) from None
        columns = {name: Series(self.history[name], self._epochs[name]) for name in self.history}
        return DataFrame(columns, index=Index(self.epoch, name="epoch"))

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the loss and each metric by epoch; see `fastdnn.plots.plot_history`."""
        from .plots import plot_history

        return plot_history(self, path)

    def __repr__(self) -> str:
        """Return the number of epochs, and the last one's values."""
        if not self.epoch:
            return "History(0 epochs)"
        last = _shown.logs({name: values[-1] for name, values in self.history.items()})
        count = f"{len(self.epoch)} epoch{'s' if len(self.epoch) > 1 else ''}"
        return f"History({count}, the last: {last})"
