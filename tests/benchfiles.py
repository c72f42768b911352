"""The modules of ``asv_bench/``, on the fastdnn that the tests run on."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "asv_bench"


def bench_module(name: str) -> ModuleType:
    """One of them, imported as its script imports its neighbours."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    return importlib.import_module(name)
