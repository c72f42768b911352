"""Layers laid out in an engine, once their sizes are known and allowed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastdnn.kernels.arrays import as_float
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.placement import Layer as Row

from . import initializers, regularizers
from ._inputs import check_finite
from .layers import Array, Dense, Dropout, Layer


def check_layers(layers: Iterable[Layer]) -> tuple[Dense | Dropout, ...]:
    """Return the layers as a tuple, if they are ones that no other model has."""
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers: want a list of layers, got {layers!r}")
    stack: list[Dense | Dropout] = []
    for layer in layers:
        if not isinstance(layer, Dense | Dropout):
            raise TypeError(f"layers: want Dense and Dropout layers, got {layer!r}")
        stack.append(layer)
    if len(set(map(id, stack))) < len(stack):
        raise ValueError("layers: one layer is there twice; make one for each place")
    refuse_placed(stack)
    return tuple(stack)


def refuse_placed(layers: Iterable[Layer]) -> None:
    """Refuse layers that are another model's."""
    if any(isinstance(layer, Dense) and layer.is_placed for layer in layers):
        raise ValueError("layers: a Dense layer belongs to another model already; make a new one")


def refuse_too_many(layers: Iterable[Layer], input_size: int, dtype: np.dtype[Any]) -> None:
    """Refuse parameters that cannot fit in memory, before any is made."""
    count, n_prev = 0, input_size
    for layer in layers:
        if isinstance(layer, Dense):
            count += layer.units * (n_prev + layer.use_bias)
            n_prev = layer.units
    needed, held = 2 * count * dtype.itemsize, memory()
    if held is not None and needed > held:
        raise MemoryError(
            f"layers: want parameters that fit, with their gradient, in the machine's memory of "
            f"{held // 10**6:,} MB, got {count:,} parameters, for {needed // 10**6:,} MB"
        )


def memory() -> int | None:
    """The bytes of physical memory, where the system says."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_tensors(
    layers: Iterable[Layer], n_prev: int, dtype: np.dtype[Any], tensors: Mapping[str, Array]
) -> None:
    """Refuse tensors that are not these layers' finite W and b."""
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    for l, layer in enumerate(dense, 1):
        wanted: dict[str, tuple[int, ...]] = {f"W{l}": (layer.units, n_prev)}
        if layer.use_bias:
            wanted[f"b{l}"] = (layer.units,)
        for name, shape in wanted.items():
            found = tensors.get(name)
            if found is None or found.shape != shape or found.dtype != dtype:
                got = "none" if found is None else f"{found.dtype} of shape {found.shape}"
                raise ValueError(f"want a tensor {name} of {dtype} of shape {shape}, got {got}")
            check_finite(name, found, dtype)
        n_prev = layer.units


def lay_out(layers: Sequence[Dense | Dropout], input_size: int, dtype: np.dtype[Any]) -> Engine:
    """An engine with a row for each Dense layer; dropouts in a row act as one."""
    rows: list[Row] = []
    input_dropout, n_prev = 0.0, input_size
    for layer in layers:
        if isinstance(layer, Dense):
            penalty, g = regularizers.get(layer.kernel_regularizer), layer._g
            rows.append(Row(n_prev, layer.units, g, layer.use_bias, l1=penalty.l1, l2=penalty.l2))
            n_prev = layer.units
        elif rows:
            rows[-1] = rows[-1]._replace(dropout=both(rows[-1].dropout, layer.rate))
        else:
            input_dropout = both(input_dropout, layer.rate)
    return Engine(rows, dtype=dtype, input_dropout=input_dropout)


def both(p: float, q: float) -> float:
    """The probability to be dropped by one or the other of two dropouts."""
    return 1.0 - (1.0 - p) * (1.0 - q)


def start(layer: Dense, n_prev: int, rng: np.random.Generator) -> Array:
    """W's random start."""
    assert layer.kernel_initializer is not None  # Dense has chosen one
    W = initializers.get(layer.kernel_initializer)(layer.units, n_prev, rng)
    W = as_float("kernel_initializer's W", W, ndim=None)
    if W.shape != (layer.units, n_prev):
        raise ValueError(
            f"kernel_initializer: want W of shape (n, n_prev) = ({layer.units}, {n_prev}), "
            f"got {W.shape}"
        )
    return W
