"""Training steps against PyTorch's autograd and torch.optim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastdnn.activations import ACTIVATIONS
from fastdnn.losses import LOSSES
from fastdnn.optimizers import OPTIMIZERS
from tests.cases import OPTIMIZER_SETTINGS, Case, draw, name_of, tensors

torch = pytest.importorskip(
    "torch", reason="the comparison with PyTorch needs it: pip install torch==2.13.0"
)
F = torch.nn.functional

LEARNING_RATE = 0.1
WEIGHTS = [0.5, 2.0, 0.25, 1.0, 3.0]  # of the samples
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}

TORCH_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda Z: Z,
    "linear": lambda Z: Z,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "tanh": torch.tanh,
    "leaky_relu": lambda Z: F.leaky_relu(Z, 0.01),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "exponential": torch.exp,
    "softmax": lambda Z: F.softmax(Z, dim=1),
}


def clipped(P: Any) -> Any:
    return P.clamp(1e-7, 1 - 1e-7)


def torch_binary(Z: Any, A: Any, y: Any, output: str) -> Any:
    if output == "sigmoid":
        return F.binary_cross_entropy_with_logits(Z, y, reduction="none").mean(dim=1)
    return F.binary_cross_entropy(clipped(A), y, reduction="none").mean(dim=1)


def torch_categorical(Z: Any, A: Any, y: Any, output: str) -> Any:
    """Class numbers or one-hot rows: PyTorch's cross-entropy takes both."""
    if output == "softmax":
        return F.cross_entropy(Z, y, reduction="none")
    log_P = clipped(A / A.sum(dim=1, keepdim=True)).log()
    return F.nll_loss(log_P, y if y.ndim == 1 else y.argmax(dim=1), reduction="none")


def torch_poisson(Z: Any, A: Any, y: Any, output: str) -> Any:
    fused = output == "exponential"
    given = Z if fused else A
    return F.poisson_nll_loss(given, y, log_input=fused, eps=1e-7, reduction="none").mean(dim=1)


# Focal losses, log cosh and the pinball loss are not in PyTorch: Keras's formulas by its functions
def torch_binary_focal(Z: Any, A: Any, y: Any, output: str) -> Any:
    if output == "sigmoid":
        losses = F.binary_cross_entropy_with_logits(Z, y, reduction="none")
    else:
        losses = F.binary_cross_entropy(clipped(A), y, reduction="none")
    p_t = y * A + (1 - y) * (1 - A)
    return ((1 - p_t) ** 2 * losses).mean(dim=1)


def torch_categorical_focal(Z: Any, A: Any, y: Any, output: str) -> Any:
    if output == "softmax":
        log_P = F.log_softmax(Z, dim=1)
    else:
        log_P = clipped(A / A.sum(dim=1, keepdim=True)).log()
    return -(0.25 * y * (1 - log_P.exp()) ** 2 * log_P).sum(dim=1)


def torch_log_cosh(Z: Any, A: Any, y: Any, output: str) -> Any:
    return (A - y + F.softplus(-2 * (A - y)) - np.log(2)).mean(dim=1)


def torch_quantile(Z: Any, A: Any, y: Any, output: str) -> Any:
    return torch.maximum(0.5 * (y - A), -0.5 * (y - A)).mean(dim=1)


# name: the loss of each sample from Z, A, y and the output activation's name
TORCH_LOSSES: dict[str, Callable[[Any, Any, Any, str], Any]] = {
    "binary_crossentropy": torch_binary,
    "categorical_crossentropy": torch_categorical,
    "sparse_categorical_crossentropy": torch_categorical,
    "mean_squared_error": lambda Z, A, y, _: F.mse_loss(A, y, reduction="none").mean(dim=1),
    "mean_absolute_error": lambda Z, A, y, _: F.l1_loss(A, y, reduction="none").mean(dim=1),
    "poisson": torch_poisson,
    "binary_focal_crossentropy": torch_binary_focal,
    "categorical_focal_crossentropy": torch_categorical_focal,
    "log_cosh": torch_log_cosh,
    "quantile": torch_quantile,
    "huber": lambda Z, A, y, _: F.huber_loss(A, y, reduction="none").mean(dim=1),
}
TORCH_LOSSES["mse"] = TORCH_LOSSES["mean_squared_error"]
TORCH_LOSSES["mae"] = TORCH_LOSSES["mean_absolute_error"]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Have NAdam keep its product of mu in float64, which it makes of this default's kind."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# Lion it does not have.
TORCH_OPTIMIZERS = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "nadam": "NAdam",
    "adagrad": "Adagrad",
}


