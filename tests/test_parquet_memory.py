"""asv_bench/parquet_memory.py writes files, and trains on them in little memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "asv_bench" / "parquet_memory.py"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="only Linux tells a process's memory there"
)


@pytest.mark.parametrize("options", [["--shuffle"], pytest.param([], marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("size", "files", "told"),
    [
        ("0.05", 1, "250000 rows, 245 batches"),
        pytest.param("0.25", 2, "1250000 rows, 1221 batches", marks=pytest.mark.nightly),
    ],
)
def test_a_folder(size: str, files: int, told: str, options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--folder", tmp_path, "--gigabytes", size, *options]
    out = [subprocess.check_output(command, text=True) for _ in range(2)]
    assert out[0].startswith(f"files: {tmp_path}")
    assert len(list(tmp_path.iterdir())) == files
    assert told in out[1]
    found = re.search(r"peak above the imports: (\d+) MB", out[1])
    assert found is not None
    assert int(found[1]) < 500
