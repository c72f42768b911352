"""Test accuracy after a fixed budget: speed must not be bought with it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from labels import labelled

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def accuracy(train: Any, test: Any, units: list[int], batch: int, epochs: int) -> float:
    """Per cent of the test samples that a network trained by Adam names right."""
    import fastdnn

    hidden = [fastdnn.Dense(n, "relu") for n in units]
    model = fastdnn.Sequential([*hidden, fastdnn.Dense(10, "softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*train, batch_size=batch, epochs=epochs, verbose=0)
    X, y = test
    return 100 * float(np.mean(np.asarray(model.predict(X)).argmax(axis=1) == y))


def read(folder: Path, part: str) -> tuple[Any, Any]:
    """Images in [0, 1] and labels of an IDX pair."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    y = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return np.frombuffer(images, np.uint8, offset=16).reshape(len(y), -1) / np.float32(255), y


class Digits:
    """scikit-learn's digits, every fourth a test sample."""

    timeout = 120

    @labelled("test accuracy on digits after 20 epochs", "per cent")
    def track_accuracy(self) -> float:
        """64-100-10."""
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X, test = X.astype(np.float32) / 16, np.arange(len(y)) % 4 == 0
        return accuracy((X[~test], y[~test]), (X[test], y[test]), [100], 50, 20)


class FashionMnist:
    """Fashion-MNIST, where its Debian package is installed."""

    timeout = 120

    def setup(self) -> None:
        """Leave it out where the data are not."""
        if not FASHION.is_dir():
            raise NotImplementedError(f"no {FASHION}: apt install dataset-fashion-mnist")

    @labelled("test accuracy on Fashion-MNIST after 3 epochs", "per cent")
    def track_accuracy(self) -> float:
        """784-128-10."""
        return accuracy(read(FASHION, "train"), read(FASHION, "t10k"), [128], 128, 3)
