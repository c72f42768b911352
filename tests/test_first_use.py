"""What is shown while the kernels compile."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import fastdnn
from fastdnn import _first_use
from fastdnn.kernels.compiler import compiling

SOURCES = str(Path(fastdnn.__file__).parents[1])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Told:
    """An event whose waits end when a test has done its part, however long they were to be."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if not self.parts:
            return True
        self.parts.pop(0)()
        return False


def follow(
    total: float, works: list[float], stream: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[float]]:
    """What is written while these works are done, each between two looks; and the pauses."""
    clock = [100.0]
    monkeypatch.setattr(_first_use, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", stream)
    progress = _first_use._Progress(total, start=clock[0])

    def part(work: float) -> None:
        clock[0] += 10.0
        progress.tell(work)

    told = Told([lambda work=work: part(work) for work in works])
    _first_use._follow(progress, told)  # type: ignore[arg-type]
    return stream.getvalue() if stream is not None else "", told.waits


def test_a_file_gets_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text, waits = follow(40.0, [0.0, 10.0, 20.0, 100.0], io.StringIO(), monkeypatch)
    title = "fastdnn: first use, compiling"
    assert text.splitlines() == [
        f"{title}: 0% done",
        f"{title}: 25% done, about 60 s left",
        f"{title}: 75% done, about 10 s left",
        f"{title}: 100% done, about 0 s left",
        f"{title}: done in 40 s",
    ]
    assert waits == [1, 2, 4, 8, 16], "ever fewer lines"


def test_a_terminal_gets_a_bar_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = follow(40.0, [10.0, 10.0, 20.0], Terminal(), monkeypatch)
    assert re.search(r"\rfastdnn: first use, compiling +25%\|.*\| 00:1\d<00:3\d", text)
    assert " 50%|" in text
    assert "100%|" in text
    assert text.split("\r")[-1].strip() == ""
    assert "\n" not in text


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal(), None])
def test_what_is_over_soon_is_not_told(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, waits = follow(40.0, [], stream, monkeypatch)
    assert text == ""
    assert waits == [_first_use.SOON] == [1.0]


def test_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    follow(40.0, [10.0, 10.0], None, monkeypatch)


def test_the_thread_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), _first_use.show(3.0):
        raise KeyboardInterrupt
    assert threading.active_count() == before
    assert stream.getvalue() == ""


def test_fastdnn_watches() -> None:
    assert compiling._watcher is _first_use.show


# A compilation that takes no time, and is told of at once.
PROGRAM = """
import numpy as np, fastdnn
from fastdnn import _first_use
from fastdnn.kernels.elementwise import activations
from fastdnn.kernels.compiler import compiling
_first_use.SOON = 0.05
X, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
def net():
    model = fastdnn.Sequential([fastdnn.Dense(4), fastdnn.Dense(2, "softmax")], input_size=3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
{statement}
"""
SHOWN = {
    "fit": "net().fit(X, y)",
    "fit, a line an epoch": "net().fit(X, y, verbose=2)",
    "steps": "net().train_on_batch(X, y)",
    "kernels": "fastdnn.kernels.linear_forward(X, X.T @ X @ X.T, None)",
    "textbook": "fastdnn.textbook.linear_forward(X.T, np.ones((2, 3)), np.ones((2, 1)))",
}
SILENT = {
    "fit": "net().fit(X, y, verbose=0)",
    "predict": "net().predict(X)",
    "evaluate": "net().evaluate(X, y)",
    "an estimator": "fastdnn.MLPClassifier((2,), max_iter=1, tol=9.0).fit(X, y).predict(X)",
}


def stderr_of(statement: str, cache: Path) -> list[str]:
    path = os.pathsep.join([SOURCES, os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(statement=statement)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in run.stderr.splitlines() if "epoch" not in line]


@pytest.mark.nightly
def test_a_cold_start_is_shown_once(tmp_path: Path) -> None:
    first, *_, last = stderr_of(SHOWN["fit"], tmp_path)
    assert first.startswith(f"{_first_use.TITLE}: ")
    assert last.startswith(f"{_first_use.TITLE}: done in ")
    assert stderr_of(SHOWN["fit"], tmp_path) == []


BLOCKED = """
import contextlib
told = []
@contextlib.contextmanager
def watch(total):
    told.append(total)
    yield lambda work: None
compiling.watch(watch)
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.parallel import entry
jit.is_cached = lambda function, types: False  # as if all had to be compiled
entry.is_possible = lambda: False
{statement}
print(len(told) > 0)
"""


def is_told(statement: str) -> bool:
    path = os.pathsep.join([SOURCES, os.environ.get("PYTHONPATH", "")])
    program = PROGRAM.format(statement=BLOCKED.format(statement=statement))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize(
    "what",
    [
        "fit",
        "steps",
        "kernels",
        pytest.param("fit, a line an epoch", marks=pytest.mark.nightly),
        pytest.param("textbook", marks=pytest.mark.nightly),
    ],
)
def test_who_shows_it(what: str) -> None:
    assert is_told(SHOWN[what])


@pytest.mark.parametrize("what", SILENT)
def test_who_is_silent(what: str) -> None:
    assert not is_told(SILENT[what])
