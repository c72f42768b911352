"""Networks for the step's tests, and what naive says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdnn.kernels.elementwise.losses import LOSSES
from fastdnn.kernels.engine.calls import Rule, Targets, mean_loss
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.parameters import Layer
from tests import naive
from tests.kernels import masks
from tests.kernels.common import Array, assert_near, draw
from tests.kernels.rules import RULES, coefficients


def make(
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str = "mean_squared_error",
    *,
    dtype: Any = np.float64,
    input_dropout: float = 0.0,
    loss_parameters: Sequence[float] = (),
    **settings: Sequence[Any],
) -> Engine:
    """A network of layers with random W and b; `settings` are lists of `Layer`'s other fields."""
    layers = [
        Layer(n_prev, n, g, **{name: values[l] for name, values in settings.items()})
        for l, (n_prev, n, g) in enumerate(zip(sizes, sizes[1:], activations, strict=False))
    ]
    engine = Engine(
        layers,
        loss=loss,
        loss_parameters=loss_parameters,
        dtype=dtype,
        input_dropout=input_dropout,
    )
    for l, layer in enumerate(layers, 1):
        engine.weights(l)[...] = draw(l, layer.n, layer.n_prev) / max(layer.n_prev, 1) ** 0.5
        bias = engine.bias(l)
        if bias is not None:
            bias[...] = draw(100 + l, layer.n) / 2
    return engine


def evaluated(
    engine: Engine, X: Array, targets: Targets, *, batch: int, **options: Any
) -> tuple[float, Array]:
    """The loss of all samples, and A_L."""
    losses, outputs = engine.batch_losses(X, targets, batch=batch, **options)
    return mean_loss(losses, len(X), batch), outputs


def small(loss: str = "mean_squared_error", dtype: Any = np.float64, **of: Any) -> Engine:
    """Three layers, of which the activations are differentiated from A, from Z, and as a row."""
    return make([7, 9, 5, 3], ["tanh", "gelu", "softmax"], loss, dtype=dtype, **of)


def data(engine: Engine, m: int, loss: str, seed: int = 9) -> tuple[Array, Array, Targets]:
    """X (m, n_0), Y (n_L, m) and the same targets as the step takes them.

    With this seed no result of few samples is near 0, where little would be left but roundings.
    """
    n = engine.layers[-1].n
    X = draw(seed, m, engine.layers[0].n_prev, dtype=engine.dtype)
    rng = np.random.default_rng(seed + 1)
    if LOSSES[loss].labels:
        labels = rng.integers(n, size=m)
        return X, naive.one_hot(labels, n), Targets(np.empty((0, n), engine.dtype), labels)
    if LOSSES[loss].outputs == (0, 1):
        Y = naive.softmax(2 * rng.normal(size=(n, m))) if n > 1 else rng.uniform(size=(n, m))
    else:
        Y = 2 * rng.normal(size=(n, m))
        Y = Y if LOSSES[loss].targets[0] < 0 else np.abs(Y)
    y = np.ascontiguousarray(Y.T, engine.dtype)
    return X, y.T.astype(np.float64), Targets(y)


def parameters(engine: Engine) -> list[naive.Pair]:
    """W and b of every layer, in float64; b = 0 where the layer has none."""
    pairs = []
    for l, layer in enumerate(engine.layers, 1):
        bias = engine.bias(l)
        b = np.zeros(layer.n) if bias is None else bias
        pairs.append((engine.weights(l).astype(np.float64), b.astype(np.float64)[:, None]))
    return pairs


def gradients(
    engine: Engine,
    loss: str,
    X: Array,
    Y: Array,
    *,
    weights: Array | None = None,
    **settings: float,
) -> tuple[float, list[naive.Pair]]:
    """The loss with penalties, and (dW, db) of every layer, by naive."""
    return naive.loss_and_gradients(
        X.T.astype(np.float64),
        Y,
        parameters(engine),
        [layer.activation for layer in engine.layers],
        loss,
        weights=None if weights is None else weights.astype(np.float64),
        regularizers=[(layer.l1, layer.l2) for layer in engine.layers],
        **settings,
    )


