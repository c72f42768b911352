"""The specification of fastdnn: the notes' equations in plain float64 NumPy.

Samples are columns: X is (n_0, m), W is (n_l, n_{l-1}), b is (n_l, 1), Z and A are (n_l, m).

    Z = W A_prev + b        A = g(Z)
    dZ = dA * g'(Z)         dW = dZ A_prev^T / m        db = sum(dZ) / m        dA_prev = W^T dZ

As in the notes dA and dZ belong to one sample each: the 1 / m stands in dW and db.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import erf, expit, logsumexp

Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[Array, Array]
CLIP = 1e-7  # Keras's epsilon: probabilities are kept in [CLIP, 1 - CLIP]


# ------------------------------------------------------------------------------------ activations
def softmax(Z: Array) -> Array:
    """exp(Z_j) / sum_k exp(Z_k), over the units of a sample."""
    E = np.exp(Z - Z.max(axis=0))
    return E / E.sum(axis=0)


def gelu_prime(Z: Array) -> Array:
    """Phi(Z) + Z phi(Z), with the standard normal's distribution Phi and density phi."""
    Phi = (1 + erf(Z / np.sqrt(2))) / 2
    phi = np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi)
    return Phi + Z * phi


# name: (g(Z), dZ as a function of dA and Z)
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "identity": (lambda Z: Z, lambda dA, Z: dA),
    "sigmoid": (expit, lambda dA, Z: dA * expit(Z) * expit(-Z)),
    "relu": (lambda Z: np.maximum(Z, 0), lambda dA, Z: dA * (Z > 0)),
    "tanh": (np.tanh, lambda dA, Z: dA * (1 - np.tanh(Z) ** 2)),
    "leaky_relu": (
        lambda Z: np.where(Z > 0, Z, 0.01 * Z),
        lambda dA, Z: dA * np.where(Z > 0, 1, 0.01),
    ),
    "elu": (
        lambda Z: np.where(Z > 0, Z, np.expm1(np.minimum(Z, 0))),
        lambda dA, Z: dA * np.where(Z > 0, 1, np.exp(np.minimum(Z, 0))),
    ),
    "gelu": (
        lambda Z: Z * (1 + erf(Z / np.sqrt(2))) / 2,
        lambda dA, Z: dA * gelu_prime(Z),
    ),
    "silu": (
        lambda Z: Z * expit(Z),
        lambda dA, Z: dA * (expit(Z) + Z * expit(Z) * expit(-Z)),
    ),
    "softplus": (lambda Z: np.logaddexp(0, Z), lambda dA, Z: dA * expit(Z)),
    "exponential": (np.exp, lambda dA, Z: dA * np.exp(Z)),
    # dZ_j = sum_k dA_k dA_k/dZ_j with dA_k/dZ_j = A_k (delta_kj - A_j)
    "softmax": (softmax, lambda dA, Z: softmax(Z) * (dA - (dA * softmax(Z)).sum(axis=0))),
}
ACTIVATIONS["linear"] = ACTIVATIONS["identity"]


# ----------------------------------------------------------------------------------------- losses
def binary_crossentropy(A: Array, Y: Array) -> Pair:
    """-mean_j(Y log P + (1 - Y) log(1 - P)), P = A kept in [CLIP, 1 - CLIP]."""
    P = np.clip(A, CLIP, 1 - CLIP)
    loss = -np.mean(Y * np.log(P) + (1 - Y) * np.log(1 - P), axis=0)
    return loss, (P - Y) / (P * (1 - P)) * (P == A) / len(A)


def categorical_crossentropy(A: Array, Y: Array) -> Pair:
    """-sum_j Y log P, P = A / sum_j A kept in [CLIP, 1 - CLIP]."""
    total = A.sum(axis=0)
    Q = A / total
    P = np.clip(Q, CLIP, 1 - CLIP)
    dQ = -Y / P * (P == Q)
    return -np.sum(Y * np.log(P), axis=0), (dQ - (dQ * Q).sum(axis=0)) / total


