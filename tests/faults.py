"""Calls to the system that fail, or during which the process is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

CALLS: list[tuple[Any, str]] = [
    *((os, name) for name in ("open", "close", "stat", "lstat", "fstat", "fsync", "fchmod")),
    *((os, name) for name in ("mkdir", "rmdir", "listdir", "unlink", "replace")),
    (fcntl, "flock"),
]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


def _fail(code: int, arguments: tuple[Any, ...]) -> None:
    paths = [one for one in arguments[:1] if isinstance(one, str | os.PathLike)]
    raise OSError(code, os.strerror(code), *map(os.fspath, paths))


@contextmanager
def at_call(number: int, fault: Callable[[tuple[Any, ...]], None], after: bool) -> Iterator[None]:
    """Have a fault before or after a call, by its number from 0; IndexError if there are fewer."""
    count = 0

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count != number + 1:
                return real(*arguments, **options)
            if not after:
                fault(arguments)
            result = real(*arguments, **options)
            fault(arguments)
            return result

        return call

    patches = [mock.patch.object(of, name, watched(getattr(of, name))) for of, name in CALLS]
    try:
        for patch in patches:
            patch.start()
        yield
    finally:
        for patch in patches:
            patch.stop()
    if count <= number:
        raise IndexError(number)


def errors(code: int, write: Callable[[], object]) -> Iterator[OSError | None]:
    """Write again and again, with each call failing in turn; yields the error, if there is one."""
    for number in range(1000):
        error = None
        try:
            with at_call(number, lambda arguments: _fail(code, arguments), after=False):
                write()
        except OSError as caught:
            error = caught
        except IndexError:
            assert number > 5
            return
        yield error


def kills(write: Callable[[], object]) -> Iterator[None]:
    """Write in forked processes, of which each is killed before or after one of the calls."""
    for number in range(1000):
        for after in (False, True):
            process = os.fork()
            if process == 0:
                with at_call(number, lambda _: os.kill(os.getpid(), signal.SIGKILL), after):
                    try:
                        write()
                    finally:
                        os._exit(1)
            status = os.waitpid(process, 0)[1]
            yield
        if status != signal.SIGKILL:
            assert number > 5
            return


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Have writes beyond so many bytes cut short, then fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
