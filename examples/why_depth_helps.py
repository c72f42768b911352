"""Why depth helps: a checkerboard, learned by networks of the same size and of different depth.

    python examples/why_depth_helps.py

A point of the unit square is in class 1 if the numbers of its column and its row of the board have
an odd sum. Folded along the middle lines of its columns and rows, the board lays all cells of a
class on each other. A hidden layer can fold what the layer before it has folded, so a few units in
each of several layers do. A single layer has to put the board together from straight lines, one for
each unit.

The networks have about as many parameters; only the last has four times as many, in one hidden
layer. The table shows the accuracy on new points for three seeds (about 0.81, 0.88, 0.97 and
0.93), the picture what the networks of the first seed think of the whole square. All this takes a
minute or two on two cores.

Depth is no remedy by itself: with 12 layers of 8 units, 825 parameters, two of three seeds stay
at 0.5. The picture needs matplotlib (pip install 'fastdnn[plot]').
"""

import argparse
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

import fastdnn

CELLS, PARAMETERS, BATCH = 6, 1000, 128
GRID = 240  # points of the picture along an edge


def board(X: np.ndarray) -> np.ndarray:
    """The class of each point (m, 2), as (m,)."""
    sums: np.ndarray = np.floor(CELLS * X).sum(axis=1)
    return sums % 2


def parameters(depth: int, width: int) -> int:
    """Of a network with 2 inputs, `depth` hidden layers of `width` units, and 1 output."""
    return (2 + 1) * width + (depth - 1) * (width + 1) * width + (width + 1)


def widest(depth: int, limit: int) -> int:
    return max(width for width in range(1, limit) if parameters(depth, width) <= limit)


def train(depth: int, width: int, X: np.ndarray, epochs: int, seed: int) -> fastdnn.Sequential:
    hidden = [fastdnn.Dense(width, "relu") for _ in range(depth)]
    model = fastdnn.Sequential([*hidden, fastdnn.Dense(1, "sigmoid")], seed=seed)
    steps = epochs * -(-len(X) // BATCH)
    model.compile(
        fastdnn.Adam(fastdnn.CosineDecay(0.01, steps)), "binary_crossentropy", ["accuracy"]
    )
    model.fit(2 * X - 1, board(X), epochs=epochs, batch_size=BATCH, verbose=0)
    return model


def networks() -> Iterator[tuple[int, int]]:
    """Depth and width."""
    for depth in (1, 2, 4):
        yield depth, widest(depth, PARAMETERS)
    yield 1, widest(1, 4 * PARAMETERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000, help="to train on")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--output", default="why_depth_helps.png", help="the picture's file")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    X_train, X_test = rng.random((arguments.samples, 2)), rng.random((20_000, 2))
    line = (np.arange(GRID) + 0.5) / GRID
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    panels = {"the board": board(grid)}
    print(f"{'hidden layers':15}{'parameters':>10}   test accuracy of each seed")
    for depth, width in networks():
        accuracies = []
        for seed in range(arguments.seeds):
            model = train(depth, width, X_train, arguments.epochs, seed)
            accuracies.append(model.evaluate(2 * X_test - 1, board(X_test))["accuracy"])
            if seed == 0:
                title = f"{depth} x {width} units: {accuracies[0]:.3f}"
                panels[title] = model.predict(2 * grid - 1)[:, 0]
        each = "  ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        print(f"{f'{depth} x {width} units':15}{parameters(depth, width):10}   {each}", flush=True)
    draw(panels, arguments.output)
    print(f"see {arguments.output}")


def draw(panels: dict[str, np.ndarray], path: str) -> None:
    figure = Figure(figsize=(3 * len(panels), 3.3), layout="constrained")
    for axes, (title, A) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        image = axes.imshow(
            A.reshape(GRID, GRID), vmin=0, vmax=1, extent=(0, 1, 0, 1), origin="lower"
        )
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="probability of class 1")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
