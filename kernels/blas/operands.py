"""What a product is made of: values that travel together, and are flat where a leaf is called."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastdnn.kernels.base.arrays import Matrix
from fastdnn.kernels.base.constants import ONE, ZERO
from fastdnn.kernels.compiler.jit import kernel, small_kernel
from fastdnn.kernels.llvm.simd import address

# Elements of a C0 where there is none, with which a workspace begins: as many as the widest tile
# has columns (8 vectors of 64 bytes).
ZEROS = 128


class Region(NamedTuple):
    """A block of a matrix: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


class Left(NamedTuple):
    """A block of A: how far its rows and its steps of k lie apart, or packed (see `pack`)."""

    at: Any
    row_stride: int
    k_stride: int
    packed: bool


class Right(NamedTuple):
    """A block of B, kc deep: its rows `ld` apart, or panels (see `pack`) where `ld` is 0."""

    at: Any
    ld: int
    kc: int


class Target(NamedTuple):
    """A block of C: its rows `ld` apart; `fused_relu`: it takes max(C, 0)."""

    at: Any
    ld: int
    rows: int
    columns: int
    fused_relu: bool


@kernel
def element(x, i, j):
    """Return the address of x[i, j]."""
    return address(x.flat, x.offset + i * x.row_stride + j * x.column_stride)


@small_kernel
def moved(x, i, j):
    """Return the matrix that begins at x[i, j]."""
    return Matrix(element(x, i, j), ZERO, x.row_stride, x.column_stride)


@small_kernel
def transposed(x):
    """x^T."""
    return Matrix(x.flat, x.offset, x.column_stride, x.row_stride)


@small_kernel
def rows_from(at, ld):
    """Return the matrix at an address, its rows `ld` apart and contiguous."""
    return Matrix(at, ZERO, ld, ONE)


@small_kernel
def zeros_at(zeros):
    """C0 where there is none: `ZEROS` zeros at an address, or what shall be as many."""
    return Matrix(zeros, ZERO, ZERO, ZERO)
