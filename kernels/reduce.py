"""db = sum_i dZ[i, :]: each column by one rank, in the order of the samples."""

from __future__ import annotations

from ._jit import kernel
from ._simd import span

COLUMNS = 64  # that a rank sums at a time: a few cache lines of each row


@kernel
def column_sums(m, n, z, z0, ldz, scale, out, out0, rank, n_ranks):
    """out[j] = scale * sum_i z[i, j] for the columns of this rank."""
    for block in range(rank, (n + COLUMNS - 1) // COLUMNS, n_ranks):
        begin = block * COLUMNS
        width = min(COLUMNS, n - begin)
        sums = span(out, out0 + begin, width)
        for j in range(width):
            sums[j] = 0
        for i in range(m):
            row = span(z, z0 + begin + i * ldz, width)
            for j in range(width):
                sums[j] += row[j]
        for j in range(width):
            sums[j] *= scale
