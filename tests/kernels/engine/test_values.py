"""The values of a network: how they start, and views into them."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.blas.operands import ZEROS
from fastdnn.kernels.cpu import targets
from fastdnn.kernels.engine.parameters import Layer, place_parameters
from fastdnn.kernels.engine.values import Values
from fastdnn.kernels.layers.operations import MOVED, TRAINED
from tests.kernels import stacks

TILE = targets.tile(np.dtype(np.float64))


def values_of(layers: list[Layer]) -> Values:
    return Values(layers, place_parameters(layers, TILE), np.float64)


def test_tensors_start_as_their_operation_says() -> None:
    of = values_of(stacks.layers_of("batch"))
    own = of.tensors(2)
    starts = {name: float(view.flat[0]) for name, view in own.items()}
    assert starts == {
        "gamma": 1.0, "beta": 0.0, "epsilon": 1e-3, "momentum": 0.75, "moving_mean": 0.0,
        "moving_variance": 1.0, "mean": 0.0, "variance": 1.0,
    }  # fmt: skip
    assert list(of.tensors(2, TRAINED)) == ["gamma", "beta"]
    assert list(of.tensors(2, MOVED)) == ["moving_mean", "moving_variance"]
    np.testing.assert_array_equal(
        values_of(stacks.layers_of("piecewise")).tensors(2)["boundaries"], stacks.BOUNDARIES
    )


def test_views_write_into_the_vector() -> None:
    of = values_of(stacks.layers_of("batch"))
    of.tensors(2)["gamma"][...] = 7
    of.tensors(2)["moving_mean"][...] = 8
    assert (of.parameters == 7).sum() == 5
    assert (of.values == 8).sum() == 5
    assert not (of.parameters == 8).any()
    assert np.shares_memory(of.parameters, of.values)
    copied = of.copied()
    behind = np.lib.stride_tricks.as_strided(copied, (copied.size + ZEROS,))
    assert not behind[copied.size :].any()
    np.testing.assert_array_equal(copied, of.values)


def test_gradients_are_of_what_is_trained() -> None:
    shapes = [
        tuple(None if one is None else one.shape for one in of_layer)
        for of_layer in values_of(
            [*stacks.layers_of("without")[:2], Layer(5, 2, use_bias=False)]
        ).gradients()
    ]
    assert shapes == [((2, 5), None)]
    assert [len(of) for of in values_of(stacks.layers_of("columns")).gradients()] == [2, 2]
