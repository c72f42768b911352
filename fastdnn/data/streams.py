"""Batches that come one after the other: from a generator, a loader, files of any size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from fastdnn._inputs import Data

Check = Callable[[Any, Any, Any], Data]
_STATE = "passes", "given", "largest", "length", "samples", "_number", "_before"
SAMPLES = (
    "; a source gives batches, not single samples: wrap a data set in a torch.utils.data.DataLoader"
)


def is_source(X: Any) -> bool:
    """Return whether X gives batches one by one, and is no array, frame or list of rows."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and _is_batch(X[0])
    if isinstance(X, str | bytes | dict) or _is_array(X):
        return False
    return _gives_batches(X)


def _gives_batches(X: Any) -> bool:
    return callable(X) or hasattr(X, "__iter__") or _is_indexed(X)


def _is_array(X: Any) -> bool:
    return hasattr(X, "__array__") or hasattr(X, "toarray") or hasattr(X, "shape")


def _is_indexed(X: Any) -> bool:
    """Return whether X gives a batch by number, as Keras's Sequence does."""
    return hasattr(X, "__getitem__") and hasattr(X, "__len__")


def _is_batch(one: Any) -> bool:
    """Return whether this is a tuple or list that begins with a matrix."""
    return isinstance(one, list | tuple) and len(one) > 0 and _depth(one[0]) >= 2


def _depth(X: Any) -> int:
    """Return how many dimensions an array or nested list has."""
    if isinstance(X, list | tuple):
        return 1 + (_depth(X[0]) if len(X) else 0)
    return len(X.shape) if hasattr(X, "shape") else 0


def refuse_lonely(X: Any, **of_arrays: Any) -> None:
    """Refuse X without y unless it gives batches, and arguments that only arrays have."""
    if _is_array(X):
        raise ValueError(f"y: want the targets of X, of shape {X.shape}; got none")
    if isinstance(X, list | tuple) and len(X) and _depth(X[0]) == 1:
        raise ValueError(f"y: want the targets of X, a {type(X).__name__} of {len(X)}; got none")
    for name, value in of_arrays.items():
        is_given = value is not None and (np.ndim(value) > 0 or value != 0)
        if is_given:
            raise ValueError(f"{name}: got {value!r:.60}; the batches of X have it in them")


