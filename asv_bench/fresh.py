"""Programs in a process of their own: what they print last is a number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from by_path import comparison


def number(program: str, *arguments: str, **environment: str) -> float:
    """Run `program` and read its number; its last words if it fails.

    ``contenders`` is there to import: the networks of the comparison.
    """
    folder = str(Path(str(comparison("contenders").__file__)).parent)
    path = f"import sys; sys.path.append({folder!r})\n"
    run = subprocess.run(
        [sys.executable, "-c", path + program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip().splitlines()[-1])
    return float(run.stdout.split()[-1])
