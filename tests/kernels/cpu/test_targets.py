"""The table of CPUs: which row is chosen, what its numbers must obey, and products by every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core import config

from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.blas.pack import SPARE
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.cpu.targets import TARGETS, Target
from tests.kernels.common import each_dtype, run_python

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
REGISTERS = {"skx": 32, "haswell": 16, "sandybridge": 16, "neon": 32, "generic": 16}
CACHES = {"skx": (48, 1024), "neon": (64, 512)}  # KiB of L1 and L2; the others have 32 and 256


@pytest.fixture
def fresh_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test say what the host is; afterwards it is found out again."""
    caches = targets.host, targets.cpu_features, targets.tile
    for one in caches:
        one.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for one in caches:
        one.cache_clear()


def tile_of(target: Target, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> targets.Tile:
    monkeypatch.setenv("FASTDNN_TARGET", target.name)
    return targets.tile(dtype)


@each_target
@each_dtype
def test_tiles_and_blocks_fit_each_other(
    target: Target, dtype: Any, fresh_host: pytest.MonkeyPatch
) -> None:
    tile = tile_of(target, dtype, fresh_host)
    assert tile.lanes * dtype.itemsize * 8 == target.bits
    assert tile.nr == tile.nv * tile.lanes
    assert tile.mc % tile.mr == 0
    assert tile.nc % tile.nr == 0
    assert tile.mr * tile.nv + tile.nv + 1 <= REGISTERS[target.name]
    l1, l2 = CACHES.get(target.name, (32, 256))
    assert tile.kc * tile.mr * dtype.itemsize <= l1 * 1024 // 2  # a panel of A
    if target.name != "skx":  # whose panels of 4 vectors are read from L2
        assert tile.kc * tile.nr * dtype.itemsize <= l1 * 1024  # a panel of B
    assert tile.kc * (tile.mc + tile.nr) * dtype.itemsize <= l2 * 1024  # a block of A, a panel of B
    # a narrow tile's sums, vectors of B and a broadcast of A
    assert 0 < tile.narrow < tile.nr
    assert 2 * tile.mr * (tile.nv // 2) + tile.nv // 2 + 1 <= REGISTERS[target.name]
    # a block of B that is near leaves a quarter of L1 to A and C
    assert tile.l1_elements * dtype.itemsize <= l1 * 1024 * 3 // 4
    assert 2 * tile.nr <= ZEROS  # the zeros that C may begin with reach over a tile
    assert tile.lanes <= SPARE
    assert tile.packed > tile.narrow  # a packed A has panels of mr rows


def test_float64_takes_as_many_bytes_as_float32(fresh_host: pytest.MonkeyPatch) -> None:
    for target in TARGETS:
        fresh_host.setenv("FASTDNN_TARGET", target.name)
        targets.host.cache_clear()
        targets.tile.cache_clear()
        single, double = targets.tile(np.dtype(np.float32)), targets.tile(np.dtype(np.float64))
        assert (double.lanes, double.mc) == (single.lanes // 2, single.mc // 2)
        assert (double.mr, double.nv) == (single.mr, single.nv)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ("+sse2", "generic"),
        ("+sse2,+avx", "sandybridge"),
        ("+sse2,+avx,+avx2", "sandybridge"),  # no FMA
        ("+sse2,+avx,+avx2,+fma", "haswell"),
        ("+avx,+avx2,+fma,+avx512f", "haswell"),  # an early AVX-512 without vl and dq
        ("+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq", "skx"),
        ("+avx,-avx2,-fma", "sandybridge"),
        ("+neon", "neon"),
        ("", "generic"),
    ],
)
def test_the_first_row_with_all_features_is_chosen(
    features: str, name: str, fresh_host: pytest.MonkeyPatch
) -> None:
    fresh_host.delenv("FASTDNN_TARGET", raising=False)
    fresh_host.setattr(config, "CPU_FEATURES", features)
    assert targets.host().name == name


def test_without_numbas_setting_the_cpus_own_features_count(
    fresh_host: pytest.MonkeyPatch,
) -> None:
    fresh_host.setattr(config, "CPU_FEATURES", None)
    fresh_host.setattr(llvm, "get_host_cpu_features", lambda: {"avx": True, "avx2": False})
    assert targets.cpu_features() == {"avx"}


@pytest.mark.parametrize(
    ("features", "estimates"),
    [("+avx,+avx2,+fma", False), ("+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq", True)],
)
def test_no_cpu_is_asked_for_an_instruction_of_another(
    features: str, estimates: bool, fresh_host: pytest.MonkeyPatch
) -> None:
    fresh_host.setenv("FASTDNN_TARGET", "skx")
    fresh_host.setattr(config, "CPU_FEATURES", features)
    assert targets.host().name == "skx"
    assert (targets.host().reciprocal is not None) == estimates


def test_an_unknown_target_is_an_error(fresh_host: pytest.MonkeyPatch) -> None:
    fresh_host.setenv("FASTDNN_TARGET", "hasswell")
    with pytest.raises(ValueError, match=r"FASTDNN_TARGET.*did you mean 'haswell'"):
        targets.host()


PRODUCTS = """
import numpy as np
from fastdnn.kernels.cpu import targets
from tests.kernels import products

for name in ("float32", "float64"):
    products.check_target(np.dtype(name))
print(targets.host().name)
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.name, marks=[] if one.name == "generic" else pytest.mark.nightly)
        for one in TARGETS
        if one != targets.host()  # which has its tests in test_gemm.py
    ],
)
def test_products_by_every_other_row(name: str) -> None:
    """A row that is wider than this CPU is split by LLVM, and neon's is a mere tile here."""
    assert run_python(PRODUCTS, {"FASTDNN_TARGET": name}).strip() == name
