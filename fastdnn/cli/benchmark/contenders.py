"""The networks that are timed, one builder for each library; as a script, one of them in a process.

    python contenders.py NAME '{"case": "digits", "optimizer": "adam", "threads": 2, …}'

The process builds the library's network, trains one epoch to warm up (so nothing compiles later),
and prints a line of JSON; then it answers each line on its input with the seconds that an epoch
takes, the mean of as many as fill a quarter of a second.

Every library computes the same: samples in the order they lie in, the same start, softmax or one
sigmoid with the cross-entropy, gradient descent or Adam. A line in `CASES` adds a case, one in
`CONTENDERS` a library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

Epoch = Callable[[], Any]
LEARNING_RATE = {"sgd": 0.01, "adam": 0.001}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
SHORTEST = 0.25  # seconds: a shorter time is mostly the machine's noise


class Case(NamedTuple):
    """A network and its data."""

    sizes: tuple[int, ...]  # n_0, …, n_L
    batch: int
    samples: int
    activation: str  # of the hidden layers


CASES = {
    "figure": Case((3, 5, 5, 3, 1), 64, 64_000, "relu"),
    "tabular": Case((30, 64, 32, 1), 64, 25_600, "relu"),
    "digits": Case((64, 100, 10), 200, 12_800, "relu"),
    "mnist_s": Case((784, 128, 10), 128, 12_800, "relu"),
    "mnist_m": Case((784, 512, 512, 10), 128, 12_800, "relu"),
    "deep": Case((64,) * 17 + (10,), 256, 12_800, "tanh"),
    "wide": Case((100, 1024, 1024, 1024, 1), 1024, 8_192, "relu"),
    "large": Case((2048, 2048, 2048, 2048, 10), 1024, 4_096, "relu"),
}


@dataclass(frozen=True)
class Work:
    """What a contender trains, and with what."""

    case: str
    optimizer: str = "adam"
    dtype: str = "float32"
    threads: int = 2
    samples: int | None = None  # fewer than the case has

    @property
    def net(self) -> Case:
        """Return the case."""
        case = CASES[self.case]
        return case if self.samples is None else case._replace(samples=self.samples)

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.net.samples // self.net.batch)


class Network(NamedTuple):
    """A library's network."""

    epoch: Epoch
    weights: Callable[[], list[Any]]  # W (n_prev, n) and b of each layer, in turn
    version: str


# --------------------------------------------------------------------------------- what all share
def data(work: Work) -> tuple[Any, Any]:
    """X (m, n_0) and labels (m,)."""
    import numpy as np

    rng, net = np.random.default_rng(0), work.net
    X = rng.standard_normal((net.samples, net.sizes[0]), dtype=np.dtype(work.dtype))
    return X, rng.integers(0, max(net.sizes[-1], 2), net.samples)


def start(work: Work) -> list[tuple[Any, Any]]:
    """W (n_prev, n) ~ N(0, 2 / n_prev) and b = 0 of each layer."""
    import numpy as np

    rng, sizes = np.random.default_rng(1), work.net.sizes
    dtype = np.dtype(work.dtype)
    return [
        ((rng.standard_normal((p, n)) * (2 / p) ** 0.5).astype(dtype), np.zeros(n, dtype))
        for p, n in pairwise(sizes)
    ]


# -------------------------------------------------------------------------------------- libraries
def fastdnn_model(net: Case, dtype: str = "float32") -> Any:
    """A case's network by fastdnn, with fresh weights."""
    import fastdnn

    hidden = [fastdnn.Dense(n, net.activation) for n in net.sizes[1:-1]]
    output = fastdnn.Dense(net.sizes[-1], "sigmoid" if net.sizes[-1] == 1 else "softmax")
    return fastdnn.Sequential([*hidden, output], input_size=net.sizes[0], dtype=dtype, seed=0)


def fastdnn_loss(net: Case) -> str:
    """Return the cross-entropy that fits a case's output."""
    return "binary_crossentropy" if net.sizes[-1] == 1 else "sparse_categorical_crossentropy"


def _fastdnn(work: Work) -> Network:
    """One `fit` an epoch."""
    import fastdnn

    fastdnn.set_num_threads(work.threads)
    net, model = work.net, fastdnn_model(work.net, work.dtype)
    kind = {"sgd": fastdnn.SGD, "adam": fastdnn.Adam}[work.optimizer]
    model.compile(kind(LEARNING_RATE[work.optimizer]), fastdnn_loss(net))
    model.set_weights([x for pair in start(work) for x in pair])
    X, y = data(work)

    def epoch() -> None:
        model.fit(X, y, epochs=1, batch_size=net.batch, shuffle=False, verbose=0)

    return Network(epoch, model.get_weights, fastdnn.__version__)


