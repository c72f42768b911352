"""How long until fastdnn works: in fresh processes, whose own start counts."""

from __future__ import annotations

import tempfile
from time import perf_counter

from labels import labelled

ROUNDS = 5
IMPORT = """
from time import perf_counter
start = perf_counter()
import fastdnn
print(perf_counter() - start)
"""
FIT = """
import contenders
contenders.CONTENDERS["fastdnn"](contenders.Work("digits", samples=200)).epoch()
print(0)
"""


def fit(cache: str) -> float:
    """Seconds of a process that trains one step."""
    from fresh import number

    start = perf_counter()
    number(FIT, NUMBA_CACHE_DIR=cache)
    return perf_counter() - start


class Startup:
    """Until one step of a small network is done."""

    timeout = 300

    @labelled("import", "s")
    def track_import(self) -> float:
        """`import fastdnn`, numba and NumPy included, Python's own start not."""
        from fresh import number

        return min(number(IMPORT) for _ in range(ROUNDS))

    @labelled("first step with an empty cache", "s")
    def track_cold(self) -> float:
        """All is compiled; measured once."""
        with tempfile.TemporaryDirectory() as cache:
            return fit(cache)

    @labelled("first step with compiled code in the cache", "s")
    def track_warm(self) -> float:
        """Nothing is compiled: what is stays from the first, uncounted process."""
        with tempfile.TemporaryDirectory() as cache:
            fit(cache)
            return min(fit(cache) for _ in range(ROUNDS))
