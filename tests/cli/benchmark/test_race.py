import os
import sys
from pathlib import Path

import pytest

from fastdnn.cli.benchmark import race as module
from fastdnn.cli.benchmark.contenders import CONTENDERS, Work
from fastdnn.cli.benchmark.race import race, running, why_not

# Takes the place of contenders.py: a process that does what its name says.
SCRIPT = """
import os, pathlib, sys
name = sys.argv[1]
pathlib.Path(__file__).with_name(f"{name}.pid").write_text(str(os.getpid()))
if name == "fails":
    print('{"error": "ValueError: no such thing"}', flush=True)
    sys.exit()
if name == "dies":
    sys.exit("first line\\nthe last word")
print('{"first": 1.5, "version": "1.0"}', flush=True)
for at, line in enumerate(sys.stdin):
    if name == "dies_later" and at == 1:
        os._exit(7)
    print('{"seconds": %d}' % (at + 1), flush=True)
"""
WORK = Work("digits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the script and the numbers of its processes are."""
    (tmp_path / "contenders.py").write_text(SCRIPT)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "race.py"))
    monkeypatch.setattr(module, "why_not", lambda name: "left out" if name == "absent" else None)
    monkeypatch.setattr(module, "REST", 0)
    return tmp_path


def assert_all_ended(folder: Path, started: set[str]) -> None:
    files = list(folder.glob("*.pid"))
    assert {file.stem for file in files} == started
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_each_round_is_kept_and_all_take_turns(folder: Path) -> None:
    turns: list[str] = []
    lanes = race(WORK, ["one", "two"], 3, progress=turns.append)
    assert turns == ["one", "two"] * 4
    assert list(lanes) == ["one", "two"]
    for lane in lanes.values():
        assert lane.seconds == [1, 2, 3]
        assert lane.best == 1
        assert (lane.first, lane.version, lane.skipped) == (1.5, "1.0", None)
    assert_all_ended(folder, {"one", "two"})


def test_who_fails_gives_the_reason_and_the_others_run(folder: Path) -> None:
    names = ["fails", "dies", "dies_later", "absent", "good"]
    turns: list[str] = []
    lanes = race(WORK, names, 3, progress=turns.append)
    assert {name: lane.skipped for name, lane in lanes.items()} == {
        "fails": "ValueError: no such thing",
        "dies": "it ended with status 1: the last word",
        "dies_later": "it ended with status 7",
        "absent": "left out",
        "good": None,
    }
    assert lanes["good"].seconds == [1, 2, 3]
    assert_all_ended(folder, {*names} - {"absent"})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_an_error_leaves_no_process(folder: Path, error: type[BaseException], turn: int) -> None:
    turns = []

    def progress(name: str) -> None:
        turns.append(name)
        if len(turns) == turn:
            raise error

    with pytest.raises(error):
        race(WORK, ["one", "two"], 2, progress=progress)
    assert_all_ended(folder, {"one"} if turn == 1 else {"one", "two"})


def test_ctrl_c_during_the_first_epoch_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = []

    def interrupted(runner: module.Runner) -> None:
        processes.append(runner._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Runner, "_answer", interrupted)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(KeyboardInterrupt), running(command, {}) as runner:
        _ = runner.ready
    (process,) = processes
    assert process.returncode is not None


def test_the_process_has_the_number_of_threads() -> None:
    program = (
        f"import json, os; values = [os.environ[v] for v in {module.THREAD_VARIABLES!r}];"
        " print(json.dumps({'first': 0, 'version': values}))"
    )
    with running([sys.executable, "-c", program], module._environment(3)) as runner:
        assert runner.ready["version"] == ["3"] * len(module.THREAD_VARIABLES)


@pytest.mark.parametrize("name", CONTENDERS)
def test_absent_libraries_name_the_command_that_installs_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    package = {"sklearn": "scikit-learn", "torch_compile": "torch", "jax": "jax jaxlib"}
    reason = why_not(name)
    assert reason is not None
    assert reason.endswith(f" is not installed: pip install {package.get(name, name)}")


def test_numpy_is_there() -> None:
    assert why_not("numpy") is None


def test_real_contenders() -> None:
    work = Work("digits", samples=400, threads=1)
    lanes = race(work, ["fastdnn", "numpy"], 1)
    for lane in lanes.values():
        assert lane.skipped is None
        assert lane.first is not None
        assert lane.first > 0
        assert len(lane.seconds) == 1
        assert lane.best > 0
