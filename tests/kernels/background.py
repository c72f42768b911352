"""Programs that run beside the other tests, as these leave a core idle most of the time."""

from __future__ import annotations

import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from tests.kernels.common import start_python

AT_ONCE = 1
MODEST = "import os; os.nice(15)\n"  # what else runs goes first


class Background:
    """Python programs, one at a time, whose output is asked for later.

    Parameters
    ----------
    programs : dict of str to (str, dict)
        Each program and its environment variables, by a name.
    """

    def __init__(self, programs: dict[str, tuple[str, dict[str, str]]]) -> None:
        self._programs = programs
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._running: set[subprocess.Popen[str]] = set()
        self._outputs: dict[str, Future[str]] = {}

    def start(self) -> None:
        """Run all that do not run yet."""
        for name in self._programs.keys() - self._outputs.keys():
            self._outputs[name] = self._pool.submit(self._run, *self._programs[name])

    def output(self, name: str) -> str:
        """Return what a program has printed; raises AssertionError if it failed."""
        self.start()
        return self._outputs[name].result()

    def stop(self) -> None:
        """Leave no process behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for one in list(self._running):
            with suppress(ProcessLookupError):
                one.kill()

    def _run(self, program: str, variables: dict[str, str]) -> str:
        process = start_python(MODEST + program, variables)
        self._running.add(process)
        out, err = process.communicate()
        self._running.discard(process)
        assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
        return out
