"""The state of a training as a model's file keeps it: nested dicts and lists with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .hooks import Callback
    from .loop import Loop, Seen

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


def state_of(loop: Loop, epoch: int, seen: Seen | None) -> dict[str, Any]:
    """Return what another process needs to go on with a training in an epoch, beside the model.

    Parameters
    ----------
    loop : Loop
    epoch : int
        The epoch that it goes on in.
    seen : Seen or None
        What the epoch has seen; None at its beginning.
    """
    rate = loop.optimizer.learning_rate
    return {
        "version": VERSION,
        "data": loop.data_facts(),
        "place": loop.get_place(),
        "epoch": epoch,
        "seen": None if seen is None else seen.get_state(),
        "learning_rate": loop.rate,
        "rate": rate if isinstance(rate, float) else None,
        "stops": loop.model.stop_training,
        "callbacks": [
            {"class": type(one).__name__, "state": one.get_state()} for one in _kept(loop)
        ],
    }


def check(loop: Loop, state: Mapping[str, Any], path: Any) -> None:
    """Refuse to go on with a training of other data or callbacks than this one's.

    Raises
    ------
    ValueError
        If they differ.
    """
    if state["version"] != VERSION:
        raise ValueError(f"resume_from: {path}: of another version of fastdnn")
    check_same(path, "data's", loop.data_facts(), state["data"])
    names = [type(one).__name__ for one in _kept(loop)]
    check_same(path, "callbacks", names, [one["class"] for one in state["callbacks"]])


def take_up(loop: Loop, state: Mapping[str, Any]) -> None:
    """Make all as it was when the state was taken, but for the model and the epoch."""
    for callback, of in zip(_kept(loop), state["callbacks"], strict=True):
        callback.set_state(of["state"])
    if state["rate"] is not None:
        loop.optimizer.learning_rate = state["rate"]
    loop.model.stop_training = state["stops"]
    loop.set_place(state["place"])


def _kept(loop: Loop) -> list[Callback]:
    return [one for one in loop.callbacks if one.is_kept]


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
