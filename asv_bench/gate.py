"""Is the working tree slower than a commit? Both run side by side, in turn; exit status 1 if so.

    python asv_bench/gate.py [--base main] [--factor 1.1] [--rounds 5] [--workloads a,b]

Each workload runs in two processes, one that imports fastdnn from the working tree and one from the
commit. They take turns and swap who is first. What looks slower is measured again, up to three
times, by new processes with more rounds: a slowdown stays, a disturbance does not. Exit status: 0
as fast, 1 slower, 2 the gate could not run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from by_path import ROOT, comparison

contenders, racing = comparison("contenders"), comparison("race")
STORE = ROOT / ".asv" / "gate"
ATTEMPTS = 4  # the first and three to confirm it

Epoch = Callable[[], Any]


# ----------------------------------------------------------------------------------- workloads
def training(case: str, **settings: Any) -> Callable[[], Epoch]:
    """An epoch of a case of the comparison with other libraries."""

    def build() -> Epoch:
        work = contenders.Work(case, **settings)
        epoch: Epoch = contenders.CONTENDERS["fastdnn"](work).epoch
        return epoch

    return build


def prediction(samples: int, calls: int) -> Callable[[], Epoch]:
    """`predict` of so many samples by a network 784-128-10."""

    def build() -> Epoch:
        import numpy as np

        import fastdnn

        fastdnn.set_num_threads(2)
        model = contenders.fastdnn_model(contenders.CASES["mnist_s"])
        X = np.random.default_rng(0).standard_normal((samples, 784), dtype=np.float32)
        return lambda: [model.predict(X) for _ in range(calls)]

    return build


def layer(direction: str) -> Callable[[], Epoch]:
    """One layer on plain arrays, 784 to 100 units, 200 samples."""

    def build() -> Epoch:
        import numpy as np

        from fastdnn import kernels

        rng = np.random.default_rng(0)
        A_prev = rng.standard_normal((200, 784), dtype=np.float32).T
        W = rng.standard_normal((100, 784), dtype=np.float32) / 28
        b = np.zeros((100, 1), np.float32)
        A = kernels.linear_forward(A_prev, W, b, "relu")
        if direction == "forward":
            return lambda: [kernels.linear_forward(A_prev, W, b, "relu") for _ in range(50)]
        return lambda: [kernels.linear_backward(A, A_prev, W, "relu", A=A) for _ in range(50)]

    return build


WORKLOADS = {
    "tiny": training("figure"),
    "resident": training("digits"),
    "resident 1 thread": training("digits", threads=1),
    "deep": training("deep"),
    "blocked": training("mnist_s"),
    "blocked sgd": training("mnist_s", optimizer="sgd"),
    "blocked float64": training("mnist_s", dtype="float64"),
    "large batch": training("wide", samples=2048),
    "predict one": prediction(1, 2000),
    "predict many": prediction(2000, 5),
    "forward": layer("forward"),
    "backward": layer("backward"),
}


# ----------------------------------------------------------------------------------------- verdict
def slowdown(base: Sequence[float], tree: Sequence[float]) -> float:
    """How many times as long the tree takes, by the statistic that is kinder to it.

    The quickest rounds are the least disturbed; the median of the pairs stands against a lucky one.
    """
    pairs = [t / b for b, t in zip(base, tree, strict=True)]
    return min(min(tree) / min(base), statistics.median(pairs))


def measure(name: str, folders: dict[str, Path], rounds: int) -> dict[str, list[float]]:
    """Seconds of the workload by round, for ``base`` and ``tree``."""
    times: dict[str, list[float]] = {"base": [], "tree": []}
    with ExitStack() as stack:
        runners = {
            side: stack.enter_context(racing.running(*_child(name, folder)))
            for side, folder in folders.items()
        }
        for side, runner in runners.items():
            _refuse(name, side, runner.ready)
        for i in range(rounds):
            for side in ("base", "tree") if i % 2 == 0 else ("tree", "base"):
                answer = runners[side].ask()
                _refuse(name, side, answer)
                times[side].append(answer["seconds"])
    return times


def _child(name: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command and environment of a workload's process."""
    environment = {
        **dict.fromkeys(racing.THREAD_VARIABLES, "2"),
        "PYTHONPATH": str(folder),
        "NUMBA_CACHE_DIR": str(STORE / "compiled"),
    }
    return [sys.executable, __file__, "--child", name], environment


def _refuse(name: str, side: str, answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise RuntimeError(f"{name}, {side}: {answer['error']}")


def judge(
    name: str,
    factor: float,
    rounds: int,
    measure: Callable[[str, int], dict[str, list[float]]],
) -> tuple[float, dict[str, list[float]], int]:
    """The slowdown, the times it is judged by, and how often it was measured."""
    for attempt in range(1, ATTEMPTS + 1):
        times = measure(name, rounds * attempt)
        found = slowdown(times["base"], times["tree"])
        if found <= factor:
            break
    return found, times, attempt


# ------------------------------------------------------------------------------------------- trees
def checkout(commit: str) -> Path:
    """The commit's files, in a folder that is kept for the next time."""
    folder = STORE / _git("rev-parse", "--verify", f"{commit}^{{commit}}").strip()
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", folder.name], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(partial)], input=archive, check=True)
        partial.rename(folder)
    return folder


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip() or f"git {arguments[0]} failed")
    return run.stdout


# --------------------------------------------------------------------------------------------- main
def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate; returns its exit status."""
    parser = argparse.ArgumentParser(description="Is the working tree slower than a commit?")
    parser.add_argument("--base", default="main", help="the commit to compare with (main)")
    parser.add_argument("--factor", type=float, default=1.1, help="slower than this fails (1.1)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--workloads", help=f"of {', '.join(WORKLOADS)}; all", metavar="NAME,…")
    parser.add_argument("--child", choices=WORKLOADS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child is not None:
        import fastdnn

        contenders.serve(lambda: (WORKLOADS[options.child](), fastdnn.__version__))
        return 0
    names = list(WORKLOADS)
    if options.workloads is not None:
        names = [name.strip() for name in options.workloads.split(",")]
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        parser.error(f"--workloads: unknown {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    if not options.factor > 1 or options.rounds < 1:
        parser.error("--factor must be above 1 and --rounds at least 1")
    try:
        folders = {"base": checkout(options.base), "tree": ROOT}
        return compare(names, folders, options.factor, options.rounds)
    except RuntimeError as error:
        print(f"gate: error: {error}", file=sys.stderr)
        return 2


def compare(names: Sequence[str], folders: dict[str, Path], factor: float, rounds: int) -> int:
    """Judge every workload; 1 if one is slower."""
    print(f"{'workload':22} {'base ms':>10} {'tree ms':>10} {'tree/base':>10}")
    slower = []
    for name in names:
        found, times, attempts = judge(
            name, factor, rounds, lambda name, rounds: measure(name, folders, rounds)
        )
        base, tree = (1e3 * min(times[side]) for side in ("base", "tree"))
        note = "" if attempts == 1 else f"  measured {attempts} times"
        print(f"{name:22} {base:10.3f} {tree:10.3f} {found:10.3f}{note}", flush=True)
        if found > factor:
            slower.append(name)
    if slower:
        print(f"slower than {factor} times the base: {', '.join(slower)}")
        return 1
    print(f"no workload is slower than {factor} times the base")
    return 0


if __name__ == "__main__":
    sys.exit(main())
