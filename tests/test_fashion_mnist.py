"""The main job on real input: a published network on Fashion-MNIST."""

from pathlib import Path

import pytest

import fastdnn
from fastdnn import datasets

# The test accuracy published for these layers.
PUBLISHED = 0.8833


@pytest.mark.nightly
def test_layers_256_128_100_reach_the_published_accuracy(fashion_mnist: Path) -> None:
    data = datasets.load(fashion_mnist)
    assert data.X_train.shape == (60_000, 784)
    assert data.X_test.shape == (10_000, 784)
    model = fastdnn.Sequential(
        [
            fastdnn.Dense(256, "relu"),
            fastdnn.Dense(128, "relu"),
            fastdnn.Dense(100, "relu"),
            fastdnn.Dense(10, "softmax"),
        ],
        input_size=784,
        seed=0,
    )
    epochs, batch_size = 8, 128
    schedule = fastdnn.CosineDecay(0.002, decay_steps=epochs * (60_000 // batch_size + 1))
    model.compile(
        fastdnn.Adam(learning_rate=schedule), "sparse_categorical_crossentropy", ["accuracy"]
    )
    model.fit(data.X_train, data.y_train, epochs=epochs, batch_size=batch_size, verbose=0)
    assert model.evaluate(data.X_test, data.y_test)["accuracy"] >= PUBLISHED
