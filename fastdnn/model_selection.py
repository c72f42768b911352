"""scikit-learn's searches, whose fits are trained side by side in the threads of this process.

A fit of fastdnn's runs outside Python's lock. So threads train all candidates and folds, and none
of them waits for a process to start, nor for data to be sent there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from joblib import parallel_config
from sklearn import model_selection as theirs
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - or they are not there

from fastdnn.kernels.cpu import threads

from .spread import active_backend

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
]


@contextmanager
def _in_threads(n_jobs: int | None) -> Iterator[None]:
    """Have joblib use threads, unless the user has chosen how many jobs, or a backend."""
    if n_jobs is not None or active_backend()[1]:
        yield
        return
    count = threads.get_num_threads()
    # scikit-learn changes the filters of warnings in each thread, and these are the process's: what
    # they were is brought back here. BLAS, of scores and scalers, would start threads in each.
    with (
        warnings.catch_warnings(),
        parallel_config("threading", n_jobs=count),
        threads.num_threads(count, blas=True),
    ):
        yield


class _SideBySide:
    """A search whose fits run in threads."""

    n_jobs: int | None

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run all fits, as many at once as `fastdnn.get_num_threads` says, and refit the best.

        Parameters
        ----------
        X, y, **params
            As scikit-learn's search takes them.

        Returns
        -------
        self
            With scikit-learn's attributes: the same ``cv_results_``, but for the times.
        """
        with _in_threads(self.n_jobs):
            super().fit(X, y, **params)  # type: ignore[misc]
        return self


class GridSearchCV(_SideBySide, theirs.GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` with its fits side by side in threads.

    The parameters, attributes and results are scikit-learn's. With `n_jobs`, or in joblib's
    ``parallel_config`` with another backend, the fits run there, as ever.
    """


class RandomizedSearchCV(_SideBySide, theirs.RandomizedSearchCV):
    """`sklearn.model_selection.RandomizedSearchCV`, see `GridSearchCV`."""


class HalvingGridSearchCV(_SideBySide, theirs.HalvingGridSearchCV):
    """`sklearn.model_selection.HalvingGridSearchCV`, see `GridSearchCV`."""


class HalvingRandomSearchCV(_SideBySide, theirs.HalvingRandomSearchCV):
    """`sklearn.model_selection.HalvingRandomSearchCV`, see `GridSearchCV`."""