def torch_optimizer(name: str, parameters: list[Any], settings: dict[str, Any]) -> Any:
    """The optimizer of torch.optim with fastdnn's defaults."""
    names = {"rho": "alpha", "epsilon": "eps"}
    given = {names.get(key, key): value for key, value in settings.items()}
    kind = TORCH_OPTIMIZERS[name]
    if hasattr(OPTIMIZERS[name], "beta_1"):
        given["betas"] = given.pop("beta_1", 0.9), given.pop("beta_2", 0.999)
    adagrad = {"initial_accumulator_value": 0.1, "eps": 1e-8}
    defaults = {"AdamW": {"weight_decay": 0.004}, "RMSprop": {"alpha": 0.9}, "Adagrad": adagrad}
    given = {**defaults.get(kind, {}), **given}
    return getattr(torch.optim, kind)(parameters, lr=LEARNING_RATE, **given)


def torch_losses(case: Case, parameters: list[Any], X: Any, y: Any) -> Any:
    """The loss of each sample."""
    A = X
    for W, b, activation in zip(parameters[::2], parameters[1::2], case.activations, strict=True):
        Z = F.linear(A, W, b)
        A = TORCH_ACTIVATIONS[activation](Z)
    return TORCH_LOSSES[case.loss](Z, A, y, case.activations[-1])


def torch_parameters(case: Case, dtype: str) -> list[Any]:
    """W1, b1, W2, …"""
    return [
        torch.tensor(P, dtype=getattr(torch, dtype), requires_grad=True)
        for W, b in case.parameters
        for P in (W, b[:, 0])
    ]


def torch_targets(case: Case, dtype: str) -> Any:
    """Class numbers or rows."""
    kind = None if case.y.ndim == 1 else getattr(torch, dtype)
    return torch.tensor(case.y, dtype=kind)


def torch_steps(
    case: Case, name: str, settings: dict[str, Any], dtype: str, n_steps: int
) -> list[np.ndarray[Any, Any]]:
    """The network's W and b after some steps of PyTorch."""
    kind = getattr(torch, dtype)
    parameters = torch_parameters(case, dtype)
    optimizer = torch_optimizer(name, parameters, settings)
    X, y = torch.tensor(case.X.T, dtype=kind), torch_targets(case, dtype)
    for _ in range(n_steps):
        losses = torch_losses(case, parameters, X, y)
        optimizer.zero_grad()
        (torch.tensor(WEIGHTS, dtype=kind) * losses).mean().backward()
        optimizer.step()
    return [P.detach().numpy() for P in parameters]


def check(case: Case, name: str, settings: dict[str, Any], dtype: str, n_steps: int = 1) -> None:
    model = case.model(OPTIMIZERS[name](learning_rate=LEARNING_RATE, **settings), dtype=dtype)
    for _ in range(n_steps):
        model.train_on_batch(case.X.T.astype(dtype), case.y, sample_weight=WEIGHTS)
    expected = torch_steps(case, name, settings, dtype, n_steps)
    for found, wanted in zip(tensors(model), expected, strict=True):
        assert found.dtype == wanted.dtype == dtype
        assert np.linalg.norm(found - wanted) < TOLERANCE[dtype] * np.linalg.norm(wanted)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_one_step(name: str, activation: str, loss: str, dtype: str) -> None:
    check(draw((activation, activation), loss), name, {}, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("name", "settings"),
    [one for one in OPTIMIZER_SETTINGS if one[0] in TORCH_OPTIMIZERS],
    ids=name_of,
)
@pytest.mark.parametrize(
    ("activations", "loss"),
    [
        (("tanh", "gelu", "softmax"), "sparse_categorical_crossentropy"),
        (("silu", "elu", "sigmoid"), "binary_crossentropy"),
        (("softplus", "tanh", "identity"), "mean_squared_error"),
    ],
    ids=["classes", "binary", "regression"],
)
def test_several_steps(
    activations: tuple[str, ...], loss: str, name: str, settings: dict[str, Any], dtype: str
) -> None:
    check(draw(activations, loss), name, settings, dtype, n_steps=6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_by_X(activation: str, loss: str, dtype: str) -> None:
    case = draw((activation, activation), loss)
    model = case.model(dtype=dtype)
    _, _, found = model.loss_and_gradients(case.X.T.astype(dtype), case.y, WEIGHTS, inputs=True)
    X = torch.tensor(case.X.T, dtype=getattr(torch, dtype), requires_grad=True)
    losses = torch_losses(case, torch_parameters(case, dtype), X, torch_targets(case, dtype))
    (torch.tensor(WEIGHTS, dtype=X.dtype) * losses).mean().backward()
    wanted = X.grad.numpy()
    assert found.dtype == wanted.dtype == dtype
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) < TOLERANCE[dtype] * np.linalg.norm(wanted)
