"""Benchmarks of fastdnn for asv; each commit keeps its compiled code in a folder of its own."""

import os
import tempfile

if commit := os.environ.get("ASV_COMMIT"):
    os.environ["NUMBA_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), "asv-numba", commit)
