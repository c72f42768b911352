"""Contenders take turns, round after round, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .contenders import INSTALL, Work

# After a product of NumPy or scikit-learn the threads of OpenBLAS keep a core busy for a tenth of a
# second, which would be taken from the contender that comes next.
REST = 0.2
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass
class Lane:
    """What a contender did."""

    seconds: list[float] = field(default_factory=list)  # of an epoch, by round
    first: float | None = None  # seconds to build, compile and train the first epoch
    version: str | None = None
    skipped: str | None = None  # why it did not run

    @property
    def best(self) -> float:
        """Seconds of the quickest epoch."""
        return min(self.seconds)


class Runner:
    """A process that holds something to time; see `contenders.serve`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **environment},
            text=True,
        )

    @cached_property
    def ready(self) -> dict[str, Any]:
        """Return what it says once it can measure; until asked, processes get ready together."""
        return self._answer()

    def ask(self) -> dict[str, Any]:
        """Have it measure once."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()

    def end(self) -> None:
        """Leave no process behind."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        status = f"it ended with status {self._process.returncode}"
        return {"error": f"{status}: {lines[-1]}"[:500] if lines else status}


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Runner]:
    """Give a `Runner` that ends with the block, whatever happens in it."""
    runner = Runner(command, environment)
    try:
        yield runner
    finally:
        runner.end()


def why_not(name: str) -> str | None:
    """Return why a contender cannot run here, with the command that changes it; None if it can."""
    module = name.removesuffix("_compile")
    if find_spec(module) is not None:
        return None
    return f"{module} is not installed: pip install {INSTALL.get(name, name)}"


def race(
    work: Work,
    contenders: Sequence[str],
    rounds: int,
    *,
    progress: Callable[[str], object] = lambda name: None,
) -> dict[str, Lane]:
    """Time each contender's epoch `rounds` times, in turn.

    Parameters
    ----------
    work : Work
        What is trained.
    contenders : sequence of str
        Names in `contenders.CONTENDERS`.
    rounds : int
        Turns of each; a machine that grows slower hits all alike.
    progress : callable
        Is told the name of who has just been built or measured.

    Returns
    -------
    dict of str to Lane
        In the order of `contenders`. One that is not installed or fails has the reason.
    """
    lanes = {name: Lane(skipped=why_not(name)) for name in contenders}
    script = str(Path(__file__).with_name("contenders.py"))
    environment = _environment(work.threads)
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name, lane in lanes.items():
            if lane.skipped is None:
                command = [sys.executable, "-P", script, name, json.dumps(asdict(work))]
                runners[name] = stack.enter_context(running(command, environment))
                _note(lane, runners[name].ready)
            progress(name)
        for _ in range(rounds):
            for name, runner in runners.items():
                if lanes[name].skipped is None:
                    time.sleep(REST)
                    _note(lanes[name], runner.ask())
                progress(name)
    return lanes


def _note(lane: Lane, answer: dict[str, Any]) -> None:
    """Keep what a process has said."""
    if "error" in answer:
        lane.skipped = answer["error"]
    elif "seconds" in answer:
        lane.seconds.append(answer["seconds"])
    else:
        lane.first, lane.version = answer["first"], answer["version"]


def _environment(threads: int) -> dict[str, str]:
    """Return the number of threads for every library; and where this process finds fastdnn."""
    found = find_spec("fastdnn")
    assert found is not None
    assert found.origin is not None
    folder = str(Path(found.origin).parents[1])
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONPATH": path}
