"""What the first layer looks for: its weights on Fashion-MNIST, drawn as images.

    python examples/first_layer_weights.py /usr/share/datasets/fashion-mnist

Trains hidden layers of 256, 128 and 100 units for a few epochs, about half a minute on two cores,
and draws the first layer's units with the largest weights. A unit answers to images that are bright
where its weights are positive (red) and dark where they are negative (blue): collars, sleeves, the
gap between trouser legs, soles. The folder holds the four IDX files (Debian's package
dataset-fashion-mnist).
"""

import argparse

import numpy as np

import fastdnn
from fastdnn.data.datasets import load
from fastdnn.plots import plot_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--units", type=int, default=36, help="how many to draw")
    parser.add_argument("--output", default="first_layer_weights.png", help="the picture's file")
    arguments = parser.parse_args()

    data = load(arguments.folder)
    # The penalty takes away what is left of the random start; without it the pictures are noise.
    first = fastdnn.Dense(256, "relu", kernel_regularizer=fastdnn.L2(0.001))
    model = fastdnn.Sequential(
        [
            first,
            fastdnn.Dense(128, "relu"),
            fastdnn.Dense(100, "relu"),
            fastdnn.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.X_train, data.y_train, epochs=arguments.epochs, batch_size=128)
    print(f"test accuracy {model.evaluate(data.X_test, data.y_test)['accuracy']:.4f}")

    by_size = np.argsort(-np.linalg.norm(first.W, axis=1))
    plot_weights(first.W[by_size[: arguments.units]], (28, 28), arguments.output)
    print(f"see {arguments.output}")


if __name__ == "__main__":
    main()
