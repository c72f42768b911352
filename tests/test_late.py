"""A file that cannot be written ends no training: it is told at once, and raised at the end."""

from __future__ import annotations

import csv
import errno
import logging
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Callback, CSVLogger, ModelCheckpoint, checkpoint
from tests.faults import largest_file
from tests.nets import classifier, samples

X, y = samples(64)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0, "validation_split": 0.25}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each save in turn fails; those after the last do not."""
    fails, write = list[bool](), checkpoint.write

    def maybe(path: Any, content: Any) -> None:
        if fails and fails.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write", maybe)
    return fails


def trained(epochs: int, *callbacks: Callback) -> fastdnn.Sequential:
    model = classifier(seed=3)
    model.fit(X, y, epochs=epochs, callbacks=callbacks, **FIT)
    return model


# --------------------------------------------------------------------------------- ModelCheckpoint
def test_a_save_that_fails_costs_neither_history_nor_epochs(
    failing: list[bool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, model = tmp_path / "model", classifier(seed=3)
    failing += [False, True, True]
    with (
        pytest.raises(OSError, match="No space left") as error,
        pytest.warns(RuntimeWarning, match="^ModelCheckpoint: .*No space left.*goes on$") as said,
        caplog.at_level(logging.WARNING, "fastdnn"),
    ):
        model.fit(X, y, epochs=3, callbacks=[ModelCheckpoint(path)], **FIT)
    assert error.value.filename == str(path)
    assert {one.filename for one in said} == {__file__}  # the user's own line
    assert len(caplog.records) == 2
    whole = trained(3)
    assert model.history.history == whole.history.history
    assert model.parameters.tobytes() == whole.parameters.tobytes()
    assert fastdnn.load(path).parameters.tobytes() == trained(1).parameters.tobytes()


def test_a_later_file_makes_good_for_it(failing: list[bool], tmp_path: Path) -> None:
    path = tmp_path / "model"
    failing += [True, False, True, False]
    with pytest.warns(RuntimeWarning, match="No space left"):
        model = trained(4, ModelCheckpoint(path))
    assert fastdnn.load(path).parameters.tobytes() == model.parameters.tobytes()


def test_the_best_is_what_a_file_holds(failing: list[bool], tmp_path: Path) -> None:
    """A value worse than one that was not saved is still better than that of the file."""
    values = iter([3.0, 1.0, 2.0, 2.5])

    class Told(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            logs["val_loss"] = next(values)

    failing += [False, True]
    saved = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True)
    with pytest.warns(RuntimeWarning, match="No space left"):
        trained(4, Told(), saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]
    assert saved.best == 2


def test_a_failed_save_removes_no_older_file(failing: list[bool], tmp_path: Path) -> None:
    failing += [False, False, True, True]
    with (
        pytest.raises(OSError, match="No space left"),
        pytest.warns(RuntimeWarning, match="No space left"),
    ):
        trained(4, ModelCheckpoint(tmp_path / "{epoch}", keep=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_failed_save_counts_for_none_to_keep(failing: list[bool], tmp_path: Path) -> None:
    failing += [False, False, True]
    with pytest.warns(RuntimeWarning, match="No space left"):
        trained(4, ModelCheckpoint(tmp_path / "{epoch}", keep=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "4"]


def test_ctrl_c_comes_through(failing: list[bool], tmp_path: Path) -> None:
    class Stop(Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    failing += [True] * 9
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(RuntimeWarning, match="No space left"),
    ):
        trained(4, Stop(), ModelCheckpoint(tmp_path / "model"))


def test_an_error_that_is_handled_outside_hides_none(failing: list[bool], tmp_path: Path) -> None:
    failing += [True]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            raise ImportError
        except ImportError:
            with pytest.raises(OSError, match="No space left"):
                trained(1, ModelCheckpoint(tmp_path / "model"))


def test_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with (
        pytest.raises(OSError, match="File too large") as error,
        pytest.warns(RuntimeWarning, match="File too large"),
        largest_file(100),
    ):
        trained(2, ModelCheckpoint(path))
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------- CSVLogger
def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_line_that_cannot_be_written_comes_with_the_next(first: int, tmp_path: Path) -> None:
    path, whole, disk = tmp_path / "log.csv", tmp_path / "whole.csv", ExitStack()
    epochs = range(first, first + 2)

    class Begin(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch in epochs:
                disk.enter_context(largest_file(20))

    class End(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            disk.close()

    with pytest.warns(RuntimeWarning, match=r"^CSVLogger: .*File too large: '.*log\.csv'"):
        model = trained(5, Begin(), CSVLogger(path), End())
    trained(5, CSVLogger(whole))
    assert rows(path) == rows(whole)
    assert len(model.history.epoch) == 5


def test_lines_that_are_missing_at_the_end(tmp_path: Path) -> None:
    path, model = tmp_path / "log.csv", classifier(seed=3)
    with (
        pytest.raises(OSError, match="File too large") as error,
        pytest.warns(RuntimeWarning, match="File too large"),
        largest_file(20),
    ):
        model.fit(X, y, epochs=3, callbacks=[CSVLogger(path)], **FIT)
    assert error.value.filename == str(path)
    np.testing.assert_array_equal(model.parameters, trained(3).parameters)
    assert len(model.history.epoch) == 3


def test_a_file_that_cannot_be_opened_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "log.csv", list[int]()
    real = CSVLogger._open

    def maybe(self: CSVLogger) -> Any:
        opened.append(0)
        if len(opened) < 3:
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return real(self)

    monkeypatch.setattr(CSVLogger, "_open", maybe)
    with pytest.warns(RuntimeWarning, match="Too many open files"):
        trained(4, CSVLogger(path))
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2", "3"]


@pytest.mark.parametrize("place", [-3, 10**12])
def test_a_place_beyond_the_file_adds_nothing_to_it(place: int, tmp_path: Path) -> None:
    """A file of another training may say anything."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1.5\n")
    log = CSVLogger(path)
    log.check_logs(["loss"])
    log.on_train_begin()
    log.set_state({"length": place})
    log.on_epoch_end(1, {"loss": 1.0})
    log.on_train_end()
    kept = [["epoch", "loss"], ["0", "1.5"]] if place > 0 else []
    assert rows(path)[: len(kept)] == kept
    assert rows(path)[-1] == ["1", "1.0"]
