"""NumPy's numbers for kernels' arguments: numba compiles a function anew for each literal one."""

from __future__ import annotations

from typing import cast

import numpy as np

ZERO, ONE = cast(list[int], list(np.arange(2)))
NO, YES = cast(list[bool], list(np.array([False, True])))
