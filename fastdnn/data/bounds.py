"""How much a packed file may unpack to: a small one could fill the memory."""

from __future__ import annotations

from pathlib import Path

FREE = 16_000_000  # bytes, which any file may unpack to
RATIO = 800  # bytes of one: rows of one 1 among 1,000 zeros reach 600, zeros alone 1,030


def check_unpacked(path: Path, unpacked: int, packed: int) -> None:
    """Refuse a file of which so many bytes unpack to so many.

    Raises
    ------
    ValueError
        If they are more than data's.
    """
    if unpacked > FREE and unpacked > RATIO * packed:
        raise ValueError(
            f"{path}: {packed:,} of its bytes unpack to {unpacked:,} or more; want up to {RATIO} "
            "for each, as data have: if it is to be read, unpack it first"
        )