def mean_squared_error(A: Array, Y: Array) -> Pair:
    """mean_j((A - Y)^2)."""
    return np.mean((A - Y) ** 2, axis=0), 2 * (A - Y) / len(A)


def mean_absolute_error(A: Array, Y: Array) -> Pair:
    """mean_j(|A - Y|)."""
    return np.mean(np.abs(A - Y), axis=0), np.sign(A - Y) / len(A)


def huber(A: Array, Y: Array, delta: float = 1.0) -> Pair:
    """mean_j(E^2 / 2 where |E| <= delta, else delta (|E| - delta / 2)), E = A - Y."""
    E = A - Y
    inner = np.abs(E) <= delta
    loss = np.mean(np.where(inner, E**2 / 2, delta * (np.abs(E) - delta / 2)), axis=0)
    return loss, np.clip(E, -delta, delta) / len(A)


def log_cosh(A: Array, Y: Array) -> Pair:
    """mean_j(log cosh(A - Y))."""
    E = A - Y
    near = np.log1p(2 * np.sinh(np.minimum(np.abs(E), 1) / 2) ** 2)  # cosh E = 1 + 2 sinh(E / 2)^2
    values = np.where(np.abs(E) < 1, near, np.logaddexp(E, -E) - np.log(2))
    return np.mean(values, axis=0), np.tanh(E) / len(A)


def quantile(A: Array, Y: Array, q: Any = 0.5) -> Pair:
    """mean_j(max(q (Y - A), (q - 1) (Y - A))), q a number or one for each output."""
    E, q = Y - A, np.broadcast_to(np.reshape(q, (-1, 1)), A.shape)
    dA = np.where(E > 0, -q, np.where(E < 0, 1 - q, 0))
    return np.mean(np.maximum(q * E, (q - 1) * E), axis=0), dA / len(A)


def poisson(A: Array, Y: Array) -> Pair:
    """mean_j(A - Y log(A + CLIP))."""
    return np.mean(A - Y * np.log(A + CLIP), axis=0), (1 - Y / (A + CLIP)) / len(A)


def binary_focal(
    A: Array, Y: Array, gamma: float = 2.0, alpha: float = 0.25, apply_class_balancing: bool = False
) -> Pair:
    """mean_j(w (1 - p)^gamma B), p = Y A + (1 - Y) (1 - A), B the binary cross-entropy."""
    P = np.clip(A, CLIP, 1 - CLIP)
    B = -(Y * np.log(P) + (1 - Y) * np.log(1 - P))
    dB = (P - Y) / (P * (1 - P)) * (P == A)
    U = Y * (1 - A) + (1 - Y) * A  # 1 - p
    w = Y * alpha + (1 - Y) * (1 - alpha) if apply_class_balancing else 1.0
    dA = w * (gamma * U ** (gamma - 1) * (1 - 2 * Y) * B + U**gamma * dB)
    return np.mean(w * U**gamma * B, axis=0), dA / len(A)


def categorical_focal(A: Array, Y: Array, gamma: float = 2.0, alpha: float = 0.25) -> Pair:
    """-alpha sum_j Y (1 - P)^gamma log P, P = A / sum_j A kept in [CLIP, 1 - CLIP]."""
    total = A.sum(axis=0)
    Q = A / total
    P = np.clip(Q, CLIP, 1 - CLIP)
    dQ = alpha * Y * (gamma * (1 - P) ** (gamma - 1) * np.log(P) - (1 - P) ** gamma / P) * (P == Q)
    losses = -alpha * np.sum(Y * (1 - P) ** gamma * np.log(P), axis=0)
    return losses, (dQ - (dQ * Q).sum(axis=0)) / total


def sparse_categorical_crossentropy(A: Array, Y: Array, label_smoothing: float = 0.0) -> Pair:
    """The categorical cross-entropy, Y = one_hot(labels)."""
    return categorical_crossentropy(A, smooth(Y, label_smoothing, len(Y)))


