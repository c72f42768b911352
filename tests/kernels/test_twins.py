"""An engine beside another one, with its parameters."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.engine import Engine
from fastdnn.kernels.placement import Layer
from fastdnn.kernels.twins import twin_of


def test_a_twin_has_the_parameters_and_memory_of_its_own() -> None:
    rng = np.random.default_rng(0)
    engine = Engine([Layer(5, 7, "relu"), Layer(7, 2)])
    engine.parameters[:] = rng.standard_normal(engine.parameters.size)
    X = rng.standard_normal((9, 5), np.float32)
    expected = engine.forward(X, batch=9)
    twin = twin_of(engine)
    assert twin.parameters is engine.parameters
    assert twin._workspace is not engine._workspace
    np.testing.assert_array_equal(twin.forward(X, batch=9), expected)
    engine.parameters *= 2
    np.testing.assert_array_equal(twin.forward(X, batch=9), engine.forward(X, batch=9))
