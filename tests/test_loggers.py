"""What the loggers write, read back."""

from __future__ import annotations

import csv
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdnn import Callback, CSVLogger, TensorBoard
from tests.nets import classifier, samples

X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def rows(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=separator))


# -------------------------------------------------------------------------------------- CSVLogger
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_line_for_every_epoch(separator: str, tmp_path: Path) -> None:
    path, model = tmp_path / "log.csv", classifier()
    history = model.fit(
        X, y, epochs=3, validation_split=0.2, callbacks=[CSVLogger(path, separator)], **FIT
    ).history
    head, *lines = rows(path, separator)
    assert head == ["epoch", *history]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    for column, name in enumerate(history, 1):
        assert [float(line[column]) for line in lines] == history[name]
    assert path.read_bytes().count(b"\n") == 4
    assert b"\r" not in path.read_bytes()


def test_an_epoch_without_validation_leaves_its_columns_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    options = {"validation_split": 0.2, "validation_freq": 2, **FIT}
    classifier().fit(X, y, epochs=2, callbacks=[CSVLogger(path)], **options)
    head, first, second = rows(path)
    at = head.index("val_loss")
    assert first[at] == ""
    assert float(second[at]) > 0
    assert len(first) == len(second) == len(head)


def test_append_goes_on_and_replaces_nothing(tmp_path: Path) -> None:
    path, model = tmp_path / "log.csv", classifier()
    log = CSVLogger(str(path), append=True)
    model.fit(X, y, epochs=2, callbacks=[log], **FIT)
    model.fit(X, y, epochs=4, initial_epoch=2, callbacks=[log], **FIT)
    assert [line[0] for line in rows(path)] == ["epoch", "0", "1", "2", "3"]
    model.fit(X, y, callbacks=[CSVLogger(path)], **FIT)
    assert [line[0] for line in rows(path)] == ["epoch", "0"]


def test_lines_are_there_while_the_training_lasts(tmp_path: Path) -> None:
    path, found = tmp_path / "log.csv", []

    class Look(Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            found.append(len(rows(path)))

    classifier().fit(X, y, epochs=3, callbacks=[CSVLogger(path), Look()], **FIT)
    assert found == [2, 3, 4]


def test_a_file_of_other_columns_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1.5\n", encoding="utf-8")
    model = classifier()
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=r"^CSVLogger.filename: want the columns .*\['epoch', 'lo"):
        model.fit(X, y, callbacks=[CSVLogger(path, append=True)], **FIT)
    assert path.read_text(encoding="utf-8") == "epoch,loss\n0,1.5\n"
    assert np.array_equal(model.parameters, before)


def test_where_no_file_can_be(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "missing" / "log.csv", "there is no folder .*missing"),
        (tmp_path, "is a folder; name a file"),
    ):
        with pytest.raises(ValueError, match=f"^CSVLogger.filename: .*{message}"):
            classifier().fit(X, y, callbacks=[CSVLogger(path)], **FIT)


@pytest.mark.parametrize("separator", ["", ", ", "\n", '"', 3])
def test_a_separator_is_one_character(separator: Any) -> None:
    with pytest.raises(ValueError, match=r"^CSVLogger.separator: want one character, got "):
        CSVLogger("log.csv", separator)


def test_append_is_a_flag() -> None:
    with pytest.raises(TypeError, match=r"^CSVLogger.append: want True or False, got 1$"):
        CSVLogger("log.csv", append=1)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ TensorBoard
def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in a folder: (step, value) of each tag, from its one file of records."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    data, curves = path.read_bytes(), dict[str, list[tuple[int, float]]]()
    while data:
        (size,) = struct.unpack("<Q", data[:8])  # then 4 bytes of checksum, the event, 4 more
        event = Event.FromString(data[12 : 12 + size])
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append((event.step, value.simple_value))
        data = data[16 + size :]
    return curves


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip(
        "tensorboardX",
        reason="tensorboardX is not installed: pip install 'fastdnn[tensorboard]'",
    )
    history = classifier().fit(
        X, y, epochs=3, validation_split=0.2, validation_freq=2,
        callbacks=[TensorBoard(tmp_path / "logs" / "run")], **FIT,
    )  # fmt: skip
    train, validation = (points(tmp_path / "logs" / "run" / f) for f in ("train", "validation"))
    assert set(train) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(validation) == {"epoch_loss", "epoch_accuracy"}
    for name, values in history.history.items():
        curves = validation if name.startswith("val_") else train
        curve = curves[f"epoch_{name.removeprefix('val_')}"]
        assert [step for step, _ in curve] == history.epochs_of(name)
        np.testing.assert_allclose([value for _, value in curve], values, rtol=1e-6)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    pytest.importorskip(
        "tensorboardX",
        reason="tensorboardX is not installed: pip install 'fastdnn[tensorboard]'",
    )
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^TensorBoard.log_dir: "):
        classifier().fit(X, y, callbacks=[TensorBoard(tmp_path / "file")], **FIT)


def test_without_tensorboardX(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    wanted = r"needs tensorboardX, .*: pip install 'fastdnn\[tensorboard\]'$"
    with pytest.raises(ImportError, match=wanted):
        TensorBoard()
