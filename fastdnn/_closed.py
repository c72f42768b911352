"""Classes whose objects refuse what they do not have: a misspelt setting would be ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from difflib import get_close_matches
from functools import wraps
from inspect import get_annotations
from typing import Any, TypeVar

T = TypeVar("T", bound=type)
_making: set[int] = set()  # the objects, by id, whose constructor is at work
_DECLARED: dict[type, set[str]] = {}
# What other libraries have, and what to do here.
_ELSEWHERE = {
    "trainable": "layers cannot be frozen here, a fit trains all of them.",
    "learning_rate": "want model.optimizer.learning_rate.",
    "lr": "want 'learning_rate'.",
    "weights": "want set_weights, or W and b of a layer.",
    "kernel": "want W, which is the kernel transposed.",
    "bias": "want b.",
}


def closed(*, frozen: bool = False) -> Callable[[T], T]:
    """Decorate a class: its objects, once made, refuse to set attributes that they do not have.

    Subclasses are open: a user's own class has attributes of its own. So are names that begin with
    an underscore.

    Parameters
    ----------
    frozen : bool
        Refuse to set those that they have, too.
    """

    def decorate(cls: T) -> T:
        make: Callable[..., None] = cls.__init__  # type: ignore[misc]
        assign: Callable[..., None] = cls.__setattr__
        error = FrozenInstanceError if frozen else AttributeError

        @wraps(make)
        def init(self: Any, *arguments: Any, **settings: Any) -> None:
            if type(self) is not cls:
                make(self, *arguments, **settings)
                return
            _making.add(id(self))
            try:
                make(self, *arguments, **settings)
            finally:
                _making.discard(id(self))

        def setattr_(self: Any, name: str, value: Any) -> None:
            """Refuse what the object does not have."""
            if type(self) is cls and id(self) not in _making and not name.startswith("_"):
                if not _has(self, name):
                    raise error(_unknown(self, name))
                if frozen:
                    raise error(
                        f"{cls.__name__}.{name}: cannot be changed; make a new {cls.__name__}"
                    )
            assign(self, name, value)

        cls.__init__ = init  # type: ignore[misc]
        cls.__setattr__ = setattr_  # type: ignore[assignment, method-assign]
        return cls

    return decorate


def _has(one: object, name: str) -> bool:
    return name in one.__dict__ or hasattr(type(one), name) or name in _declared(type(one))


def _declared(cls: type) -> set[str]:
    """Return the names that a class says its objects will have."""
    if cls not in _DECLARED:  # a callback is told its model in every fit
        _DECLARED[cls] = {
            name
            for base in cls.__mro__
            for name, kind in get_annotations(base).items()
            if not str(kind).startswith("ClassVar")
        }
    return _DECLARED[cls]


def _unknown(one: object, name: str) -> str:
    properties = {
        key for base in type(one).__mro__ for key, value in vars(base).items()
        if isinstance(value, property) and value.fset is not None
    }  # fmt: skip
    known = {*one.__dict__, *_declared(type(one)), *properties}
    known = {key for key in known if not key.startswith("_")}
    hint = _ELSEWHERE.get(name, "")
    if not hint and (near := get_close_matches(name, known, n=1)):
        hint = f"did you mean {near[0]!r}?"
    hint = f"{hint} " if hint else ""
    names = ", ".join(sorted(known)) or "none"
    return f"{type(one).__name__}.{name}: no such setting; {hint}Known: {names}"
