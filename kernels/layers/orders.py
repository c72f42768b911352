"""Random orders of samples: those of ``numpy.random.Generator``, many at once and with no lock.

A pass over the data has an order of its own, and NumPy draws it in as long as some steps of a small
network take. The numbers are written down here: a release of NumPy may change its own.

Sources: O'Neill, PCG: A family of simple fast space-efficient statistically good algorithms for
random number generation (2014); NumPy's documentation of `SeedSequence` and `PCG64`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int64, types
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

from fastdnn.kernels.compiler.jit import kernel, vector
from fastdnn.kernels.parallel.entry import entry

POOL = 4  # words that a seed is hashed into
WORD = np.uint64(0xFFFFFFFF)
HALF, SIXTEEN = np.uint64(32), np.uint64(16)
# of `SeedSequence`'s hash: where it starts, and by what it is multiplied
MIX_START, MIX_FACTOR = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
OUT_START, OUT_FACTOR = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
LEFT, RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64's step
ONE_BIT, SHIFT, SIX_BITS = np.uint64(1), np.uint64(58), np.uint64(63)


@intrinsic
def _advance(typing: Any, high: Any, low: Any, step_high: Any, step_low: Any) -> Any:
    """Return the state * MULTIPLIER + step, of 128 bits each, as two words of 64."""
    pair = types.UniTuple(types.uint64, 2)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, by = ir.IntType(128), ir.Constant(ir.IntType(128), 64)

        def joined(high: Any, low: Any) -> Any:
            upper = builder.shl(builder.zext(high, wide), by)
            return builder.or_(upper, builder.zext(low, wide))

        state = builder.mul(joined(*arguments[:2]), ir.Constant(wide, MULTIPLIER))
        state = builder.add(state, joined(*arguments[2:]))
        word = ir.IntType(64)
        halves = [builder.trunc(one, word) for one in (builder.lshr(state, by), state)]
        return context.make_tuple(builder, pair, halves)

    return pair(*[types.uint64] * 4), emit


@kernel
def _hashed(value, factor):
    """A word of the seed, hashed; and the factor of the next one."""
    mixed = (value ^ factor) & WORD
    factor = (factor * MIX_FACTOR) & WORD
    mixed = (mixed * factor) & WORD
    return mixed ^ (mixed >> SIXTEEN), factor


@kernel
def _mixed(x, y):
    """Two words made one."""
    mixed = (LEFT * x - RIGHT * y) & WORD
    return mixed ^ (mixed >> SIXTEEN)


@kernel
def _seed(words, epoch, pool, seed):
    """`SeedSequence`: what PCG64 is seeded with, of the words and of the epoch's number."""
    factor = MIX_START
    for i in range(POOL):
        pool[i], factor = _hashed(np.uint64(words[i]), factor)
    for source in range(POOL):
        for to in range(POOL):
            if source != to:
                mixed, factor = _hashed(pool[source], factor)
                pool[to] = _mixed(pool[to], mixed)
    for source in range(POOL, words.size + 1):
        word = np.uint64(words[source] if source < words.size else epoch)
        for to in range(POOL):
            mixed, factor = _hashed(word, factor)
            pool[to] = _mixed(pool[to], mixed)
    factor = OUT_START
    for i in range(2 * POOL):
        word = (pool[i % POOL] ^ factor) & WORD
        factor = (factor * OUT_FACTOR) & WORD
        word = (word * factor) & WORD
        word ^= word >> SIXTEEN
        if i % 2 == 0:
            seed[i // 2] = word
        else:
            seed[i // 2] |= word << HALF


@kernel
def _shuffle(order, begin, m, seed):
    """Fisher and Yates's shuffle of 0 to m - 1, by the words of 32 bits that PCG64 gives."""
    for i in range(m):
        order[begin + i] = i
    step_high = (seed[2] << np.uint64(1)) | (seed[3] >> np.uint64(63))
    step_low = (seed[3] << np.uint64(1)) | np.uint64(1)
    low = step_low + seed[1]
    high = step_high + seed[0] + np.uint64(low < seed[1])
    high, low = _advance(high, low, step_high, step_low)
    # a place that is too great is drawn anew; no branch depends on that, as none could foresee it
    last = np.uint64(max(m - 1, 0))
    mask = last
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> np.uint64(shift)
    while np.int64(last) > 0:
        high, low = _advance(high, low, step_high, step_low)
        mixed, turn = high ^ low, high >> SHIFT
        mixed = (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & SIX_BITS))
        for word in (mixed & WORD, mixed >> HALF):
            mask >>= np.uint64(last <= mask >> ONE_BIT)
            place = word & mask
            fits = place <= last
            i, j = begin + np.int64(last), begin + np.int64(place if fits else last)
            order[i], order[j] = order[j], order[i]
            last -= np.uint64(fits)


@entry(lambda t: (vector(int64), int64, int64, vector(types.uint64), vector(int64)))
def _draw(rank, n_ranks, team, words, first, m, memory, orders):
    for i in range(orders.size // m):
        _seed(words, first + i, memory[:POOL], memory[POOL:])
        _shuffle(orders, i * m, m, memory[POOL:])


def compile_orders(dtype: DTypeLike) -> None:
    """Have what `draw_orders` needs compiled, for a network of this dtype."""
    _draw.compile(dtype)


def draw_orders(
    entropy: int, key: Sequence[int], first: int, passes: int, m: int, dtype: np.dtype[Any]
) -> NDArray[np.int64]:
    """Return the orders of some passes over m samples, behind each other.

    That of pass e is the permutation of m that NumPy's ``default_rng`` draws first, seeded with
    ``SeedSequence(entropy, spawn_key=(*key, e))``.

    Parameters
    ----------
    entropy : int
        At least 0.
    key : sequence of int
        Each in [0, 2**32).
    first : int
        The number of the first pass, in [0, 2**32 - passes).
    passes : int
    m : int
        At most 2**32.
    dtype : dtype
        Of the network that they are for: what is compiled for it is there.
    """
    words = [entropy >> shift & 0xFFFFFFFF for shift in range(0, max(entropy.bit_length(), 1), 32)]
    words += [0] * (POOL - len(words))
    orders = np.empty(passes * m, np.int64)
    if m > 0:
        memory = np.zeros(2 * POOL, np.uint64)
        _draw(dtype, 1, np.array([*words, *key], np.int64), first, m, memory, orders)
    return orders
