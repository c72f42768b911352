"""The script that tries a fault at every system call of a save."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import savefaults

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
@pytest.mark.nightly  # test_checkpoint_errors.py has the same faults in one process
def test_some_calls_of_a_save() -> None:
    command = [sys.executable, "-m", "tests.savefaults", "--writers", "model", "--calls", "6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| model | ENOSPC | EIO | EACCES | short |")
    assert len(rows) >= 8
    assert "old, OSError" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" 0 violations")


def test_what_a_verdict_says(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    writer = savefaults.WRITERS["predictions"]
    path.write_text("new")
    wanted = {savefaults.content(path): "new"}
    case = savefaults.Case(writer, path, path, wanted, ["kept"])
    assert case.verdict(None) == "new"
    assert case.verdict([None, True, ["kept"], []]) == "new"
    assert case.verdict(["OSError", True, ["kept"], []]) == "new, OSError"
    assert case.verdict(["OSError", True, ["lost"], ["before"]]) == "!new, OSError"
    assert case.verdict(["KeyError()", False, ["kept"], []]) == "!new, KeyError()"
    path.write_text("else")
    assert case.verdict(None) == "!other"
    assert case.verdict([None, True, ["kept"], []]) == "!!other"


def test_without_strace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert savefaults.main([]) == 2
    assert "there is no strace" in capsys.readouterr().err
