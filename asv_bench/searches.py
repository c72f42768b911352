"""Time a search of networks beside scikit-learn's, on breast cancer with 5 folds.

    python asv_bench/searches.py [--candidates 100] [--rounds 1]

All search the same candidates with the same random states: fastdnn's search in threads and in
processes, and scikit-learn's search of its own networks in processes, which are started before.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from sklearn import model_selection as theirs
from sklearn import neural_network
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastdnn
from fastdnn.model_selection import GridSearchCV

GRID = {
    "hidden_layer_sizes": [(10,), (20,), (50,), (20, 10), (50, 20)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "batch_size": ["auto", 32],
}


def candidates(count: int) -> list[dict[str, list[Any]]]:
    """Return so many of the grid's points, spread over it, as grids of one point."""
    every = list(theirs.ParameterGrid(GRID))
    some = np.linspace(0, len(every) - 1, count).astype(int)
    return [{f"mlpclassifier__{name}": [value] for name, value in every[i].items()} for i in some]


def search(kind: Any, network: Any, count: int, **how: Any) -> Any:
    """Return the search, done."""
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), network(random_state=0))
    return kind(pipeline, candidates(count), cv=5, **how).fit(X, y)


def main() -> None:
    """Print the seconds of both, and what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the processes
    cpus = len(os.sched_getaffinity(0))
    ways: dict[str, Callable[[int], Any]] = {
        "fastdnn": lambda n: search(GridSearchCV, fastdnn.MLPClassifier, n),
        "processes": lambda n: search(GridSearchCV, fastdnn.MLPClassifier, n, n_jobs=cpus),
        "scikit-learn": lambda n: search(
            theirs.GridSearchCV, neural_network.MLPClassifier, n, n_jobs=cpus
        ),
    }
    for run in ways.values():
        run(2)  # compiles, and starts the processes
    best: dict[str, float] = {}
    found: dict[str, Any] = {}
    for _ in range(given.rounds):
        for way, run in ways.items():
            begin = perf_counter()
            found[way] = run(given.candidates)
            best[way] = min(best.get(way, np.inf), perf_counter() - begin)
    for way, seconds in best.items():
        one = found[way]
        point = {name.partition("__")[2]: value for name, value in one.best_params_.items()}
        print(
            f"{way:12} {seconds:7.2f} s  {best['scikit-learn'] / seconds:.2f}  "
            f"best {one.best_score_:.4f}: {point}"
        )
    scores = [one.cv_results_["mean_test_score"] for one in found.values()]
    print(f"largest difference of a candidate's score: {np.ptp(scores, axis=0).max():.4f}")


if __name__ == "__main__":
    main()
