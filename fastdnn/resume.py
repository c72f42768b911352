"""The state of a training as a model's file keeps it: nested dicts and lists with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
VERSION = 1
PREFIX = "training."  # of the arrays' names in the file
_ARRAY = "array"


def pack(value: Any, tensors: dict[str, Array], name: str = PREFIX) -> Any:
    """Return a value as JSON can hold it; its arrays go to `tensors`, by names that begin so."""
    if isinstance(value, np.ndarray):
        tensors[name] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {key: pack(item, tensors, f"{name}{key}.") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pack(item, tensors, f"{name}{i}.") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def unpack(value: Any, tensors: Mapping[str, Array]) -> Any:
    """Return the value that `pack` was given, but for tuples, which are lists.

    Raises
    ------
    KeyError
        If an array is missing.
    """
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return tensors[value[_ARRAY]]
        return {key: unpack(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    return value


def check_same(path: Any, what: str, now: Any, then: Any) -> None:
    """Refuse to go on with other settings than the file's, naming the first that differs.

    Raises
    ------
    ValueError
        If they differ.
    """
    if isinstance(now, dict) and isinstance(then, dict):
        for key in {**then, **now}:
            check_same(path, f"{what} {key!r}", now.get(key), then.get(key))
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for i, (one, other) in enumerate(zip(now, then, strict=True)):
            check_same(path, f"{what}[{i}]", one, other)
    elif now != then:
        raise ValueError(
            f"resume_from: {path}: want the {what} of the training in the file, {then!r}, "
            f"got {now!r}"
        )
