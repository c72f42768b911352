"""What a training evaluates at an epoch's end, and after which epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from ._checks import check_count
from ._inputs import Data
from .data.streams import Stream

EVALUATION_BATCH = 1024  # samples


class Validation(NamedTuple):
    """Data to evaluate in batches, and whether that is due after an epoch, numbered from 0."""

    given: Data | Stream
    most: int | None  # of samples to evaluate, or of the stream's batches; None is all
    batch: int
    is_due: Callable[[int], bool]

    @property
    def data(self) -> Data | Iterable[Data]:
        """Return the samples, or a pass over the batches."""
        if isinstance(self.given, Data):
            return self.given.rows(slice(self.most))
        return islice(self.given, self.most)


def check_validation_batches(given: Any, check: Callable[[Any, Any, Any], Data]) -> Stream:
    """Return the stream of a source of batches that can be read after every epoch.

    Raises
    ------
    TypeError, ValueError
        If it cannot, or its first batch is none.
    """
    stream = Stream(given, check, "validation_data")
    if stream.is_iterator:
        raise ValueError(
            "validation_data: want batches that can be read after every epoch, got an iterator, "
            "which can be read once; give a list, or a function that returns a generator"
        )
    stream.first()
    return stream


def check_validation(given: Any, check: Callable[[Any, Any, Any], Data]) -> Data:
    """Return what `check` makes of `validation_data`: of X, y and the weights, None if not given.

    Raises
    ------
    TypeError, ValueError
        If it is no tuple (X, y) or (X, y, sample_weight), or what `check` raises, with the
        argument's name before it.
    """
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(
            "validation_data: want a tuple (X, y) or (X, y, sample_weight), or batches of such, "
            f"got {type(given).__name__}"
        )
    X, y, sample_weight = (*given, None)[:3]
    try:
        return check(X, y, sample_weight)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation_data: {error}") from None


def plan_validation(
    steps: int | None,
    validation_batch_size: int | None,
    freq: int | Iterable[int],
    batch_size: int,
) -> Callable[[Data | Stream], Validation]:
    """Return what makes a `Validation` of the validation data; see `Sequential.fit`.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    """
    if validation_batch_size is not None:
        batch = check_count("validation_batch_size", validation_batch_size, 1)
    else:
        batch = EVALUATION_BATCH if steps is None else batch_size
    count = None if steps is None else check_count("validation_steps", steps, 1)
    is_due = _epochs(freq)

    def plan(given: Data | Stream) -> Validation:
        each = 1 if isinstance(given, Stream) else batch
        return Validation(given, None if count is None else count * each, batch, is_due)

    return plan


def _epochs(freq: int | Iterable[int]) -> Callable[[int], bool]:
    """Return a function that says whether an epoch, from 0, is one of those."""
    if not isinstance(freq, Iterable) or isinstance(freq, str):
        every = check_count("validation_freq", freq, 1)
        return lambda epoch: (epoch + 1) % every == 0
    numbers = {check_count(f"validation_freq[{i}]", one, 1) for i, one in enumerate(freq)}
    return lambda epoch: epoch + 1 in numbers
