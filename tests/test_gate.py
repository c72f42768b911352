import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdnn import kernels
from fastdnn.kernels.compiler import jit
from fastdnn.kernels.engine.engine import Engine
from tests.benchfiles import FOLDER, bench_module

gate = bench_module("gate")
ROOT = FOLDER.parent
QUIET = [1.0, 1.02, 0.99, 1.01, 1.0]


def in_a_repository() -> bool:
    """Whether the gate has both sides: commits and a working tree."""
    try:
        run = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD^{commit}"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return run.returncode == 0 and (ROOT / "fastdnn").is_dir()


repository = pytest.mark.skipif(
    not in_a_repository(), reason="no git repository with a working tree: run it in a clone"
)


# ------------------------------------------------------------------------------------ the slowdown
def test_the_same_times_are_no_slowdown() -> None:
    assert gate.slowdown(QUIET, QUIET) == 1
    assert gate.slowdown(QUIET, QUIET[::-1]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("factor", [0.5, 1.2, 3.0])
def test_a_change_in_all_rounds_is_found(factor: float) -> None:
    assert gate.slowdown(QUIET, [factor * s for s in QUIET]) == pytest.approx(factor)


@pytest.mark.parametrize("at", range(5))
def test_one_disturbed_round_is_not_a_slowdown(at: int) -> None:
    tree = list(QUIET)
    tree[at] *= 5
    assert gate.slowdown(QUIET, tree) < 1.05


@pytest.mark.parametrize("at", range(5))
def test_one_lucky_round_of_the_base_is_not_a_slowdown(at: int) -> None:
    base = list(QUIET)
    base[at] /= 2
    assert gate.slowdown(base, QUIET) < 1.05


# -------------------------------------------------------------------------------------- the verdict
def measures(*factors: float) -> tuple[Any, list[int]]:
    """A measure that finds these slowdowns in turn, and the rounds it was asked for."""
    asked: list[int] = []

    def measure(name: str, rounds: int) -> dict[str, list[float]]:
        asked.append(rounds)
        return {"base": [1.0] * rounds, "tree": [factors[len(asked) - 1]] * rounds}

    return measure, asked


def test_as_fast_is_measured_once() -> None:
    measure, asked = measures(1.05)
    found, times, attempts = gate.judge("tiny", 1.1, 5, measure)
    assert (found, attempts) == (1.05, 1)
    assert times == {"base": [1.0] * 5, "tree": [1.05] * 5}
    assert asked == [5]


def test_a_disturbance_passes_at_the_second_measure() -> None:
    measure, asked = measures(1.5, 1.0)
    assert gate.judge("tiny", 1.1, 5, measure)[::2] == (1.0, 2)
    assert asked == [5, 10]


def test_a_slowdown_stays() -> None:
    measure, asked = measures(1.5, 1.4, 1.3, 1.2)
    assert gate.judge("tiny", 1.1, 5, measure)[::2] == (1.2, 4)
    assert asked == [5, 10, 15, 20]


@pytest.mark.parametrize(
    ("factors", "status", "last"),
    [
        ([1.0] * 2, 0, "no workload is slower than 1.1 times the base"),
        ([1.0, *[1.3] * 4], 1, "slower than 1.1 times the base: deep"),
    ],
)
def test_compare(
    factors: list[float],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure, _ = measures(*factors)
    monkeypatch.setattr(gate, "measure", lambda name, folders, rounds: measure(name, rounds))
    assert gate.compare(["tiny", "deep"], {}, 1.1, 5) == status
    heading, tiny, deep, end = capsys.readouterr().out.splitlines()
    assert heading.split() == ["workload", "base", "ms", "tree", "ms", "tree/base"]
    assert tiny.split() == ["tiny", "1000.000", "1000.000", "1.000"]
    assert deep.endswith("measured 4 times") == (status == 1)
    assert end == last


# ------------------------------------------------------------------------------------ its workloads
# what a run of each calls: the samples of a call, and the network's type
WORK: dict[str, tuple[Any, ...]] = {
    "tiny": ("train", "float32", 64_000),
    "resident": ("train", "float32", 12_800),
    "resident 1 thread": ("train", "float32", 12_800),
    "deep": ("train", "float32", 12_800),
    "blocked": ("train", "float32", 12_800),
    "blocked sgd": ("train", "float32", 12_800),
    "blocked float64": ("train", "float64", 12_800),
    "large batch": ("train", "float32", 2048),
    "predict one": ("forward", "float32", 1),
    "predict many": ("forward", "float32", 2000),
    "forward": ("linear_forward", 200),
    "backward": ("linear_backward", 200),
}


@pytest.mark.parametrize("name", gate.WORKLOADS)
def test_workloads_do_their_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def watch(owner: Any, of: str, note: Callable[..., tuple[Any, ...]]) -> None:
        real = getattr(owner, of)

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.append((of, *note(*arguments)))
            return real(*arguments, **options)

        monkeypatch.setattr(owner, of, watched)

    run = gate.WORKLOADS[name]()
    watch(Engine, "train", lambda engine, X, *_: (str(engine.dtype), len(X)))
    watch(Engine, "forward", lambda engine, X: (str(engine.dtype), len(X)))
    for direction in ("forward", "backward"):
        watch(kernels, f"linear_{direction}", lambda *arrays: (arrays[0].shape[1],))
    run()
    assert set(seen) == {WORK[name]}
    seen.clear()
    run()
    assert set(seen) == {WORK[name]}


# ---------------------------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workloads", "tiny,slow"], "--workloads: unknown 'slow'; there are tiny"),
        (["--factor", "1"], "--factor must be above 1"),
        (["--factor", "nan"], "--factor must be above 1"),
        (["--factor", "much"], "invalid float value"),
        (["--rounds", "0"], "--rounds at least 1"),
    ],
)
def test_mistakes_are_refused_before_any_work(
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gate, "checkout", lambda commit: pytest.fail("work"))
    with pytest.raises(SystemExit) as ended:
        gate.main(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_gate_that_cannot_run_is_not_a_slowdown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A side that fails to import, say."""
    monkeypatch.setattr(gate, "checkout", lambda commit: Path("nowhere"))
    monkeypatch.setattr(
        gate, "_child", lambda name, folder: ([sys.executable, "-c", "import nothing_such"], {})
    )
    assert gate.main(["--workloads", "tiny"]) == 2
    assert "tiny, base: it ended with status 1: ModuleNotFoundError" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- real commits
@repository
def test_checkout_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STORE", tmp_path)
    folder = gate.checkout("HEAD")
    assert (folder / "pyproject.toml").is_file()
    assert (folder / "fastdnn" / "kernels" / "__init__.py").is_file()
    (folder / "kept").touch()
    assert gate.checkout("HEAD") == folder
    assert (folder / "kept").is_file()
    assert list(tmp_path.iterdir()) == [folder]


@repository
def test_an_unknown_commit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "STORE", tmp_path)
    assert gate.main(["--base", "no-such-commit"]) == 2
    assert "gate: error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@repository
def test_a_workload_against_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides answer, each from its own folder; how fast they are is not for a test."""
    monkeypatch.setattr(gate, "STORE", tmp_path)
    compiled = tmp_path / "compiled" / "fastdnn"  # of the same sources, for both sides
    compiled.mkdir(parents=True)
    for file in (file for folder in jit.cache_folders() for file in folder.glob("*.nbc")):
        (compiled / file.name).symlink_to(file)
    folders = {"base": gate.checkout("HEAD"), "tree": ROOT}
    for folder in folders.values():
        command, environment = gate._child("forward", folder)
        found = subprocess.run(
            [command[0], "-c", "import fastdnn; print(fastdnn.__file__)"],
            env={"PATH": "", **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(found.stdout.strip()).parents[1] == folder
    times = gate.measure("forward", folders, 2)
    assert times.keys() == {"base", "tree"}
    for seconds in times.values():
        assert len(seconds) == 2
        assert min(seconds) > 0