def smooth(Y: Array, s: float, n: int) -> Array:
    """Y (1 - s) + s / n, of n possible answers."""
    return Y * (1 - s) + s / n


# name: the loss of each sample (m,) and its dA, as a function of A and Y
LOSSES: dict[str, Callable[..., Pair]] = {
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_focal_crossentropy": binary_focal,
    "categorical_focal_crossentropy": categorical_focal,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
    "huber": huber,
    "log_cosh": log_cosh,
    "quantile": quantile,
    "poisson": poisson,
}


def one_hot(labels: np.ndarray[Any, Any], n: int) -> Array:
    """Y (n, m): row j of sample i is 1 where labels[i] = j."""
    return np.eye(n)[:, labels]


def sigmoid_binary_crossentropy(Z: Array, Y: Array) -> Pair:
    """Loss and dZ of sigmoid with binary cross-entropy, from Z: nothing is clipped."""
    return np.mean(np.logaddexp(0, Z) - Y * Z, axis=0), (expit(Z) - Y) / len(Z)


def softmax_categorical_crossentropy(Z: Array, Y: Array) -> Pair:
    """Loss and dZ of softmax with categorical cross-entropy, from Z: nothing is clipped."""
    total = Y.sum(axis=0)
    return total * logsumexp(Z, axis=0) - np.sum(Y * Z, axis=0), total * softmax(Z) - Y


def softmax_sparse_crossentropy(Z: Array, Y: Array, label_smoothing: float = 0.0) -> Pair:
    """The same, Y = one_hot(labels)."""
    return softmax_categorical_crossentropy(Z, smooth(Y, label_smoothing, len(Y)))


def sigmoid_binary_focal(
    Z: Array, Y: Array, gamma: float = 2.0, alpha: float = 0.25, apply_class_balancing: bool = False
) -> Pair:
    """Loss and dZ of sigmoid with binary focal cross-entropy, from Z: nothing is clipped."""
    B, A, rest = np.logaddexp(0, Z) - Y * Z, expit(Z), expit(-Z)
    U = Y * rest + (1 - Y) * A
    w = Y * alpha + (1 - Y) * (1 - alpha) if apply_class_balancing else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        # where U is 0 so is B: what is left of U^(gamma - 1) B is U^gamma, 0 as well
        of_factor = np.where(U > 0, gamma * U ** (gamma - 1) * (1 - 2 * Y) * A * rest * B, 0)
    dZ = w * (of_factor + U**gamma * (A * (1 - Y) - rest * Y))
    return np.mean(w * U**gamma * B, axis=0), dZ / len(Z)


def softmax_categorical_focal(Z: Array, Y: Array, gamma: float = 2.0, alpha: float = 0.25) -> Pair:
    """Loss and dZ of softmax with categorical focal cross-entropy, from Z: nothing is clipped."""
    log_A = Z - Z.max(axis=0) - logsumexp(Z - Z.max(axis=0), axis=0)
    A, U = np.exp(log_A), -np.expm1(log_A)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_factor = np.where(U > 0, gamma * A * U ** (gamma - 1) * log_A, 0)
    H = alpha * Y * (of_factor - U**gamma)  # A dl/dA
    return -alpha * np.sum(Y * U**gamma * log_A, axis=0), H - A * H.sum(axis=0)


def exponential_poisson(Z: Array, Y: Array) -> Pair:
    """Loss and dZ of exp with Poisson's loss, from Z: nothing is added to A."""
    return np.mean(np.exp(Z) - Y * Z, axis=0), (np.exp(Z) - Y) / len(Z)


FUSED: dict[tuple[str, str], Callable[..., Pair]] = {
    ("sigmoid", "binary_crossentropy"): sigmoid_binary_crossentropy,
    ("softmax", "categorical_crossentropy"): softmax_categorical_crossentropy,
    ("softmax", "sparse_categorical_crossentropy"): softmax_sparse_crossentropy,
    ("sigmoid", "binary_focal_crossentropy"): sigmoid_binary_focal,
    ("softmax", "categorical_focal_crossentropy"): softmax_categorical_focal,
    ("exponential", "poisson"): exponential_poisson,
}


