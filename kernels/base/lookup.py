"""One way to turn a name that a user wrote into a table entry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def lookup(
    kind: str, name: object, table: Mapping[str, T], meant: Mapping[str, str] | None = None
) -> T:
    """Return ``table[name]``, or say which names there are.

    Parameters
    ----------
    kind : str
        What is looked up (``"activation"``, ``"loss"``, …): the error's first word.
    name : object
        What the user gave.
    table : mapping
        The known names.
    meant : mapping, optional
        From what others call a thing, in small letters, to its name here.

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If `name` is not in the table; the nearest known name is proposed.
    """
    if not isinstance(name, str):
        raise TypeError(f"{kind}: want one of {sorted(table)} as a string, got {name!r}")
    try:
        return table[name]
    except KeyError:
        small = name.lower().replace("-", "_").replace(" ", "_")
        near = [(meant or {}).get(small, small)]
        if near[0] not in table:
            near = get_close_matches(small, table, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"{kind}: unknown name {name!r}; {hint}Known: {', '.join(sorted(table))}"
        ) from None
