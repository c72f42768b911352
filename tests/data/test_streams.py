"""What is a source of batches, its passes and lengths, and what is refused."""

from __future__ import annotations

import collections.abc
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from fastdnn._inputs import Data
from fastdnn.data.streams import Stream, inputs_of, is_source, refuse_lonely, refuse_targets
from fastdnn.kernels.engine.calls import Targets
from tests.nets import samples
from tests.sources import SOURCES, Indexed, Iterable, batches, function

Array = np.ndarray[Any, Any]
X, y = samples(50)
GIVEN = batches(16, X, y)


def check(X: Any, y: Any, sample_weight: Any) -> Data:
    """Make data without a check of its own."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2:
        raise ValueError(f"X: got shape {X.shape}")
    return Data(X, y, Targets(y), sample_weight)


def stream(source: Any) -> Stream:
    return Stream(source, check)


def sizes(stream: Stream) -> list[int]:
    return [len(data.y) for data in stream]


# ------------------------------------------------------------------------------ what is a source
@pytest.mark.parametrize("name", SOURCES)
def test_sources(name: str) -> None:
    source = SOURCES[name](GIVEN)
    assert is_source(source)
    found = stream(source)
    for _ in range(2):
        assert sizes(found) == [16, 16, 16, 2]
    assert not found.is_iterator
    assert (found.length, found.samples, found.given, found.largest) == (4, 50, 100, 16)
    np.testing.assert_array_equal(np.concatenate([data.X.copy() for data in stream(source)]), X)
    np.testing.assert_array_equal(np.concatenate([data.y for data in stream(source)]), y)


NO_SOURCES: dict[str, Any] = {
    "array": X,
    "nested lists": X.tolist(),
    "a list of rows": list(X),
    "a tuple of tuples": tuple(map(tuple, X.tolist())),
    "X and y": (X, y),
    "X and y as lists": [X.tolist(), y.tolist()],
    "X and y of rows": (list(X), y),
    "text": "path",
    "bytes": b"path",
    "a dict": {"X": X},
    "a frame": pd.DataFrame(X),
    "a series": pd.Series(y),
    "sparse": scipy.sparse.csr_array(X),
    "a number": 3,
    "nothing": None,
    "an empty list": [],
    "a buffer": memoryview(X),
}


@pytest.mark.parametrize("what", NO_SOURCES)
def test_no_sources(what: str) -> None:
    assert not is_source(NO_SOURCES[what])
    refuse_targets(NO_SOURCES[what], y)


def test_other_sources() -> None:
    class Made(Iterable):
        """A class that is called for each pass."""

        def __init__(self) -> None:
            super().__init__(GIVEN)

    for source in (deque(GIVEN), Made, Indexed(GIVEN).__class__(GIVEN), [(X, y)], ((X, y),)):
        assert is_source(source)
        assert sum(sizes(stream(source))) == 50
    frames = [(pd.DataFrame(X), pd.Series(y))]
    assert is_source(frames)
    assert is_source([(scipy.sparse.csr_array(X), y)])
    assert sizes(stream(frames)) == [50]


@pytest.mark.parametrize("source", ["path", b"path", {"X": X}, 3, None, 2.5, object()])
def test_what_gives_no_batches_is_refused(source: Any) -> None:
    wanted = rf"^X: want samples with their y, or something .*, got {type(source).__name__}$"
    with pytest.raises(TypeError, match=wanted):
        stream(source)
    with pytest.raises(TypeError, match=wanted.replace("X:", "validation_data:")):
        Stream(source, check, "validation_data")
    with pytest.raises(TypeError, match=wanted):
        list(inputs_of(source, np.asarray))


def test_functions_that_are_refused() -> None:
    def of_size(size: int) -> Iterator[Any]:
        yield from batches(size, X, y)

    with pytest.raises(TypeError, match=r"^X: want a function .* without arguments, .*'size'\)$"):
        stream(of_size)
    assert sizes(stream(lambda size=25: of_size(size))) == [25, 25]
    for made, name in ((None, "NoneType"), (3, "int"), (function(GIVEN), "function")):
        with pytest.raises(TypeError, match=rf"^X: want a function .* it returned {name}$"):
            stream(lambda made=made: made).first()


def test_what_is_missing_or_too_much() -> None:
    for given, text in (
        (X, r"of shape \(50, 4\)"),
        (pd.DataFrame(X), r"of shape \(50, 4\)"),
        (scipy.sparse.csr_array(X), r"of shape \(50, 4\)"),
        (X.tolist(), "a list of 50"),
        (tuple(X), "a tuple of 50"),
    ):
        with pytest.raises(ValueError, match=f"^y: want the targets of X, {text}; got none$"):
            refuse_lonely(given)
    refuse_lonely(GIVEN, batch_size=None, validation_split=0.0, sample_weight=None)
    for value in (0.2, 32, np.ones(50), [1.0, 2.0], np.zeros(3), "text"):
        with pytest.raises(ValueError, match=r"^some: got .*; the batches of X have it in them$"):
            refuse_lonely(GIVEN, some=value)
    for source in SOURCES.values():
        with pytest.raises(ValueError, match=r"^y: got ndarray; the batches of X have it in them$"):
            refuse_targets(source(GIVEN), y)


# ----------------------------------------------------------------------------------------- passes
def test_the_first_batch_is_given_again() -> None:
    source = Iterable(GIVEN)
    found = stream(source)
    assert (found.length, found.samples, found.is_within) == (None, None, False)
    for _ in range(2):
        np.testing.assert_array_equal(found.first().X, X[:16])
    assert (found.given, found.largest, found.is_within, source.passes) == (0, 16, False, 1)
    assert sizes(found) == [16, 16, 16, 2]
    assert (found.length, found.samples, source.passes) == (4, 50, 1)


def test_next_is_none_once_at_the_end_of_a_pass() -> None:
    found = stream(function(GIVEN))
    for _ in range(2):
        for i in range(4):
            data = found.next()
            assert data is not None
            np.testing.assert_array_equal(data.y, GIVEN[i][1])
            assert found.is_within
        assert found.next() is None
        assert not found.is_within
    assert (found.given, found.samples) == (100, 50)


def test_a_pass_that_is_cut_short_begins_anew() -> None:
    found = stream(GIVEN)
    assert [len(data.y) for data, _ in zip(found, range(2), strict=False)] == [16, 16]
    assert sizes(found) == [16, 16, 16, 2]


def test_iterators() -> None:
    for source in (iter(GIVEN), (one for one in GIVEN), zip(X[None], y[None], strict=True)):
        found = stream(source)
        assert found.is_iterator
        found.first()
        assert found.has_more()
        assert sum(sizes(found)) == 50
        assert not found.has_more()


class Restarting:
    """Its own iterator, which `iter` begins anew."""

    def __iter__(self) -> Iterator[Any]:
        self.i = -1
        return self

    def __next__(self) -> Any:
        self.i += 1
        if self.i == len(GIVEN):
            raise StopIteration
        return GIVEN[self.i]


class ReadOnce(Restarting):
    """Its own iterator, as Python's and PyTorch's are."""

    i = -1

    def __iter__(self) -> Iterator[Any]:
        """Return what this is."""
        return self


class OfPython(collections.abc.Iterator[Any]):
    """Inherits its `__iter__`."""

    def __next__(self) -> Any:
        raise StopIteration


def test_an_iterator_that_begins_anew_serves_every_pass() -> None:
    found = stream(Restarting())
    assert not found.is_iterator
    assert sizes(found) == sizes(found) == [16, 16, 16, 2]
    assert stream(ReadOnce()).is_iterator
    assert stream(OfPython()).is_iterator


def test_a_callable_that_gives_batches_is_not_called() -> None:
    class Called(Indexed):
        def __call__(self) -> Any:
            raise AssertionError

    assert sizes(stream(Called(GIVEN))) == [16, 16, 16, 2]


def test_lengths() -> None:
    class Unknown(Iterable):
        def __len__(self) -> int:
            raise TypeError("IterableDataset has no length")

    class Wrong(Iterable):
        n_samples = 7

        def __len__(self) -> int:
            return 3

    assert stream(Unknown(GIVEN)).length is None
    found = stream(Wrong(GIVEN))
    assert (found.length, found.samples) == (3, 7)
    assert len(list(found)) == 4
    assert (found.length, found.samples) == (4, 50)


@pytest.mark.parametrize(
    "source", [[], (), iter([]), function([]), Indexed([]), Iterable([]), array("d"), set()]
)
def test_an_empty_source_is_refused(source: Any) -> None:
    for call in (
        lambda: stream(source).first(),
        lambda: stream(source).next(),
        lambda: list(stream(source)),
        lambda: list(inputs_of(source, np.asarray)),
    ):
        with pytest.raises(ValueError, match=r"^X: it gave no batch; want at least one in"):
            call()


def test_y_outlives_memory_that_is_filled_anew() -> None:
    kept = [data.y for data in stream(SOURCES["refilled"](GIVEN))]
    np.testing.assert_array_equal(np.concatenate(kept), y)


# ----------------------------------------------------------------------------------------- errors
class OwnError(ValueError):
    """An error that is made of two things."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(one, other)


