"""Where a network's parameters lie, and what of them is updated how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.arrays import address_of, rounded
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.cpu.targets import Tile
from fastdnn.kernels.elementwise.activations import OwnActivation, activation_of
from fastdnn.kernels.layers.layout import (
    CODE,
    DETAILS,
    FIELDS,
    FROM_Z,
    FUSED_RELU,
    N_PREV,
    PACKED,
    PANELS,
    WHOLE_ROW,
    B,
    N,
    W,
)
from fastdnn.kernels.layers.operation_table import operation_of
from fastdnn.kernels.layers.operations import TRAINED, Tensor

SMALLEST_CHUNK, LARGEST_CHUNK = 512, 8192  # parameters that a rank updates at a time
WEIGHT_SAMPLES, SLOT_SAMPLES = 3, 5  # take as long as an update of W, and as one of its slots
DENSE = "dense"
TABLE = NDArray[np.int64]
NO_SETTINGS: Mapping[str, Any] = {}


class Layer(NamedTuple):
    """A = dropout(g(Z)): of W A_prev + b, W of shape (n, n_prev), or of another operation."""

    n_prev: int
    n: int
    activation: str | OwnActivation = "identity"
    use_bias: bool = True
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    operation: str = DENSE  # or a name in `operation_table.OPERATIONS`
    settings: Mapping[str, Any] = NO_SETTINGS  # of that operation

    @property
    def is_dense(self) -> bool:
        """Return whether Z is a product."""
        return self.operation == DENSE


def tensors_of(layer: Layer) -> tuple[Tensor, ...]:
    """Return what a layer has of its own: W and b, or an operation's tensors."""
    if not layer.is_dense:
        return operation_of(layer.operation).tensors(layer)
    W = Tensor("W", (layer.n, layer.n_prev))
    return (W, Tensor("b", (layer.n,))) if layer.use_bias else (W,)


def size_of(tensor: Tensor) -> int:
    """Return how many elements it has."""
    return math.prod(tensor.shape)


