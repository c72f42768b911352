"""db = sum_i dZ[i, :]: each column by one rank, in the order of the samples."""

from __future__ import annotations

from ._jit import kernel

COLUMNS = 64  # that a rank sums at a time: a few cache lines of each row


@kernel
def column_sums(m, n, z, z0, ldz, scale, out, out0, rank, n_ranks):
    """out[j] = scale * sum_i z[i, j] for the columns of this rank."""
    for block in range(rank, (n + COLUMNS - 1) // COLUMNS, n_ranks):
        begin = block * COLUMNS
        width = min(COLUMNS, n - begin)
        to, at = out0 + begin, z0 + begin
        for j in range(width):
            out[to + j] = 0
        for _ in range(m):
            for j in range(width):
                out[to + j] += z[at + j]
            at += ldz
        for j in range(width):
            out[to + j] *= scale
