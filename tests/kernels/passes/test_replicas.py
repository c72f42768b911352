"""Ranks that each update parameters of their own, in small networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine import placement
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from tests.kernels import regimes
from tests.kernels.common import each_dtype
from tests.kernels.networks import data, make, rule
from tests.kernels.regimes import HUGE, place_of
from tests.kernels.steps import fill_memory

pytestmark = pytest.mark.usefixtures("share_small_work")

LOSS = "categorical_crossentropy"
M, BATCH = 216, 64  # the last batch of an epoch has 24 samples: three segments


def net(dtype: Any) -> Engine:
    return make([7, 37, 70, 3], ["relu", "gelu", "softmax"], LOSS, dtype=dtype)


@pytest.fixture(autouse=True)
def segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a batch cut into 8 segments."""
    regimes.force(monkeypatch, "segments")


def replicate(patch: pytest.MonkeyPatch, yes: bool) -> None:
    patch.setattr(placement, "REPLICA_GRADIENTS", HUGE if yes else 0)


def trained(dtype: Any, name: str, n_ranks: int, **settings: Any) -> bytes:
    """What two calls leave, the second with another rule's slots."""
    engine = net(dtype)
    X, _, given = data(engine, M, LOSS)
    left = []
    with fastdnn.num_threads(n_ranks):
        for rule_name in (name, "adam"):
            outcome = engine.train(X, given, rule(rule_name, 9), batch=BATCH, **settings)
            results = (outcome.losses, engine.parameters, engine.slots, engine.gradient)
            left += [x.tobytes() for x in results]
            fill_memory(engine)
    return b"".join(left)


@each_dtype
@pytest.mark.parametrize("name", ["descent", "momentum", "adam"])
def test_the_bits_are_those_of_shared_parameters(
    dtype: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(net(dtype), BATCH)
    assert place.regime == layout.RESIDENT
    assert place.segments(BATCH) == 8
    replicate(monkeypatch, False)
    assert place_of(net(dtype), BATCH).replica == 0
    wanted = trained(dtype, name, 1)
    assert trained(dtype, name, 2) == wanted
    replicate(monkeypatch, True)
    assert place_of(net(dtype), BATCH).replica > 0
    for n_ranks in (1, 2, 3, 4, 5, 8, 16):  # pairs that one rank makes, or two
        assert trained(dtype, name, n_ranks) == wanted


@each_dtype
def test_a_rank_that_goes_alone(
    dtype: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    replicate(monkeypatch, True)
    order = np.random.default_rng(1).permutation(M)
    wanted = trained(dtype, "momentum", 4, order=order)
    request.getfixturevalue("one_thread")
    assert trained(dtype, "momentum", 4, order=order) == wanted


@each_dtype
@pytest.mark.parametrize("n_ranks", [2, 3])
@pytest.mark.parametrize("bad", [0, 70, 199])  # a sample of the first, second and last step
def test_a_step_that_is_not_finite_changes_nothing(
    dtype: Any, n_ranks: int, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicate(monkeypatch, True)
    engine, wanted = net(dtype), net(dtype)
    X, _, given = data(engine, M, LOSS)
    done = bad // BATCH
    if done:
        wanted.train(X, given, rule("adam", done), batch=BATCH)
    X[bad] = np.nan
    with fastdnn.num_threads(n_ranks):
        outcome = engine.train(X, given, rule("adam", 9), batch=BATCH)
    assert outcome.done == done
    assert outcome.reason != layout.FINITE
    np.testing.assert_array_equal(engine.parameters, wanted.parameters)


@each_dtype
def test_penalties_and_clipping_share_the_parameters(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # they need all of the gradient first
    def bits(n_ranks: int) -> list[bytes]:
        left = []
        for clip, l2 in ((None, 0.01), ("global", 0.0)):
            engine = make([7, 37, 3], ["relu", "softmax"], LOSS, dtype=dtype, l2=[l2, l2])
            X, _, given = data(engine, M, LOSS)
            limited = rule("adam", 5, clip=clip, limit=np.inf if clip is None else 0.1)
            with fastdnn.num_threads(n_ranks):
                engine.train(X, given, limited, batch=BATCH)
            left.append(engine.parameters.tobytes())
        return left

    replicate(monkeypatch, True)
    assert bits(1) == bits(2) == bits(3)
