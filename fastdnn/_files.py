"""Files are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EINVAL, EIO, ENOENT, ENOTDIR, EPERM, EROFS
from pathlib import Path

_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_EVER = (EACCES, EPERM, EROFS, ENOENT, ENOTDIR)  # whatever is done to the disk
MOST_FOLDERS = 100  # of processes that write files in one folder at once


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file near `path` that takes its place if the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The file to write. Whoever reads it sees the old file or the new one, never a part. A link
        stays, and the file that it leads to is written; a file that is there keeps its mode.

    Yields
    ------
    Path
        The temporary file, which is yet to be made, with the same name: some writers choose their
        format by it.

    Raises
    ------
    ValueError
        If `path` is a folder, a device or a pipe, whose place no file may take.
    OSError
        If it cannot be written; the error names `path`.
    """
    path = Path(path)
    _check_file("path", path)
    target = _followed(path)
    with named(path, target.parent):
        handle, folder = _own_folder(target.parent)
    temporary = folder / target.name
    try:
        with named(path, folder):
            yield temporary
            _put(temporary, target)
    finally:
        with suppress(OSError):  # what stays is taken again; the first error counts
            _empty(handle)
            folder.rmdir()
        with suppress(OSError):
            os.close(handle)


@contextmanager
def named(path: Path, folder: Path | None = None) -> Iterator[None]:
    """Have an error of the system name the path that the user knows.

    It names none, as that of a write, or a file in `folder`.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is not None and (folder is None or Path(os.fsdecode(name)).parent != folder):
            raise  # of another file
        message = error.strerror or str(error)
        raise OSError(error.errno or EIO, message, str(path)) from None


def is_of_system(error: BaseException) -> bool:
    """Return whether reading failed for the system's reasons, not for what is in the file."""
    # a damaged archive may lead to a place before its begin, which is EINVAL
    return isinstance(error, OSError) and error.errno not in (None, EINVAL)


def _put(temporary: Path, target: Path) -> None:
    """Have the temporary file on the disk, then in its place."""
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    handle = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(handle, mode)
        os.fsync(handle)  # or a power cut could leave a new name for an empty file
    finally:
        os.close(handle)
    os.replace(temporary, target)
    _sync_folder(target.parent)


def _own_folder(beside: Path) -> tuple[int, Path]:
    """Return a folder for the temporary file, which is this call's as long as its handle is open.

    A folder, because some writers make a temporary file of their own first. What a killed process
    has left is taken again, so such folders do not become more and more.
    """
    for number in range(MOST_FOLDERS):
        folder = beside / f".fastdnn-{number}"
        try:
            folder.mkdir(0o700)
            is_new = True
        except FileExistsError:
            is_new = False
        handle = _taken(folder, is_new)
        if handle is not None:
            return handle, folder
    folder = Path(tempfile.mkdtemp(prefix=".fastdnn-", dir=beside))
    return os.open(folder, _AS_FOLDER), folder


def _taken(folder: Path, is_new: bool) -> int | None:
    """Return a handle of the folder, now empty, if nobody else uses it; None else."""
    try:
        handle = os.open(folder, _AS_FOLDER)
    except OSError:
        if is_new:
            folder.rmdir()
            raise
        return None  # another user's, or no folder
    try:
        if not _locks(handle, is_new):
            raise BlockingIOError
        # while this one waited, its owner may have removed it
        if not os.path.samestat(os.fstat(handle), os.stat(folder)):
            raise FileNotFoundError
        _empty(handle)
    except OSError:
        os.close(handle)
        return None
    return handle


def _locks(handle: int, is_new: bool) -> bool:
    """Return whether nobody else writes in this folder, nor could put files there."""
    if not is_new and os.fstat(handle).st_uid != os.geteuid():
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows no locks: only a new folder is nobody else's
        return is_new
    return True


def _empty(handle: int) -> None:
    for name in os.listdir(handle):
        os.unlink(name, dir_fd=handle)


def _sync_folder(folder: Path) -> None:
    """Have the folder's new entry written, where the file system and its mode let us."""
    with suppress(OSError):  # the file is whole, under its old name or the new one
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checked_output(name: str, option: str, inputs: Iterable[str] = ()) -> Path:
    """Return a path that can be written, or an error before any work.

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
    with named(path, folder):
        try:
            # Permissions do not say it: nobody makes files in /proc.
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            if error.errno not in _FOR_EVER:  # as a full disk
                raise
            wrong = f"{name}: the folder {folder} cannot be written; choose another"
            raise ValueError(wrong) from None


def _check_file(name: str, path: Path) -> None:
    """Refuse what no file may take the place of."""
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name}: {path} is a device or a pipe; name a file")


def _followed(path: Path) -> Path:
    """Return where a link leads; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _umask() -> int:
    """Return the process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
