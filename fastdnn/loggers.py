"""Callbacks that keep the logs of a training elsewhere: in a CSV file, for TensorBoard."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from ._checks import check_flag
from ._closed import closed
from ._files import check_writable, named
from ._late import Late
from .hooks import Callback


@closed()
class CSVLogger(Callback):
    """Write a line of the logs to a CSV file after every epoch.

    Parameters
    ----------
    filename : str or path
        Its columns are "epoch", from 0, and the names in the logs; what an epoch does not have,
        as "val_loss" without validation, stays empty.
    separator : str
        Between two columns: one character.
    append : bool
        Whether to go on with a file that is there, which must have the same columns; else it is
        replaced.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; from `fit` before any work, if no such file can be written or the
        one to append to has other columns.

    Warns
    -----
    RuntimeWarning
        If a line cannot be written, as the disk is full. The training goes on, and the line is
        tried again with the next one; what is missing at the end `fit` raises as OSError.
    """

    writes = True

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"CSVLogger.separator: want one character, got {separator!r}")
        self.separator = separator
        self.append = check_flag("CSVLogger.append", append)
        self._names: list[str] = []
        self._file: IO[str] | None = None

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse a file that cannot be written or goes on with other columns."""
        self._names = ["epoch", *names]
        path = Path(self.filename).absolute()
        if not path.parent.is_dir():
            raise ValueError(f"CSVLogger.filename: there is no folder {path.parent}; make it first")
        check_writable("CSVLogger.filename", path, path.parent)
        found = self._header() if self.append else None
        if found not in (None, self._names):
            raise ValueError(
                f"CSVLogger.filename: want the columns {self._names} to append to, got {found} "
                f"in {path}"
            )

    def _header(self) -> list[str] | None:
        """Return the columns of the file that is there; None without one, or if it is empty."""
        if not Path(self.filename).is_file():
            return None
        with open(self.filename, encoding="utf-8", newline="") as file:
            return next(csv.reader(file, delimiter=self.separator), None)

    def on_train_begin(self) -> None:
        """Leave the file as it is until there is a line for it, or `set_state` says where."""
        self._place: int | None = None
        self._rows: list[list[Any]] = []  # yet to be written
        self._late = Late(type(self).__name__)

    def get_state(self) -> dict[str, Any]:
        """Return the length of the file."""
        return {"length": None if self._file is None else self._file.tell()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on after the lines that there were; later ones are of epochs that come again."""
        self._place = state["length"]

    def _open(self) -> IO[str]:
        """Return the file, at the place where its next line goes."""
        goes_on = self.append or self._place is not None
        is_new = not goes_on or self._header() is None
        file = open(self.filename, "a" if goes_on else "w", encoding="utf-8", newline="")  # noqa: SIM115
        try:
            if self._place is not None:
                # of another file it may be any number
                size = os.fstat(file.fileno()).st_size
                file.truncate(min(max(self._place, 0), size))
        except OSError:
            file.close()
            raise
        if is_new:
            self._rows.insert(0, self._names)
        return file

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write a line."""
        values = {"epoch": epoch, **logs}
        self._rows.append([values.get(name, "") for name in self._names])
        with self._late.held(), named(Path(self.filename)):
            if self._file is None:
                self._file = self._open()
            # the file keeps what it cannot write, and tries again with the next line
            rows, self._rows = self._rows, []
            csv.writer(self._file, delimiter=self.separator, lineterminator="\n").writerows(rows)
            self._file.flush()  # so that it can be read while the training lasts
            self._late.written()

    def on_train_end(self) -> None:
        """Close the file, and raise the error of the last line, if it could not be written."""
        if self._file is not None:
            with self._late.held(), named(Path(self.filename)):
                self._file.close()
                if not self._rows:
                    self._late.written()
            self._file = None
        self._late.tell()


@closed()
class TensorBoard(Callback):
    """Write the logs for TensorBoard after every epoch: ``tensorboard --logdir logs``.

    As Keras does, curves are called "epoch_loss", "epoch_accuracy", …, and those of the training
    and of the validation lie in the folders "train" and "validation", which TensorBoard draws
    together.

    Parameters
    ----------
    log_dir : str or path
        The folder; it is made where it is missing. One for each run keeps them apart.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    writes = True

    def __init__(self, log_dir: str | os.PathLike[str] = "logs") -> None:
        try:
            import tensorboardX  # noqa: F401 - to tell now, not after an epoch
        except ImportError:
            raise ImportError(
                "TensorBoard needs tensorboardX, which is not installed: "
                "pip install 'fastdnn[tensorboard]'"
            ) from None
        self.log_dir = os.fspath(log_dir)
        self._writers: dict[str, Any] = {}

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse a folder that cannot be written."""
        path = Path(self.log_dir).absolute()
        folder = next(one for one in (path, *path.parents) if one.exists())
        check_writable("TensorBoard.log_dir", path / "train", folder)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write a point of every curve."""
        for name, value in logs.items():
            folder = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            self._writer(folder).add_scalar(tag, value, epoch)
        for writer in self._writers.values():
            writer.flush()  # so that it can be seen while the training lasts

    def _writer(self, folder: str) -> Any:
        from tensorboardX import SummaryWriter

        if folder not in self._writers:
            self._writers[folder] = SummaryWriter(str(Path(self.log_dir, folder)))
        return self._writers[folder]

    def on_train_end(self) -> None:
        """Close the files."""
        while self._writers:
            self._writers.popitem()[1].close()
