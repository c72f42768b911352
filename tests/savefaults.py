"""Faults at every system call of a save: ``python -m tests.savefaults``, where there is strace.

One save is recorded. Then it is done again and again, each time with one of its system calls
failing, telling of fewer bytes than it was given, or the process being killed before or after it.
Each cell of the table says what the file then held, the old or the new, and which error there was.
Exit status 1: a file was damaged, an error was another one than an OSError with the path, the model
or its history was lost, or something was left beside the file after one more save.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastdnn
from fastdnn._files import replacing
from fastdnn.cli import main as command
from tests.nets import classifier, samples

END = "/savefaults-ends"  # a path that is asked for when a save is over
FAULTS = {
    "ENOSPC": "error=ENOSPC",
    "EIO": "error=EIO",
    "EACCES": "error=EACCES",
    "short": "retval={half}",  # nothing is written, and the checksum tells
    "killed before": "error=EINTR:signal=SIGKILL",
    "killed after": "signal=SIGKILL",
}


class Writer(NamedTuple):
    """Something that writes a file."""

    write: Callable[[Path], object]
    kept: Callable[[], object]  # what no error may cost
    suffix: str = ".safetensors"
    checked: bool = False  # a model's file, which is read again before it takes its place


@cache
def trained(seed: int) -> fastdnn.Sequential:
    """A model with a history."""
    model, (X, y) = classifier(seed=seed), samples()
    model.history = model.fit(X, y, epochs=2, verbose=0)
    return model


def state_of(model: fastdnn.Sequential) -> object:
    """What a user has of a model."""
    return model.parameters.tobytes().hex(), model.history.history


def fit(path: Path) -> None:
    """Train, with a checkpoint after each epoch."""
    X, y = samples()
    saved = fastdnn.ModelCheckpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained(1).fit(X, y, epochs=4, initial_epoch=2, callbacks=[saved], verbose=0)


def predict(path: Path) -> None:
    """Predict by the command line, from files in the folder above."""
    inputs = [str(path.parents[1] / name) for name in ("digits.safetensors", "digits.npy")]
    with redirect_stderr(io.StringIO()) as said:
        status = command(["predict", *inputs, "--output", str(path)])
    if status:
        name = re.search(r"error: (?:--output: )?(?:the folder )?(\S+?):? ", said.getvalue())
        raise OSError(0, said.getvalue(), name and name[1])


WRITERS = {
    "model": Writer(lambda path: trained(1).save(path), lambda: state_of(trained(1)), checked=True),
    "training": Writer(fit, lambda: state_of(trained(1)), checked=True),
    "curves": Writer(
        lambda path: trained(1).history.plot(path), lambda: state_of(trained(1)), ".png"
    ),
    "predictions": Writer(predict, lambda: None, ".csv"),
}


def content(path: Path) -> str | None:
    """What a file holds, as a hash; None where there is no file; ValueError if it is damaged."""
    if not path.exists():
        return None
    if path.suffix == ".safetensors":
        return json.dumps(state_of(fastdnn.load(path))[0])  # type: ignore[index]
    return sha256(path.read_bytes()).hexdigest()


def child(writer: Writer, path: Path, report: Path, go: int) -> None:
    """Write, and report the error and what is left, when the parent says so."""
    error, before = None, writer.kept()
    os.read(go, 1)
    try:
        writer.write(path)
    except Exception as caught:
        error = caught
    os.path.exists(END)
    folder = str(path.parents[1])
    if isinstance(error, OSError):
        is_good = folder in str(error.filename)
    else:  # an argument is refused before any work
        is_good = isinstance(error, ValueError) and folder in str(error) and writer.kept() == before
    told = None if error is None else type(error).__name__ if is_good else repr(error)
    report.write_text(json.dumps([told, is_good, writer.kept(), before]))


def run(writer: Writer, path: Path, *tracer: str) -> list[Any] | None:
    """Write in a process of its own; returns its report, None if it was killed."""
    report = path.parents[1] / "report"
    report.unlink(missing_ok=True)
    reader, go = os.pipe()
    process = os.fork()
    if process == 0:
        child(writer, path, report, reader)
        os._exit(0)
    os.close(reader)
    tracing = None
    if tracer:
        command = [*tracer, "-p", str(process)]
        tracing = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert tracing.stderr is not None
        said = tracing.stderr.readline()
        assert "attached" in said, said
    os.write(go, b"!")
    os.close(go)
    os.waitpid(process, 0)
    if tracing is not None:
        tracing.communicate()
    return json.loads(report.read_text()) if report.exists() else None


def calls_of(log: Path, folder: Path) -> list[tuple[str, int, str]]:
    """The calls on files in the folder, each with its number among those of its name."""
    counts, found = Counter[str](), list[tuple[str, int, str]]()
    for line in log.read_text().splitlines():
        call = line.partition(" ")[2].strip()
        name = call.partition("(")[0]
        counts[name] += 1
        if END in line:
            break
        if f"{folder}" in line and name.isidentifier():
            found.append((name, counts[name], call))
    return found


class Case(NamedTuple):
    """A writer at work."""

    writer: Writer
    path: Path
    old: Path  # what is there before
    wanted: dict[str | None, str]  # what may be there afterwards, and what to call it
    kept: object  # after a run without a fault

    def verdict(self, report: list[Any] | None) -> str:
        """What a cell says; "!" begins what must not be."""
        try:
            held = self.wanted.get(content(self.path), "!other")
        except ValueError:
            return "!damaged"
        if report is None:
            return held
        error, is_good, left, before = report
        if error is None:
            return held if held == "new" and left == self.kept else f"!{held}"
        if not is_good or left not in (self.kept, before):
            return f"!{held}, {error}"
        return f"{held}, {error}"

    def litter(self) -> str:
        """What is beside the file after one more save, taken away."""
        with replacing(self.path) as temporary:
            temporary.write_text("new", encoding="utf-8")
        left = set(self.path.parent.iterdir()) - {self.path}
        for other in left:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
        return "!litter, " if left else ""

    def cell(self, call: str, number: int, line: str, fault: str) -> str:
        """Try one fault."""
        half = 0
        if fault == "short":
            if call != "write" or not self.writer.checked:
                return "-"
            half = int(line.rpartition("= ")[2].split()[0]) // 2
        shutil.copy(self.old, self.path)
        how = f"inject={call}:{FAULTS[fault].format(half=half)}:when={number}"
        report = run(self.writer, self.path, "strace", "-f", "-o", os.devnull, "-e", how)
        found = self.verdict(report)
        return self.litter() + found


def case_of(name: str, top: Path) -> tuple[Case, list[tuple[str, int, str]]]:
    """A writer with its folder and files, and its calls."""
    writer, folder, log = WRITERS[name], top / name, top / "log"
    folder.mkdir()
    path, old = folder / f"file{writer.suffix}", top / f"old{writer.suffix}"
    if writer.checked:
        trained(0).save(old)
    else:
        old.write_text("old")
    shutil.copy(old, path)
    report = run(writer, path, "strace", "-f", "-y", "-s", "300", "-o", str(log))
    assert report is not None
    assert report[0] is None, report
    wanted: dict[str | None, str] = {content(old): "old", content(path): "new"}
    if name == "training":
        wanted |= dict.fromkeys(middle(), "an earlier epoch's")
    return Case(writer, path, old, wanted, report[2]), calls_of(log, folder)


def middle() -> list[str | None]:
    """What the training's file holds after the epochs before the last."""
    found: list[str | None] = []
    (X, y), model = samples(), classifier(seed=1)
    model.fit(X, y, epochs=2, verbose=0)

    class Look(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            found.append(json.dumps(model.parameters.tobytes().hex()))

    model.fit(X, y, epochs=4, initial_epoch=2, callbacks=[Look()], verbose=0)
    return found[:-1]


def prepare(top: Path) -> None:
    """The files that `predict` reads, and all that is imported by a first run."""
    data, model = top / "digits.npy", top / "digits.safetensors"
    rng = np.random.default_rng(0)
    np.save(data, np.c_[rng.standard_normal((40, 3)), rng.integers(0, 2, 40)])
    arguments = ["--data", str(data), "--output", str(model), "--epochs", "1", "--layers", "4"]
    with redirect_stderr(io.StringIO()):
        assert command(["train", *arguments]) == 0
    (top / "first").mkdir()
    for name, writer in WRITERS.items():
        if name != "training":
            writer.write(top / "first" / f"file{writer.suffix}")


def main(argv: list[str] | None = None) -> int:
    """Try all faults, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writers", default=",".join(WRITERS), help="what is written")
    parser.add_argument("--calls", type=int, help="try about so many calls of each; all of them")
    arguments = parser.parse_args(argv)
    if shutil.which("strace") is None:
        print("savefaults: there is no strace", file=sys.stderr)
        return 2
    failures = cells = 0
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for name in arguments.writers.split(","):
            case, calls = case_of(name, Path(folder))
            step = 1 if arguments.calls is None else max(len(calls) // arguments.calls, 1)
            print(f"\n| {name} | {' | '.join(FAULTS)} |\n{'| --- ' * (len(FAULTS) + 1)}|")
            rows = []
            for call in calls[::step]:
                rows.append([f"{call[0]} {call[1]}", *(case.cell(*call, one) for one in FAULTS)])
                print(f"| {' | '.join(rows[-1])} |", flush=True)
            failures += sum(cell.startswith("!") for row in rows for cell in row)
            cells += sum(cell != "-" for row in rows for cell in row[1:])
    print(f"\n{cells} faults, {failures} violations")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
