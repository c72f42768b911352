"""Finite differences that tell a wrong derivative, and leave kinks and other domains alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn import _derivatives
from fastdnn._derivatives import Mismatch, check_activation, check_loss, compare, value_of
from tests import naive, own

Function = Callable[..., Any]


def of(name: str) -> tuple[Function, Function]:
    """g and g' of the specification, of numbers."""
    g, backward = naive.ACTIVATIONS[name]
    return (
        lambda z: float(g(np.array([[z]]))[0, 0]),
        lambda z: float(backward(np.ones((1, 1)), np.array([[z]]))[0, 0]),
    )


@pytest.mark.parametrize("name", [name for name in naive.ACTIVATIONS if name != "softmax"])
def test_the_specifications_activations_pass(name: str) -> None:
    check_activation("g_prime", *of(name))


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_crossentropy"])
def test_the_specifications_losses_pass(name: str) -> None:
    def at(a: float, y: float, i: int) -> float:
        return float(naive.LOSSES[name](np.array([[a]]), np.array([[y]]))[i].item())

    check_loss("derivative", lambda a, y: at(a, y, 0), lambda a, y: at(a, y, 1))


@pytest.mark.parametrize(
    ("g", "g_prime"),
    [
        (lambda z: math.floor(z), lambda z: 0.0),  # jumps
        (lambda z: abs(z - 1), lambda z: 1.0 if z > 1 else -1.0),
        (lambda z: math.sqrt(z), lambda z: 0.5 / math.sqrt(z)),  # raises where z < 0
        (lambda z: z**0.5, lambda z: 0.5 * z**-0.5),  # complex there
        (lambda z: 1e6 * z * z, lambda z: 2e6 * z),
        (lambda z: 1e-5 * z, lambda z: 1e-5),
        (lambda z: math.sin(20 * z), lambda z: 20 * math.cos(20 * z)),
        (lambda z: np.log(z), lambda z: 1 / z),  # a warning and NaN
    ],
)
def test_right_derivatives_pass(g: Function, g_prime: Function) -> None:
    check_activation("g_prime", g, g_prime)


@pytest.mark.parametrize(
    ("g", "g_prime"),
    [
        (lambda z: z * z, lambda z: z),
        (lambda z: max(z, 0.0), lambda z: 1.0),
        (lambda z: math.tanh(z), lambda z: 1 - z * z),
        (lambda z: math.tanh(z), lambda z: math.nan),
        (lambda z: math.sin(z), lambda z: 1.001 * math.cos(z)),
        (lambda z: 1.0 if z > 0 else -1.0, lambda z: 1.0),
        (lambda z: 1e6 * z, lambda z: 1e6 + 1e3),
    ],
)
def test_wrong_derivatives_are_told(g: Function, g_prime: Function) -> None:
    with pytest.raises(ValueError, match=r"g_prime: want .* as finite differences give, got"):
        check_activation("g_prime", g, g_prime)


def test_the_error_shows_the_value_and_both_derivatives() -> None:
    with pytest.raises(ValueError, match="at z = ") as raised:
        check_activation("g_prime", lambda z: z * z, lambda z: z)
    words = str(raised.value).replace(",", "").split()
    found, given, z, value = (float(words[i]) for i in (2, 8, 12, 16))
    assert (found, given, value) == pytest.approx((2 * z, z, z * z), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "derivative"),
    [
        (own.huber, own.huber_prime),
        (  # of probabilities, for 0 and 1 alone
            lambda a, y: -math.log(a) if y == 1 else -math.log(1 - a),
            lambda a, y: (a - y) / (a * (1 - a)),
        ),
        (lambda a, y: max(0, 1 - a * y), lambda a, y: -y if a * y < 1 else 0),  # -1 and 1
        (lambda a, y: a - y * math.log(a), lambda a, y: 1 - y / a),  # counts
        (lambda a, y: a * math.log(y), lambda a, y: math.log(y)),  # y > 0
        (lambda a, y: math.log(a - 1e9), lambda a, y: 0.0),  # nowhere finite
    ],
)
def test_losses_of_any_domain_pass(loss: Function, derivative: Function) -> None:
    check_loss("derivative", loss, derivative)


@pytest.mark.parametrize(
    ("loss", "derivative"),
    [
        (own.square, lambda a, y: a - y),
        (own.square, lambda a, y: 2 * (y - a)),
        (own.huber, lambda a, y: a - y),  # wrong only where abs(a - y) > 1
        (lambda a, y: -y * math.log(a), lambda a, y: y / a),
    ],
)
def test_wrong_derivatives_of_losses_are_told(loss: Function, derivative: Function) -> None:
    with pytest.raises(ValueError, match=r"derivative: want .* got .* at a = .*, y = .* the loss"):
        check_loss("derivative", loss, derivative)


def test_values_as_compiled_code_has_them() -> None:
    assert value_of(lambda z: z > 0, 1.0) == 1.0
    for g in (lambda z: 1 / (z - z), lambda z: math.exp(1e9 * z), lambda z: complex(z)):
        assert math.isnan(value_of(g, 1.0))
    assert math.isnan(value_of(lambda z: math.log(-z), 1.0))


def test_one_point() -> None:
    assert compare(abs, lambda x: 7.0, 0.0) is False  # a kink
    assert compare(lambda x: x * x, lambda x: 2 * x, 3.0) is True
    found = compare(lambda x, y: x * x + y, lambda x, y: 5.0, 3.0, 1.0)
    assert isinstance(found, Mismatch)
    assert (found.x, found.others, found.value, found.given) == (3.0, (1.0,), 10.0, 5.0)
    assert found.found == pytest.approx(6.0, rel=1e-6)
    assert _derivatives.first_mismatch(abs, lambda x: 1.0, [(0.0,), (1.0,), (2.0,)]) == (None, 2)
