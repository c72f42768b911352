"""Configurations: objects of registered classes as JSON can hold them, and back.

A configuration is data. Reading one calls nothing but the classes that registered here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from ._custom_objects import Custom

CLASSES: dict[str, Callable[..., Any]] = {}
T = TypeVar("T", bound=type)


def storable(cls: T) -> T:
    """Let a configuration name this dataclass, whose fields it keeps."""
    if cls.__name__ in CLASSES:
        raise ValueError(f"{cls.__name__}: a configuration has this name for another class")
    CLASSES[cls.__name__] = cls
    return cls


def is_storable(value: object) -> bool:
    """Return whether a configuration can name the class of `value`."""
    return CLASSES.get(type(value).__name__) is type(value)


def to_config(value: Any) -> Any:
    """Return `value` as JSON can hold it: an object becomes its fields and its class's name.

    Raises
    ------
    TypeError
        If it is of a class that did not register.
    """
    if isinstance(value, Custom):
        return value.named()
    if is_storable(value):
        own = {f.name: to_config(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": type(value).__name__, **own}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, tuple):
        return [to_config(item) for item in value]
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"{value!r} cannot be kept in a model file: want one of fastdnn's own classes")


def from_config(config: Any) -> Any:
    """Return the value that `to_config` wrote."""
    if isinstance(config, dict):
        own = {name: from_config(item) for name, item in config.items() if name != "class"}
        return CLASSES[config["class"]](**own)
    if isinstance(config, list):
        return tuple(from_config(item) for item in config)
    return config
