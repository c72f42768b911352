"""Every mistake in the arrays of one layer: its error says the rule, before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from fastdnn.kernels import (
    activation_backward,
    activation_forward,
    bias_gradient,
    dense,
    linear_backward,
    linear_forward,
)

X, W3, B3 = np.ones((4, 5)), np.ones((3, 4)), np.ones((3, 1))
RULE_W = r"W, A_prev: W\[l\] is \(n\[l\], n\[l-1\]\) and A\[l-1\] is \(n\[l-1\], m\)"
RULE_B = r"b: b\[l\] is \(n\[l\], 1\), here \(3, 1\); got"
RULE_A = r"Z\[l\], A\[l\] and dA\[l\] are \(n\[l\], m\), here \(3, 5\); got"
dA35, A35 = np.ones((3, 5)), np.full((3, 5), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: linear_forward(X, W3.T, B3),
            ValueError,
            RULE_W + r".*\(4, 3\) and A_prev \(4, 5\)",
        ),
        (lambda: linear_forward(X.T, W3, B3), ValueError, RULE_W),
        (lambda: linear_forward(X, W3, np.ones((1, 3))), ValueError, RULE_B + r" \(1, 3\)"),
        (lambda: linear_forward(X, W3, np.ones(4)), ValueError, RULE_B + r" \(4,\)"),
        (lambda: linear_forward(X, W3, 1.0), ValueError, RULE_B + r" \(\)"),
        (lambda: linear_forward(X[0], W3, B3), ValueError, "A_prev: want 2 dimensions"),
        (lambda: linear_forward(X, W3[None], B3), ValueError, "W: want 2 dimensions"),
        (lambda: linear_forward(X + 1j, W3, B3), TypeError, "A_prev: want real numbers.*complex"),
        (lambda: linear_forward(X, [["a"]], B3), TypeError, "W: want real numbers"),
        (lambda: linear_forward(X, W3, [["a"], ["b"], ["c"]]), TypeError, "b: want real numbers"),
        (lambda: linear_forward(X, W3, B3, "rleu"), ValueError, "activation.*did you mean 'relu'"),
        (lambda: linear_forward(X, W3, B3, cast(str, None)), TypeError, "activation: want one of"),
        (
            lambda: linear_forward(X, W3, B3, out=np.ones((5, 3))),
            ValueError,
            r"out: want shape \(3, 5\), got \(5, 3\)",
        ),
        (
            lambda: linear_forward(X, W3, B3, Z=np.ones(3)),
            ValueError,
            r"Z: want shape \(3, 5\), got \(3,\)",
        ),
        (lambda: linear_backward(dA35.T, X, W3), ValueError, "dA: " + RULE_A + r" \(5, 3\)"),
        (lambda: linear_backward(dA35, X, W3.T), ValueError, RULE_W),
        (lambda: linear_backward(dA35[0], X, W3), ValueError, "dA: want 2 dimensions"),
        (lambda: linear_backward(dA35 * 1j, X, W3), TypeError, "dA: want real numbers"),
        (
            lambda: linear_backward(dA35, X, W3, "tanh", A=A35.T),
            ValueError,
            "A: " + RULE_A + r" \(5, 3\)",
        ),
        (
            lambda: linear_backward(dA35, X, W3, "gelu", A=A35),
            ValueError,
            "Z: the derivative of gelu is computed from Z; got None",
        ),
        (
            lambda: linear_backward(dA35, X, W3, "tanh", Z=A35),
            ValueError,
            "A: the derivative of tanh is computed from A; got None",
        ),
        (lambda: linear_backward(dA35, X, W3, "sotfmax"), ValueError, "did you mean 'softmax'"),
        (lambda: activation_forward(X, "thin"), ValueError, "activation: unknown name 'thin'"),
        (lambda: activation_forward(X[0], "tanh"), ValueError, "Z: want 2 dimensions"),
        (lambda: activation_backward(dA35, "tanh"), ValueError, "A: the derivative of tanh"),
        (
            lambda: activation_backward(dA35, "silu", Z=A35[:, :4]),
            ValueError,
            "Z: " + RULE_A + r" \(3, 4\)",
        ),
        (
            lambda: linear_forward(X, W3, np.ma.masked_equal([1.0, 2.0, 3.0], 2.0)),
            ValueError,
            "b: want numbers only, got a masked array with 1 of 3",
        ),
        (lambda: linear_forward(X, W3, [[1.0], []]), TypeError, "b: want an array of real numbers"),
        (
            lambda: linear_forward(X, W3, None, out=np.ones((3, 5), ">f4")),
            TypeError,
            "^out: want a float32 or float64 array, got >f4$",
        ),
        (lambda: bias_gradient(np.ones(3)), ValueError, "dZ: want 2 dimensions"),
        (lambda: bias_gradient([["a"]]), TypeError, "dZ: want real numbers"),
    ],
)
def test_errors(
    call: Callable[[], object],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # they come before any work
    for entry in ("_product", "_rows", "_column_sums"):
        monkeypatch.setattr(dense, entry, None)
    with pytest.raises(error, match=message):
        call()
