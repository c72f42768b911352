"""Classes that follow from an entry of the kernels' tables, which says all there is to say."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import field, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def class_name(name: str) -> str:
    """Return the name of an entry's class: of "log_cosh" it is "LogCosh"."""
    return "".join(part.capitalize() for part in name.split("_"))


def derived(
    entry: str,
    base: type[T],
    documentation: str,
    settings: Iterable[tuple[str, Any, Any]] = (),
    /,
    *,
    frozen: bool = False,
    **members: Any,
) -> type[T]:
    """Return the dataclass of an entry, which its base's module has from now on.

    Parameters
    ----------
    entry : str
        Its name.
    base : type
    documentation : str
    settings : iterable of (name, type, default)
    frozen : bool
        Whether objects cannot be changed.
    **members
        Further members of the class.
    """
    made = make_dataclass(
        class_name(entry),
        [(one, kind, field(default=default)) for one, kind, default in settings],
        bases=(base,),
        namespace={"__doc__": documentation, "__module__": base.__module__, **members},
        frozen=frozen,
    )
    # where pickle looks for it
    setattr(sys.modules[base.__module__], made.__name__, made)
    return made
