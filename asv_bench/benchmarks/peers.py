"""fastdnn beside other libraries that train the same network, in turn, round after round.

`Quick` is two cases, which the history can afford; `More` has three others.
"""

from __future__ import annotations

import beside
from beside import LIBRARIES, Times, compare

QUICK, MORE = ["digits", "mnist_s"], ["figure", "deep", "wide"]


class Quick(beside.Step):
    """The cases of the history."""

    params = (QUICK, LIBRARIES)

    def setup_cache(self) -> Times:
        """Every race, once for all parameters."""
        return compare(QUICK)

    setup_cache.timeout = 600  # type: ignore[attr-defined]


class QuickRatio(beside.Ratio):
    """The cases of the history."""

    params = (QUICK,)
    setup_cache = Quick.setup_cache


class More(beside.Step):
    """Three other cases."""

    params = (MORE, LIBRARIES)

    def setup_cache(self) -> Times:
        """Every race, once for all parameters."""
        return compare(MORE)

    setup_cache.timeout = 600  # type: ignore[attr-defined]


class MoreRatio(beside.Ratio):
    """Three other cases."""

    params = (MORE,)
    setup_cache = More.setup_cache
