"""The standard streams, whatever a program has made of them: missing, closed, of few characters."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any


class Careful:
    """A text stream that takes every text, on top of one that may not.

    Characters that its encoding lacks become "?". What is written to no stream, or to a closed one,
    is lost. A full disk or a reader that has left still raise their errors.

    Parameters
    ----------
    stream : object
        Has `write`, and perhaps more; or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        """Return the stream's encoding, or that of the fewest characters."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        try:
            return bool(self._stream.isatty())
        except (AttributeError, OSError, ValueError):  # no such method; a closed stream
            return False

    def write(self, text: str) -> int:
        """Write what can be written of the text."""
        if self._is_open():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                known = text.encode(self.encoding, "replace").decode(self.encoding)
                self._try("write", known)
            except OSError as error:
                _raise_unless_closed(error)
        return len(text)

    def flush(self) -> None:
        """Have what was written arrive."""
        if self._is_open() and hasattr(self._stream, "flush"):
            self._try("flush")

    def _is_open(self) -> bool:
        return self._stream is not None and not getattr(self._stream, "closed", False)

    def _try(self, method: str, *arguments: str) -> None:
        try:
            getattr(self._stream, method)(*arguments)
        except OSError as error:
            _raise_unless_closed(error)


def _raise_unless_closed(error: OSError) -> None:
    if error.errno != errno.EBADF:
        raise error


def standard(name: str) -> Any:
    """Return ``sys.stdout`` or ``sys.stderr`` by its name, as one that takes every text.

    That is the stream itself where it will do: tqdm knows it, and keeps bars and lines apart.
    """
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOBase) and not stream.closed:
        encoding = stream.encoding or "utf-8"  # a text in memory has none
        if encoding.lower().startswith("utf"):
            return stream
    return Careful(stream)


def say(text: str) -> None:
    """Print a line to ``sys.stdout``, as far as there is one."""
    print(text, file=Careful(sys.stdout))
