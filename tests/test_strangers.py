"""Every kind of bad file, and random ones, as ``python -m tests.strangers`` reads a thousand."""

from __future__ import annotations

import pytest

from tests import strangers, tiers

COUNT = tiers.times(100, 1000)


def test_no_file_is_loaded_wrongly_or_refused_without_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = strangers.main(["--count", str(COUNT), "--untimed"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert f"{COUNT} files, 0 wrong" in said


def test_what_is_wrong_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        strangers, "outcome", lambda path, read, bad: "!loaded" if bad else "loaded"
    )
    monkeypatch.setattr(strangers, "TRAININGS", {})
    monkeypatch.setattr(strangers, "BAD", {"csv": {"nothing": lambda: b""}})
    assert strangers.main(["--count", "2", "--untimed"]) == 1
    assert "csv, nothing, read_data: !loaded" in capsys.readouterr().out