class Placed(NamedTuple):
    """Where a layer's tensor lies among the values of a network."""

    tensor: Tensor
    start: int

    @property
    def size(self) -> int:
        """Elements."""
        return size_of(self.tensor)

    def view(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the tensor in a vector of all values, or of as many for derivatives."""
        flat, shape = values[self.start : self.start + self.size], self.tensor.shape
        # W lies transposed: column j of W^T, as it lies there, is what unit j makes of A_prev
        return flat.reshape(shape[::-1]).T if self.tensor.name == "W" else flat.reshape(shape)


class Parameters(NamedTuple):
    """The parameters' places: the table's part that no batch changes, and what is updated how."""

    table: TABLE
    size: int
    chunks: TABLE  # rows of (start, stop, 0): what a rank updates at a time
    tensor_chunks: TABLE  # rows of (start, stop, tensor), where each is treated for itself
    penalties: NDArray[np.float64]  # rows of (l1, l2), one per tensor
    packed: int  # elements of all W, packed for both passes
    state: int  # elements behind the parameters: what is not trained
    tensors: tuple[tuple[Placed, ...], ...]  # of each layer
    details: TABLE  # the integers of operations, to whose addresses the table refers
    work: int  # of a sample, forward: flops, and what its activations cost in the time of flops

    def step_work(self, batch: int, n_slots: int) -> int:
        """Return what a blocked step shares for each time that its ranks meet, in multiplications.

        W is read and written, each slot too, with a square root and a division: in the time of so
        many samples.
        """
        samples = WEIGHT_SAMPLES + SLOT_SAMPLES * n_slots + batch
        return self.size * samples // (len(self.table) - 1)


def place_parameters(layers: Sequence[Layer], tile: Tile) -> Parameters:
    """Lay W^T and b, or an operation's tensors, of all layers behind each other."""
    table = np.zeros((len(layers) + 1, FIELDS), np.int64)
    table[0, [N, W, B, CODE]] = layers[0].n_prev, -1, -1, -1
    tensors, size, state = _placed(layers)
    whole = sum(_rounded_size(layer) for layer in layers)
    chunk = min(max(SMALLEST_CHUNK, whole // 256 // 64 * 64), LARGEST_CHUNK)
    chunks: list[TABLE] = []
    penalties: list[tuple[float, float]] = []
    details: list[int] = []
    packed = flops = 0
    for l, (layer, own) in enumerate(zip(layers, tensors, strict=True), 1):
        _enter(table, l, layer, is_last=l == len(layers))
        trained = [one for one in own if one.tensor.role == TRAINED]
        if layer.is_dense:
            table[l, W] = own[0].start
            table[l, B] = own[1].start if layer.use_bias else -1
            table[l, PANELS] = packed
            packed += rounded(layer.n_prev * (layer.n + tile.nr))
            table[l, PACKED] = packed
            packed += rounded(layer.n * (layer.n_prev + tile.nr)) if l > 1 else 0
            flops += 2 * sum(one.size for one in own)
        else:
            table[l, W] = trained[0].start if trained else 0
            table[l, B] = table[l, W] + sum(one.size for one in trained)
            table[l, DETAILS] = len(details)
            at = {one.tensor.name: one.start for one in own}
            details += operation_of(layer.operation).details(layer, at)
        for one in trained:
            chunks.append(_chunks(one.start, one.start + one.size, chunk, len(penalties)))
            penalties.append((layer.l1, layer.l2) if one.tensor.name == "W" else (0.0, 0.0))
    integers = np.array([*details, 0], np.int64)
    for l, layer in enumerate(layers, 1):
        if not layer.is_dense:
            table[l, DETAILS] = address_of(integers) + integers.itemsize * table[l, DETAILS]
    return Parameters(
        table,
        size,
        _chunks(0, size, chunk, 0),
        np.concatenate(chunks),
        np.array(penalties),
        packed,
        state,
        tensors,
        integers,
        flops + threads.ELEMENT_FLOPS * int(table[:, N].sum()),
    )


def _placed(layers: Sequence[Layer]) -> tuple[tuple[tuple[Placed, ...], ...], int, int]:
    """Return each tensor's place, the trained ones first; elements of these, and of others."""
    every = [tensors_of(layer) for layer in layers]
    places: dict[tuple[int, int], int] = {}
    ends = []
    at = 0
    for is_trained in (True, False):
        for l, own in enumerate(every):
            for i, tensor in enumerate(own):
                if (tensor.role == TRAINED) == is_trained:
                    places[l, i] = at
                    at += size_of(tensor)
        ends.append(at)
    placed = tuple(
        tuple(Placed(tensor, places[l, i]) for i, tensor in enumerate(own))
        for l, own in enumerate(every)
    )
    return placed, ends[0], ends[1] - ends[0]


def _rounded_size(layer: Layer) -> int:
    """A layer's parameters, as if it had a bias: so chunks do not depend on that."""
    if layer.is_dense:
        return layer.n * (layer.n_prev + 1)
    return sum(size_of(tensor) for tensor in tensors_of(layer) if tensor.role == TRAINED)


def _enter(table: TABLE, l: int, layer: Layer, *, is_last: bool) -> None:
    """Write a layer's sizes and its activation, but for the output layer's: it is the loss's."""
    activation = activation_of(layer.activation)
    table[l, [N_PREV, N, W, B]] = layer.n_prev, layer.n, -1, -1
    table[l, CODE] = -1 if is_last else activation.code
    table[l, FROM_Z] = activation.from_z
    table[l, WHOLE_ROW] = activation.whole_row and not is_last
    # only a product rectifies by itself
    table[l, FUSED_RELU] = activation.rectifies and not is_last and layer.is_dense


def _chunks(start: int, stop: int, size: int, tensor: int) -> TABLE:
    """Return rows of (start, stop, tensor) for a range of the parameters."""
    rows = [(i, min(i + size, stop), tensor) for i in range(start, stop, size)]
    return np.array(rows, np.int64).reshape(-1, 3)
