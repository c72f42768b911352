"""How the tests start several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
LIMIT = 30  # seconds in which a job has to end when one of its processes has
pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install 'fastdnn[mpi]'")


def run(n: int, *arguments: str, module: str = "tests.machines.worker", limit: float = 300,
        cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":  # fmt: skip
    """Run a module by n processes."""
    if not MPIEXEC.exists():
        pytest.skip("mpiexec is not installed: pip install mpich")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [str(MPIEXEC), "-n", str(n), sys.executable, "-m", module, *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=limit,
    )  # fmt: skip


def told(n: int, *arguments: str) -> Any:
    """Run the worker and return what rank 0 has found."""
    done = run(n, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
