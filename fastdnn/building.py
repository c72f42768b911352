"""Layers laid out in an engine, once their sizes are known and allowed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastdnn.kernels.engine import Engine, size_of, tensors_of
from fastdnn.kernels.layers.operations import CONSTANT, Tensor

from ._inputs import check_finite
from .custom import ScalarActivation
from .embedding import ColumnEmbedding
from .layer import Array, Layer
from .layers import Dense, Dropout
from .stack import Stack


def flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield layers and those inside them, in the order of their parameters."""
    for layer in layers:
        yield from layer.flat()


def check_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers as a tuple, if they are ones that no other model has."""
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers: want a list of layers, got {layers!r}")
    stack: list[Layer] = []
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: want layers such as Dense and Dropout, got {layer!r}")
        stack.append(layer)
    every = list(flat(stack))
    if len(set(map(id, every))) < len(every):
        raise ValueError("layers: one layer is there twice; make one for each place")
    for number, layer in enumerate(every):
        if isinstance(layer, ColumnEmbedding) and number > 0:
            raise ValueError("layers: want ColumnEmbedding first: it reads columns of X")
    refuse_placed(stack)
    return tuple(stack)


def check_complete(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return layers that can make outputs."""
    if not any(isinstance(layer, Dense) for layer in layers):
        raise ValueError("layers: want at least one Dense layer")
    if isinstance(layers[-1], Dropout):
        raise ValueError("layers: want another last layer than Dropout: it would thin the outputs")
    return layers


def ending(layers: Iterable[Layer]) -> tuple[int, str | ScalarActivation]:
    """Return n_L, and the activation that the outputs of complete layers come from."""
    n = 0  # a Dense comes, whatever the input size is
    g: str | ScalarActivation = "identity"
    for layer in layers:
        n, g = layer.width(n), layer.ending(g)
    return n, g


def refuse_placed(layers: Iterable[Layer]) -> None:
    """Refuse layers that are another model's."""
    for layer in flat(layers):
        if layer.is_placed:
            kind = type(layer).__name__
            raise ValueError(
                f"layers: a {kind} layer belongs to another model already; make a new one"
            )


def stacked(layers: Sequence[Layer], input_size: int) -> Stack:
    """Return the rows of layers whose input is so wide.

    Raises
    ------
    ValueError
        If a layer does not fit the one before.
    """
    stack = Stack(input_size)
    first = next(layer for layer in layers if not isinstance(layer, Dropout))
    if not isinstance(first, Dense):
        # then row 1 hands out dA_0 as its dZ
        stack.operate("identity")
    for layer in layers:
        layer.lay(stack)
    return stack


def refuse_too_many(stack: Stack, dtype: np.dtype[Any]) -> None:
    """Refuse parameters that cannot fit in memory, before any is made."""
    count = sum(size_of(tensor) for row in stack.rows for tensor in tensors_of(row))
    needed, held = 2 * count * dtype.itemsize, memory()
    if held is not None and needed > held:
        raise MemoryError(
            f"layers: want parameters that fit, with their gradient, in the machine's memory of "
            f"{held // 10**6:,} MB, got {count:,} parameters, for {needed // 10**6:,} MB"
        )


def memory() -> int | None:
    """Return the bytes of physical memory, where the system says."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def kept_tensors(stack: Stack) -> dict[str, Tensor]:
    """Return what a file keeps of each layer, by its name there: W1, b1, gamma2, …."""
    kept = {}
    for number, (_, l) in enumerate(stack.owners, 1):
        for tensor in tensors_of(stack.rows[l - 1]):
            if tensor.role != CONSTANT:
                kept[f"{tensor.name}{number}"] = tensor
    return kept


def check_tensors(stack: Stack, dtype: np.dtype[Any], tensors: Mapping[str, Array]) -> None:
    """Refuse tensors that are not these rows' finite ones."""
    for name, tensor in kept_tensors(stack).items():
        found = tensors.get(name)
        if found is None or found.shape != tensor.shape or found.dtype != dtype:
            got = "none" if found is None else f"{found.dtype} of shape {found.shape}"
            raise ValueError(f"want a tensor {name} of {dtype} of shape {tensor.shape}, got {got}")
        check_finite(name, found, dtype)
        if tensor.name == "moving_variance" and found.size and found.min() < 0:
            raise ValueError(f"want variances >= 0 in the tensor {name}, got {found.min()}")


def lay_out(stack: Stack, dtype: np.dtype[Any]) -> Engine:
    """Return an engine of these rows."""
    return Engine(stack.rows, dtype=dtype, input_dropout=stack.input_dropout)