@pytest.mark.parametrize(
    ("error", "kind"), [(OwnError(1, 2), ValueError), (TypeError("text"), TypeError)]
)
def test_an_error_of_the_check_has_the_batches_number(error: Exception, kind: Any) -> None:
    def refuse(X: Any, y: Any, sample_weight: Any) -> Data:
        if len(X) < 16:
            raise error
        return check(X, y, sample_weight)

    with pytest.raises(kind, match=rf"^X: batch 3: .*{error.args[-1]}") as caught:
        list(Stream(GIVEN, refuse))
    assert type(caught.value) is kind


def test_a_data_set_of_single_samples_is_sent_to_a_loader() -> None:
    hint = "; a source gives batches, not single samples: wrap .* in a torch.utils.data.DataLoader$"
    images = np.ones((50, 1, 4, 4))
    for given in (
        Indexed([*zip(X, y, strict=True)]),
        Indexed([*zip(X, np.eye(3)[y], strict=True)]),
        Indexed([*zip(images, y, strict=True)]),
        function([*zip(X.tolist(), y.tolist(), strict=True)]),
    ):
        with pytest.raises(ValueError, match=rf"^X: batch 0: X: got shape .*{hint}"):
            stream(given).first()
    with pytest.raises(ValueError, match=r"^X: batch 0: X: got shape \(16, 1, 4, 4\)$"):
        stream(batches(16, images, y)).first()


def test_inputs_of() -> None:
    three = [(X, y, y)]
    for source in (GIVEN, [one[0] for one in GIVEN], [[*one] for one in GIVEN], three, iter(GIVEN)):
        found = np.concatenate([*inputs_of(source, np.asarray)])
        np.testing.assert_array_equal(found, X)

    def refuse(X: Array) -> Array:
        if len(X) < 16:
            raise ValueError(f"X: got {len(X)}")
        return X

    with pytest.raises(ValueError, match=r"^X: batch 3: X: got 2$"):
        list(inputs_of(GIVEN, refuse))


def test_what_is_not_accepted_is_given_again() -> None:
    found = stream(GIVEN)
    found.next()
    found.accept()
    before = found.get_state()
    for _ in range(2):
        data = found.next()
        assert data is not None
        np.testing.assert_array_equal(data.y, GIVEN[1][1])
        assert found.get_state() == before
        found.give_back()
        assert found.get_state() == before
    found.next()
    found.accept()
    assert (found.get_state()["_number"], found.given) == (2, 32)
