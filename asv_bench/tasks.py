"""What each kind of layer gives on tabular tasks: ``python asv_bench/tasks.py``.

Every network has the same units, epochs, batch size and learning rate; only the layers differ, and
the split, the start and the order change from seed to seed. A quarter of the samples is held out
and scored once, at the end: accuracy, or R2 of a target of numbers. Nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fastdnn
from fastdnn.embedding import embedding_size
from fastdnn.layer import Layer
from fastdnn.normalization import hidden_layers

Array = np.ndarray[Any, Any]
UNITS, EPOCHS, BATCH, RATE = 64, 40, 32, 0.003
SEEDS = 3


class Task(NamedTuple):
    """Samples: numbers X (m, n), whole numbers C (m, k) of categories, and y (m,)."""

    X: Array
    y: Array
    C: Array | None = None

    @property
    def is_regression(self) -> bool:
        """Whether y is a number, and no class."""
        return self.y.dtype.kind == "f"


def bundled(load: Callable[..., Any]) -> Task:
    """One of scikit-learn's data sets."""
    X, y = load(return_X_y=True)
    return Task(X, y)


def generated() -> Task:
    """Twenty numbers, of which eight tell four classes."""
    return Task(
        *datasets.make_classification(
            2000, 20, n_informative=8, n_classes=4, flip_y=0.05, random_state=0
        )
    )


def moons() -> Task:
    """Two half circles with noise."""
    return Task(*datasets.make_moons(1500, noise=0.25, random_state=0))