def loss_and_dZ(Z: Array, Y: Array, activation: str, loss: str, **settings: Any) -> Pair:
    """The loss of each sample, (m,), and dZ of the last layer, (n_L, m)."""
    if (activation, loss) in FUSED:
        return FUSED[activation, loss](Z, Y, **settings)
    g, backward = ACTIVATIONS[activation]
    losses, dA = LOSSES[loss](g(Z), Y, **settings)
    return losses, backward(dA, Z)


# ---------------------------------------------------------------------------------------- network
def linear_forward(A_prev: Array, W: Array, b: Array) -> Array:
    """Z = W A_prev + b."""
    return W @ A_prev + b


def bias_gradient(dZ: Array) -> Array:
    """db = sum over the samples of dZ / m, (n_l, 1)."""
    return dZ.sum(axis=1, keepdims=True) / dZ.shape[1]


def linear_backward(dZ: Array, A_prev: Array, W: Array) -> tuple[Array, Array, Array]:
    """dA_prev = W^T dZ, dW = dZ A_prev^T / m, db = sum(dZ) / m."""
    return W.T @ dZ, dZ @ A_prev.T / dZ.shape[1], bias_gradient(dZ)


def dropout(A: Array, mask: np.ndarray[Any, Any], rate: float) -> Array:
    """What is kept, divided by the probability to be kept; dA goes back by the same function."""
    return A * mask / (1 - rate)


def minibatch(X: Array, indices: np.ndarray[Any, Any]) -> Array:
    """The samples `indices` of X, in their order."""
    return X[:, indices]


def forward(
    X: Array, parameters: Sequence[Pair], activations: Sequence[str]
) -> tuple[list[Array], list[Array]]:
    """A^[0] = X, …, A^[L] and Z^[1], …, Z^[L]."""
    A, Z = [X], []
    for (W, b), name in zip(parameters, activations, strict=True):
        Z.append(linear_forward(A[-1], W, b))
        A.append(ACTIVATIONS[name][0](Z[-1]))
    return A, Z


def penalty(W: Array, l1: float, l2: float) -> tuple[float, Array]:
    """l1 sum|W| + l2 sum W^2 and its gradient."""
    return float(l1 * np.abs(W).sum() + l2 * (W**2).sum()), l1 * np.sign(W) + 2 * l2 * W


def loss_and_gradients(
    X: Array,
    Y: Array,
    parameters: Sequence[Pair],
    activations: Sequence[str],
    loss: str,
    *,
    weights: Array | None = None,
    regularizers: Sequence[tuple[float, float]] | None = None,
    **settings: float,
) -> tuple[float, list[Pair]]:
    """sum_i weights_i loss_i / m + penalties, and (dW, db) of every layer."""
    m = X.shape[1]
    w = np.ones(m) if weights is None else weights
    A, Z = forward(X, parameters, activations)
    losses, dZ = loss_and_dZ(Z[-1], Y, activations[-1], loss, **settings)
    total, dZ = float(np.sum(w * losses) / m), w * dZ
    gradients: list[Pair] = []
    for layer in reversed(range(len(parameters))):
        W = parameters[layer][0]
        dA_prev, dW, db = linear_backward(dZ, A[layer], W)
        if regularizers is not None:
            value, gradient = penalty(W, *regularizers[layer])
            total, dW = total + value, dW + gradient
        gradients.insert(0, (dW, db))
        if layer > 0:
            dZ = ACTIVATIONS[activations[layer - 1]][1](dA_prev, Z[layer - 1])
    return total, gradients


# ------------------------------------------------------------------------------------- optimizers
# Each takes a parameter, its gradient, its state (None before the first step) and the number of
# the step, 1, 2, …; it returns the new parameter and the new state.
def sgd(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Any]:
    """v = momentum v - lr g; theta += v, or with Nesterov theta += momentum v - lr g."""
    v = momentum * (0 if state is None else state) - learning_rate * g
    return theta + (momentum * v - learning_rate * g if nesterov else v), v


