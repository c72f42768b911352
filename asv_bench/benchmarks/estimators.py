"""The fit of scikit-learn's estimators and of fastdnn's, with their defaults."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from labels import labelled

ROUNDS = 3
EPOCHS = 20


def _classifier(library: str) -> Any:
    if library == "scikit-learn":
        from sklearn.neural_network import MLPClassifier
    else:
        import fastdnn

        if not hasattr(fastdnn, "MLPClassifier"):
            raise NotImplementedError("this commit has no estimators")
        MLPClassifier = fastdnn.MLPClassifier
    return MLPClassifier(random_state=0, max_iter=EPOCHS)


class Fit:
    """`MLPClassifier` on scikit-learn's digits, an epoch of nine steps."""

    params = (["fastdnn", "scikit-learn"],)
    param_names = ("library",)
    timeout = 120

    def setup(self, library: str) -> None:
        """Load the digits; the first fit, which compiles, does not count."""
        from sklearn.datasets import load_digits

        self.X, self.y = load_digits(return_X_y=True)
        self._seconds(library)

    def _seconds(self, library: str) -> float:
        import warnings

        classifier = _classifier(library)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few epochs do not converge
            start = perf_counter()
            classifier.fit(self.X, self.y)
            return perf_counter() - start

    @labelled("fit of MLPClassifier, an epoch", "ms")
    def track_epoch(self, library: str) -> float:
        """The best of the rounds, per epoch."""
        return 1e3 * min(self._seconds(library) for _ in range(ROUNDS)) / EPOCHS
