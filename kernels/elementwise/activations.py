"""Every activation: A = g(Z) and its backward step dZ = dA * g'(Z), one entry in one table.

An elementwise entry states two formulas (see `scalar`), ``g(z)`` and ``g_prime(s)``, where s is
what the layer saves for the backward pass: A where the derivative follows from A (then Z is never
stored), else Z. An entry whose outputs depend on the whole row of a sample (softmax) states two
functions of a strip instead.

A strip is `rows` samples of n elements each, one after the other. Source and target may be the same
place; otherwise they do not overlap. What an element becomes does not depend on where in a strip it
or its row stands.

To add one, write its functions and its line in `_ENTRIES`; kernels, tests and benches loop over the
table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import int64

from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.blas.reduce import row_sum
from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import kernel, leaf, pointer, sum_kernel
from fastdnn.kernels.compiler.native import FIRST, SECOND, Pair, call_strip
from fastdnn.kernels.llvm.scalar import Value, at_least, at_most, copy_strip, strip, where
from fastdnn.kernels.llvm.simd import span
from fastdnn.kernels.llvm.vmath import exp, expm1, normal, sigmoid, softplus, tanh


class Activation(NamedTuple):
    """A table entry."""

    code: int  # its place in the table (or a `Pair`'s): what the compiled step knows it by
    forward: Callable[..., None]  # (z, z0, a, a0, rows, n): a[a0 + e] = g(z[z0 + e])
    backward: Callable[..., None]  # (d, d0, s, s0, rows, n): d[d0 + e] *= g'(s[s0 + e])
    from_z: bool = False  # the backward step needs Z, not A
    whole_row: bool = False  # an output depends on all of its sample's Z
    outputs: tuple[float, float] = (-inf, inf)  # an interval that they never leave
    rectifies: bool = False  # g is max(z, 0), which a product can do by itself
    is_smooth: bool = False  # g'' exists everywhere; of a user's own function that is not known
    is_distribution: bool = False  # the outputs of a sample add up to 1
    initializer: str = "glorot_uniform"  # how a layer with it draws W, if nothing else is said
    aliases: tuple[str, ...] = ()  # Keras's other names for it
    sklearn: str | None = None  # scikit-learn's name, where that is another one
    sklearn_factor: float = 6.0  # there W is uniform, within the root of factor / (n_prev + n)


class OwnActivation(Protocol):
    """An activation of a user's own."""

    def __hash__(self) -> int:
        """Two objects are two activations."""

    @property
    def entry(self) -> Activation:
        """Return what a table would hold; the object owns the code that `code` names."""


def _identity(z: Value) -> Value:
    return z


def _identity_prime(a: Value) -> Value:
    return a.of(1.0)


def _sigmoid_prime(a: Value) -> Value:
    return a * (1.0 - a)


def _relu(z: Value) -> Value:
    return at_least(z, 0.0)


def _relu_prime(a: Value) -> Value:
    return where(a > 0.0, a.of(1.0), 0.0)


def _tanh_prime(a: Value) -> Value:
    return 1.0 - a * a


def _leaky_relu(z: Value) -> Value:
    return at_least(z, 0.0) + 0.01 * at_most(z, 0.0)


def _leaky_relu_prime(a: Value) -> Value:
    return where(a > 0.0, a.of(1.0), 0.01)


def _elu(z: Value) -> Value:
    return at_least(z, 0.0) + expm1(at_most(z, 0.0))


def _elu_prime(a: Value) -> Value:
    return where(a > 0.0, 1.0, a + 1.0)


def _gelu(z: Value) -> Value:
    return z * normal(z)[0]


def _gelu_prime(z: Value) -> Value:
    below, density = normal(z)
    return below + z * density


def _silu(z: Value) -> Value:
    return z * sigmoid(z)


def _silu_prime(z: Value) -> Value:
    # sigmoid(-z) is 1 - sigmoid(z) without the cancellation
    return sigmoid(z) * (1.0 + z * sigmoid(-z))


def _softplus_prime(z: Value) -> Value:
    return sigmoid(z)


def _exponential_prime(a: Value) -> Value:
    return a


exp_strip = strip(exp, 1)


@kernel
def subtract_row_max(a, a0, rows, n):
    """a_j -= max a in each row, so that exp does not overflow; a finite a_j stays finite."""
    lowest = np.nextafter(a.dtype.type(-np.inf), a.dtype.type(0))
    for i in range(rows):
        row = span(a, a0 + i * n, n)
        top = row[0]
        for j in range(1, n):
            # a NaN that is not seen here makes its own element NaN, and so the row's sum
            top = row[j] if row[j] > top else top
        for j in range(n):
            # 0 times -inf would be NaN in a loss; a NaN passes
            less = row[j] - top
            row[j] = lowest if less < lowest else less


@kernel
def divide_row(a, a0, n, total):
    """a_j *= 1 / total."""
    row, scale = span(a, a0, n), a.dtype.type(1.0 / total)
    for j in range(n):
        row[j] *= scale


@kernel
def _softmax(z, z0, a, a0, rows, n):
    # a_j = exp(z_j - max z) / sum_k exp(z_k - max z)
    if n == 0:
        return
    copy_strip(rows * n, a, a0, z, z0)
    subtract_row_max(a, a0, rows, n)
    exp_strip(rows * n, a, a0, a, a0)
    for i in range(rows):
        divide_row(a, a0 + i * n, n, row_sum(a, a0 + i * n, n))


