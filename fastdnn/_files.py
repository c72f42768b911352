"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place if the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The file to write. Whoever reads it sees the old file or the new one, never a part.

    Yields
    ------
    Path
        The temporary file, with the same suffix: some writers choose their format by it.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner may read; a result is an ordinary file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checked_output(name: str, option: str) -> Path:
    """A path that can be written, or an error before any work.

    Parameters
    ----------
    name, option : str
        What the user gave, and with which option of the command line.

    Raises
    ------
    ValueError
        If it is a folder, or in a folder that is not there or cannot be written.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option}: the folder {path.parent} cannot be written; choose another")
    return path


def _umask() -> int:
    """The process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
