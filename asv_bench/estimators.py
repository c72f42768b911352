"""fastdnn's estimators beside scikit-learn's, in turn: ``python asv_bench/estimators.py``.

Each case is fitted by both with their defaults, but for `max_iter` where a whole training would
take minutes; they take turns for some rounds, and the best time of each counts. The last table is a
grid search by joblib with one job and with two.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastdnn
from fastdnn.data.datasets import load

Samples = tuple[Any, Any]
GRID = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1], "learning_rate_init": [1e-3, 3e-3]}
FOLDS = 3
JOBS = ((1, "loky"), (2, "loky"), (2, "threading"))


def _digits() -> Samples:
    X, y = load_digits(return_X_y=True)
    return X, y


def _fashion() -> Samples:
    data = load("/usr/share/datasets/fashion-mnist")
    return data.X_train, data.y_train


def _generated() -> Samples:
    X, y = make_classification(100_000, 50, n_informative=20, random_state=0)
    return X, y


# The data, and the epochs that are timed: None takes the default's.
CASES: dict[str, tuple[Callable[[], Samples], int | None]] = {
    "digits": (_digits, None),
    "fashion": (_fashion, 4),
    "generated": (_generated, 8),
}


def seconds(estimator: Any, X: Any, y: Any) -> float:
    """Return how long a fit takes."""
    start = time.perf_counter()
    estimator.fit(X, y)
    return time.perf_counter() - start


def beside(name: str, rounds: int, dtype: str) -> None:
    """Print the seconds of a fit by either library, and their ratio."""
    make, epochs = CASES[name]
    X, y = make()
    X = np.ascontiguousarray(X, dtype)
    settings: dict[str, Any] = {"random_state": 0} | (
        {} if epochs is None else {"max_iter": epochs}
    )
    makers = (neural_network.MLPClassifier, fastdnn.MLPClassifier)
    fastdnn.MLPClassifier(max_iter=1).fit(X[:500], y[:500])  # compiles
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for maker, found in zip(makers, times, strict=True):
            found.append(seconds(maker(**settings), X, y))
    theirs, ours = map(min, times)
    print(f"| {name} | {dtype} | {theirs:.3f} | {ours:.3f} | {theirs / ours:.2f} |", flush=True)


def searches(rounds: int, threads: int | None) -> None:
    """Print the seconds of a grid search by jobs, and of one of its fits."""
    X, y = load_digits(return_X_y=True)
    estimator = fastdnn.MLPClassifier(max_iter=60, random_state=0, n_threads=threads)
    alone = min(seconds(estimator, X[: len(X) * 2 // 3], y[: len(X) * 2 // 3]) for _ in range(3))
    best: dict[tuple[int, str], tuple[float, float]] = {}
    for jobs, backend in JOBS * rounds:
        with joblib.parallel_config(backend=backend):
            search = GridSearchCV(estimator, GRID, cv=FOLDS, n_jobs=jobs, refit=False)
            total = seconds(search, X, y)
        one = float(np.mean(search.cv_results_["mean_fit_time"]))
        best[jobs, backend] = min(best.get((jobs, backend), (np.inf, np.inf)), (total, one))
    print("\n| jobs | backend | search, s | times as fast | a fit, s | a fit alone, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (jobs, backend), (total, one) in best.items():
        ratio = best[1, "loky"][0] / total
        print(f"| {jobs} | {backend} | {total:.2f} | {ratio:.2f} | {one:.3f} | {alone:.3f} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="names, with commas between them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"))
    parser.add_argument("--threads", type=int, help="of each fit of the grid search")
    parser.add_argument("--no-search", action="store_true", help="leave the grid search out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| case | dtype | scikit-learn, s | fastdnn, s | times as fast |")
    print("| --- | --- | --- | --- | --- |")
    for name in filter(None, arguments.cases.split(",")):
        beside(name, arguments.rounds, arguments.dtype)
    if not arguments.no_search:
        searches(arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
