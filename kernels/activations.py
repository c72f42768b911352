"""Every activation: A = g(Z) and its backward step dZ = dA * g'(Z), one entry in one table.

An elementwise entry states two scalar functions, ``g(z)`` and ``g_prime(s)``, where s is what the
layer saves for the backward pass: A where the derivative follows from A (then Z is never stored),
else Z. An entry whose outputs depend on the whole row of a sample (softmax) states two row
functions instead.

To add one, write its functions and its line in `ACTIVATIONS`; kernels, tests and benches loop over
the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ._dispatch import switch
from ._jit import inline_kernel, kernel
from ._simd import span

_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


class Activation(NamedTuple):
    """A table entry."""

    code: int  # its place in the table: what the compiled step knows it by
    forward: Callable[..., None]  # (z, z0, a, a0, n): a[a0 + j] = g(z[z0 + j])
    backward: Callable[..., None]  # (d, d0, s, s0, n): d[d0 + j] *= g'(s[s0 + j])
    from_z: bool  # the backward step needs Z, not A
    whole_row: bool  # an output depends on all of its sample's Z


@inline_kernel
def _identity(z):
    return z


@inline_kernel
def _identity_prime(a):
    return 1.0


@inline_kernel
def sigmoid(z):
    """1 / (1 + exp(-z))."""
    # exp of a negative number only: nothing overflows
    e = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else e) / (1.0 + e)


@inline_kernel
def _sigmoid_prime(a):
    return a * (1.0 - a)


@inline_kernel
def _relu(z):
    return 0.0 if z < 0.0 else z  # NaN stays NaN


@inline_kernel
def _relu_prime(a):
    return 1.0 if a > 0.0 else 0.0


@inline_kernel
def _tanh(z):
    return math.tanh(z)


@inline_kernel
def _tanh_prime(a):
    return 1.0 - a * a


@inline_kernel
def _leaky_relu(z):
    return 0.01 * z if z < 0.0 else z


@inline_kernel
def _leaky_relu_prime(a):
    return 1.0 if a > 0.0 else 0.01


@inline_kernel
def _elu(z):
    return math.expm1(z) if z < 0.0 else z


@inline_kernel
def _elu_prime(a):
    return 1.0 if a > 0.0 else a + 1.0


@inline_kernel
def _gelu(z):
    return 0.5 * z * math.erfc(-_SQRT_HALF * z)


@inline_kernel
def _gelu_prime(z):
    return 0.5 * math.erfc(-_SQRT_HALF * z) + z * _INV_SQRT_2PI * math.exp(-0.5 * z * z)


@inline_kernel
def _silu(z):
    return z * sigmoid(z)


@inline_kernel
def _silu_prime(z):
    # sigmoid(-z) is 1 - sigmoid(z) without the cancellation
    return sigmoid(z) * (1.0 + z * sigmoid(-z))


@inline_kernel
def _softplus(z):
    return math.log1p(math.exp(-abs(z))) + (z if z > 0.0 else 0.0)


@inline_kernel
def _softplus_prime(z):
    return sigmoid(z)


@kernel
def softmax_row(z, z0, a, a0, n):
    """a_j = exp(z_j - max z) / sum_k exp(z_k - max z)."""
    if n == 0:
        return
    top = z[z0]
    for j in range(1, n):
        top = max(top, z[z0 + j])
    total = 0.0
    for j in range(n):
        e = math.exp(z[z0 + j] - top)
        a[a0 + j] = e
        total += e
    for j in range(n):
        a[a0 + j] /= total


@kernel
def _softmax_row_backward(d, d0, a, a0, n):
    # dz_j = a_j (da_j - sum_k da_k a_k): the product with the softmax's Jacobian
    inner = 0.0
    for j in range(n):
        inner += d[d0 + j] * a[a0 + j]
    for j in range(n):
        d[d0 + j] = a[a0 + j] * (d[d0 + j] - inner)


def _elementwise(
    g: Callable[..., Any], g_prime: Callable[..., Any], *, from_z: bool = False
) -> tuple[Callable[..., None], Callable[..., None], bool, bool]:
    @kernel
    def forward(z, z0, a, a0, n):
        source, target = span(z, z0, n), span(a, a0, n)
        for j in range(n):
            target[j] = g(source[j])

    @kernel
    def backward(d, d0, s, s0, n):
        saved, target = span(s, s0, n), span(d, d0, n)
        for j in range(n):
            target[j] *= g_prime(saved[j])

    return forward, backward, from_z, False


_ROWS = {
    "identity": _elementwise(_identity, _identity_prime),
    "sigmoid": _elementwise(sigmoid, _sigmoid_prime),
    "relu": _elementwise(_relu, _relu_prime),
    "tanh": _elementwise(_tanh, _tanh_prime),
    "leaky_relu": _elementwise(_leaky_relu, _leaky_relu_prime),
    "elu": _elementwise(_elu, _elu_prime),
    "gelu": _elementwise(_gelu, _gelu_prime, from_z=True),
    "silu": _elementwise(_silu, _silu_prime, from_z=True),
    "softplus": _elementwise(_softplus, _softplus_prime, from_z=True),
    "softmax": (softmax_row, _softmax_row_backward, False, True),
}
ACTIVATIONS = {
    name: Activation(code, *functions) for code, (name, functions) in enumerate(_ROWS.items())
}
IDENTITY = ACTIVATIONS["identity"].code

# (code, z, z0, a, a0, n) and (code, d, d0, s, s0, n)
activate = switch([entry.forward for entry in ACTIVATIONS.values()])
differentiate = switch([entry.backward for entry in ACTIVATIONS.values()])
