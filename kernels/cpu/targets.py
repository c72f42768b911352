"""One row per CPU family: vector width, register tile and cache blocks.

A tile holds mr x (nv * lanes) accumulators, where lanes = bits / (8 * itemsize). It is chosen so
that the accumulators, nv vectors of B and one broadcast of A fit the vector registers: 12 + 2 + 1
of 16 on AVX2, 24 + 4 + 1 of 32 on AVX-512, 24 + 3 + 1 on NEON. The nearer nv is to mr, the fewer
loads and instructions a multiply-add takes; half of what a core can do of these is left while its
other hardware thread works. mr * kc elements of A stay in L1, mc * kc of A and kc * nr of B in L2
(in L1, if nv is less than 4).

To add a CPU, add a row before the first row that its features would match.
"""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba.core import config
from numpy.typing import DTypeLike

from fastdnn.kernels.base.lookup import lookup


class Estimate(NamedTuple):
    """An instruction that estimates 1 / x for vectors of float32, as LLVM names it."""

    name: str
    lanes: int
    masked: bool  # it also takes what stands in other lanes, and a mask


class Target(NamedTuple):
    """A CPU family. ``mc``, ``kc`` and ``nc`` are float32's (see `tile`), ``nc`` whole tiles."""

    name: str
    needs: tuple[str, ...]  # LLVM's names of the features without which the row is not chosen
    bits: int  # of a vector register
    fma: bool  # without it, llvm.fma would call the C library for every element
    masks: bool  # stores some lanes of a vector as fast as all
    mr: int
    nv: int
    mc: int
    kc: int
    nc: int
    reciprocal: Estimate | None = None


class Tile(NamedTuple):
    """A target's tile and blocks for one dtype, all in elements."""

    lanes: int
    mr: int
    nv: int
    nr: int
    mc: int
    kc: int
    nc: int
    line: int  # of a cache line
    page: int  # of a page of memory, of the usual size
    narrow: int  # columns of C: as many leave registers for tiles of 2 mr rows
    pairs: int  # rows whose scalar products with two others the registers hold
    l1_elements: int  # of a block of B: it stays in L1 beside a tile's rows of A and C
    panels_at_once: int  # panels of B that are packed together
    packed: int  # columns of C that repay packing A: the wider the vectors, the more
    transposes: bool  # A is packed even where that means to transpose it
    fma: bool
    masks: bool


LINE_BYTES = 64  # of a cache line
PAGE_BYTES = 4096
NEAR_BYTES = 24 * 1024  # three quarters of the smallest L1
BESIDE_BYTES = 256  # of each row of B, to be read at once

_RCP14 = Estimate("llvm.x86.avx512.rcp14.ps.512", 16, masked=True)
_RCP = Estimate("llvm.x86.avx.rcp.ps.256", 8, masked=False)
TARGETS = (
    Target(
        "skx", ("avx512f", "avx512vl", "avx512dq"), 512, True, True, 6, 4, 144, 384, 4096, _RCP14
    ),
    Target("haswell", ("avx2", "fma"), 256, True, False, 6, 2, 144, 320, 4080, _RCP),
    Target("sandybridge", ("avx",), 256, False, False, 6, 2, 144, 256, 4080, _RCP),
    Target("neon", ("neon",), 128, True, False, 8, 3, 192, 384, 4080),
    Target("generic", (), 128, False, False, 4, 2, 96, 256, 4080),
)


@cache
def host() -> Target:
    """Return the first row whose features this CPU has (``FASTDNN_TARGET`` names another one).

    Of a row that this CPU is too small for, LLVM splits the vectors, but not the estimate.
    """
    rows = {target.name: target for target in TARGETS}
    forced, features = os.environ.get("FASTDNN_TARGET"), cpu_features()

    def fits(target: Target) -> bool:
        return all(need in features for need in target.needs)

    if forced:
        row = lookup("FASTDNN_TARGET", forced, rows)
        return row if fits(row) else row._replace(reciprocal=None)
    return next(filter(fits, TARGETS))


@cache
def cpu_features() -> frozenset[str]:
    """Return the CPU features that numba compiles for, by LLVM's names."""
    if config.CPU_FEATURES is not None:
        named = str(config.CPU_FEATURES).split(",")
        return frozenset(f[1:] for f in named if f.startswith("+"))
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


@cache
def tile(dtype: DTypeLike) -> Tile:
    """Return the host's tile for a dtype."""
    t = host()
    size = np.dtype(dtype).itemsize
    lanes = t.bits // (8 * size)
    kc = t.kc if size == 4 else t.kc * 3 // 4
    return Tile(
        lanes=lanes,
        mr=t.mr,
        nv=t.nv,
        nr=t.nv * lanes,
        mc=t.mc * 4 // size,
        kc=kc,
        nc=t.nc,
        line=LINE_BYTES // size,
        page=PAGE_BYTES // size,
        narrow=t.nv // 2 * lanes,
        pairs=min(t.mr * t.nv // 2, lanes),
        l1_elements=NEAR_BYTES // size,
        panels_at_once=max(BESIDE_BYTES // (t.nv * t.bits // 8), 1),
        packed=t.bits // 2,
        transposes=t.bits < 512,  # with 512 bits it takes longer than reading A's rows in place
        fma=t.fma,
        masks=t.masks,
    )
