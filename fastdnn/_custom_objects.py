"""What a file can name and cannot hold: objects made of a user's functions."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

KEY = "custom"  # in a configuration: the name


class Custom:
    """An object made of a user's functions, which a file knows by its name."""

    name: str

    def named(self) -> dict[str, str]:
        """Return what a configuration holds in its place."""
        return {"class": type(self).__name__, KEY: self.name}


def refuse_ambiguous(objects: Iterable[object]) -> None:
    """Refuse two different objects of one name, of which a file could keep but one.

    Raises
    ------
    ValueError
        That names them.
    """
    known: dict[str, object] = {}
    for one in objects:
        if isinstance(one, Custom) and known.setdefault(one.name, one) is not one:
            raise ValueError(
                f"two functions of your own are named {one.name!r}, and the file keeps only names: "
                f"give each {type(one).__name__} a name"
            )


def missing(config: Any, objects: Mapping[str, object]) -> list[str]:
    """Return the names in a configuration for which there is no object."""
    if isinstance(config, list):
        return [name for item in config for name in missing(item, objects)]
    if not isinstance(config, dict):
        return []
    if KEY in config:
        if not isinstance(config[KEY], str):
            raise LookupError(config[KEY])
        return [] if config[KEY] in objects else [config[KEY]]
    return missing(list(config.values()), objects)


def replaced(config: Any, objects: Mapping[str, object]) -> Any:
    """Return a configuration with the objects in the place of their names.

    Raises
    ------
    TypeError
        If an object is of another class than the one that was saved.
    """
    if isinstance(config, list):
        return [replaced(item, objects) for item in config]
    if not isinstance(config, dict):
        return config
    if KEY not in config:
        return {name: replaced(item, objects) for name, item in config.items()}
    found = objects[config[KEY]]
    if type(found).__name__ != config["class"]:
        raise TypeError(f"custom_objects[{config[KEY]!r}]: want a {config['class']}, got {found!r}")
    return found


def with_functions(path: str | Path, config: Any, objects: Mapping[str, object]) -> Any:
    """Return a model's configuration with the objects that it names, if not without its loss.

    Raises
    ------
    TypeError, ValueError
        If an activation is missing, or an object is of another class than the one that was saved.

    Warns
    -----
    UserWarning
        If the loss is missing.
    """
    if not isinstance(objects, Mapping):
        raise TypeError(f"custom_objects: want a dict of names, got {objects!r}")
    if not isinstance(config, dict):
        return config
    wanted = missing(config.get("layers"), objects)
    if wanted:
        raise ValueError(
            f"{path}: want custom_objects={{name: ScalarActivation, …}} with the activations that "
            f"the model was made of, {sorted(set(wanted))}"
        )
    if not missing(config.get("loss"), objects):
        return replaced(config, objects)
    untrained = {k: v for k, v in config.items() if k not in ("optimizer", "loss", "metrics")}
    found = replaced(untrained, objects)
    warnings.warn(
        f"{path}: custom_objects has no {config['loss'][KEY]!r}, the loss: compile the model "
        "before training",
        stacklevel=3,
    )
    return found
