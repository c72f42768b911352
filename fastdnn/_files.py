"""Files are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_TEMPORARY = 100  # files that processes write in one folder at once, with names of their own


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place if the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The file to write. Whoever reads it sees the old file or the new one, never a part. A link
        stays, and the file that it leads to is written; a file that is there keeps its mode.

    Yields
    ------
    Path
        The temporary file, with the same suffix: some writers choose their format by it.

    Raises
    ------
    ValueError
        If `path` is a folder, a device or a pipe, whose place no file may take.
    OSError
        If no file can be made in its folder.
    """
    path = Path(path)
    _check_file("path", path)
    target = _followed(path)
    try:
        handle, temporary = _temporary(target)
    except OSError as error:
        # The user knows the path, not the temporary file's.
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield temporary
        try:
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
            os.fchmod(handle, mode)
            os.fsync(handle)  # or a power cut could leave a new name for an empty file
            os.replace(temporary, target)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    _sync_folder(target.parent)


def _temporary(target: Path) -> tuple[int, Path]:
    """An open temporary file beside `target`, which is this call's as long as it is open.

    What a killed process has left is taken again, so such files do not become more and more.
    """
    for number in range(MOST_TEMPORARY):
        path = target.parent / f".fastdnn-{number}{target.suffix}"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            if os.path.lexists(path):  # another user's, or no file
                continue
            raise
        if _locks(handle, path):
            os.ftruncate(handle, 0)
            return handle, path
        os.close(handle)
    handle, name = tempfile.mkstemp(prefix=".fastdnn-", suffix=target.suffix, dir=target.parent)
    return handle, Path(name)


def _locks(handle: int, path: Path) -> bool:
    """Whether nobody else writes this file, and it still has this name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:  # also where the file system knows no locks, or the name is gone
        return False


def _sync_folder(folder: Path) -> None:
    """Have the folder's new entry written, where the file system does that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # the file is whole, under its old name or the new one
    finally:
        os.close(handle)


def checked_output(name: str, option: str, inputs: Iterable[str] = ()) -> Path:
    """A path that can be written, or an error before any work.

    Parameters
    ----------
    name, option : str
        What the user gave, and with which option of the command line.
    inputs : iterable of str
        What is read, and so not to be written over.

    Raises
    ------
    ValueError
        If it is a folder, a device, a pipe or an input, or in a folder that is not there or cannot
        be written.
    """
    path = Path(name).expanduser()
    if os.path.realpath(path) in {os.path.realpath(Path(one).expanduser()) for one in inputs}:
        raise ValueError(f"{option}: want another file than the input, got {path}")
    folder = _followed(path).parent
    if not folder.is_dir():
        raise ValueError(f"{option}: there is no folder {folder}; make it first")
    check_writable(option, path, folder)
    return path


def check_writable(name: str, path: Path, folder: Path) -> None:
    """Refuse what is no file, or would lie in or below a folder that cannot be written."""
    _check_file(name, path)
    try:
        # Permissions do not say it: nobody makes files in /proc.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        raise ValueError(f"{name}: the folder {folder} cannot be written; choose another") from None


def _check_file(name: str, path: Path) -> None:
    """Refuse what no file may take the place of."""
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name}: {path} is a device or a pipe; name a file")


def _followed(path: Path) -> Path:
    """Where a link leads; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _umask() -> int:
    """The process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
