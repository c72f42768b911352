"""Made-up asv results, of a git repository with a history, and the program that publishes them."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

PUBLISH = Path(__file__).parents[1] / "asv_bench" / "publish.py"
COMMITS = 12
SLOWER = 8  # this commit and those after it take 1.5 times as long, for one set of parameters
MACHINE = "made-up"
START = 1_700_000_000  # seconds: the first commit's date
COLUMNS = ["result", "params", "version", "started_at", "duration"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: what asv writes of it, and its value for a commit and a set of parameters."""

    name: str
    pretty_name: str
    unit: str
    params: dict[str, list[str]]
    value: Callable[..., float]

    def about(self) -> dict[str, object]:
        return {
            "name": self.name,
            "pretty_name": self.pretty_name,
            "unit": self.unit,
            "params": list(self.params.values()),
            "param_names": list(self.params),
            "type": "track",
            "version": "1",
            "code": "",
            "timeout": 60,
        }

    def result(self, commit: int) -> list[object]:
        values = [self.value(commit, *each) for each in product(*self.params.values())]
        return [values, list(self.params.values()), "1", 1000 * START, 1.0]


def step(commit: int, shape: str, threads: str) -> float:
    noise = 1 + 0.001 * (commit % 3)
    slower = 1.5 if (shape, threads, commit >= SLOWER) == ("'digits'", "2", True) else 1
    return {"'digits'": 100, "'mnist'": 400}[shape] * noise * slower / int(threads)


def peer(commit: int, library: str) -> float:
    return {"'fastdnn'": 100.0, "'numpy'": 360.0, "'torch'": 930.0}[library]


def startup(commit: int) -> float:
    return 0.2


BENCHMARKS = (
    Benchmark(
        "training.Step.track_step",
        "Training step",
        "us",
        {"shape": ["'digits'", "'mnist'"], "threads": ["1", "2"]},
        step,
    ),
    Benchmark(
        "peers.Step.track_step",
        "Step beside other libraries",
        "us",
        {"library": ["'fastdnn'", "'numpy'", "'torch'"]},
        peer,
    ),
    Benchmark("startup.Import.track_import", "import fastdnn", "seconds", {}, startup),
)
NEVER_RUN = Benchmark("training.New.track_new", "Never run", "us", {}, startup)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make_history(repository: Path) -> list[str]:
    """Make a git repository of empty commits on main, an hour apart; returns their hashes."""

    def git(*arguments: str, **environment: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        run = subprocess.run(
            command,
            cwd=repository,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    hashes = []
    for i in range(COMMITS):
        date = f"{START + 3600 * i} +0000"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        git("commit", "--quiet", "--allow-empty", "--message", f"commit {i}", **dates)
        hashes.append(git("rev-parse", "HEAD"))
    return hashes


def make_results(folder: Path) -> tuple[Path, list[str]]:
    """Make a repository with results; returns its asv.conf.json and the hashes of its commits."""
    hashes = make_history(folder)
    config = folder / "asv.conf.json"
    write_json(
        config,
        {
            "version": 1,
            "project": "made-up",
            "project_url": "#",
            "repo": ".",
            "branches": ["main"],
            "results_dir": "results",
            "html_dir": "html",
        },
    )
    about = {benchmark.name: benchmark.about() for benchmark in (*BENCHMARKS, NEVER_RUN)}
    write_json(folder / "results" / "benchmarks.json", {**about, "version": 2})
    machine = {"machine": MACHINE, "os": "Linux", "arch": "x86_64", "cpu": "", "ram": "0"}
    write_json(folder / "results" / MACHINE / "machine.json", {**machine, "version": 1})
    for i, commit in enumerate(hashes):
        write_json(
            folder / "results" / MACHINE / f"{commit[:8]}-env.json",
            {
                "commit_hash": commit,
                "env_name": "env",
                "date": 1000 * (START + 3600 * i),
                "params": {**machine, "python": "3.11"},
                "python": "3.11",
                "requirements": {},
                "env_vars": {},
                "result_columns": COLUMNS,
                "results": {each.name: each.result(i) for each in BENCHMARKS},
                "durations": {},
                "version": 2,
            },
        )
    return config, hashes


def load_publish() -> ModuleType:
    """asv_bench/publish.py as a module; who asks is skipped where it is not beside the tests."""
    if not PUBLISH.is_file():
        pytest.skip(f"there is no {PUBLISH}: run the tests in a clone", allow_module_level=True)
    spec = importlib.util.spec_from_file_location("publish", PUBLISH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["publish"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def publish(config: Path) -> subprocess.CompletedProcess[str]:
    """Run the command on a configuration."""
    return subprocess.run(
        [sys.executable, PUBLISH, "--config", config], capture_output=True, text=True, check=False
    )