@sum_kernel
def inner_product(d, d0, a, a0, n):
    """sum_j d_j a_j in float64."""
    d, a, total = span(d, d0, n), span(a, a0, n), 0.0
    for j in range(n):
        total += np.float64(d[j]) * np.float64(a[j])
    return total


@kernel
def _softmax_backward(d, d0, a, a0, rows, n):
    # dz_j = a_j (da_j - sum_k da_k a_k): the product with the softmax's Jacobian
    for i in range(rows):
        inner = d.dtype.type(inner_product(d, d0 + i * n, a, a0 + i * n, n))
        row, target = span(a, a0 + i * n, n), span(d, d0 + i * n, n)
        for j in range(n):
            target[j] = row[j] * (target[j] - inner)


def _elementwise(
    g: Callable[[Value], Value], g_prime: Callable[[Value], Value], **facts: Any
) -> Activation:
    g_strip, g_prime_strip = strip(g, 1), strip(lambda d, s: d * g_prime(s), 2)

    @kernel
    def forward(z, z0, a, a0, rows, n):
        g_strip(rows * n, a, a0, z, z0)

    @kernel
    def backward(d, d0, s, s0, rows, n):
        g_prime_strip(rows * n, d, d0, d, d0, s, s0)

    return Activation(_CODE, forward, backward, **facts)


_CODE = -1  # until an entry is in the table
_SMOOTH: dict[str, Any] = {"is_smooth": True}
_HE: dict[str, Any] = {"initializer": "he_normal"}
_ENTRIES = {
    "identity": _elementwise(_identity, _identity_prime, aliases=("linear",), **_SMOOTH),
    "sigmoid": _elementwise(
        sigmoid,
        _sigmoid_prime,
        outputs=(0.0, 1.0),
        sklearn="logistic",
        sklearn_factor=2.0,
        **_SMOOTH,
    ),
    "relu": _elementwise(_relu, _relu_prime, outputs=(0.0, inf), rectifies=True, **_HE),
    "tanh": _elementwise(tanh, _tanh_prime, outputs=(-1.0, 1.0), **_SMOOTH),
    "leaky_relu": _elementwise(_leaky_relu, _leaky_relu_prime, **_HE),
    "elu": _elementwise(_elu, _elu_prime, outputs=(-1.0, inf), **_HE),
    "gelu": _elementwise(_gelu, _gelu_prime, from_z=True, **_SMOOTH, **_HE),
    "silu": _elementwise(_silu, _silu_prime, from_z=True, aliases=("swish",), **_SMOOTH, **_HE),
    "softplus": _elementwise(
        softplus, _softplus_prime, from_z=True, outputs=(0.0, inf), **_SMOOTH, **_HE
    ),
    "exponential": _elementwise(
        exp, _exponential_prime, outputs=(0.0, inf), aliases=("exp",), sklearn="exp", **_SMOOTH
    ),
    "softmax": Activation(
        _CODE,
        _softmax,
        _softmax_backward,
        whole_row=True,
        outputs=(0.0, 1.0),
        is_distribution=True,
        **_SMOOTH,
    ),
}
ACTIVATIONS = {
    name: entry._replace(code=code) for code, (name, entry) in enumerate(_ENTRIES.items())
}


def activation_of(activation: str | OwnActivation) -> Activation:
    """Return the table entry of a name, or the entry of a user's own activation.

    Raises
    ------
    TypeError, ValueError
        If it is neither; the nearest known name is proposed.
    """
    if isinstance(activation, str):
        return lookup("activation", activation, ACTIVATIONS)
    entry = getattr(activation, "entry", None)
    return entry if isinstance(entry, Activation) else lookup("activation", activation, ACTIVATIONS)


def native_entry(pair: Pair, outputs: tuple[float, float] = (-inf, inf)) -> Activation:
    """Return the entry of a pair of g(x) and x g'(y), and of the interval that g stays in."""
    forward, backward = partial(activate, pair.code), partial(differentiate, pair.code)
    return Activation(pair.code, forward, backward, from_z=True, outputs=outputs)


@kernel
def _native_forward(code, z, z0, a, a0, rows, n):
    call_strip(code, FIRST, rows * n, a, a0, z, z0, z, z0, 1.0)


@kernel
def _native_backward(code, d, d0, s, s0, rows, n):
    call_strip(code, SECOND, rows * n, d, d0, d, d0, s, s0, 1.0)


_forward = switch([entry.forward for entry in ACTIVATIONS.values()], _native_forward)
_backward = switch([entry.backward for entry in ACTIVATIONS.values()], _native_backward)


def _strip(t: Any) -> tuple[Any, ...]:
    return int64, pointer(t), int64, pointer(t), int64, int64, int64


@leaf(_strip)
def activate(code, z, z0, a, a0, rows, n):
    """a[a0 + e] = g(z[z0 + e]) on a strip."""
    size = rows * n
    _forward(code, span(z, z0, size), 0, span(a, a0, size), 0, rows, n)


@leaf(_strip)
def differentiate(code, d, d0, s, s0, rows, n):
    """d[d0 + e] *= g'(s[s0 + e]) on a strip."""
    size = rows * n
    _backward(code, span(d, d0, size), 0, span(s, s0, size), 0, rows, n)