def _numpy(work: Work) -> Network:
    """Run the textbook's equations, samples in rows, products by BLAS."""
    import numpy as np

    net, (X, labels) = work.net, data(work)
    W, b = (list(x) for x in zip(*start(work), strict=True))
    classes, L = net.sizes[-1], len(W)
    Y = labels[:, None].astype(X.dtype) if classes == 1 else np.eye(classes, dtype=X.dtype)[labels]
    parameters = W + b
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    t = 0

    def forward(A: Any) -> list[Any]:
        values = [A]
        for l in range(L):
            Z = values[-1] @ W[l]
            Z += b[l]
            if l < L - 1:
                g = (
                    np.tanh
                    if net.activation == "tanh"
                    else lambda z, out: np.maximum(z, 0, out=out)
                )
                g(Z, out=Z)
            elif classes == 1:
                Z = 1 / (1 + np.exp(-Z))
            else:
                Z -= Z.max(axis=1, keepdims=True)
                np.exp(Z, out=Z)
                Z /= Z.sum(axis=1, keepdims=True)
            values.append(Z)
        return values

    def gradients(A: list[Any], y: Any) -> list[Any]:
        dW, db = [0] * L, [0] * L
        dZ = (A[-1] - y) / len(y)
        for l in range(L - 1, -1, -1):
            dW[l], db[l] = A[l].T @ dZ, dZ.sum(axis=0)
            if l:
                dZ = dZ @ W[l].T
                dZ *= 1 - A[l] * A[l] if net.activation == "tanh" else A[l] > 0
        return dW + db

    def descend(grads: list[Any]) -> None:
        rate = LEARNING_RATE[work.optimizer]
        for p, g, (m, v) in zip(parameters, grads, moments, strict=True):
            if work.optimizer == "sgd":
                p -= p.dtype.type(rate) * g
                continue
            m *= p.dtype.type(BETA_1)
            m += p.dtype.type(1 - BETA_1) * g
            v *= p.dtype.type(BETA_2)
            g *= g
            v += p.dtype.type(1 - BETA_2) * g
            root = np.sqrt(v)
            root /= p.dtype.type((1 - BETA_2**t) ** 0.5)
            root += p.dtype.type(EPSILON)
            np.divide(m, root, out=root)
            root *= p.dtype.type(rate / (1 - BETA_1**t))
            p -= root

    def epoch() -> None:
        nonlocal t
        for at in range(0, net.samples, net.batch):
            t += 1
            descend(gradients(forward(X[at : at + net.batch]), Y[at : at + net.batch]))

    return Network(epoch, lambda: [x for p in zip(W, b, strict=True) for x in p], np.__version__)


def _sklearn(work: Work) -> Network:
    """`MLPClassifier.partial_fit`, its own start; without momentum and penalty."""
    import numpy as np
    import sklearn
    from sklearn.neural_network import MLPClassifier

    net, (X, y) = work.net, data(work)
    classes = np.arange(max(net.sizes[-1], 2))
    model = MLPClassifier(
        net.sizes[1:-1],
        activation=net.activation,
        solver=work.optimizer,
        alpha=0,
        batch_size=net.batch,
        learning_rate_init=LEARNING_RATE[work.optimizer],
        shuffle=False,
        momentum=0,
        nesterovs_momentum=False,
        random_state=0,
    )

    def weights() -> list[Any]:
        return [x for pair in zip(model.coefs_, model.intercepts_, strict=True) for x in pair]

    return Network(lambda: model.partial_fit(X, y, classes=classes), weights, sklearn.__version__)


