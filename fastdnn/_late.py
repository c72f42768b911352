"""Errors of writing within a training: told at once, and raised at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fastdnn.kernels.base.callers import warn

from ._log import LOGGER


class Late:
    """The error of the last file that a callback could not write, which ends no training.

    What has been learnt is worth more than a file, and a full disk may have room before the next.

    Parameters
    ----------
    who : str
        The callback's class.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._error: OSError | None = None
        self._outside = sys.exc_info()[1]  # what a handler around `fit` handles

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep an error of the system in the block, in the place of an earlier one, and warn."""
        try:
            yield
        except OSError as error:
            self._error = error
            said = f"{self._who}: {error}; the training goes on"
            LOGGER.warning("%s", said)
            warn(said)

    def written(self) -> None:
        """Forget the error: what was missing is there."""
        self._error = None

    def tell(self) -> None:
        """Raise the error, if there is one, and no other ends the training."""
        error, self._error = self._error, None
        if error is not None and sys.exc_info()[1] is self._outside:
            raise error
