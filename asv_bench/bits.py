"""Does the working tree train to other bits than a commit? Exit status 1 if so.

    python asv_bench/bits.py [--base main] [--networks a,b]

Some seventy networks are trained for 50 steps each, by one process that imports fastdnn from the
commit and by one that imports it from the working tree: in every regime, in both dtypes, with every
optimizer, most activations and losses, and 1 to 7 threads. What a network has become (its
parameters, losses, outputs and derivatives) is hashed, and the hashes are compared. Exit status: 0
the same bits, 1 others, 2 a side could not run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from gate import STORE, checkout
from inner import module_of_kernels

ROOT = Path(__file__).resolve().parents[1]
STEPS = 10, 5  # of an epoch, and epochs
THREADS = 7  # at most
SEED = 1
HUGE = 2**40
# Thresholds of the kernels' `placement`, by which small networks are shared as large ones are.
FORCED: dict[str, dict[str, Any]] = {
    "blocked": {"RESIDENT_PARAMETERS": 0, "LARGE_PARAMETERS": 0, "CUT_GAIN": HUGE},
    "stored": {"RESIDENT_PARAMETERS": 0, "LARGE_PARAMETERS": 0, "CUT_GAIN": HUGE, "DESCENT": 0},
    "cut": {"RESIDENT_PARAMETERS": 0, "LARGE_PARAMETERS": 0, "CUT_GAIN": 0, "CUT_INPUTS": 0},
    "segments": {"RESIDENT_PARAMETERS": HUGE, "RESIDENT_ROWS": 0, "CHUNK_SIZE": 900},
}
OPTIMIZERS = "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Lion"
OWN = "own"  # a user's activation or loss
ACTIVATIONS = "relu", "tanh", "gelu", "sigmoid", "elu", "silu", "leaky_relu", "softplus"


class Network(NamedTuple):
    """What is trained, and how."""

    sizes: tuple[int, ...]
    batch: int = 32
    forced: str | None = None  # in `FORCED`
    dtype: str = "float32"
    threads: int = 2
    activation: Any = "relu"
    output: str = "identity"
    loss: Any = "mean_squared_error"
    optimizer: str = "Adam"
    options: dict[str, Any] = {}  # noqa: RUF012  # of the optimizer
    layer: dict[str, Any] = {}  # noqa: RUF012  # more arguments of each hidden layer
    dropout: float = 0.0  # of the inputs and the hidden layers
    shuffle: bool = True
    weighted: bool = False  # samples have weights
    other_x: bool = False  # X has the other float type, and strides


SHAPES = {
    "tiny": Network((3, 5, 5, 3, 1), 64, output="sigmoid", loss="binary_crossentropy"),
    "tiny long": Network((7, 8, 4), 200, shuffle=False),
    "one layer": Network((9, 1), 40),
    "resident": Network((64, 100, 10), 200, output="softmax", loss="categorical_crossentropy"),
    "deep": Network((32, *[40] * 6, 10), 256, output="softmax", loss="categorical_crossentropy"),
    "segments": Network((30, 64, 32, 1), 160, "segments"),
    "single units": Network((20, 1, 30, 1), 60, "segments"),
    "blocked": Network((70, 130, 33, 10), 48, "blocked"),
    "blocked units": Network((70, 1, 50, 1), 48, "blocked"),
    "one sample": Network((50, 40, 30, 3), 1, "blocked"),
    "few samples": Network((600, 300, 40), 4, "blocked"),
    "stored": Network((70, 130, 33, 10), 48, "stored"),
    "stored units": Network((70, 1, 50, 1), 48, "stored"),
    "many samples": Network((40, 70, 30, 5), 700, "blocked"),
    "large": Network((300, 520, 260, 10), 256, "blocked"),
    "large stored": Network((300, 520, 260, 10), 256, "stored"),
    "cut": Network((200, 60, 50, 10), 24, "cut"),
}


def _networks() -> dict[str, Network]:
    """Every shape in both dtypes, with one optimizer, activation and number of threads each."""
    networks, number = {}, 0
    turns = zip(cycle(OPTIMIZERS), cycle(ACTIVATIONS), strict=False)
    for name, shape in SHAPES.items():
        for dtype in ("float32", "float64"):
            optimizer, activation = next(turns)
            options = {"momentum": 0.9, "nesterov": number % 2 == 0} if optimizer == "SGD" else {}
            networks[f"{name} {dtype}"] = shape._replace(
                dtype=dtype, optimizer=optimizer, activation=activation, options=options,
                threads=1 + number % THREADS,
            )  # fmt: skip
            number += 1
    few, shapes = (20, 17, 30, 6), ("segments", "stored", "cut")
    classes = {"output": "softmax", "loss": "sparse_categorical_crossentropy"}
    for name, changes in {
        "dropout": {"dropout": 0.3},
        "penalties": {"layer": {"kernel_regularizer": "l2"}, "other_x": True},
        "clipped": {"options": {"clipnorm": 0.5}, "weighted": True, **classes},
        "clipped by all": {"options": {"global_clipnorm": 0.5}, "threads": 3, "shuffle": False},
        "no bias": {"layer": {"use_bias": False}, "activation": "silu", "threads": 5},
        "softmax": {"activation": "softmax", "threads": 3},
        "own": {"activation": OWN, "loss": OWN},
    }.items():
        for shape in shapes:
            networks[f"{name} {shape}"] = Network(few, 70, shape, **changes)
    for loss in ("mean_absolute_error", "huber", "log_cosh", "poisson", "quantile"):
        output = "exponential" if loss == "poisson" else "identity"
        networks[loss] = Network((8, 20, 3), 40, output=output, loss=loss)
    for output in ("sigmoid", "softmax"):
        networks[f"focal of {output}"] = Network(
            (8, 20, 3), 40, output=output, loss="binary_focal_crossentropy"
        )
    networks["binary of softmax"] = Network(
        (8, 20, 3), 40, output="softmax", loss="binary_crossentropy"
    )
    for loss in ("categorical_crossentropy", "categorical_focal_crossentropy"):
        for output in ("softmax", "sigmoid"):
            networks[f"{loss} of {output}"] = Network((8, 20, 5), 40, output=output, loss=loss)
    return networks


NETWORKS = _networks()
LAYERS = "layers"  # the functions of single layers, besides


# ---------------------------------------------------------------------------------------- training
def trained(network: Network) -> str:
    """The hash of what a network has become."""
    import numpy as np

    import fastdnn

    placement = module_of_kernels("placement")
    before = {name: getattr(placement, name) for of in FORCED.values() for name in of}
    try:
        for name, value in FORCED.get(network.forced or "", {}).items():
            setattr(placement, name, value)
        model = _model(network)
        X, y = _data(network)
        weights = np.linspace(0.5, 2, len(X)) if network.weighted else None
        with fastdnn.num_threads(network.threads):
            history = model.fit(
                X, y, epochs=STEPS[1], batch_size=network.batch, shuffle=network.shuffle,
                sample_weight=weights, verbose=0,
            )  # fmt: skip
            some = slice(0, network.batch)
            loss, gradients = model.loss_and_gradients(X[some], y[some])
            found = [
                *model.get_weights(), history.history["loss"], model.predict(X), loss,
                *(x for pair in gradients for x in pair if x is not None),
                model.input_gradient(X[some], y[some]),
            ]  # fmt: skip
    finally:
        for name, value in before.items():
            setattr(placement, name, value)
    if not all(np.isfinite(x).all() for x in found):
        raise FloatingPointError(f"it has diverged: {network}")
    return _hash(found)


def layers() -> str:
    """The hash of what the functions of single layers give."""
    import numpy as np

    import fastdnn
    from fastdnn import kernels

    rng, found = np.random.default_rng(3), []
    turns = zip(cycle(ACTIVATIONS), cycle(range(1, THREADS + 1)), strict=False)
    for n, k, m in ((1, 9, 30), (17, 40, 5), (100, 784, 200), (33, 700, 40), (50, 3, 1)):
        for dtype in ("float32", "float64"):
            activation, number = next(turns)
            A_prev, W = (rng.standard_normal(of).astype(dtype) for of in ((k, m), (n, k)))
            with fastdnn.num_threads(number):
                A = kernels.linear_forward(A_prev, W, W[:, :1].copy(), activation)
                Z = kernels.linear_forward(A_prev, W, None)
                found += [A, Z, *kernels.linear_backward(A, A_prev, W, activation, A=A, Z=Z)]
    return _hash(found)


def _hash(arrays: Iterable[Any]) -> str:
    import numpy as np

    digest = sha256()
    for x in arrays:
        digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


def _model(network: Network) -> Any:
    import fastdnn

    layers: list[Any] = []
    activation, loss = network.activation, network.loss
    if activation == OWN:
        activation = fastdnn.ScalarActivation(math.sin, math.cos)
    if loss == OWN:
        loss = fastdnn.ScalarLoss(lambda a, y: (a - y) ** 4, lambda a, y: 4 * (a - y) ** 3)
    for n in network.sizes[1:-1]:
        if network.dropout:
            layers.append(fastdnn.Dropout(network.dropout))
        layers.append(fastdnn.Dense(n, activation, **network.layer))
    layers.append(fastdnn.Dense(network.sizes[-1], network.output))
    model = fastdnn.Sequential(layers, input_size=network.sizes[0], dtype=network.dtype, seed=SEED)
    optimizer = getattr(fastdnn, network.optimizer)(learning_rate=0.003, **network.options)
    model.compile(optimizer, loss)
    return model


def _data(network: Network) -> tuple[Any, Any]:
    """X and targets that suit the loss; the last batch of an epoch is smaller."""
    import numpy as np

    rng, n = np.random.default_rng(2), network.sizes[-1]
    m = (STEPS[0] - 1) * network.batch + (network.batch + 1) // 2
    X = rng.standard_normal((m, network.sizes[0])).astype(network.dtype)
    if network.other_x:
        X = np.asfortranarray(X.astype("float64" if network.dtype == "float32" else "float32"))
    if network.loss == "sparse_categorical_crossentropy":
        return X, rng.integers(n, size=m)
    y = rng.random((m, n))
    return X, (y / y.sum(axis=1, keepdims=True)) if n > 1 else y


# ------------------------------------------------------------------------------------------- sides
def serve(names: Sequence[str]) -> None:
    """Print the hash of each network as it is trained; run in a process of its own."""
    threads = module_of_kernels("threads")
    threads.SHARED_FLOPS = threads.AWAKE_FLOPS = 0  # as many ranks as there are threads
    for name in names:
        found = layers() if name == LAYERS else trained(NETWORKS[name])
        print(json.dumps([name, found]), flush=True)


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The hash of each network, trained by a folder's fastdnn."""
    environment = os.environ | {
        "NUMBA_NUM_THREADS": str(THREADS),
        "PYTHONPATH": str(folder),
        "NUMBA_CACHE_DIR": str(STORE / "compiled"),
    }
    command = [sys.executable, __file__, "--child", "--networks", ",".join(names)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"{folder}: {last[0] if last else f'exit status {run.returncode}'}")
    return dict(json.loads(line) for line in run.stdout.splitlines())


def compare(names: Sequence[str], base: dict[str, str], tree: dict[str, str]) -> int:
    """Say which networks differ; 1 if any does."""
    others = [name for name in names if base.get(name) != tree.get(name)]
    for name in others:
        print(f"{name}: base {base.get(name, 'none')[:16]}, tree {tree.get(name, 'none')[:16]}")
    print(f"{len(others)} of {len(names)} networks have other bits")
    return int(bool(others))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the two sides; returns the exit status."""
    parser = argparse.ArgumentParser(description="Does the working tree train to other bits?")
    parser.add_argument("--base", default="main", help="the commit to compare with (main)")
    parser.add_argument("--networks", help="some of them; all", metavar="NAME,…")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    known = [*NETWORKS, LAYERS]
    names = known
    if options.networks is not None:
        names = [name.strip() for name in options.networks.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"--networks: unknown {unknown[0]!r}; there are {', '.join(known)}")
    if options.child:
        serve(names)
        return 0
    try:
        return compare(names, hashes(checkout(options.base), names), hashes(ROOT, names))
    except RuntimeError as error:
        print(f"bits: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
