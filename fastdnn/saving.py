"""`ModelCheckpoint`: saves the model, and its training, while it is trained."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from string import Formatter
from time import monotonic
from typing import Any

from fastdnn.kernels.base.lookup import lookup

from ._checks import check_flag, check_number
from ._closed import closed
from ._files import check_writable
from ._late import Late
from ._log import LOGGER
from .checkpoint import check_suffix
from .monitoring import Monitoring


@closed()
class ModelCheckpoint(Monitoring):
    """Save the model and the state of its training: after epochs, or by steps or seconds.

    ``fit(…, resume_from=path)`` goes on from such a file, and `load` reads the model in it.

    Parameters
    ----------
    path : str or path
        The file. It may hold {epoch} (from 1, as the progress line shows it), {step} (of all steps
        since `compile`) and, after epochs, the names in the logs, with Python's formats:
        ``"net-{epoch:03d}-{val_loss:.4f}.safetensors"``. Missing folders are made. An epoch without
        validation is not saved if the path names its values. A file is written whole or not at all.
    monitor, mode
        As in `EarlyStopping`; of use with `save_best_only` alone. The best value is kept from one
        `fit` to the next, so that a resumed training does not overwrite a better model.
    save_best_only : bool
        Save only when `monitor` has improved.
    every_n_steps : int, optional
        Save after every so many steps, also within an epoch, and not after epochs.
    every_seconds : float, optional
        Save when so many seconds have passed since the last time, also within an epoch.
    keep : int, optional
        Keep so many of the files that this training has saved, the last ones, and remove the
        others; None keeps all. The path then holds {epoch} or {step}.

    Warns
    -----
    RuntimeWarning
        If a file cannot be written, as the disk is full. The training goes on, and the next file
        is tried; if the last one fails, `fit` raises its OSError when all epochs are done.
    """

    _KEPT = ("_files",)
    writes = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        *,
        every_n_steps: int | None = None,
        every_seconds: float | None = None,
        keep: int | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.path = os.fspath(path)
        self.save_best_only = check_flag(self._name("save_best_only"), save_best_only)
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.path)]
        except ValueError as error:  # a lone brace
            raise self._no_format(error) from None
        self._fields = [field for field in fields if field is not None]
        if every_n_steps is not None:
            check_number(self._name("every_n_steps"), every_n_steps, "[1, inf)", whole=True)
        if every_seconds is not None:
            check_number(self._name("every_seconds"), every_seconds, "(0, inf)")
        if keep is not None:
            check_number(self._name("keep"), keep, "[1, inf)", whole=True)
        self.every_n_steps, self.every_seconds, self.keep = every_n_steps, every_seconds, keep
        self._check_together()
        self._files: list[str] = []  # that this training has saved
        self._due: str | None = None

    @property
    def _is_by_epochs(self) -> bool:
        return self.every_n_steps is None and self.every_seconds is None

    def _check_together(self) -> None:
        """Refuse arguments that do not go together."""
        if self.save_best_only and not self._is_by_epochs:
            raise ValueError(
                f"{self._name('save_best_only')}: want it without every_n_steps and every_seconds, "
                "as a value to be the best is known after an epoch"
            )
        if self.keep is not None and not {"epoch", "step"} & set(self._fields):
            raise ValueError(
                f"{self._name('keep')}: want {{epoch}} or {{step}} in the path, so that there are "
                f"several files, got {self.path!r}"
            )

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse a path that cannot be made or written, and what the logs will not hold."""
        if self.save_best_only:
            super().check_logs(names)
        names = names if self._is_by_epochs else []
        for field in self._fields:
            self._check_name("path", field, ["epoch", "step", *names])
        path = Path(self._filled({"epoch": 1, "step": 1, **dict.fromkeys(names, 1.0)}))
        check_suffix(self._name("path"), path)
        folder = next(one for one in path.absolute().parents if one.exists())
        check_writable(self._name("path"), path, folder)

    def _no_format(self, error: Exception) -> ValueError:
        name = self._name("path")
        return ValueError(f"{name}: want a format as of str.format, got {self.path!r} ({error})")

    def _filled(self, values: Mapping[str, float]) -> str:
        """Return the path of an epoch with these values."""
        for field in self._fields:
            lookup(self._name("path"), field, values)
        try:
            return self.path.format_map(values)
        except (KeyError, ValueError) as error:
            raise self._no_format(error) from None

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with these; of the files only those that this path names, as some are removed."""
        super().set_state(state)
        parts = Formatter().parse(self.path)
        named = "".join(
            re.escape(text) + ("" if field is None else r"[^/]+") for text, field, *_ in parts
        )
        self._files = [one for one in self._files if re.fullmatch(named, one)]

    def on_train_begin(self) -> None:
        """Start the clock."""
        self._late = Late(type(self).__name__)
        self._last, self._due, self._files = monotonic(), None, []
        self._steps = -1  # of the last file

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """See whether the epoch is to be saved, which is done when all callbacks know of it."""
        if not self._is_by_epochs:
            return
        needed = [*self._fields, *([self.monitor] if self.save_best_only else [])]
        if any(self._lacks(name, logs) for name in needed):
            return
        self._former = self.best
        if self.save_best_only and not self._improved(self._value(logs)):
            return
        self._values: dict[str, Any] = {"epoch": epoch + 1, **logs}
        self._due = self._filled({**self._values, "step": 0})

    def on_safe_point(self, epoch: int, steps: int, save: Callable[[str], object]) -> None:
        """Save, if it is time."""
        values: dict[str, Any] = {"epoch": epoch + 1, "step": steps}
        if self._due is not None:
            values = {**self._values, "step": steps}
        elif not self._is_time(steps):
            return
        self._write(values, steps, save)

    def _write(self, values: Mapping[str, Any], steps: int, save: Callable[[str], object]) -> None:
        self._due, self._last = None, monotonic()
        path, before = self._filled(values), self._files
        with self._late.held():
            self._files = [*(one for one in before if one != path), path]  # the file holds the list
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                save(path)
            except BaseException:
                self._files = before
                if self.save_best_only:
                    self.best = self._former  # of the file that there is
                raise
            self._steps = steps
            self._late.written()
            LOGGER.info("checkpoint of step %d: %s", steps, path)
            while self.keep is not None and len(self._files) > self.keep:
                Path(self._files.pop(0)).unlink(missing_ok=True)

    def on_interrupt(self, epoch: int, steps: int, save: Callable[[str], object]) -> None:
        """Save, unless that is just done, or the path or the best value wants an epoch's end."""
        is_named = set(self._fields) <= {"epoch", "step"}
        if is_named and not self.save_best_only and steps != self._steps:
            self._write({"epoch": epoch + 1, "step": steps}, steps, save)

    def on_train_end(self) -> None:
        """Raise the error of the last file, if it could not be written."""
        self._late.tell()

    def _is_time(self, steps: int) -> bool:
        by_steps = self.every_n_steps is not None and steps % self.every_n_steps == 0
        seconds = self.every_seconds
        by_time = seconds is not None and monotonic() - self._last >= seconds
        return (by_steps or by_time) and steps != self._steps
