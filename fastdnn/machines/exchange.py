"""The sum of a vector over all ranks, with the same bits whenever and wherever it is made.

MPI_Allreduce leaves the order of the additions to the library, which chooses it by size, by the
number of ranks and by where they run. Here it is a binary tree of the ranks' numbers: neighbours
first, (r0 + r1) + (r2 + r3). That is also how one process adds the gradients of a batch's segments
(`fastdnn.kernels.passes.step.combine`). As a + b is b + a to the bit, each of two partners may add
alone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WHOLE_BYTES = 1 << 16  # of a vector that goes whole in each round; a larger one is halved in each


class Exchange:
    """Sums vectors of one size over the ranks of a communicator, in rounds of two partners each.

    A small vector goes whole in each of log2(n) rounds. Of a larger one each rank sums a part, in
    rounds that halve it, and then all collect the parts: 2 log2(n) rounds, in which (n - 1) / n of
    the vector is sent twice. Ranks beyond the largest power of 2 first give theirs to a neighbour.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    yields : bool
        Whether ranks share CPUs: who waits then lets others run.
    """

    def __init__(self, comm: Any, *, yields: bool = False) -> None:
        self._comm, self._yields = comm, yields
        self._rank, n = int(comm.Get_rank()), int(comm.Get_size())
        self._power = 1 << (n.bit_length() - 1)
        self._extra = n - self._power
        self._received = np.empty(0, np.uint8)

    def add(self, *vectors: Array) -> None:
        """Make each contiguous vector its sum over the ranks; all go in the same messages."""
        if self._power == 1 and not self._extra:
            return
        lies_inside = sum(one.nbytes for one in vectors) <= WHOLE_BYTES
        if lies_inside and len(vectors) > 1:
            packed = np.concatenate([one.view(np.uint8) for one in vectors])
            ends = np.cumsum([one.nbytes for one in vectors])[:-1].tolist()
            parts = np.split(packed, ends)
            views = [part.view(one.dtype) for part, one in zip(parts, vectors, strict=True)]
            self._rounds(packed, views, ends)
            for one, view in zip(vectors, views, strict=True):
                one[:] = view
            return
        for one in vectors:
            self._rounds(one.view(np.uint8), [one], [])

    def _rounds(self, packed: Array, views: list[Array], ends: list[int]) -> None:
        """Sum what is `packed`, which the `views` see as numbers and which is cut at `ends`."""
        pairs = 2 * self._extra
        if self._rank < pairs:
            if self._rank % 2:
                self._talk(self._rank - 1, packed, None)
                self._talk(self._rank - 1, None, packed)
                return
            self._fold(self._rank + 1, None, views, ends)
        if len(views) == 1 and packed.nbytes > WHOLE_BYTES:
            self._halves(views[0])
        else:
            mask = 1
            while mask < self._power:
                self._fold(self._partner(mask), packed, views, ends)
                mask *= 2
        if self._rank < pairs:
            self._talk(self._rank + 1, packed, None)

    def _number(self) -> int:
        """Return this rank's number among those that go through the rounds."""
        pairs = 2 * self._extra
        return self._rank // 2 if self._rank < pairs else self._rank - self._extra

    def _partner(self, mask: int) -> int:
        """Return the rank that this one talks to in a round."""
        number = self._number() ^ mask
        return 2 * number if number < self._extra else number + self._extra

    def _fold(self, partner: int, sent: Array | None, views: list[Array], ends: list[int]) -> None:
        """Add what the partner has; it gets what is `sent`."""
        got = self._room(sum(one.nbytes for one in views))
        self._talk(partner, sent, got)
        for view, part in zip(views, np.split(got, ends), strict=True):
            view += part.view(view.dtype)

    def _halves(self, vector: Array) -> None:
        """Sum a vector by halves of halves, then collect them."""
        low, high, mask = 0, vector.size, 1
        done: list[tuple[int, int, int]] = []
        while mask < self._power:
            middle = (low + high) // 2
            keeps_low = not self._number() & mask
            kept = slice(low, middle) if keeps_low else slice(middle, high)
            given = slice(middle, high) if keeps_low else slice(low, middle)
            got = self._room((kept.stop - kept.start) * vector.itemsize).view(vector.dtype)
            self._talk(self._partner(mask), vector[given], got)
            vector[kept] += got
            done.append((low, high, mask))
            low, high = kept.start, kept.stop
            mask *= 2
        for first, last, mask in reversed(done):
            missing = slice(first, low) if low > first else slice(high, last)
            self._talk(self._partner(mask), vector[low:high], vector[missing])
            low, high = first, last

    def _room(self, n_bytes: int) -> Array:
        if self._received.size < n_bytes:
            self._received = np.empty(n_bytes, np.uint8)
        return self._received[:n_bytes]

    def _talk(self, partner: int, sent: Array | None, got: Array | None) -> None:
        """Send and receive, one of them or both at the same time."""
        comm = self._comm
        if not self._yields:
            if sent is not None and got is not None:
                comm.Sendrecv(_bytes(sent), partner, recvbuf=_bytes(got), source=partner)
            elif sent is not None:
                comm.Send(_bytes(sent), partner)
            else:
                comm.Recv(_bytes(got), partner)
            return
        requests = [] if got is None else [comm.Irecv(_bytes(got), partner)]
        if sent is not None:
            requests.append(comm.Isend(_bytes(sent), partner))
        while not all(one.Test() for one in requests):
            os.sched_yield()


def _bytes(array: Array | None) -> Array:
    assert array is not None
    return array.view(np.uint8)
