"""Much data with NaN or infinity: met in a step, refused as if none had been made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import fastdnn
from fastdnn import DivergenceError, fitting, loop
from fastdnn._inputs import check_finite
from tests import nets
from tests.nets import classifier, fingerprint, regressor, samples, wide

Array = np.ndarray[Any, Any]
M = 4000
X, y = samples(M)
BAD = {"NaN": np.nan, "infinite": np.inf, "-infinite": -np.inf, "beyond float32": 1e39}


# and with all samples in one batch
WAYS: dict[str, tuple[Any, int]] = {**nets.WAYS, "one batch": (wide, M)}
each_way = pytest.mark.parametrize("way", WAYS)


def changed(value: float, *at: tuple[int, int]) -> Array:
    """X, other at some places."""
    bad = X.copy()
    for place in at:
        bad[place] = value
    return bad


@contextmanager
def passes_over_X() -> Iterator[list[Array]]:
    """What `fit` looks through for NaN and infinity before it trains."""
    seen: list[Array] = []

    def look(name: str, array: Array, dtype: Any) -> None:
        seen.append(array)
        check_finite(name, array, dtype)

    with mock.patch.object(fitting, "check_finite", look):
        yield seen


@each_way
@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("slice_seconds", [0.0, 1.0])
def test_all_is_as_before(
    way: str, what: str, shuffle: bool, slice_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", slice_seconds)
    make, batch = WAYS[way]
    net, twin = make("adam", dtype="float32"), make("adam", dtype="float32")
    fit: dict[str, Any] = {"batch_size": batch, "shuffle": shuffle, "verbose": 0}
    for one in (net, twin):
        one.fit(X[:64], y[:64], **fit)
    before = fingerprint(net)
    with pytest.raises(ValueError, match=r"^X: want finite .* at X\[1999, 2\] \(2 such") as caught:
        net.fit(changed(BAD[what], (1999, 2), (M - 1, 0)), y, **fit)
    assert caught.value.__suppress_context__
    assert fingerprint(net) == before
    for one in (net, twin):
        one.fit(X[:64], y[:64], **fit)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


@each_way
def test_finite_data_are_read_once(way: str) -> None:
    make, batch = WAYS[way]
    net = make()
    with passes_over_X() as seen:
        net.fit(X, y, batch_size=batch, verbose=0)
    assert not seen


def test_an_infinity_that_relu_hides() -> None:
    net = wide()
    net.layers[0].W[...] = -1.0
    bad = np.abs(X)
    bad[7, 1] = np.inf  # W A is -infinity, and A_1 = 0
    with pytest.raises(ValueError, match=r"^X: want finite .* at X\[7, 1\] \(1 such"):
        net.fit(bad, y, verbose=0)


def test_a_weight_of_zero_does_not_hide() -> None:
    weights = np.ones(M)
    weights[7] = 0
    with pytest.raises(ValueError, match=r"^X: want finite .* at X\[7, 1\]"):
        wide().fit(changed(np.inf, (7, 1)), y, sample_weight=weights, verbose=0)


# Where a step might not tell, or would not pay, X is looked through before any work
FIRST: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "dropped": (lambda: classifier(dropout=0.5), M, {}),
    "split": (classifier, M, {"validation_split": 0.1}),
    "no epoch": (classifier, M, {"epochs": 0}),
    "few samples": (classifier, 300, {}),
}


@pytest.mark.parametrize("what", FIRST)
def test_looked_through_first(what: str) -> None:
    make, m, options = FIRST[what]
    net = make()
    before = fingerprint(net)
    with (
        passes_over_X() as seen,
        mock.patch.object(loop.Loop, "run", side_effect=AssertionError),
        pytest.raises(ValueError, match=r"^X: want finite .* at X\[7, 1\]"),
    ):
        net.fit(changed(np.nan, (7, 1))[:m], y[:m], verbose=0, **options)
    assert len(seen) == 1
    assert fingerprint(net) == before


def test_divergence_of_finite_data_is_not_undone() -> None:
    net = regressor(fastdnn.SGD(1e25), dtype="float32")
    with pytest.raises(DivergenceError):
        net.fit(X, y, verbose=0)
    assert net._state.steps > 0


def test_a_later_epoch_undoes_nothing() -> None:
    net = classifier()
    data = X.copy()

    class Spoil(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            data[5, 1] = np.nan

    with pytest.raises(DivergenceError):
        net.fit(data, y, epochs=3, callbacks=[Spoil()], verbose=0)
    assert net._state.epochs == 1
