"""What a neighbour costs a training, for each library: ``python asv_bench/neighbours.py``.

A network is trained alone, beside a Python program that keeps one CPU busy, and beside a second
training of the same kind. The situations take turns for some rounds. The table has the median time
of a step and how often as long it takes as alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any

from by_path import comparison

contenders, racing = comparison("contenders"), comparison("race")
LIBRARIES = ("fastdnn", "torch", "jax")
SITUATIONS = ("alone", "spinner", "pinned spinner", "second fit")
SPIN = "while True: pass"
SETTLE = 1.0  # seconds with the neighbour before the clock starts


@contextmanager
def spinning(cpu: int | None) -> Iterator[None]:
    """Keep a CPU busy, the one of this number or whichever the system chooses."""
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, [cpu])
        yield
    finally:
        process.kill()
        process.wait()


def seconds_of(runners: Sequence[Any], asks: int) -> list[float]:
    """Return the epochs' seconds of trainings that run at the same time."""

    def ask(runner: Any) -> list[float]:
        return [runner.ask()["seconds"] for _ in range(asks)]

    with ThreadPoolExecutor(len(runners)) as pool:
        return [one for found in pool.map(ask, runners) for one in found]


def measure(situation: str, runners: Sequence[Any], asks: int) -> list[float]:
    """Return the epochs' seconds in a situation."""
    with ExitStack() as stack:
        if situation.endswith("spinner"):
            cpu = min(os.sched_getaffinity(0)) if situation.startswith("pinned") else None
            stack.enter_context(spinning(cpu))
        used = runners if situation == "second fit" else runners[:1]
        seconds_of(used, 1 + int(SETTLE / contenders.SHORTEST))
        return seconds_of(used, asks)


def table(case: str, libraries: Sequence[str], rounds: int, asks: int, threads: int) -> None:
    """Print a line for each library."""
    work = contenders.Work(case, threads=threads)
    for name in libraries:
        if (reason := racing.why_not(name)) is not None:
            print(f"| {case} | {name} | {reason} |", flush=True)
            continue
        command = [sys.executable, "-P", contenders.__file__, name, json.dumps(asdict(work))]
        found: dict[str, list[float]] = {one: [] for one in SITUATIONS}
        with ExitStack() as stack:
            runners = [
                stack.enter_context(racing.running(command, racing._environment(threads)))
                for _ in range(2)
            ]
            for runner in runners:
                assert "error" not in runner.ready, runner.ready
            for _ in range(rounds):
                for situation in SITUATIONS:
                    time.sleep(racing.REST)
                    found[situation] += measure(situation, runners, asks)
        times = {one: 1e6 * median(v) / work.steps for one, v in found.items()}
        cells = [f"{us:.0f} ({us / times['alone']:.2f})" for us in times.values()]
        print(f"| {case} | {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default="digits,mnist_s,mnist_m,wide", help="names, commas")
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--asks", type=int, default=6, help="times of a quarter of a second each")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print("Microseconds of a step (times as long as alone)\n")
    print(f"| case | library | {' | '.join(SITUATIONS)} |")
    print(f"| --- | --- |{' --- |' * len(SITUATIONS)}")
    for case in given.cases.split(","):
        table(case, given.libraries.split(","), given.rounds, given.asks, given.threads)


if __name__ == "__main__":
    main()