def gradients_with_dropout(
    engine: Engine, loss: str, X: Array, Y: Array, *, rate: float, seed: int, step: int
) -> tuple[float, list[naive.Pair], Array]:
    """The same where X (at `rate`) and layers drop out, and A_L (m, n_L)."""
    m, L = len(X), len(engine.layers)
    rates = [rate, *(layer.dropout for layer in engine.layers)]

    def drop(A: Array, l: int) -> Array:
        kept = masks.kept(seed, step, l, A.size, rates[l]).reshape(A.T.shape).T
        return naive.dropout(A, kept, rates[l])

    pairs = parameters(engine)
    names = [layer.activation for layer in engine.layers]
    A, Z = [drop(X.T.astype(np.float64), 0)], []
    for l in range(1, L + 1):
        Z.append(naive.linear_forward(A[-1], *pairs[l - 1]))
        A_l = naive.ACTIVATIONS[names[l - 1]][0](Z[-1])
        A.append(drop(A_l, l) if l < L else A_l)
    losses, dZ = naive.loss_and_dZ(Z[-1], Y, names[-1], loss)
    found: list[naive.Pair] = []
    for l in range(L, 0, -1):
        dA_prev, dW, db = naive.linear_backward(dZ, A[l - 1], pairs[l - 1][0])
        found.insert(0, (dW, db))
        if l > 1:
            dZ = naive.ACTIVATIONS[names[l - 2]][1](drop(dA_prev, l - 1), Z[l - 2])
    return float(losses.sum() / m), found, A[-1].T


CANCELLED = 0.1  # of the largest of all tensors: a smaller one's sums may have cancelled


def assert_outputs(engine: Engine, X: Array, got: Array) -> None:
    """A_L (m, n_L) is naive's, relative to what adds up to Z_L: that may cancel."""
    pairs = parameters(engine)
    names = [layer.activation for layer in engine.layers]
    A, _ = naive.forward(X.T.astype(np.float64), pairs, names)
    W, b = pairs[-1]
    terms = np.abs(W) @ np.abs(A[-2]) + np.abs(b)
    assert_near(got, A[-1].T, engine.dtype, size=float(terms.max()))


def assert_tensors(
    dtype: Any, got: Sequence[Array], wanted: Sequence[Array], more: Sequence[float] | None = None
) -> None:
    """Each tensor is `wanted`, relative to its own largest number and with its own `more`."""
    largest = max(float(np.abs(x).max()) for x in wanted)
    assert largest > 0, "zeros alone say nothing"
    for i, (one, right) in enumerate(zip(got, wanted, strict=True)):
        allowed = 0.0 if more is None else more[i]
        assert_near(one, right, dtype, size=CANCELLED * largest, more=allowed)


def assert_gradient(engine: Engine, pairs: Sequence[naive.Pair]) -> None:
    """The engine's gradient is naive's (dW, db) of every layer."""
    got = [x for pair in engine.gradients() for x in pair if x is not None]
    wanted = [x.reshape(one.shape) for one, x in zip(got, tensors(engine, pairs), strict=True)]
    assert_tensors(engine.dtype, got, wanted)


def rule(name: str, steps: int, *, t: int = 1, **clipping: Any) -> Rule:
    """`steps` steps of a rule of `RULES`, the first being number t."""
    code, _, settings = RULES[name]
    rows = [coefficients(code, t + i, settings) for i in range(steps)]
    return Rule(code, np.array(rows), **clipping)


def still(steps: int = 1) -> Rule:
    """Steps that change nothing and leave the whole gradient: clipping by a norm needs it."""
    none = rule("descent", steps, clip="global")
    return none._replace(coefficients=np.zeros_like(none.coefficients))


def tensors(engine: Engine, pairs: Sequence[naive.Pair]) -> list[Array]:
    """W1, b1, W2, …, without the b that a layer does not have."""
    return [
        x
        for layer, pair in zip(engine.layers, pairs, strict=True)
        for x in pair[: 1 + layer.use_bias]
    ]


def train(
    engine: Engine,
    name: str,
    batches: Sequence[Array],
    gradient_of: Callable[[Array], tuple[float, list[naive.Pair]]],
    **clipping: float,
) -> list[float]:
    """Naive's steps on the engine's parameters; `gradient_of` is called with each batch."""
    _, optimizer, settings = RULES[name]
    states, losses = None, []
    for t, batch in enumerate(batches, 1):
        loss, pairs = gradient_of(batch)
        losses.append(loss)
        new, states = naive.step(
            optimizer,
            tensors(engine, parameters(engine)),
            tensors(engine, pairs),
            states,
            t,
            **clipping,
            **settings,
        )
        engine.parameters[:] = np.concatenate([x.T.ravel() for x in new])
    return losses
