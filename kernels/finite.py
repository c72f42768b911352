"""Whether data are finite, at the speed of memory and with the threads that compute anyway.

BLAS could tell by a scalar product. But it wakes threads of its own for that, and these go on
spinning for a tenth of a second beside the ranks: a step of 784-128-10 took twice as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64
from numpy.typing import NDArray

from .base.constants import ONE
from .blas.reduce import add_not_finite
from .compiler.jit import vector
from .cpu import threads
from .layers.sharing import part
from .llvm.simd import address
from .parallel.entry import entry

_PART = 1 << 20  # numbers, of which NumPy writes down which are finite


@entry(lambda t: (vector(t), vector(float64)))
def _add_not_finite(rank, n_ranks, team, x, found):
    begin, end = part(x.size, ONE, rank, n_ranks)
    add_not_finite(address(x, 0), begin, end - begin, ONE, address(found, rank))


def all_finite(x: NDArray[Any]) -> bool:
    """Return whether a contiguous vector of float32 or float64 holds neither NaN nor infinity.

    NumPy tells as long as compiling would have to come first: bad data are told of at once.
    """
    if _add_not_finite.lacks_leaves(x.dtype):
        return all(np.isfinite(x[at : at + _PART]).all() for at in range(0, x.size, _PART))
    n_ranks = threads.workers(threads.ELEMENT_FLOPS * x.size)
    found = np.zeros(n_ranks)
    _add_not_finite(x.dtype, n_ranks, x, found)
    return not found.any()
