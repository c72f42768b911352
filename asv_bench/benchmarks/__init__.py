"""Benchmarks of fastdnn for asv: a module for each thing that is measured.

fastdnn is imported inside functions only: a process that asv forks from one that has imported it
could start no threads.
"""

import os
import sys
import tempfile
from pathlib import Path

# each commit keeps its compiled code in a folder of its own, so that none runs another's
if commit := os.environ.get("ASV_COMMIT"):
    os.environ["NUMBA_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), "asv-numba", commit)

# asv finds this package alone, not the modules beside it
sys.path.append(str(Path(__file__).parents[1]))
