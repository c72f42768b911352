"""The description in a model's file, which a stranger may have written: bounded before it is read.

The library that reads the tensors would take 100 MB of it, and the last of two equal names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_HEADER = 20_000_000  # bytes, of a training of 200,000 epochs
MOST_VALUES = 1_000_000  # in it; each takes more memory and time than its text
MOST_TENSORS = 10_000


def check_header(path: Path) -> None:
    """Refuse a description that is too large, or says a thing twice.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, RecursionError
        If it is such a file.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MOST_HEADER:
            raise ValueError(f"want a header of up to {MOST_HEADER:,} bytes, got {size:,}")
        header = file.read(size)
    count = header.count(b"data_offsets")
    if count > MOST_TENSORS:
        raise ValueError(f"want up to {MOST_TENSORS:,} tensors, got {count:,}")
    parsed(header)


def parsed(text: str | bytes) -> Any:
    """Return what JSON says.

    Raises
    ------
    ValueError, RecursionError
        If it is none, it is too large, or an object in it has two values of one name.
    """
    marks: tuple[Any, ...] = tuple("{[,") if isinstance(text, str) else (b"{", b"[", b",")
    count = sum(text.count(one) for one in marks)
    if count > MOST_VALUES:
        raise ValueError(f"want up to {MOST_VALUES:,} values, got {count:,}")
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found
