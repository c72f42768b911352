"""The modules of ``asv_bench/``, on the fastdnn that the tests run on."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import fastdnn

FOLDER = Path(__file__).parents[1] / "asv_bench"


def bench_module(name: str) -> ModuleType:
    """One of them, imported as its script imports its neighbours.

    Where the tests stand beside an installed fastdnn there is no working tree to take parts from:
    the installed package stands in for it.
    """
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    importlib.import_module("by_path").ROOT = Path(fastdnn.__file__).parents[1]
    return importlib.import_module(name)
