"""The same batches from every kind of source, and the memory that a call takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Batches = list[tuple[Any, ...]]


def batches(size: int, *arrays: Any) -> Batches:
    """Some samples at a time, in their order."""
    m = arrays[0].shape[0]
    return [tuple(one[i : i + size] for one in arrays) for i in range(0, m, size)]


class Iterable:
    """Can be iterated again and again; has no length."""

    def __init__(self, given: Batches) -> None:
        self.given, self.passes = given, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.given)


class Indexed:
    """As Keras's data sets: a batch by its number, and a word at the end of a pass."""

    def __init__(self, given: Batches) -> None:
        self.given, self.passes = given, 0

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, i: int) -> Any:
        return self.given[i]

    def on_epoch_end(self) -> None:
        self.passes += 1


class Refilled:
    """Gives its batches in memory that the next one overwrites."""

    def __init__(self, given: Batches) -> None:
        self.given = given
        self.memory = [np.empty_like(one) for one in given[0]]

    def __iter__(self) -> Iterator[Any]:
        for batch in self.given:
            m = len(batch[0])
            for place, part in zip(self.memory, batch, strict=True):
                place[...] = 99
                place[:m] = part
            yield tuple(place[:m] for place in self.memory)


def function(given: Batches) -> Callable[[], Iterator[Any]]:
    """Return a generator function."""

    def generate() -> Iterator[Any]:
        yield from given

    return generate


def loader(given: Batches) -> Any:
    """Return PyTorch's loader of the batches' samples."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    parts = [torch.from_numpy(np.concatenate(one)) for one in zip(*given, strict=True)]
    return DataLoader(TensorDataset(*parts), batch_size=len(given[0][0]))


SOURCES: dict[str, Callable[[Batches], Any]] = {
    "list": list,
    "tuple": tuple,
    "lists": lambda given: [list(batch) for batch in given],
    "nested lists": lambda given: [tuple(one.tolist() for one in batch) for batch in given],
    "iterable": Iterable,
    "indexed": Indexed,
    "refilled": Refilled,
    "generator function": function,
    "function of a list": lambda given: lambda: given,
    "function of an indexed": lambda given: lambda: Indexed(given),
}


def peak(call: Callable[[], object]) -> int:
    """Return the most bytes of Python's and NumPy's that a call holds beside what there was."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
