import json
from pathlib import Path

import pytest

from fastdnn.benchmark import report
from tests.benchfiles import bench_module

readme_table = bench_module("readme_table")
README = readme_table.README.read_text(encoding="utf-8")
RESULT = json.loads(readme_table.SPEED.read_text(encoding="utf-8"))


def test_readme_has_the_table_of_the_file() -> None:
    assert report.markdown(RESULT) in README
    assert readme_table.main(["--check"]) == 0


def test_a_changed_number_is_noticed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = json.loads(json.dumps(RESULT))
    changed["cases"]["digits"]["fastdnn"]["microseconds per step"] = [12345.0]
    (tmp_path / "speed.json").write_text(json.dumps(changed), encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    monkeypatch.setattr(readme_table, "SPEED", tmp_path / "speed.json")
    monkeypatch.setattr(readme_table, "README", tmp_path / "README.md")
    assert readme_table.main(["--check"]) == 1
    assert "README.md differs" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README
    assert readme_table.main([]) == 0
    assert readme_table.main(["--check"]) == 0
    before, after = (
        [line for line in text.splitlines() if not line.startswith("| digits")]
        for text in (README, (tmp_path / "README.md").read_text(encoding="utf-8"))
    )
    assert before == after


@pytest.mark.parametrize("text", ["", readme_table.BEGIN, f"{readme_table.END}\n"])
def test_markers_must_be_there(text: str) -> None:
    with pytest.raises(ValueError, match="want the lines"):
        readme_table.filled(text, RESULT)