def refuse_targets(X: Any, y: Any) -> None:
    """Refuse y beside a source of batches."""
    if is_source(X):
        raise ValueError(f"y: got {type(y).__name__}; the batches of X have it in them")


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
        The samples of the largest batch so far, the one that `first` has shown included.
    is_iterator : bool
        Whether the source can be iterated once only.

    Raises
    ------
    TypeError
        If the source gives no batches, or is a function that has to be given arguments.
    """

    def __init__(self, source: Any, check: Check, name: str = "X", passes: int = 0) -> None:
        self._source, self._check, self._name = source, check, name
        _check_source(source, name)
        self.passes = passes
        self.is_iterator = _is_iterator(source)
        self.length: int | None = _length(source)
        samples = getattr(source, "n_samples", None)
        self.samples: int | None = samples if isinstance(samples, int) else None
        self.largest = self.given = 0
        self._batches: Iterator[Any] | None = None
        self._held: list[Any] = []  # the next batch, if it has been asked for already
        self._last: Any = None
        self._accepted: dict[str, Any] | None = None  # the state, if the last one is not in it
        self._number = self._before = 0  # batches of the present pass, samples given before it

    @property
    def is_within(self) -> bool:
        """Return whether a pass has begun that is not known to be over."""
        return self._batches is not None and self._number > 0

    def __iter__(self) -> Iterator[Data]:
        """Give the batches of a pass, from its beginning."""
        if self.is_within:  # nobody has asked for the rest of it
            self._batches, self._held = None, []
        while (data := self.next()) is not None:
            yield data

    def first(self) -> Data:
        """Return the first batch of the next pass, which will give it again.

        Raises
        ------
        TypeError, ValueError
            If there is none, or it is no batch.
        """
        if not self.has_more():
            raise _empty(self._name)
        data = self._checked(self._held[0])
        self.largest = max(self.largest, len(data.y))
        return data

    def has_more(self) -> bool:
        """Return whether there is another batch in this pass, or in the next if none has begun."""
        if self._batches is None:
            if hasattr(self._source, "set_epoch"):
                self._source.set_epoch(self.passes)
            self._batches = batches_of(self._source, self._name)
            self._number, self._before = 0, self.given
        if not self._held:
            with suppress(StopIteration):
                self._held = [next(self._batches)]
        return bool(self._held)

    def next(self) -> Data | None:
        """Return the next batch, or None once at the end of the pass; then the next one begins.

        `accept` says that it has been used: until then it does not count for `get_state`, so that a
        signal at any moment loses no batch.

        Raises
        ------
        TypeError, ValueError
            If it is no batch, with its number; or the pass had none.
        """
        self._accepted = self.get_state()
        if self.has_more():
            self._last = self._held.pop()
            data = self._checked(self._last)
            self._number += 1
            self.given += len(data.y)
            self.largest = max(self.largest, len(data.y))
            return data
        self._batches = None
        self.passes += 1
        if self._number == 0:
            raise _empty(self._name)
        self.length, self.samples = self._number, self.given - self._before
        self._number, self._before = 0, self.given
        return None

    def accept(self) -> None:
        """Count what `next` has given as used."""
        self._accepted = None

    def give_back(self) -> None:
        """Have `next` give the last batch again, as nothing has come of it."""
        self._held = [self._last]
        self.__dict__.update(self.get_state())

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to go on with the pass."""
        return self._accepted or {name: getattr(self, name) for name in _STATE}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to where another stream of the same source was: leave out what that one has given.

        Raises
        ------
        ValueError
            If the source has fewer batches.
        """
        self.passes, self._batches, self._accepted = state["passes"], None, None
        if not self.is_iterator:
            self._held = []
        for number in range(state["_number"]):
            if not self.has_more():
                raise ValueError(
                    f"{self._name}: want a source that has given {state['_number']} batches "
                    f"before, got the end after {number}"
                )
            self._held.pop()
        for name in _STATE:
            setattr(self, name, state[name])

    def _checked(self, batch: Any) -> Data:
        with _named(f"{self._name}: batch {self._number}", batch):
            if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
                of = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
                raise TypeError(
                    f"want a tuple (X, y) or (X, y, sample_weight), got {type(batch).__name__}{of}"
                )
            X, y, sample_weight = (*batch, None)[:3]
            data = self._check(X, y, sample_weight)
        # metrics read y later, when the source may have filled the same memory anew
        return data._replace(y=data.y.copy())


def inputs_of(source: Any, check: Callable[[Any], Any], name: str = "X") -> Iterator[Any]:
    """Yield what `check` makes of X of each batch of a source; a batch may be X alone, too.

    Raises
    ------
    TypeError, ValueError
        What `check` raises, with the batch's number; or there is no batch.
    """
    _check_source(source, name)
    number = -1
    for number, batch in enumerate(batches_of(source, name)):
        with _named(f"{name}: batch {number}", batch):
            X = check(batch[0] if isinstance(batch, tuple) or _is_batch(batch) else batch)
        yield X
    if number < 0:
        raise _empty(name)


def batches_of(source: Any, name: str) -> Iterator[Any]:
    """Begin a pass over a source."""
    if _is_function(source):
        made = source()
        if not hasattr(made, "__iter__") and not _is_indexed(made):
            raise TypeError(
                f"{name}: want a function that returns batches, as a generator function does, "
                f"it returned {type(made).__name__}"
            )
        source = made
    return iter(source) if hasattr(source, "__iter__") else _in_turn(source)


def _is_function(source: Any) -> bool:
    gives = hasattr(source, "__iter__") or _is_indexed(source)
    return isinstance(source, type) or (callable(source) and not gives)


def _is_iterator(source: Any) -> bool:
    """Return whether a source is its own iterator, which `iter` does not begin anew.

    A class may write ``__iter__`` so that it does; all others return `self` and do nothing else.
    """
    if isinstance(source, type) or not hasattr(source, "__next__"):
        return False
    code = getattr(type(source).__iter__, "__code__", None)
    return code is None or bool(code.co_code == Iterator.__iter__.__code__.co_code)


def _in_turn(source: Any) -> Iterator[Any]:
    """Yield the items of an indexed source, and tell it that the pass is over."""
    for i in range(len(source)):
        yield source[i]
    if hasattr(source, "on_epoch_end"):  # where Keras's data sets shuffle
        source.on_epoch_end()


def _check_source(source: Any, name: str) -> None:
    """Refuse what gives no batches."""
    if not _gives_batches(source) or isinstance(source, str | bytes | dict):
        raise TypeError(
            f"{name}: want samples with their y, or something that gives batches (X, y), "
            f"got {type(source).__name__}"
        )
    if not _is_function(source):
        return
    try:
        signature = inspect.signature(source)
    except (TypeError, ValueError):  # of a built-in function, which tells nothing
        return
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(
            f"{name}: want a function of batches without arguments, got {source!r:.60} ({error})"
        ) from None


@contextmanager
def _named(name: str, batch: Any) -> Iterator[None]:
    """Put a batch's name before an error, and after it what a single sample asks for."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}{SAMPLES if _is_sample(batch) else ''}") from None


def _is_sample(batch: Any) -> bool:
    """Return whether this is no batch, but one sample, with its target or alone."""
    if isinstance(batch, list | tuple):
        is_pair = len(batch) in (2, 3)
        return is_pair and batch[1] is not None and (_depth(batch[0]) == 1 or not _depth(batch[1]))
    return hasattr(batch, "shape") and len(batch.shape) == 1


def _empty(name: str) -> ValueError:
    return ValueError(f"{name}: it gave no batch; want at least one in each pass")


def _length(source: Any) -> int | None:
    """Return how many batches a source says that it has."""
    try:
        return len(source)
    except (TypeError, AttributeError, NotImplementedError):
        return None  # a loader of an iterable data set raises, too
