import json
from pathlib import Path

import pytest

from fastdnn.cli.benchmark import report
from tests.benchfiles import bench_module

readme_table = bench_module("readme_table")
README = readme_table.README.read_text(encoding="utf-8")
RESULTS = readme_table.recorded()


def test_readme_has_the_table_of_each_file() -> None:
    assert RESULTS
    assert all(report.markdown(result) in README for result in RESULTS)
    assert readme_table.main(["--check"]) == 0


def test_a_changed_number_is_noticed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, result in enumerate(RESULTS):
        changed = json.loads(json.dumps(result))
        changed["cases"]["digits"]["fastdnn"]["microseconds per step"] = [12345.0]
        (tmp_path / f"{number}.json").write_text(json.dumps(changed), encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    monkeypatch.setattr(readme_table, "SPEED", tmp_path)
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
        readme_table.filled(text, RESULTS)
