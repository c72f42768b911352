"""Benchmarks of fastdnn for asv: a module for each thing that is measured.

fastdnn is imported inside functions only: a process that asv forks from one that has imported it
could start no threads.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# each commit keeps its compiled code in a folder of its own, so that none runs another's
if commit := os.environ.get("ASV_COMMIT"):
    os.environ["NUMBA_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), "asv-numba", commit)

# asv finds this package alone, not the modules beside it
sys.path.append(str(Path(__file__).parents[1]))


def labelled(pretty_name: str, unit: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What asv calls a benchmark, and what it counts."""

    def label(function: Callable[..., Any]) -> Callable[..., Any]:
        function.pretty_name, function.unit = pretty_name, unit  # type: ignore[attr-defined]
        return function

    return label
