"""A user's scalar functions as native code: what it computes, where, and what numba refuses."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import pytest

import fastdnn
from fastdnn.kernels import ACTIVATIONS, activation_backward, activation_forward, linear_forward
from fastdnn.kernels.compiler.native import Pair, scalar_function
from fastdnn.kernels.elementwise import activations as table
from fastdnn.kernels.elementwise.losses import LOSSES
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.layers import layout
from tests import naive, own
from tests.kernels import networks, regimes
from tests.kernels.common import (
    Array,
    activation_bound,
    assert_near,
    assert_within,
    derivative_bound,
    draw,
    each_dtype,
    for_each_count,
    nan,
)
from tests.kernels.networks import evaluated
from tests.kernels.regimes import each_regime

each_activation = pytest.mark.parametrize("name", own.ACTIVATIONS)
each_loss = pytest.mark.parametrize("loss", own.LOSSES)


class Own:
    """An activation of two compiled functions."""

    def __init__(self, g: Callable[..., float], g_prime: Callable[..., float]) -> None:
        first, second = scalar_function("g", g, 1), scalar_function("g_prime", g_prime, 1)
        self.pair = Pair(lambda x, y, share: first(x), lambda x, y, share: x * second(y))

    @property
    def entry(self) -> table.Activation:
        return table.native_entry(self.pair)


# ------------------------------------------------------------------------------------- one function
@each_dtype
@each_activation
def test_an_activation_is_the_specifications(dtype: Any, name: str) -> None:
    Z = draw(1, 7, 129, dtype=dtype) * 3
    g, backward = naive.ACTIVATIONS[name]
    exact = Z.astype(np.float64)
    A = activation_forward(Z, own.activation(name))
    assert A.dtype == dtype
    assert_within(A, g(exact), activation_bound(name, g(exact), 0, dtype))
    dA = draw(2, 7, 129, dtype=dtype)
    got = activation_backward(dA, own.activation(name), Z=Z)
    wanted = dA.astype(np.float64)
    assert_within(got, backward(wanted, exact), derivative_bound(name, wanted, exact, dtype))


@each_activation
def test_float32_is_computed_in_float64_and_rounded_once(name: str) -> None:
    Z = draw(1, 5, 77, dtype=np.float32) * 3
    wanted = activation_forward(Z.astype(np.float64), own.activation(name))
    got = activation_forward(Z, own.activation(name))
    np.testing.assert_array_equal(got, wanted.astype(np.float32))


@each_dtype
@each_activation
def test_an_element_has_the_same_bits_at_any_place(dtype: Any, name: str) -> None:
    Z, g = draw(3, 1, 67, dtype=dtype), own.activation(name)
    dA = draw(4, 1, 67, dtype=dtype)
    one_by_one = [activation_forward(Z[:, i : i + 1], g)[0, 0] for i in range(67)]
    slopes = [activation_backward(dA[:, i : i + 1], g, Z=Z[:, i : i + 1])[0, 0] for i in range(67)]
    for begin in range(0, 20, 3):
        part = slice(begin, 67)
        np.testing.assert_array_equal(activation_forward(Z[:, part], g)[0], one_by_one[part])
        got = activation_backward(dA[:, part], g, Z=Z[:, part])[0]
        np.testing.assert_array_equal(got, slopes[part])


@each_dtype
def test_a_function_that_raises_gives_nan(dtype: Any) -> None:
    def g(z: float) -> float:
        if z < 0:
            raise ValueError("negative")
        return z

    activation = Own(g, lambda z: 1.0)
    assert np.isnan(activation_forward(np.array([[1.0, -1.0]], dtype), activation)).all()
    np.testing.assert_array_equal(
        activation_forward(np.array([[1.0, 2.0]], dtype), activation), [[1, 2]]
    )


def test_a_function_may_be_compiled_already_or_of_a_module_and_read_constants() -> None:
    slope = 0.3
    Z = draw(5, 3, 4)
    compiled = numba.njit(lambda z: slope * z)
    for g, wanted in (
        (compiled, 0.3 * Z),
        (math.sin, np.sin(Z)),
        (np.sin, np.sin(Z)),
        (lambda z: slope * z, 0.3 * Z),
        (lambda z: z > 0, Z > 0),
    ):
        got = activation_forward(Z, Own(g, lambda z: 0.0))
        np.testing.assert_allclose(got, wanted, rtol=1e-15)


def test_codes_are_no_places_of_the_tables() -> None:
    codes = [own.activation(name).entry.code for name in own.ACTIVATIONS]
    codes += [own.loss(name).entry.code for name in own.LOSSES]
    assert len(set(codes)) == len(codes)
    assert min(codes) > max(len(ACTIVATIONS), 2 * len(LOSSES))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (3, "g: want a function of one number, got 3"),
        (lambda z: os.getpid(), "numba cannot compile '<lambda>' .*getpid.*; want a function of"),
        (lambda z: None, "returns none, and not a real number"),
        (lambda z: complex(z), "returns complex128, and not a real number"),
        (lambda z: (z, z), "returns UniTuple"),
        (lambda z, y: z, "numba cannot compile '<lambda>' .*1 argument"),
        (lambda z: math.arctanh(z), "numba cannot compile '<lambda>' .*arctanh"),  # type: ignore[attr-defined]
        (len, "numba cannot compile 'len' "),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_one_line(function: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says) as raised:
        scalar_function("g", function, 1, "; or want more")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
    if callable(function):
        assert str(raised.value).endswith("math module; or want more")


@pytest.mark.usefixtures("share_small_work")
def test_a_new_function_compiles_no_kernel_anew(compilations: list[str]) -> None:
    def fit(activation: Any, loss: Any) -> None:
        net = networks.make([5, 9, 3], [activation, "identity"], loss, dtype=np.float32)
        net.train(draw(1, 40, 5, dtype=np.float32), Targets(draw(2, 40, 3, dtype=np.float32)),
                  networks.rule("adam", 2), batch=20)  # fmt: skip

    fit("tanh", "mean_squared_error")
    # the first loss of one's own has what calls it compiled, for all that follow
    fit("tanh", own.loss("huber"))
    del compilations[:]
    activation = Own(lambda z: 2 * z, lambda z: 2.0)
    fit(activation, own.loss("mean_squared_error"))
    assert set(compilations) <= {"<lambda>", "strip", "square", "square_prime"}


# ---------------------------------------------------------------------------------------- networks
SIZES = {"tiny": [3, 5, 7, 2], "wide": [7, 13, 37, 3]}
each_size = pytest.mark.parametrize("size", SIZES)


def net_of(
    names: Sequence[str],
    loss: str,
    dtype: Any,
    *,
    size: str = "wide",
    is_own: bool = True,
    **of: Any,
) -> Engine:
    made = [own.activation(name) if is_own else name for name in names]
    g = [*made, own.activation("tanh") if is_own else "tanh"]
    return networks.make(SIZES[size], g, own.loss(loss) if is_own else loss, dtype=dtype, **of)


@each_regime
@each_size
@each_dtype
@each_loss
@pytest.mark.usefixtures("share_small_work")
def test_loss_gradient_and_outputs_in_every_regime(
    regime: str, size: str, dtype: Any, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)
    names, m = ["silu", "relu"], 67
    net = net_of(names, loss, dtype, size=size)
    is_tiny = size == "tiny" and regime not in ("blocked", "cut")
    assert (regimes.place_of(net, m).regime == layout.TINY) == is_tiny
    regimes.assert_shared(net, m, regime)
    X, Y, given = networks.data(net, m, "mean_squared_error")
    weights = np.linspace(0.5, 1.5, m).astype(dtype)
    wanted, pairs = naive.loss_and_gradients(
        X.T.astype(np.float64), Y, networks.parameters(net), [*names, "tanh"], loss,
        weights=weights.astype(np.float64),
    )  # fmt: skip
    assert_near(net.differentiate(X, given, weights=weights), wanted, dtype)
    networks.assert_gradient(net, pairs)
    value, outputs = evaluated(net, X, given, weights=weights, batch=30)
    assert_near(value, wanted, dtype)
    np.testing.assert_array_equal(outputs, net.forward(X, batch=m))
    A, _ = naive.forward(X.T.astype(np.float64), networks.parameters(net), [*names, "tanh"])
    assert_near(outputs, A[-1].T, dtype)


@each_regime
@each_dtype
@pytest.mark.usefixtures("share_small_work")
def test_training_has_the_same_bits_for_any_number_of_threads(
    regime: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    regimes.force(monkeypatch, regime)

    def trained() -> Array:
        net = net_of(["silu", "tanh"], "huber", dtype, dropout=[0.25, 0.0, 0.0], input_dropout=0.1)
        X, _, given = networks.data(net, 150, "mean_squared_error")
        outputs = nan(150 * 3, dtype=dtype)
        outcome = net.train(X, given, networks.rule("adam", 6), batch=64, outputs=outputs)
        return np.concatenate([net.parameters, outcome.losses, outputs])

    assert len(set(for_each_count(trained))) == 1


@each_dtype
def test_training_ends_near_that_of_the_tables(dtype: Any) -> None:
    left = []
    for is_own in (False, True):
        net = net_of(["silu", "tanh"], "huber", dtype, is_own=is_own)
        X, _, given = networks.data(net, 150, "mean_squared_error")
        net.train(X, given, networks.rule("momentum", 9), batch=64)
        left.append(net.parameters.copy())
    assert_near(left[1], left[0].astype(np.float64), dtype)


def test_a_layer_alone() -> None:
    A_prev, W, b = draw(1, 5, 8), draw(2, 3, 5), draw(3, 3, 1)
    Z = nan(3, 8, dtype=np.float64)
    A = linear_forward(A_prev, W, b, own.activation("silu"), Z=Z)
    assert_near(Z, W @ A_prev + b, np.float64)
    assert_near(A, naive.ACTIVATIONS["silu"][0](W @ A_prev + b), np.float64)
    with pytest.raises(ValueError, match="Z: the derivative of own silu is computed from Z"):
        activation_backward(A, own.activation("silu"), A=A)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(TypeError, match=r"activation: want one of .* got <object"):
        activation_forward(np.zeros((1, 1)), object())  # type: ignore[arg-type]


def test_a_loss_that_raises_ends_the_training() -> None:
    def loss(a: float, y: float) -> float:
        if a > 1e3:
            raise OverflowError("large")
        return (a - y) ** 2

    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=2, seed=0)
    model.compile("sgd", fastdnn.ScalarLoss(loss, own.square_prime))
    with pytest.raises(fastdnn.DivergenceError, match="the loss of step"):
        model.fit(np.full((4, 2), 1e4), np.zeros(4), verbose=0)
