"""Where a training's numbers ceased to be finite is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastdnn
from fastdnn.divergence import find_layer
from tests.nets import samples

X, y = samples(64)
TARGETS = y.astype(float)


def network(rate: float = 0.01, dtype: str = "float32", **options: Any) -> fastdnn.Sequential:
    layers = [fastdnn.Dense(5, "relu"), fastdnn.Dense(4, "relu"), fastdnn.Dense(1)]
    model = fastdnn.Sequential(layers, input_size=4, seed=0, dtype=dtype)
    model.compile(fastdnn.SGD(rate, **options), "mse")
    return model


def found(model: fastdnn.Sequential, X: Any = X, y: Any = TARGETS) -> tuple[int | None, str]:
    data = model._checked(X, y, None, 4)
    return find_layer(model._ready(data), data.X, data.targets, data.weights)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_first_layer_whose_Z_overflows(layer: int) -> None:
    model = network()
    assert found(model) == (None, "")
    # its Z, and those of the layers after it
    model.layers[layer - 1].W[...] = 3e38
    if layer > 1:
        model.layers[layer - 2].b[...] = 10
    assert found(model) == (layer, "Z")


def test_the_last_layer_whose_gradient_overflows() -> None:
    model = network()
    model.layers[0].b[...] = 1e10
    model.layers[2].W[...] = 1e-30
    assert found(model, y=np.full(64, 1e18))[0] is None
    model.layers[1].b[...] = 3e30
    assert found(model, y=np.full(64, 1e18)) == (3, "gradient")


@pytest.mark.parametrize("source", ["samples", "batches", "weighted rows of CSR"])
def test_what_the_error_tells(source: str) -> None:
    model = network(rate=1e15)
    batches = [(X[i : i + 16], TARGETS[i : i + 16]) for i in range(0, 64, 16)]
    given: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "batches": ((batches,), {}),
        "samples": ((X, TARGETS, 16), {}),
        "weighted rows of CSR": ((csr_array(X), TARGETS, 16), {"sample_weight": np.ones(64)}),
    }
    arguments, options = given[source]
    with pytest.raises(fastdnn.DivergenceError) as caught:
        model.fit(*arguments, **options, verbose=0)
    error, steps = caught.value, model._state.steps
    assert 1 <= steps < 4
    assert (error.epoch, error.step) == (0, steps)
    assert error.layer in (1, 2, 3)
    assert error.last_loss is not None
    assert np.isfinite(error.last_loss)
    assert f"epoch 0 is not finite, by layer {error.layer}'s" in str(error)
    assert f"The loss of the step before was {error.last_loss:.6g}." in str(error)


def test_the_first_step_has_none_before() -> None:
    model = network()
    model.layers[1].W[...] = 3e38
    model.layers[0].b[...] = 10
    with pytest.raises(fastdnn.DivergenceError, match=r"step 0 of epoch 0 .*by layer 2's Z") as one:
        model.train_on_batch(X, TARGETS)
    assert one.value.last_loss is None
