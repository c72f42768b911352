"""An engine beside another one, with its parameters."""

from __future__ import annotations

import pickle

import numpy as np

from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import OF_CALLS, Engine
from fastdnn.kernels.engine.parameters import Layer
from fastdnn.kernels.engine.twins import doubled, frozen, twin_of


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


def test_a_double_computes_the_loss_alone_in_float64() -> None:
    rng = np.random.default_rng(0)
    layers = [Layer(5, 7, "tanh", dropout=0.5, l1=0.1), Layer(7, 2, use_bias=False, l2=0.2)]
    engine = Engine(layers, input_dropout=0.5)
    engine.parameters[:] = rng.standard_normal(engine.parameters.size)
    X, targets = rng.standard_normal((9, 5), np.float32), Targets(np.ones((9, 2), np.float32))
    double = doubled(engine)
    assert double.parameters.dtype == np.float64
    assert not double.parameters.any()
    double.parameters[:] = engine.parameters
    bare = Engine([layer._replace(dropout=0.0, l1=0.0, l2=0.0) for layer in layers])
    bare.parameters[:] = engine.parameters
    wanted = bare.differentiate(X, targets)
    found = double.differentiate(X, Targets(np.ones((9, 2))))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(double.gradient, bare.gradient, rtol=1e-5, atol=1e-7)