def adam(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Array, Any]:
    """theta -= lr mhat / (sqrt(vhat) + epsilon) (Kingma and Ba 2015, algorithm 1)."""
    m, v = (0, 0) if state is None else state
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    m_hat, v_hat = m / (1 - beta_1**t), v / (1 - beta_2**t)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), (m, v)


def adamw(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    weight_decay: float = 0.004,
    **settings: float,
) -> tuple[Array, Any]:
    """theta *= 1 - lr weight_decay, then Adam (Loshchilov and Hutter 2019, algorithm 2)."""
    decayed = theta * (1 - learning_rate * weight_decay)
    return adam(decayed, g, state, t, learning_rate=learning_rate, **settings)


def rmsprop(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    rho: float = 0.9,
    epsilon: float = 1e-8,
) -> tuple[Array, Any]:
    """v = rho v + (1 - rho) g^2; theta -= lr g / (sqrt(v) + epsilon)."""
    v = rho * (0 if state is None else state) + (1 - rho) * g**2
    return theta - learning_rate * g / (np.sqrt(v) + epsilon), v


def nadam(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 0.004,
) -> tuple[Array, Any]:
    """Adam with Nesterov's momentum (Dozat 2016)."""
    mu = [beta_1 * (1 - 0.96 ** (i * momentum_decay) / 2) for i in range(1, t + 2)]
    m, v = (0, 0) if state is None else state
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    m_bar = mu[-1] * m / (1 - np.prod(mu)) + (1 - mu[-2]) * g / (1 - np.prod(mu[:-1]))
    return theta - learning_rate * m_bar / (np.sqrt(v / (1 - beta_2**t)) + epsilon), (m, v)


def lion(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
) -> tuple[Array, Any]:
    """theta *= 1 - lr wd; theta -= lr sign(b1 m + (1 - b1) g) (Chen et al. 2023)."""
    m = 0 if state is None else state
    step = learning_rate * np.sign(beta_1 * m + (1 - beta_1) * g)
    return theta * (1 - learning_rate * weight_decay) - step, beta_2 * m + (1 - beta_2) * g


def adagrad(
    theta: Array,
    g: Array,
    state: Any,
    t: int,
    *,
    learning_rate: float = 0.001,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-8,
) -> tuple[Array, Any]:
    """s += g^2; theta -= lr g / (sqrt(s) + epsilon), s beginning with an initial value."""
    s = (0 if state is None else state) + g**2
    return theta - learning_rate * g / (np.sqrt(initial_accumulator_value + s) + epsilon), s


OPTIMIZERS: dict[str, Callable[..., tuple[Array, Any]]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "nadam": nadam,
    "lion": lion,
    "adagrad": adagrad,
}


def clip_by_norm(
    gradients: Sequence[Array], clipnorm: float | None, global_clipnorm: float | None
) -> list[Array]:
    """g *= min(1, c / ||g||): each by its own norm, or all by their common norm."""
    if clipnorm is not None:
        return [g * min(1.0, clipnorm / max(np.linalg.norm(g), 1e-300)) for g in gradients]
    if global_clipnorm is not None:
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        return [g * min(1.0, global_clipnorm / max(norm, 1e-300)) for g in gradients]
    return list(gradients)


def step(
    name: str,
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    states: Sequence[Any] | None = None,
    t: int = 1,
    *,
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
    **settings: Any,
) -> tuple[list[Array], list[Any]]:
    """One step of the optimizer `name` for all parameters: clip, then update each."""
    clipped = clip_by_norm(gradients, clipnorm, global_clipnorm)
    results = [
        OPTIMIZERS[name](theta, g, state, t, **settings)
        for theta, g, state in zip(
            parameters, clipped, states or [None] * len(clipped), strict=True
        )
    ]
    return [theta for theta, _ in results], [state for _, state in results]
