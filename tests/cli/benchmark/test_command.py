import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastdnn.cli import main
from fastdnn.cli.benchmark import command
from fastdnn.cli.benchmark.contenders import CASES, CONTENDERS, Work
from fastdnn.cli.benchmark.race import Lane

Ran = list[tuple[Work, Sequence[str], int]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The races that the command asks for, none of which is run."""
    races: Ran = []

    def race(
        work: Work, contenders: Sequence[str], rounds: int, *, progress: Callable[[str], Any]
    ) -> dict[str, Lane]:
        races.append((work, contenders, rounds))
        for name in contenders:
            progress(name)
        return {name: Lane([0.5] * rounds, first=1.0, version="1") for name in contenders}

    monkeypatch.setattr(command, "race", race)
    return races


def test_all_cases_and_contenders_are_the_default(
    ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--threads", "2"]) == 0
    assert [work for work, _, _ in ran] == [Work(case, threads=2) for case in CASES]
    assert all(names == list(CONTENDERS) for _, names, _ in ran)
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[1 : 1 + len(CASES)]] == list(CASES)


def test_options_reach_the_race(ran: Ran) -> None:
    options = "--cases deep,figure --contenders jax,numpy --optimizer sgd --dtype float64"
    assert main(["bench", *options.split(), "--threads", "3", "--rounds", "7"]) == 0
    assert ran == [
        (Work(case, "sgd", "float64", 3), ["jax", "numpy"], 7) for case in ("deep", "figure")
    ]


@pytest.mark.parametrize("kind", ["text", "markdown", "json"])
def test_formats_hold_every_case_on_stdout_or_in_a_file(
    kind: str, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["bench", "--format", kind, "--rounds", "2"]
    assert main(options) == 0
    out = capsys.readouterr().out
    assert main([*options, "--output", str(tmp_path / "result")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "result").read_text(encoding="utf-8") == out
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    if kind == "json":
        cases = json.loads(out)["cases"]
        assert list(cases) == list(CASES)
        for case in cases.values():
            assert list(case) == list(CONTENDERS)
            assert all(len(lane["microseconds per step"]) == 2 for lane in case.values())
    else:
        first = [line.strip("| ").split()[0] for line in out.splitlines() if line]
        assert [word for word in first if word in CASES] == list(CASES)


def test_plot(ran: Ran, tmp_path: Path) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )
    picture = tmp_path / "bars.png"
    assert main(["bench", "--cases", "digits,deep", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["bars.xyz", "bars"])
def test_a_plot_of_unknown_format_is_refused_before_any_work(
    name: str, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )
    assert main(["bench", "--plot", str(tmp_path / name)]) == 2
    assert ran == []
    err = capsys.readouterr().err
    assert "--plot: want a name that ends in " in err
    assert err.endswith(f", got {tmp_path / name}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--cases digit", "--cases: unknown name 'digit'; did you mean 'digits'?"),
        ("--cases digits,", "--cases: unknown name ''"),
        ("--contenders numpy,pytorch", "--contenders: unknown name 'pytorch'; did you mean"),
        ("--output nowhere/a.json", "--output: there is no folder nowhere"),
        ("--plot .", "--plot: . is a folder"),
        ("--rounds 0", "want a whole number from 1"),
    ],
)
def test_mistakes_are_refused_before_any_work(
    options: str,
    message: str,
    ran: Ran,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *options.split()]) == 2
    assert ran == []
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_no_matplotlib_is_refused_before_any_work(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "--plot", str(tmp_path / "a.png")]) == 2
    assert ran == []
    assert "pip install 'fastdnn[plot]'" in capsys.readouterr().err


def test_ctrl_c_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def race(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "race", race)
    assert main(["bench", "--output", str(tmp_path / "result")]) == 130
    assert list(tmp_path.iterdir()) == []
    assert "stopped by Ctrl-C" in capsys.readouterr().err
