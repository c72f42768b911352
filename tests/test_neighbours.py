"""``asv_bench/neighbours.py``: trainings are timed alone, beside a busy program and in pairs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.benchfiles import bench_module


class Runner:
    """A training that takes as long as its situation says."""

    ready: dict[str, Any] = {"first": 0.1}  # noqa: RUF012

    def __init__(self, spinners: list[Any]) -> None:
        self.spinners, self.asked = spinners, 0

    def ask(self) -> dict[str, float]:
        self.asked += 1
        return {"seconds": 1.0 + 0.5 * len(self.spinners)}


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bench = bench_module("neighbours")
    spinners, runners = list[Any](), list[Runner]()

    @contextmanager
    def running(command: Any, environment: Any) -> Iterator[Runner]:
        runners.append(Runner(spinners))
        yield runners[-1]

    @contextmanager
    def spinning(cpu: int | None) -> Iterator[None]:
        spinners.append(cpu)
        yield
        spinners.pop()

    monkeypatch.setattr(bench.racing, "running", running)
    monkeypatch.setattr(bench.racing, "REST", 0.0)
    monkeypatch.setattr(bench.racing, "why_not", lambda name: "gone" if name == "jax" else None)
    monkeypatch.setattr(bench, "spinning", spinning)
    arguments = "--cases figure --libraries fastdnn,jax --rounds 1 --asks 2"
    monkeypatch.setattr(sys, "argv", ["neighbours.py", *arguments.split()])
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    steps = bench.contenders.Work("figure").steps
    alone, beside = f"{1e6 / steps:.0f} (1.00)", f"{1.5e6 / steps:.0f} (1.50)"
    assert lines[-2] == f"| figure | fastdnn | {alone} | {beside} | {beside} | {alone} |"
    assert lines[-1] == "| figure | jax | gone |"
    # the second one runs in the last situation alone
    assert runners[0].asked == 4 * runners[1].asked


def test_a_spinner_keeps_its_cpu_busy_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, started = bench_module("neighbours"), list[Any]()
    popen = subprocess.Popen
    monkeypatch.setattr(
        bench.subprocess, "Popen", lambda *given: started.append(popen(*given)) or started[-1]
    )
    cpu = max(os.sched_getaffinity(0))
    with bench.spinning(cpu):
        assert started[0].poll() is None
        assert os.sched_getaffinity(started[0].pid) == {cpu}
    assert started[0].poll() is not None