def _torch(work: Work, *, compiled: bool = False) -> Network:
    """A loop over minibatches with the fused optimizer."""
    import torch
    from torch import nn

    torch.set_num_threads(work.threads)
    net, (X, labels) = work.net, data(work)
    inputs, binary = torch.from_numpy(X), net.sizes[-1] == 1
    y = torch.from_numpy(labels[:, None].astype(X.dtype) if binary else labels)
    layers: list[nn.Module] = []
    for W, b in start(work):
        linear = nn.Linear(len(W), len(b), dtype=inputs.dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, nn.Tanh() if net.activation == "tanh" else nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[work.optimizer]
    optimizer = kind(model.parameters(), LEARNING_RATE[work.optimizer], fused=True)
    criterion = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()

    def loss(X: Any, y: Any) -> Any:
        return criterion(model(X), y)

    function = torch.compile(loss) if compiled else loss

    def epoch() -> None:
        for at in range(0, net.samples, net.batch):
            optimizer.zero_grad(set_to_none=True)
            function(inputs[at : at + net.batch], y[at : at + net.batch]).backward()
            optimizer.step()

    def weights() -> list[Any]:
        return [p.detach().numpy().T for p in model.parameters()]

    return Network(epoch, weights, torch.__version__)


def _jax(work: Work) -> Network:
    """Return the whole epoch as one compiled scan whose parameters are updated in place."""
    many = "true" if work.threads > 1 else "false"
    os.environ["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={many} intra_op_parallelism_threads={work.threads}"
    )
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", work.dtype == "float64")
    net, (X, labels) = work.net, data(work)
    steps = net.samples // net.batch
    xs = jnp.asarray(X[: steps * net.batch].reshape(steps, net.batch, -1))
    ys = jnp.asarray(labels[: steps * net.batch].reshape(steps, net.batch))
    g = jnp.tanh if net.activation == "tanh" else jax.nn.relu
    rate = LEARNING_RATE[work.optimizer]
    each = jax.tree_util.tree_map

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        *hidden, (W, b) = parameters
        for W_l, b_l in hidden:
            x = g(x @ W_l + b_l)
        Z = x @ W + b
        if net.sizes[-1] == 1:
            return jnp.mean(jnp.logaddexp(0, Z[:, 0]) - y * Z[:, 0])
        return -jnp.take_along_axis(jax.nn.log_softmax(Z), y[:, None], 1).mean()

    def step(state: Any, batch: Any) -> Any:
        parameters, m, v, t = state
        grads, t = jax.grad(loss)(parameters, *batch), t + 1
        if work.optimizer == "sgd":
            return (each(lambda p, d: p - rate * d, parameters, grads), m, v, t), None
        m = each(lambda m, d: BETA_1 * m + (1 - BETA_1) * d, m, grads)
        v = each(lambda v, d: BETA_2 * v + (1 - BETA_2) * d * d, v, grads)
        size, root = rate / (1 - BETA_1**t), jnp.sqrt(1 - BETA_2**t)
        new = each(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + EPSILON), parameters, m, v)
        return (new, m, v, t), None

    run = jax.jit(lambda state: jax.lax.scan(step, state, (xs, ys))[0], donate_argnums=0)
    first = [(jnp.asarray(W), jnp.asarray(b)) for W, b in start(work)]
    zeros = [each(jnp.zeros_like, first) for _ in range(2)]
    state = (first, *zeros, jnp.zeros((), xs.dtype))

    def epoch() -> None:
        nonlocal state
        state = jax.block_until_ready(run(state))

    return Network(epoch, lambda: [x for pair in state[0] for x in pair], jax.__version__)


def _torch_compiled(work: Work) -> Network:
    """Return the same with ``torch.compile``."""
    return _torch(work, compiled=True)


CONTENDERS: dict[str, Callable[[Work], Network]] = {
    "fastdnn": _fastdnn,
    "numpy": _numpy,
    "sklearn": _sklearn,
    "torch": _torch,
    "torch_compile": _torch_compiled,
    "jax": _jax,
}
INSTALL = {"sklearn": "scikit-learn", "torch_compile": "torch", "jax": "jax jaxlib"}


# ------------------------------------------------------------------------------------ the process
def say(answer: dict[str, Any]) -> None:
    """One line of JSON to whoever asks."""
    print(json.dumps(answer), flush=True)


def serve(build: Callable[[], tuple[Epoch, str]]) -> None:
    """Build, warm up, and time an epoch for each line on stdin until it ends."""
    begin = time.perf_counter()
    try:
        epoch, version = build()
        epoch()
    except Exception as error:  # whatever a library does: the others run on
        say({"error": f"{type(error).__name__}: {error}"[:500]})
        return
    say({"first": time.perf_counter() - begin, "version": version})
    for _ in sys.stdin:
        begin, count, seconds = time.perf_counter(), 0, 0.0
        while seconds < SHORTEST:
            epoch()
            count, seconds = count + 1, time.perf_counter() - begin
        say({"seconds": seconds / count})


def main() -> None:
    """Be the contender that the command line names."""
    name, work = sys.argv[1], Work(**json.loads(sys.argv[2]))

    def build() -> tuple[Epoch, str]:
        network = CONTENDERS[name](work)
        return network.epoch, network.version

    serve(build)


if __name__ == "__main__":
    main()
