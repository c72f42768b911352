"""An engine beside another one, with its parameters."""

from __future__ import annotations

import pickle

import numpy as np

from fastdnn.kernels.calls import Targets
from fastdnn.kernels.engine import OF_CALLS, Engine
from fastdnn.kernels.parameters import Layer
from fastdnn.kernels.twins import frozen, twin_of


def test_a_twin_has_the_parameters_and_memory_of_its_own() -> None:
    rng = np.random.default_rng(0)
    engine = Engine([Layer(5, 7, "relu"), Layer(7, 2)])
    engine.parameters[:] = rng.standard_normal(engine.parameters.size)
    X = rng.standard_normal((9, 5), np.float32)
    expected = engine.forward(X, batch=9)
    twin = twin_of(engine)
    assert twin.parameters is engine.parameters
    for name in OF_CALLS:
        assert getattr(twin, name) is not getattr(engine, name) or name == "_again"
    np.testing.assert_array_equal(twin.forward(X, batch=9), expected)
    engine.parameters *= 2
    np.testing.assert_array_equal(twin.forward(X, batch=9), engine.forward(X, batch=9))


def test_a_former_twin_follows_its_engine() -> None:
    """Also a loss that was chosen since."""
    rng = np.random.default_rng(0)
    engine = Engine([Layer(5, 2)], loss="huber", loss_parameters=(1.0,))
    engine.parameters[:] = rng.standard_normal(engine.parameters.size)
    X, targets = rng.standard_normal((9, 5), np.float32), Targets(np.full((9, 2), 5, np.float32))
    twin = twin_of(engine)
    before = twin.batch_losses(X, targets, batch=9)[0]
    engine.set_loss("huber", (0.1,))
    engine.slots = np.zeros(3, np.float32)
    np.testing.assert_array_equal(twin.batch_losses(X, targets, batch=9)[0], before)
    again = twin_of(engine, twin)
    assert again is twin
    assert twin.slots is engine.slots
    wanted = engine.batch_losses(X, targets, batch=9)[0]
    assert wanted != before
    np.testing.assert_array_equal(twin.batch_losses(X, targets, batch=9)[0], wanted)


def test_a_frozen_engine_stays_as_it_is() -> None:
    engine = Engine([Layer(5, 2)])
    engine.parameters[:], engine.slots = 1, np.ones(3, np.float32)
    still = frozen(engine)
    engine.parameters[:] = engine.slots[:] = 2
    again = pickle.loads(pickle.dumps(still))
    assert set(again.parameters) == set(again.slots) == {1}
    assert again.forward(np.ones((1, 5), np.float32), batch=1).tolist() == [[6, 6]]
