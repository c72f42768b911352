"""Time many networks trained by one call, beside fits in turn and JAX's vmap of a scan.

    python asv_bench/many.py [--rounds 3]

Microseconds per network and step, the best round of each; Adam, float32, batches of 64 of 6,400
samples, in a new order for each epoch. Each network of fastdnn's has an order of its own; those of
JAX have one in common, which is quicker. JAX is left out where it is not installed.

    python asv_bench/many.py --mixed 1000

One `fit_many` of so many networks of mixed shapes: how much of the CPUs it keeps busy, the peak
memory, and whether each network has the bits of its own `fit`.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np

import fastdnn

CASES = {"3-5-5-3-1": ([3, 5, 5, 3, 1], 64, 40), "30-64-32-1": ([30, 64, 32, 1], 32, 10)}
SAMPLES, BATCH = 6_400, 64


def data(n_0: int) -> tuple[Any, Any]:
    """Return samples and their classes."""
    X = np.random.default_rng(0).standard_normal((SAMPLES, n_0), dtype=np.float32)
    return X, (X[:, 0] > 0.5).astype(np.float32)


def network(sizes: list[int], seed: int) -> fastdnn.Sequential:
    """Return a compiled network."""
    layers = [fastdnn.Dense(n, "relu") for n in sizes[1:-1]]
    model = fastdnn.Sequential([*layers, fastdnn.Dense(sizes[-1], "sigmoid")], seed=seed)
    model.compile("adam", "binary_crossentropy")
    return model


def by_one_call(sizes: list[int], count: int, epochs: int) -> Callable[[], None]:
    """Return what trains them by `fit_many`."""
    X, y = data(sizes[0])

    def run() -> None:
        models = [network(sizes, seed) for seed in range(count)]
        fastdnn.fit_many(models, X, y, epochs=epochs, batch_size=BATCH, verbose=0)

    return run


def in_turn(sizes: list[int], count: int, epochs: int) -> Callable[[], None]:
    """Return what trains one after the other."""
    X, y = data(sizes[0])

    def run() -> None:
        for seed in range(count):
            network(sizes, seed).fit(X, y, BATCH, epochs, verbose=0)

    return run


def by_jax(sizes: list[int], count: int, epochs: int) -> Callable[[], None]:
    """Return what trains them by vmap of the gradient, in a scan over the steps."""
    import jax
    import jax.numpy as jnp

    X, y = (jnp.asarray(one) for one in data(sizes[0]))
    tree = jax.tree_util.tree_map

    def start(key: Any) -> Any:
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = zip(keys, sizes, sizes[1:], strict=False)
        return [(jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b)) for k, a, b in pairs]

    def loss(p: Any, x: Any, t: Any) -> Any:
        for W, b in p[:-1]:
            x = jax.nn.relu(x @ W + b)
        z = (x @ p[-1][0] + p[-1][1])[:, 0]
        return jnp.mean(jnp.logaddexp(0.0, z) - t * z)

    gradients = jax.vmap(jax.grad(loss), in_axes=(0, None, None))

    def step(carry: Any, rows: Any) -> Any:
        p, m, v, t = carry
        g, t = gradients(p, X[rows], y[rows]), t + 1
        m = tree(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = tree(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = tree(lambda a, b, c: a - rate * b / (jnp.sqrt(c) + 1e-8), p, m, v)
        return (p, m, v, t), None

    def epoch(carry: Any, key: Any) -> Any:
        orders = jax.random.permutation(key, SAMPLES).reshape(-1, BATCH)
        return jax.lax.scan(step, carry, orders)[0], None

    train = jax.jit(lambda carry, keys: jax.lax.scan(epoch, carry, keys)[0])
    key = jax.random.PRNGKey(0)
    p = jax.vmap(start)(jax.random.split(key, count))
    zeros = tree(jnp.zeros_like, p)
    carry, keys = (p, zeros, zeros, jnp.zeros(())), jax.random.split(key, epochs)
    return lambda: jax.block_until_ready(train(carry, keys)) and None  # type: ignore[func-returns-value]


def mixed(count: int, epochs: int) -> None:
    """Train networks of one to three hidden layers of 4 to 127 units."""

    def make(seed: int) -> fastdnn.Sequential:
        rng = np.random.default_rng(seed)
        return network([30, *rng.integers(4, 128, rng.integers(1, 4)).tolist(), 1], seed)

    X, y = data(30)
    make(0).fit(X, y, BATCH, verbose=0)  # compiles
    models = [make(seed) for seed in range(count)]
    before = peak_memory()
    wall, cpu = perf_counter(), process_time()
    fastdnn.fit_many(models, X, y, epochs=epochs, batch_size=BATCH, verbose=0)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    n = fastdnn.get_num_threads()
    print(
        f"{count} networks, {epochs} epochs: {wall:.2f} s, {100 * cpu / wall / n:.1f} % of {n} CPUs"
    )
    print(f"peak memory {peak_memory()} MB, before it {before} MB")
    same = 0
    for seed, model in enumerate(models):
        own = make(seed)
        own.fit(X, y, BATCH, epochs, verbose=0)
        same += np.array_equal(own.parameters, model.parameters)
    print(f"{same} have the bits of their own fits")


def peak_memory() -> int:
    """Return this process's, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print a line for each case and contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixed", type=int, metavar="N", help="so many networks of mixed shapes")
    parser.add_argument("--epochs", type=int, default=5, help="of these")
    given = parser.parse_args()
    rounds = given.rounds
    if given.mixed is not None:
        mixed(given.mixed, given.epochs)
        return
    for name, (sizes, count, epochs) in CASES.items():
        ways = {"fit_many": by_one_call, "in turn": in_turn, "jax": by_jax}
        best: dict[str, float] = {}
        runs: dict[str, Callable[[], None]] = {}
        for way, make in ways.items():
            try:
                runs[way] = make(sizes, count, epochs)
            except ImportError as error:
                print(f"{way}: left out: {error}")
                continue
            runs[way]()  # compiles
        for _ in range(rounds):
            for way, run in runs.items():
                begin = perf_counter()
                run()
                best[way] = min(best.get(way, np.inf), perf_counter() - begin)
        steps = count * epochs * SAMPLES // BATCH
        for way, seconds in best.items():
            ratio = seconds / best["fit_many"]
            print(f"{count} of {name}: {way:8} {1e6 * seconds / steps:7.2f} us  {ratio:.2f}")
    print(f"peak memory {peak_memory()} MB")


if __name__ == "__main__":
    main()
