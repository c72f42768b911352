"""Files of strangers: ``python -m tests.strangers`` reads a thousand, and measures each.

Good files are changed at random, and bad ones are made on purpose. Each is read in a process of its
own. Whatever is in it, it loads as what it says or is refused by ValueError with its path, within
`SECONDS` and with at most `MEGABYTES` more than before. Exit status 1: some file is not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np

import fastdnn
from fastdnn.cli import main as command
from fastdnn.data import ParquetBatches
from fastdnn.data.datasets import load
from tests.datafiles import idx_bytes
from tests.nets import classifier, samples
from tests.strangefiles import BAD, TRAININGS, M, changed, good, signed, table

SECONDS, MEGABYTES = 2.0, 300


# ---------------------------------------------------------------------------------------- reading
def read_model(path: Path) -> None:
    model = fastdnn.load(path)
    if model.layers and path.name.startswith("random"):
        # what has a checksum is as it was
        assert model.parameters.tobytes() == expected(), "loaded wrongly"
    assert np.isfinite(model.predict(samples()[0][:, : model.input_size])).all()


@cache
def expected() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(good()["safetensors"])
        return fastdnn.load(path).parameters.tobytes()


def resume(path: Path) -> None:
    (X, y), model = samples(), classifier("adam", seed=1)
    own = path.with_name("own.safetensors")
    saved = fastdnn.ModelCheckpoint(own, every_n_steps=3)
    model.fit(X, y, batch_size=10, epochs=2, callbacks=[saved], verbose=0, resume_from=path)
    assert np.isfinite(model.parameters).all()


def predict(path: Path) -> None:
    """As the command line reads a model, or data."""
    data = path.with_name("other.npy")
    np.save(data, table().to_numpy())
    with redirect_stderr(io.StringIO()) as said, redirect_stdout(io.StringIO()):
        status = command(["predict", str(path), str(data)])
    if status:
        assert status == 2, status
        raise ValueError(said.getvalue())


def read_data(path: Path) -> None:
    if "idx3" in path.name:
        folder = path.parent
        labels = idx_bytes((np.arange(M) % 3).astype(np.uint8))
        (folder / "train-labels-idx1-ubyte").write_bytes(labels)
        path = folder
    found = load(path)
    assert len(found.X_train) == len(found.y_train)
    assert np.isfinite(found.X_train).all()


def read_batches(path: Path) -> None:
    assert all(np.isfinite(X).all() for X, _ in ParquetBatches(path, "y", 16))


READERS: dict[str, list[Callable[[Path], None]]] = {
    "safetensors": [read_model, resume, predict],
    "parquet": [read_data, read_batches],
}


def readers(suffix: str) -> list[Callable[[Path], None]]:
    return READERS.get(suffix, [read_data])


def cases(count: int, seed: int) -> Iterator[tuple[str, str, bytes, Callable[[Path], None], bool]]:
    """Suffix, name, content, reader and whether it has to be refused, of so many files or more."""
    for suffix, files in BAD.items():
        for name, make in files.items():
            yield suffix, name, make(), readers(suffix)[0], True
    for name, change in TRAININGS.items():
        yield "safetensors", name, signed(change), resume, True
    rng, kinds = np.random.default_rng(seed), list(good())
    made = len(TRAININGS) + sum(map(len, BAD.values()))
    for number in range(max(count - made, 0)):
        suffix = kinds[number % len(kinds)]
        reader = readers(suffix)[number // len(kinds) % len(readers(suffix))]
        yield suffix, f"random {number}", changed(good()[suffix], rng), reader, False


# -------------------------------------------------------------------------------------- measuring
def outcome(path: Path, read: Callable[[Path], None], bad: bool) -> str:
    """What reading a file comes to; "!" begins what must not be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except (ValueError, OSError) as error:
        named = str(path) if "idx3" not in path.name else str(path.parent)
        is_system = isinstance(error, OSError) and error.errno is not None
        good_kind = type(error) is not OSError or is_system
        return "refused" if named in str(error) and good_kind else f"!{error!r}"[:300]
    except BaseException as error:
        return f"!{error!r}"[:300]
    return "!loaded" if bad else "loaded"


def memory(name: str) -> int:
    """A figure of /proc, in MB."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if name in one]
    return int(line.split()[1]) // 1024


def measured(path: Path, read: Callable[[Path], None], bad: bool) -> tuple[str, float, int]:
    """The outcome, seconds and megabytes of reading a file in a process of its own."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        signal.alarm(30)
        before, begin = memory("VmRSS"), time.perf_counter()
        found = outcome(path, read, bad)
        took = time.perf_counter() - begin
        os.write(writer, json.dumps([found, took, memory("VmHWM") - before]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    status = os.waitpid(process, 0)[1]
    return tuple(json.loads(said)) if said else (f"!status {status}", 30.0, 0)


def main(argv: list[str] | None = None) -> int:
    """Read all files, and print what they come to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="how many files, or more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--untimed", action="store_true", help="whatever the time, as on busy CPUs")
    arguments = parser.parse_args(argv)
    most = 30.0 if arguments.untimed else SECONDS
    totals, failures = dict[str, Counter[str]](), 0
    slowest, largest = (0.0, ""), (0, "")
    with tempfile.TemporaryDirectory() as top:
        for suffix, content in good().items():  # all imports, and that they are good
            for read in readers(suffix):
                path = Path(top, f"train-images-{suffix}" if "idx" in suffix else f"a.{suffix}")
                path.write_bytes(content)
                if read is not predict:
                    read(path)
                path.unlink()
        for number, (suffix, name, content, read, bad) in enumerate(
            cases(arguments.count, arguments.seed)
        ):
            folder = Path(top, str(number))
            folder.mkdir()
            begin = "random" if name.startswith("random") else "bad"
            path = folder / (f"train-images-{suffix}" if "idx" in suffix else f"{begin}.{suffix}")
            path.write_bytes(content)
            found, seconds, megabytes = measured(path, read, bad)
            what = f"{suffix}, {name}, {read.__name__}"
            wrong = found.startswith("!") or seconds > most or megabytes > MEGABYTES
            totals.setdefault(suffix, Counter())["wrong" if wrong else found] += 1
            slowest, largest = max(slowest, (seconds, what)), max(largest, (megabytes, what))
            if wrong:
                failures += 1
                print(f"{what}: {found}, {seconds:.2f} s, {megabytes} MB", flush=True)
            for one in folder.iterdir():
                one.unlink()
    for suffix, counts in totals.items():
        print(f"{suffix}: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}")
    print(f"slowest: {slowest[0]:.2f} s ({slowest[1]}); largest: {largest[0]} MB ({largest[1]})")
    print(f"{sum(c.total() for c in totals.values())} files, {failures} wrong")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