def steep() -> Task:
    """Waves of two numbers, beside two that say nothing."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (3000, 4))
    return Task(X, np.sin(8 * X[:, 0]) + 0.5 * np.sign(np.sin(5 * X[:, 1])) + noise(rng, 3000))


def towns() -> Task:
    """A price by one of 300 towns, one of 60 kinds, and three numbers."""
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(4000, 3)), whole(rng, 4000, (300, 60))
    y = effect(rng, 300)[C[:, 0]] * (1 + 0.5 * X[:, 0]) + effect(rng, 60)[C[:, 1]] + X[:, 1]
    return Task(X, y + noise(rng, 4000), C)


def buyers() -> Task:
    """Whether one of 200 customers buys one of 100 articles: their tastes agree."""
    rng = np.random.default_rng(1)
    X, C = rng.normal(size=(6000, 2)), whole(rng, 6000, (200, 100))
    tastes = rng.normal(size=(200, 2)), rng.normal(size=(100, 2))
    agree = (tastes[0][C[:, 0]] * tastes[1][C[:, 1]]).sum(axis=1)
    return Task(X, (agree + 0.5 * X[:, 0] + noise(rng, 6000) > 0).astype(int), C)


def noise(rng: np.random.Generator, m: int) -> Array:
    """Return what no network can learn."""
    return 0.2 * rng.normal(size=m)


def effect(rng: np.random.Generator, n: int) -> Array:
    """Return a number for each category."""
    return rng.normal(size=n)


def whole(rng: np.random.Generator, m: int, counts: Sequence[int]) -> Array:
    """Return m rows of categories, of so many each."""
    return np.column_stack([rng.integers(0, count, m) for count in counts])


TASKS: dict[str, Callable[[], Task]] = {
    "breast cancer": lambda: bundled(datasets.load_breast_cancer),
    "wine": lambda: bundled(datasets.load_wine),
    "iris": lambda: bundled(datasets.load_iris),
    "digits": lambda: bundled(datasets.load_digits),
    "diabetes": lambda: bundled(datasets.load_diabetes),
    "generated classes": generated,
    "friedman1": lambda: Task(*datasets.make_friedman1(1500, noise=1.0, random_state=0)),
    "moons": moons,
    "steep": steep,
    "towns": towns,
    "buyers": buyers,
}


# ---------------------------------------------------------------------------------- the networks
def dense(normalization: str | None = None) -> list[Layer]:
    """Return two hidden layers."""
    return [
        layer
        for _ in range(2)
        for layer in hidden_layers(UNITS, "relu", normalization=normalization)
    ]


def residual() -> list[Layer]:
    """Return a hidden layer and two blocks."""
    blocks = [
        fastdnn.Residual([fastdnn.Dense(UNITS, "relu"), fastdnn.Dense(UNITS)]) for _ in range(2)
    ]
    return [fastdnn.Dense(UNITS, "relu"), *blocks, fastdnn.Activation("relu")]


def periodic(X: Array) -> list[Layer]:
    """Return sines and cosines of the numbers, and two hidden layers."""
    return [fastdnn.PeriodicEmbedding(8, columns=tuple(range(X.shape[1]))), *dense()]


def piecewise(X: Array) -> list[Layer]:
    """Return the numbers as shares of intervals, and two hidden layers."""
    varying = np.flatnonzero(X.min(axis=0) < X.max(axis=0)).tolist()
    return [fastdnn.PiecewiseLinearEmbedding.of(X, 16, varying), *dense()]


# What stands before the last layer, made for the numbers of the training samples.
NETWORKS: dict[str, Callable[[Array], list[Layer]]] = {
    "dense": lambda X: dense(),
    "batch": lambda X: dense("batch"),
    "layer": lambda X: dense("layer"),
    "residual": lambda X: residual(),
    "periodic": periodic,
    "piecewise": piecewise,
}
EMBEDDED = "embedded"  # and categories by a `ColumnEmbedding`; the others have one-hot columns


def prepared(task: Task, train: Array) -> tuple[Array, Array, Array | None]:
    """Return the numbers and y, scaled by the training part, and one-hot columns."""
    numbers = StandardScaler().fit(task.X[train]).transform(task.X)
    y = task.y
    if task.is_regression:
        y = (y - y[train].mean()) / y[train].std()
    if task.C is None:
        return numbers, y, None
    hot = [C[:, None] == np.arange(C.max() + 1) for C in task.C.T]
    return numbers, y, np.column_stack(hot).astype(float)


def score(task: Task, network: str, seed: int) -> float:
    """Train the network on three quarters of the samples, and score it on the others."""
    strata = None if task.is_regression else task.y
    train, test = train_test_split(
        np.arange(len(task.y)), test_size=0.25, random_state=seed, stratify=strata
    )
    numbers, y, hot = prepared(task, train)
    if network == EMBEDDED:
        assert task.C is not None
        X, n = np.column_stack([numbers, task.C]), numbers.shape[1]
        counts = [int(count) + 1 for count in task.C.max(axis=0)]
        columns, dims = tuple(range(n, n + len(counts))), tuple(map(embedding_size, counts))
        layers = [fastdnn.ColumnEmbedding(columns, tuple(counts), dims), *dense()]
    else:
        X = numbers if hot is None else np.column_stack([numbers, hot])
        layers = NETWORKS[network](numbers[train])
    n_classes = 1 if task.is_regression else int(y.max()) + 1
    last = fastdnn.Dense(n_classes, None if task.is_regression else "softmax")
    loss = "mse" if task.is_regression else "sparse_categorical_crossentropy"
    metric = "r2" if task.is_regression else "accuracy"
    model = fastdnn.Sequential([*layers, last], seed=seed)
    model.compile(fastdnn.Adam(RATE), loss, [metric])
    model.fit(X[train], y[train], BATCH, epochs=EPOCHS, verbose=0)
    return float(model.evaluate(X[test], y[test])[metric])


def line(name: str, seeds: int) -> str:
    """Return a task's line of the table: for each network the mean score and its deviation."""
    task = TASKS[name]()
    cells = []
    for network in [*NETWORKS, EMBEDDED]:
        if network == EMBEDDED and task.C is None:
            cells.append("")
            continue
        found = [score(task, network, seed) for seed in range(seeds)]
        cells.append(f"{np.mean(found):.3f} ± {np.std(found):.3f}")
    measure = "R2" if task.is_regression else "accuracy"
    return f"| {name} | {measure} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS), help="names, with commas between them")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    networks = [*NETWORKS, EMBEDDED]
    print(f"| task | score | {' | '.join(networks)} |")
    print(f"| --- | --- |{' ---: |' * len(networks)}")
    for name in arguments.tasks.split(","):
        print(line(name, arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
