"""When a checkpoint is written, under which name, and which files stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop, saving
from fastdnn.saving import ModelCheckpoint
from tests import tiers
from tests.nets import classifier, samples

X, y = samples(64)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 4 steps an epoch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("{epoch}", {}, ["1", "2", "3"]),
        ("{epoch}-{step}", {}, ["1-4", "2-8", "3-12"]),
        ("{epoch}-{step}", {"every_n_steps": 4}, ["2-4", "3-8", "4-12"]),
        ("{step}", {"every_n_steps": 5}, ["10", "5"]),
        ("{step}", {"every_n_steps": 5, "keep": 1}, ["10"]),
        ("{epoch}", {"keep": 2}, ["2", "3"]),
        ("{step}", {"every_n_steps": 100}, []),
        ("one", {"every_n_steps": 1}, ["one"]),
    ],
)
def test_which_files_there_are(
    name: str, options: dict[str, Any], wanted: list[str], tmp_path: Path
) -> None:
    classifier().fit(X, y, epochs=3, callbacks=[ModelCheckpoint(tmp_path / name, **options)], **FIT)
    assert names(tmp_path) == wanted


def test_every_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(saving, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)

    class Clock(fastdnn.Callback):
        def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
            now[0] += 1.0

    saved = ModelCheckpoint(tmp_path / "{step}", every_seconds=3)
    classifier().fit(X, y, epochs=3, callbacks=[Clock(), saved], **FIT)
    assert names(tmp_path) == ["12", "3", "6", "9"]


def test_old_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("not ours")
    saved = ModelCheckpoint(tmp_path / "{epoch}", keep=1)
    classifier().fit(X, y, epochs=3, callbacks=[saved], **FIT)
    assert names(tmp_path) == ["0", "3"]


def test_a_resumed_training_removes_what_the_one_before_left(tmp_path: Path) -> None:
    for epochs, path in ((2, None), (4, tmp_path / "2")):
        saved = ModelCheckpoint(tmp_path / "{epoch}", keep=2)
        classifier().fit(X, y, epochs=epochs, callbacks=[saved], resume_from=path, **FIT)
    assert names(tmp_path) == ["3", "4"]


def test_the_model_of_a_checkpoint_is_that_of_the_moment(tmp_path: Path) -> None:
    whole, part = classifier(), classifier()
    saved = ModelCheckpoint(tmp_path / "{step}", every_n_steps=4)
    whole.fit(X, y, epochs=2, callbacks=[saved], **FIT)
    part.fit(X, y, epochs=1, **FIT)
    np.testing.assert_array_equal(fastdnn.load(tmp_path / "4").parameters, part.parameters)
    np.testing.assert_array_equal(fastdnn.load(tmp_path / "8").parameters, whole.parameters)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every_n_steps": 0}, ValueError, r"every_n_steps: want an integer in \[1, inf\), got 0"),
        ({"every_n_steps": 1.5}, TypeError, r"every_n_steps: want an integer"),
        ({"every_seconds": 0}, ValueError, r"every_seconds: want a number in \(0, inf\), got 0"),
        ({"keep": 0}, ValueError, r"keep: want an integer in \[1, inf\), got 0"),
        ({"keep": 2}, ValueError, r"keep: want \{epoch\} or \{step\} in the path, .* got 'one'"),
        (
            {"save_best_only": True, "every_n_steps": 5},
            ValueError,
            "save_best_only: want it without every_n_steps and every_seconds",
        ),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^ModelCheckpoint.{message}"):
        ModelCheckpoint("one", **options)


def test_the_logs_are_unknown_within_an_epoch(tmp_path: Path) -> None:
    saved = ModelCheckpoint(tmp_path / "{loss}", every_n_steps=2)
    with pytest.raises(ValueError, match=r"^ModelCheckpoint.path: unknown name 'loss'.*step"):
        classifier().fit(X, y, callbacks=[saved], **FIT)


def test_a_strangers_checkpoint_removes_no_other_files(tmp_path: Path) -> None:
    """Its list of files is taken as far as this path may have named them."""
    other = tmp_path / "other"
    other.write_text("not ours")
    saved = ModelCheckpoint(tmp_path / "{epoch}.st", keep=1)
    listed = [str(other), str(tmp_path / "a" / "1.st"), str(tmp_path / "7.st"), "7.st"]
    saved.set_state({"best": 1.0, "_files": listed, "path": "elsewhere", "keep": None})
    assert saved._files == [str(tmp_path / "7.st")]
    assert (saved.path, saved.keep, saved.best) == (str(tmp_path / "{epoch}.st"), 1, 1.0)
    with pytest.raises(TypeError, match="best"):
        saved.set_state({"best": "x", "_files": []})


TRAINING = """
import json, sys
import numpy as np
import fastdnn
from pathlib import Path

path, threads, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
fastdnn.set_num_threads(threads)
fastdnn.loop.SLICE_SECONDS = 0.002
rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 20)).astype("float32")
y = rng.integers(0, 3, 4000)
model = fastdnn.Sequential(
    [fastdnn.Dense(30, "relu"), fastdnn.Dropout(0.3), fastdnn.Dense(3, "softmax")], seed=0
)
model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
saved = fastdnn.ModelCheckpoint(path, every_seconds=seconds)
history = model.fit(
    X, y, epochs=40, verbose=0, validation_split=0.25, callbacks=[saved],
    resume_from=path if path.exists() else None,
)
print(json.dumps([model.parameters.tobytes().hex(), history.history]))
"""


def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bits(tmp_path: Path) -> None:
    def start(threads: int, seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRAINING, tmp_path / "model", str(threads), str(seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd())

    expected = start(2, 1e9).communicate()[0]
    path = tmp_path / "model"
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "big"))
    for kill in range(tiers.times(2, 200)):
        process = start(1 + kill % 2, 0.001)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        output = process.communicate()[0]
        if output:  # it was over before it could be killed
            assert json.loads(output) == json.loads(expected)
    assert path.exists()
    last = start(1, 0.05).communicate()[0]
    assert json.loads(last) == json.loads(expected)
    fastdnn.load(path).save(path)  # what a kill leaves is taken again by the next file
    assert names(tmp_path) == ["model"]
