"""Batches that come one after the other: from a generator, a loader, files of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from fastdnn._inputs import Data

Batch = tuple[Any, ...]
Check = Callable[[Any, Any, Any], Data]


def is_source(X: Any) -> bool:
    """Return whether X gives batches one by one, and is no array, frame or list of rows."""
    if isinstance(X, list | tuple | str | bytes | dict) or _is_array(X):
        return False
    return callable(X) or hasattr(X, "__iter__") or _is_indexed(X)


def _is_array(X: Any) -> bool:
    return hasattr(X, "__array__") or hasattr(X, "toarray") or hasattr(X, "shape")


def _is_indexed(X: Any) -> bool:
    """Whether X gives a batch by number, as Keras's Sequence does."""
    return hasattr(X, "__getitem__") and hasattr(X, "__len__")


def refuse_lonely(X: Any, **of_arrays: Any) -> None:
    """Refuse X without y unless it gives batches, and arguments that only arrays have."""
    if _is_array(X):
        raise ValueError(f"y: want the targets of X, of shape {X.shape}; got none")
    for name, value in of_arrays.items():
        if value not in (None, 0):
            raise ValueError(f"{name}: got {value!r:.60}; the batches of X have it in them")


class Stream:
    """The batches of a source, checked one by one as they come.

    Parameters
    ----------
    source : iterable, callable or indexed
        Of tuples (X, y) or (X, y, sample_weight): an iterable (each pass iterates it anew), a
        function without arguments that returns one, or an object with a length whose items are the
        batches.
    check : callable
        Makes `Data` of X, y and the weights.
    name : str
        Of the argument, for errors.
    passes : int
        How many there were before; a source that has ``set_epoch`` is told the number of each.

    Attributes
    ----------
    length : int or None
        How many batches a pass has, if that is known: the source has a length, or a pass was made.
    samples : int or None
        How many samples a pass has, if that is known.
    given : int
        The samples of all batches that it has given.
    largest : int
        The samples of the largest batch so far.
    is_iterator : bool
        Whether the source can be iterated once only.
    """

    def __init__(self, source: Any, check: Check, name: str = "X", passes: int = 0) -> None:
        self._source, self._check, self._name = source, check, name
        self.passes = passes
        is_one = callable(source) or hasattr(source, "__iter__") or _is_indexed(source)
        if not is_one or isinstance(source, str | bytes | dict):
            raise TypeError(
                f"{name}: want samples with their y, or something that gives batches (X, y), "
                f"got {type(source).__name__}"
            )
        self.is_iterator = hasattr(source, "__next__")
        self.length: int | None = _length(source)
        samples = getattr(source, "n_samples", None)
        self.samples: int | None = samples if isinstance(samples, int) else None
        self.largest = self.given = 0
        self._batches: Iterator[Any] | None = None
        self._held: list[Any] = []  # the next batch, if it has been asked for already
        self._number = self._before = 0  # batches of the present pass, samples given before it

    def __iter__(self) -> Iterator[Data]:
        """Give the batches of a pass of its own."""
        for number, batch in enumerate(batches_of(self._source)):
            yield self._checked(batch, number)

    def first(self) -> Data:
        """Return the first batch of the next pass, which will give it again.

        Raises
        ------
        TypeError, ValueError
            If there is none, or it is no batch.
        """
        if not self.has_more():
            raise self._empty()
        return self._checked(self._held[0], 0)

    def has_more(self) -> bool:
        """Return whether there is another batch in this pass, or in the next if none has begun."""
        if self._batches is None:
            if hasattr(self._source, "set_epoch"):
                self._source.set_epoch(self.passes)
            self._batches, self._number, self._before = batches_of(self._source), 0, self.given
        if not self._held:
            self._held = list(islice(self._batches, 1))
        return bool(self._held)

    def next(self) -> Data | None:
        """Return the next batch, or None once at the end of the pass; then the next one begins.

        Raises
        ------
        TypeError, ValueError
            If it is no batch, with its number; or the pass had none.
        """
        if self.has_more():
            data = self._checked(self._held.pop(), self._number)
            self._number += 1
            self.given += len(data.y)
            self.largest = max(self.largest, len(data.y))
            return data
        self._batches = None
        self.passes += 1
        if self._number == 0:
            raise self._empty()
        self.length, self.samples = self._number, self.given - self._before
        self._number, self._before = 0, self.given
        return None

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to go on with the pass."""
        names = "passes", "given", "largest", "length", "samples", "_number", "_before"
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to where another stream of the same source was: leave out what that one has given.

        Raises
        ------
        ValueError
            If the source has fewer batches.
        """
        self.passes, self._batches = state["passes"], None
        if not self.is_iterator:
            self._held = []
        for number in range(state["_number"]):
            if not self.has_more():
                raise ValueError(
                    f"{self._name}: want a source that has given {state['_number']} batches "
                    f"before, got the end after {number}"
                )
            self._held.pop()
        for name, value in state.items():
            setattr(self, name, value)

    def _empty(self) -> ValueError:
        return ValueError(f"{self._name}: it gave no batch; want at least one in each pass")

    def _checked(self, batch: Any, number: int) -> Data:
        name = f"{self._name}: batch {number}"
        if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
            of = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
            raise TypeError(
                f"{name}: want a tuple (X, y) or (X, y, sample_weight), "
                f"got {type(batch).__name__}{of}"
            )
        X, y, sample_weight = (*batch, None)[:3]
        try:
            return self._check(X, y, sample_weight)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None


def batches_of(source: Any) -> Iterator[Any]:
    """Begin a pass over a source."""
    if hasattr(source, "__iter__"):
        return iter(source)
    if callable(source):
        return iter(source())
    return (source[i] for i in range(len(source)))


def inputs_of(source: Any) -> Iterator[Any]:
    """Yield X of each batch of a source; a batch may be X alone, too."""
    for batch in batches_of(source):
        yield batch[0] if isinstance(batch, list | tuple) else batch


def _length(source: Any) -> int | None:
    """How many batches a source says that it has."""
    try:
        return len(source)
    except (TypeError, AttributeError, NotImplementedError):
        return None  # a loader of an iterable data set raises, too
