"""asv's suites: each module loads, says what it measures, and measures the smallest of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "asv_bench" / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the suites are part of the sources")
# They compile all in fresh processes: longer than a test may take.
SLOW = {"track_cold", "track_warm"}
SMALLEST = {
    "kernels.Forward": ("784-128 x 128", "float32", 1),
    "kernels.Backward": ("784-128 x 128", "float32", 1),
    **{f"kernels.{name}": ("float32", 2) for name in ("BiasGradient", "Update", "Loss", "Gather")},
    "training.Step": ("digits", "adam", "float32", 1),
    "training.Samples": ("digits",),
    "prediction.One": ("digits", 1),
    "prediction.Many": ("digits", 256, 1),
    "scaling.Efficiency": ("digits", "float32"),
    "memory.Peak": ("mnist_m",),
    "memory.Growth": ("digits",),
    "startup.Startup": (),
    "accuracy.Digits": (),
    "estimators.Fit": ("fastdnn",),
}


@pytest.fixture(scope="module", autouse=True)
def beside(request: pytest.FixtureRequest) -> Iterator[None]:
    """Import `benchmarks` as asv does."""
    sys.path.insert(0, str(FOLDER.parent))
    yield
    sys.path[:] = [p for p in sys.path if p != str(FOLDER.parent)]


def suite(module: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{module}")


def classes(module: str) -> dict[str, Any]:
    """Those that asv finds: with benchmarks, and parameters if they take some."""
    found = inspect.getmembers(suite(module), inspect.isclass)
    return {
        f"{module}.{name}": one
        for name, one in found
        if one.__module__ == f"benchmarks.{module}" and benchmarks(one) and hasattr(one, "timeout")
    }


def benchmarks(one: Any) -> list[str]:
    return [name for name in dir(one) if name.startswith("track_")]


@pytest.mark.parametrize("module", MODULES)
def test_every_benchmark_says_what_it_measures(module: str) -> None:
    found = [
        getattr(one, name)
        for _, one in inspect.getmembers(suite(module), inspect.isclass)
        for name in benchmarks(one)
    ]
    assert found
    for function in found:
        assert function.pretty_name
        assert function.unit


def test_no_suite_imports_fastdnn_before_it_measures() -> None:
    names = ", ".join(f"benchmarks.{module}" for module in MODULES)
    program = f"import sys; import {names}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "fastdnn" not in run.stdout.split()


def test_every_class_is_measured_here() -> None:
    names = {name for module in MODULES for name in classes(module)}
    assert names - {"accuracy.FashionMnist"} == set(SMALLEST)


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_parameters_give_a_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = name.split(".")[0]
    machine = importlib.import_module("machine")
    best = machine.best
    monkeypatch.setattr(machine, "best", lambda run, seconds=0.0: best(run, 0.02))
    one, parameters = classes(module)[name](), SMALLEST[name]
    for track in set(benchmarks(one)) - SLOW:
        if hasattr(one, "setup"):
            one.setup(*parameters)
        value = getattr(one, track)(*parameters)
        assert math.isfinite(value)
        # memory need not grow
        assert value >= 0 if track == "track_growth" else value > 0


def test_big_cases_are_trained_by_adam_in_float32_only() -> None:
    step = suite("training").Step()
    for case in suite("training").BIG:
        assert case in step.params[0]
        with pytest.raises(NotImplementedError, match=case):
            step.setup(case, "sgd", "float32", 1)
        with pytest.raises(NotImplementedError, match=case):
            step.setup(case, "adam", "float64", 1)


def test_a_kernel_that_a_commit_has_not_got_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = importlib.import_module("inner")
    from fastdnn.kernels.elementwise import update

    with pytest.raises(NotImplementedError, match="another"):
        inner._inner("update", "update_range", "code p")
    monkeypatch.delattr(update, "update_range")
    with pytest.raises(NotImplementedError, match=r"no update\.update_range"):
        inner.adam(8, "float32", 1)
    with pytest.raises(ImportError, match="no nothing in"):
        inner.module_of_kernels("nothing")


def test_fashion_mnist_is_left_out_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    accuracy = suite("accuracy")
    monkeypatch.setattr(accuracy, "FASHION", tmp_path / "none")
    with pytest.raises(NotImplementedError, match="dataset-fashion-mnist"):
        accuracy.FashionMnist().setup()


def test_peers_race_and_what_is_not_there_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = suite("peers")
    racing = peers.beside.racing
    why_not = racing.why_not
    monkeypatch.setattr(
        racing, "why_not", lambda name: "absent" if name == "torch" else why_not(name)
    )
    times = peers.compare(["figure"], ["fastdnn", "numpy", "torch"], 1)
    assert "figure, torch: n/a, absent" in capsys.readouterr().err
    step, ratio = peers.Quick(), peers.QuickRatio()
    for library in ("fastdnn", "numpy"):
        step.setup(times, "figure", library)
        assert 0 < step.track_step(times, "figure", library) < 1e5
    with pytest.raises(NotImplementedError):
        step.setup(times, "figure", "torch")
    ratio.setup(times, "figure")
    times = {"figure": {"fastdnn": 2.0, "numpy": 8.0, "jax": 4.0}}
    assert ratio.track_ratio(times, "figure") == 0.5
    with pytest.raises(NotImplementedError):
        ratio.setup({"figure": {"fastdnn": 1.0}}, "figure")


def test_more_is_better_is_no_regression() -> None:
    text = re.sub(r"^\s*//.*$", "", (FOLDER.parent / "asv.conf.json").read_text(), flags=re.M)
    ignored = ast.literal_eval(text.replace("null", "None"))["regressions_first_commits"]
    (pattern,) = ignored
    units = {"per cent", "GFLOP/s", "GB/s", "samples/s"}
    for module in MODULES:
        for _, one in inspect.getmembers(suite(module), inspect.isclass):
            for name in benchmarks(one):
                rises = getattr(one, name).unit in units
                assert bool(re.match(pattern, f"{module}.{one.__name__}.{name}")) == rises
