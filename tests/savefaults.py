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
from fastdnn.cli import main as command
from tests.nets import classifier, samples

BEGIN, END = "/savefaults-begins", "/savefaults-ends"
# Between them, but neither input nor output.
NOT_COUNTED = {
    *("munmap", "mprotect", "brk", "madvise", "futex", "rt_sigaction", "rt_sigprocmask"),
    *("getrandom", "sched_yield", "sched_getaffinity", "clock_nanosleep", "getpid", "gettid"),
}
FAULTS = {
    "ENOSPC": "error=ENOSPC",
    "EIO": "error=EIO",
    "EACCES": "error=EACCES",
    "short": "retval={half}",  # nothing is written, and the checksum tells
    "killed before": "error=EINTR:signal=SIGKILL",
    "killed after": "signal=SIGKILL",
}
SECONDS = 60


class Writer(NamedTuple):
    """Something that writes a file."""

    write: Callable[[Path], object]
    kept: Callable[[], object]  # what no error may cost
    checked: bool = False  # whether the file is read again before it takes its place


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
        trained(1).fit(X, y, epochs=5, initial_epoch=2, callbacks=[saved], verbose=0)


def predict(path: Path) -> None:
    """Predict by the command line, from files in the folder above."""
    inputs = [str(path.parents[1] / name) for name in ("digits.safetensors", "digits.npy")]
    with redirect_stderr(io.StringIO()) as said:
        status = command(["predict", *inputs, "--output", str(path)])
    if status:
        name = re.search(r"error: (?:--output: )?(?:the folder )?(\S+?):? ", said.getvalue())
        raise OSError(0, said.getvalue(), name and name[1])


WRITERS = {
    "model": Writer(lambda path: trained(1).save(path), lambda: state_of(trained(1)), True),
    "training": Writer(fit, lambda: state_of(trained(1)), True),
    "curves": Writer(lambda path: trained(1).history.plot(path), lambda: state_of(trained(1))),
    "predictions": Writer(predict, lambda: None),
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
    os.read(go, 1)
    error = None
    os.path.exists(BEGIN)
    try:
        writer.write(path)
    except Exception as caught:
        error = caught
    os.path.exists(END)
    name = getattr(error, "filename", None)
    is_named = isinstance(error, OSError) and name is not None and str(path.parents[1]) in str(name)
    told = None if error is None else type(error).__name__ if is_named else repr(error)
    report.write_text(json.dumps([told, is_named or error is None, writer.kept()]))


def run(writer: Writer, path: Path, *inject: str) -> tuple[list[str], list[Any] | None]:
    """Write in a process of its own; returns its calls and its report, None if it was killed."""
    report, log = path.parents[1] / "report", path.parents[1] / "log"
    report.unlink(missing_ok=True)
    reader, go = os.pipe()
    process = os.fork()
    if process == 0:
        child(writer, path, report, reader)
        os._exit(0)
    os.close(reader)
    command = ["strace", "-f", "-s", "300", "-o", str(log), "-p", str(process), *inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert "attached" in said, said
        os.write(go, b"!")
        os.close(go)
        tracer.wait(SECONDS)
    os.waitpid(process, 0)
    lines = [line.partition(" ")[2].strip() for line in log.read_text().splitlines()]
    return lines, json.loads(report.read_text()) if report.exists() else None


def calls_of(lines: list[str], folder: str) -> list[tuple[str, int, str]]:
    """The calls to try, each with its number among those of its name."""
    counts, found, is_inside = Counter[str](), list[tuple[str, int, str]](), False
    for line in lines:
        name = line.partition("(")[0]
        counts[name] += 1
        if END in line:
            break
        is_inside |= folder in line  # before it, nothing is written
        is_anonymous = name == "mmap" and "MAP_ANONYMOUS" in line
        if is_inside and name.isidentifier() and name not in NOT_COUNTED and not is_anonymous:
            found.append((name, counts[name], line))
    return found


def half(line: str) -> int:
    """Half of what a write took."""
    return int(line.rpartition("= ")[2].split()[0]) // 2


def verdict(
    writer: Writer, path: Path, wanted: dict[str | None, str], report: list[Any] | None, kept: object
) -> str:
    """What a cell says; "!" begins what must not be."""
    try:
        held = wanted.get(content(path), "!other")
    except ValueError:
        return "!damaged"
    if report is None:
        return held
    error, is_named, left = report
    if not is_named or (error is None and held != "new"):
        return f"!{held}, {error}"
    if left != kept:
        return f"!lost, {error}"
    return held if error is None else f"{held}, {error}"


def attack(name: str, top: Path, most: int | None) -> tuple[list[list[str]], int]:
    """The table's rows, and how many cells there are, of one writer."""
    writer, folder = WRITERS[name], top / name
    folder.mkdir()
    suffix = {"curves": ".png", "predictions": ".csv"}.get(name, ".safetensors")
    path, old = folder / f"file{suffix}", top / f"old{suffix}"
    if suffix == ".safetensors":
        trained(0).save(old)
    else:
        old.write_text("old")
    writer_runs = [content(old)]

    def once() -> None:
        shutil.copy(old, path)
        lines, report = run(writer, path)
        assert report is not None and report[0] is None, report
        writer_runs.append(content(path))
        once.lines, once.kept = lines, report[2]  # type: ignore[attr-defined]

    once()
    lines, kept = once.lines, once.kept  # type: ignore[attr-defined]
    wanted: dict[str | None, str] = {writer_runs[0]: "old", writer_runs[1]: "new"}
    if name == "training":  # of the epochs before
        wanted |= dict.fromkeys(middle_of(path), "middle")
    rows = []
    calls = calls_of(lines, name)
    for call, number, line in calls[:: 1 if most is None else max(len(calls) // most, 1)]:
        row = [f"{call} {number}"]
        for fault, inject in FAULTS.items():
            if fault == "short" and not (call == "write" and writer.checked):
                row.append("-")
                continue
            how = inject.format(half=half(line) if call == "write" else 0)
            shutil.copy(old, path)
            _, report = run(writer, path, "-e", f"inject={call}:{how}:when={number}")
            row.append(verdict(writer, path, wanted, report, kept))
            run(writer, path)
            if list(folder.iterdir()) != [path]:
                row[-1] = f"!litter, {row[-1]}"
                for other in set(folder.iterdir()) - {path}:
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
        rows.append(row)
    return rows, sum(len(row) - 1 - row.count("-") for row in rows)


def middle_of(path: Path) -> list[str | None]:
    """What the training's file holds after the epochs before the last."""
    X, y = samples()
    found: list[str | None] = []
    model = classifier(seed=1)
    model.fit(X, y, epochs=2, verbose=0)

    class Look(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            found.append(json.dumps(model.parameters.tobytes().hex()))

    model.fit(X, y, epochs=5, initial_epoch=2, callbacks=[Look()], verbose=0)
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
            suffix = {"curves": ".png", "predictions": ".csv"}.get(name, ".safetensors")
            writer.write(top / "first" / f"file{suffix}")


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
            rows, count = attack(name, Path(folder), arguments.calls)
            print(f"\n| {name} | {' | '.join(FAULTS)} |\n{'| --- ' * (len(FAULTS) + 1)}|")
            for row in rows:
                print(f"| {' | '.join(row)} |")
            failures += sum(cell.startswith("!") for row in rows for cell in row)
            cells += count
    print(f"\n{cells} faults, {failures} violations")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
