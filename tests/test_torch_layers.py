"""Norms, embeddings, residual blocks and PReLU against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn import (
    Activation,
    BatchNormalization,
    ColumnEmbedding,
    Dense,
    LayerNormalization,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    PReLU,
    Residual,
    RMSNormalization,
    Sequential,
)
from fastdnn.layer import Layer

torch = pytest.importorskip(
    "torch", reason="the comparison with PyTorch needs it: pip install torch==2.13.0"
)
F = torch.nn.functional
TOLERANCE = 1e-10
Build = tuple[list[Layer], Callable[[Any, dict[str, Any], bool], Any]]
BOUNDARIES = ((-1.0, -0.25, 0.5, 2.0), (-0.5, 0.0, 0.75, 1.0))


def dense(A: Any, p: dict[str, Any], number: int) -> Any:
    return F.linear(A, p[f"W{number}"], p[f"b{number}"])


def piecewise(x: Any) -> Any:
    parts = []
    for j, row in enumerate(BOUNDARIES):
        for t in range(3):
            share = (x[:, j] - row[t]) / (row[t + 1] - row[t])
            share = share.clamp(min=0.0 if t > 0 else None, max=1.0 if t < 2 else None)
            parts.append(share)
    return torch.stack([*parts, x[:, 2], x[:, 3]], dim=1)


def batch(A: Any, p: dict[str, Any], number: int, training: bool) -> Any:
    if training:
        mean, variance = A.mean(0), A.var(0, unbiased=False)
    else:
        mean, variance = p[f"moving_mean{number}"], p[f"moving_variance{number}"]
    hat = (A - mean) / torch.sqrt(variance + 1e-3)
    return hat * p[f"gamma{number}"] + p[f"beta{number}"]


NETS: dict[str, Build] = {
    "layer": (
        [Dense(6), LayerNormalization(), Activation("gelu"), Dense(3)],
        lambda X, p, _: dense(
            F.gelu(F.layer_norm(dense(X, p, 1), (6,), p["gamma2"], p["beta2"], 1e-3)), p, 3
        ),
    ),
    "rms": (
        [Dense(6), RMSNormalization(), Activation("relu"), Dense(3)],
        lambda X, p, _: dense(F.relu(F.rms_norm(dense(X, p, 1), (6,), p["gamma2"], 1e-6)), p, 3),
    ),
    "batch": (
        [Dense(6), BatchNormalization(), Activation("tanh"), Dense(3)],
        lambda X, p, training: dense(torch.tanh(batch(dense(X, p, 1), p, 2, training)), p, 3),
    ),
    "batch of X, twice": (
        [BatchNormalization(), Dense(6, "relu"), BatchNormalization(), Dense(3)],
        lambda X, p, training: dense(
            batch(F.relu(dense(batch(X, p, 1, training), p, 2)), p, 3, training), p, 4
        ),
    ),
    "prelu": (
        [Dense(6), PReLU(0.25), Dense(3)],
        lambda X, p, _: dense(F.prelu(dense(X, p, 1), p["alpha2"]), p, 3),
    ),
    "residual": (
        [Dense(6), Residual([LayerNormalization(), Dense(9, "silu"), Dense(6)]), Dense(3)],
        lambda X, p, _: _residual(X, p),
    ),
    "residual of X": (
        [Residual([Residual([Dense(4, "tanh")]), Dense(4)]), Activation("softplus"), Dense(3)],
        lambda X, p, _: dense(F.softplus(X + dense(X + torch.tanh(dense(X, p, 1)), p, 2)), p, 3),
    ),
    "columns": (
        [ColumnEmbedding([3, 1], [5, 2], [3, 2]), Dense(6, "tanh"), Dense(3)],
        lambda X, p, _: dense(
            torch.tanh(
                dense(
                    torch.cat(
                        [p["E11"][X[:, 3].long()], p["E21"][X[:, 1].long()], X[:, [0, 2]]], dim=1
                    ),
                    p,
                    2,
                )
            ),
            p,
            3,
        ),
    ),
    "periodic": (
        [PeriodicEmbedding(5, scale=0.7), Dense(6, "tanh"), Dense(3)],
        lambda X, p, _: dense(torch.tanh(dense(_periodic(X, p["c1"]), p, 2)), p, 3),
    ),
    "piecewise": (
        [PiecewiseLinearEmbedding(BOUNDARIES, columns=[0, 1]), Dense(6, "tanh"), Dense(3)],
        lambda X, p, _: dense(torch.tanh(dense(piecewise(X), p, 2)), p, 3),
    ),
    "dense, activation, last": (
        [Dense(6), Activation("elu"), Dense(3), Activation("tanh")],
        lambda X, p, _: torch.tanh(dense(F.elu(dense(X, p, 1)), p, 2)),
    ),
    "norm last": (
        [Dense(3, "relu"), LayerNormalization()],
        lambda X, p, _: F.layer_norm(F.relu(dense(X, p, 1)), (3,), p["gamma2"], p["beta2"], 1e-3),
    ),
}


def _residual(X: Any, p: dict[str, Any]) -> Any:
    A = dense(X, p, 1)
    inner = F.layer_norm(A, (6,), p["gamma2"], p["beta2"], 1e-3)
    return dense(A + dense(F.silu(dense(inner, p, 3)), p, 4), p, 5)


def _periodic(X: Any, c: Any) -> Any:
    angle = 2 * np.pi * c * X[:, :, None]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=2).reshape(len(X), -1)


def drawn(name: str) -> tuple[Sequential, Any, Any]:
    """A model with random tensors, moving averages too, and samples."""
    layers, _ = NETS[name]
    rng = np.random.default_rng(3)
    model = Sequential(
        [layer.unplaced() for layer in layers], input_size=4, dtype="float64", seed=1
    )
    for key, view in model._named_parameters().items():
        view[...] = rng.normal(size=view.shape)
        if key.startswith("moving_variance"):
            view[...] = np.abs(view) + 0.5
    X, y = rng.normal(size=(23, 4)), rng.normal(size=(23, 3))
    if name == "columns":
        X[:, 3], X[:, 1] = rng.integers(0, 5, 23), rng.integers(0, 2, 23)
    model.compile("sgd", "mse")
    return model, X, y


@pytest.mark.parametrize("name", NETS)
def test_outputs_loss_and_gradients_are_pytorchs(name: str) -> None:
    model, X, y = drawn(name)
    _, function = NETS[name]
    p = {key: torch.tensor(view) for key, view in model._named_parameters().items()}
    np.testing.assert_allclose(
        model.predict(X), function(torch.tensor(X), p, False), rtol=TOLERANCE, atol=TOLERANCE
    )
    given = torch.tensor(X, requires_grad=True)
    for one in p.values():
        one.requires_grad_()
    loss = F.mse_loss(function(given, p, True), torch.tensor(y))
    loss.backward()
    value, gradients, dX = model.loss_and_gradients(X, y, inputs=True)
    assert value == pytest.approx(loss.item(), rel=TOLERANCE)
    found = [one for layer in gradients for one in layer if one is not None]
    wanted = [p[key].grad for key in p if not key.startswith("moving_")]
    assert len(found) == len(wanted)
    for one, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, right, rtol=TOLERANCE, atol=TOLERANCE)
    right = np.zeros_like(X) if given.grad is None else given.grad.numpy().copy()
    if name == "columns":  # PyTorch knows no derivative by a category
        right[:, [3, 1]] = 0.0
    np.testing.assert_allclose(dX, right, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", NETS)
def test_the_hessian_times_a_vector_is_pytorchs(name: str) -> None:
    model, X, y = drawn(name)
    _, function = NETS[name]
    p = {key: torch.tensor(view) for key, view in model._named_parameters().items()}
    trained = [one.requires_grad_() for key, one in p.items() if not key.startswith("moving_")]
    loss = F.mse_loss(function(torch.tensor(X), p, True), torch.tensor(y))
    gradients = torch.autograd.grad(loss, trained, create_graph=True)
    rng = np.random.default_rng(5)
    v = [
        tuple(None if one is None else rng.normal(size=one.shape) for one in of)
        for of in model.loss_and_gradients(X, y)[1]
    ]
    flat = [torch.tensor(one) for of in v for one in of if one is not None]
    inner = sum((g * one).sum() for g, one in zip(gradients, flat, strict=True))
    wanted = torch.autograd.grad(inner, trained, materialize_grads=True)
    found = [one for of in model.hvp(X, y, v) for one in of if one is not None]
    largest = max(float(one.abs().max()) for one in wanted)
    for one, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, right, rtol=0, atol=1e-8 * largest)


def test_moving_averages_are_pytorchs_but_for_the_variances_divisor() -> None:
    model = Sequential(
        [BatchNormalization(momentum=0.9, epsilon=1e-5), Dense(2)], input_size=3, dtype="float64"
    )
    model.compile("sgd", "mse")
    norm = torch.nn.BatchNorm1d(3, eps=1e-5, momentum=0.1, dtype=torch.float64)
    rng = np.random.default_rng(0)
    m = 40
    variance = np.ones(3)
    for _ in range(4):
        X = rng.normal(size=(m, 3)) * 3 + 1
        norm(torch.tensor(X))
        model.train_on_batch(X, np.zeros((m, 2)))
        variance = 0.9 * variance + 0.1 * X.var(axis=0)
    layer = model.layers[0]
    assert isinstance(layer, BatchNormalization)
    np.testing.assert_allclose(layer.moving_mean, norm.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-12)


def test_fifty_steps_of_training_are_pytorchs() -> None:
    _, function = NETS["batch of X, twice"]
    model, X, y = drawn("batch of X, twice")
    model.compile("adam", "mse")
    p = {key: torch.tensor(view.copy()) for key, view in model._named_parameters().items()}
    trained = [one.requires_grad_() for key, one in p.items() if not key.startswith("moving_")]
    optimizer = torch.optim.Adam(trained, 1e-3, eps=model.optimizer.epsilon)  # type: ignore[attr-defined]
    for _ in range(50):
        optimizer.zero_grad()
        F.mse_loss(function(torch.tensor(X), p, True), torch.tensor(y)).backward()
        optimizer.step()
        model.train_on_batch(X, y)
    for key, view in model._named_parameters().items():
        if not key.startswith("moving_"):
            np.testing.assert_allclose(view, p[key].detach(), rtol=1e-8, atol=1e-9)
