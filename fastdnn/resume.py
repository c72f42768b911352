"""The state of a training as a model's file keeps it: nested dicts and lists with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_flag, check_number
from .checkpoint import WRONG, damaged

if TYPE_CHECKING:
    from .hooks import Callback
    from .loop import Loop
    from .seen import Seen

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
        If they differ, or the state is none that `state_of` gave.
    """
    try:
        is_known = state["version"] == VERSION
        if is_known:
            state = loop.adapted(state)
            _check_form(state, loop)
    except WRONG as error:
        raise damaged(path, error) from None
    if not is_known:
        raise ValueError(f"resume_from: {path}: of another version of fastdnn")
    check_same(path, "data's", loop.data_facts(), state["data"])
    names = [type(one).__name__ for one in _kept(loop)]
    check_same(path, "callbacks", names, [one["class"] for one in state["callbacks"]])
    loop.resumed = {**state, "path": path}


def _check_form(state: Mapping[str, Any], loop: Loop) -> None:
    """Refuse values of a state that no training has."""
    check_number("epoch", state["epoch"], f"[0, {2**53}]", whole=True)
    check_number("learning_rate", state["learning_rate"], "[0, inf)")
    if state["rate"] is not None:
        check_number("rate", state["rate"], "[0, inf)")
    check_flag("stops", state["stops"])
    for one in state["callbacks"]:
        if not isinstance(one["class"], str) or not isinstance(one["state"], dict):
            raise TypeError(f"callbacks: want names with states, got {one!r}")
    if state["seen"] is not None:
        _check_seen(state["seen"])
    _check_place(state["place"], loop)


def _check_seen(seen: Mapping[str, Any]) -> None:
    check_flag("is_whole", seen["is_whole"])
    check_number("samples", seen["samples"], f"[0, {2**53}]", whole=True)
    losses = seen["losses"]
    if losses.ndim != 1 or losses.dtype != np.float64 or not np.isfinite(losses).all():
        raise ValueError(f"losses: want finite numbers, got {losses!r}")
    for size in seen["sizes"]:
        check_number("sizes", size, f"[0, {2**53}]", whole=True)
    for name, values in seen["means"].items():
        if len(values) != len(seen["sizes"]):
            raise ValueError(f"means: want one of {name} for each of {len(seen['sizes'])} sizes")
        if not all(isinstance(value, int | float) for value in values):  # NaN, too
            raise TypeError(f"means: want numbers, got {values!r}")
    for one in seen["pieces"]:
        if [isinstance(array, np.ndarray) for array in one] != [True, True]:
            raise TypeError(f"pieces: want targets and outputs, got {one!r}")


def _check_place(place: Mapping[str, Any], loop: Any) -> None:
    facts = loop.data_facts()
    if "samples" not in facts:  # a source of batches
        for name, value in place.items():
            if value is not None:
                check_number(name, value, f"[0, {2**53}]", whole=True)
        return
    m, batch, outputs = facts["samples"], facts["batch_size"], place["outputs"]
    begin, steps = place["begin"], place["steps"]
    check_number("steps", steps, f"[0, {loop.steps_of_pass}]", whole=True)
    check_number("begin", begin, f"[0, {steps}]", whole=True)
    wanted = min(steps * batch, m) - begin * batch, loop.engine.layers[-1].n
    if outputs is not None and (outputs.shape != wanted or outputs.dtype.kind != "f"):
        raise ValueError(f"outputs: want floats of shape {wanted}, got {outputs!r}")


def take_up(loop: Loop, state: Mapping[str, Any]) -> None:
    """Make all as it was when the state was taken, but for the model and the epoch."""
    try:
        for callback, of in zip(_kept(loop), state["callbacks"], strict=True):
            callback.set_state(of["state"])
        if state["rate"] is not None:
            loop.optimizer.learning_rate = state["rate"]
        loop.model.stop_training = state["stops"]
    except WRONG as error:
        raise damaged(state["path"], error) from error
    loop.set_place(state["place"])  # reads on in the user's source, whose errors come through


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
