"""What a table of cases does not show of embeddings: repeated and wrong categories, and ends."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.parameters import Layer
from tests.kernels.common import draw
from tests.kernels.stacks import BOUNDARIES, engine_of

TABLE = {"columns": (0,), "cardinalities": (3,), "dims": (2,)}


def test_a_category_that_comes_often_sums_its_samples() -> None:
    layers = [Layer(1, 2, operation="column_embedding", settings=TABLE), Layer(2, 1)]
    engine = engine_of(layers, np.float64)
    X, y = np.array([[1.0], [1.0], [0.0], [1.0]]), draw(2, 4, 1)
    engine.differentiate(X, Targets(y))
    (dE,), (dW, _) = engine.gradients()
    assert dE is not None
    assert dW is not None
    d = (2 / 4) * (engine.forward(X, batch=4) - y) * engine.weights(2)
    np.testing.assert_allclose(dE, [d[2], d[0] + d[1] + d[3], [0, 0]], rtol=1e-12, atol=1e-15)


def test_nothing_outside_the_table_is_read() -> None:
    layers = [Layer(1, 2, operation="column_embedding", settings=TABLE), Layer(2, 1)]
    engine = engine_of(layers, np.float64)
    A = engine.forward(np.array([[0.0], [2.0], [-7.0], [9.0], [np.nan]]), batch=5)
    np.testing.assert_array_equal(A[2:], A[[0, 1, 0]])


def test_shares_go_on_beyond_the_ends() -> None:
    settings = {"columns": (0,), "boundaries": BOUNDARIES[:1]}
    layers = [
        Layer(1, 3, operation="piecewise_linear_embedding", settings=settings),
        Layer(3, 3),
    ]
    engine = engine_of(layers, np.float64)
    engine.weights(2)[...], engine.bias(2)[...] = np.eye(3), 0  # type: ignore[index]
    X = np.array([[-2.5], [-1.5], [-0.75], [-0.5], [0.0], [1.0], [2.5]])
    third = 2 / 3
    wanted = [
        [-1, 0, 0], [0, 0, 0], [0.75, 0, 0], [1, 0, 0], [1, third, 0], [1, 1, 1], [1, 1, 3],
    ]  # fmt: skip
    np.testing.assert_allclose(engine.forward(X, batch=7), wanted, rtol=1e-12)
