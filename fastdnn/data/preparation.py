"""From a file's columns to a network's X and y, and from its outputs back to labels.

What the training data fixed (which columns, their scale, the classes) is kept here and stored with
a model, so that new data takes the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from .tables import NUMBERS_ONLY, Array, Columns, Part, quoted

Task = Literal["classification", "regression"]

_KEY = "fastdnn.data.preparation"  # in a model's metadata
_MOST_CLASSES = 100
_LEAST_SAMPLES_PER_CLASS = 4
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Scaling:
    """Shift and scale: (X - mean) / deviation.

    Parameters
    ----------
    mean, deviation : ndarray
        One a column, or one for all.
    """

    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, X: Array, names: tuple[str, ...] | None = None) -> Scaling:
        """Mean and standard deviation of each column; a constant column is only shifted.

        Raises
        ------
        ValueError
            If float64 cannot hold them, naming the first such column.
        """
        low, high = X.min(axis=0), X.max(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):  # it is refused below
            mean = X.mean(axis=0, dtype=np.float64)
            deviation = np.where(high > low, X.std(axis=0, dtype=np.float64), 1.0)
        bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(deviation) & (deviation > 0)))
        if len(bad):
            column = int(bad[0])
            raise ValueError(
                f"column {_named(column, names)}: want numbers whose mean and standard deviation"
                f" float64 can hold, got {np.ravel(low)[column]} to {np.ravel(high)[column]};"
                " choose another unit"
            )
        return cls(mean, deviation)

    def apply(self, X: Array, dtype: DTypeLike) -> Array:
        """Scale X (m, …), computed in float64: a float32 time stamp would lose its last minutes."""
        out = np.empty(X.shape, dtype)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            out[rows] = (X[rows] - self.mean) / self.deviation
        return out

    def undo(self, X: Array) -> Array:
        """Return what `apply` was given, as float64."""
        return np.asarray(X * self.deviation + self.mean, np.float64)


@dataclass(frozen=True, eq=False)
class Preparation:
    """What the training data fixed for all later data.

    Parameters
    ----------
    data : str
        The name of the training data.
    n_features : int
        n_0, the columns of X.
    scaling : Scaling
        Of the features.
    classes : ndarray or None
        The classes' labels, ascending, as the network's outputs are. None for regression.
    target_scaling : Scaling or None
        Of a regression's target: the network learns it with mean 0 and deviation 1.
    features : tuple of str or None
        The features' names.
    target : str or None
        The label column's name.
    label : int or None
        The label column's number.
    """

    data: str
    n_features: int
    scaling: Scaling
    classes: Array | None
    target_scaling: Scaling | None = None
    features: tuple[str, ...] | None = None
    target: str | None = None
    label: int | None = None

    @property
    def columns(self) -> Columns:
        """What a table of new data must have."""
        target = self.label if self.target is None else self.target
        return Columns(target, self.n_features, self.features, self.label)

    def inputs(self, part: Part, names: tuple[str, ...] | None, dtype: DTypeLike) -> Array:
        """X (m, n_0) for the network, from a file's columns.

        Raises
        ------
        ValueError
            If there are other columns than the network takes, or NaN or infinity in them.
        """
        X = part.X
        if names is not None and self.features is not None and names != self.features:
            X = X[:, [names.index(name) for name in self.features]]
        if X.shape[1] != self.n_features:
            raise ValueError(f"data: {X.shape[1]} features; the model takes {self.n_features}")
        check_finite(X, self.features)
        return self.scaling.apply(X, dtype)

    def labels(self, A: Array) -> Array:
        """Labels (m,) of outputs A (m, n_L): the likeliest class, or the target in its unit."""
        if self.classes is not None:
            return np.asarray(self.classes[A.argmax(axis=1)])
        assert self.target_scaling is not None
        return self.target_scaling.undo(A[:, 0])

    def to_metadata(self) -> dict[str, str]:
        """As entries of a model file's metadata, exact to the last digit."""
        state = {name: _plain(value) for name, value in vars(self).items()}
        return {_KEY: json.dumps(state, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Preparation:
        """Return what `to_metadata` stored.

        Raises
        ------
        ValueError
            If the model was saved without.
        """
        if _KEY not in metadata:
            raise ValueError(
                "the model does not say how its data were prepared, as those of 'fastdnn train' do;"
                " use fastdnn.load(path).predict(X) in Python"
            )
        try:
            return cls(**cls._decoded(json.loads(metadata[_KEY])))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"the model's account of its data is damaged, or of another version ({error})"
            ) from None

    @staticmethod
    def _decoded(state: dict[str, Any]) -> dict[str, Any]:
        """The fields that `_plain` made JSON of."""
        for name in ("scaling", "target_scaling"):
            if state[name] is not None:
                state[name] = Scaling(**{k: np.asarray(v) for k, v in state[name].items()})
        if state["classes"] is not None:
            state["classes"] = np.asarray(state["classes"])
        if state["features"] is not None:
            state["features"] = tuple(state["features"])
        return state


def encode_labels(y: Array, task: str | None) -> tuple[Array, Array | None]:
    """Turn labels as a file has them into class numbers, or into a regression's target.

    Parameters
    ----------
    y : ndarray, shape (m,)
        Numbers or text.
    task : {"classification", "regression"} or None
        None: classification if the labels are text, or whole numbers of two values, or of at most
        100 values with 4 samples or more to each in the mean.

    Returns
    -------
    y : ndarray, shape (m,)
        int64 class numbers, or float64.
    classes : ndarray or None
        The labels of the classes; None for regression.

    Raises
    ------
    ValueError
        If a label is missing, all are equal, or text is given as a regression's target.
    """
    numbers = as_numbers(y)
    missing = missing_labels(y)
    if missing.any():
        raise ValueError(
            f"labels: {missing.sum()} of {len(y)} are missing or infinite, the first in data row"
            f" {missing.argmax() + 1}; drop such rows"
        )
    if task == "regression" and numbers is None:
        raise ValueError(f"labels: {y[0]!s} is text; a regression's target is numbers")
    values = y if numbers is None else numbers
    # Larger floats are all whole: they are measured, not counted.
    if numbers is not None and np.abs(numbers).max() < 2**53 and (numbers % 1 == 0).all():
        values = numbers.astype(np.int64)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) == 1:
        raise ValueError(f"labels: all {len(y)} are {classes[0]!s}; there is nothing to learn")
    if task is None:
        few = len(classes) <= min(_MOST_CLASSES, max(2, len(y) // _LEAST_SAMPLES_PER_CLASS))
        whole = values.dtype.kind in "iU"
        task = "classification" if values.dtype.kind == "U" or (whole and few) else "regression"
    if task == "regression":
        assert numbers is not None
        return numbers, None
    return codes.astype(np.int64), classes


def missing_labels(y: Array) -> Array:
    """Which labels (m,) are empty, NaN or infinite."""
    numbers = as_numbers(y)
    return np.asarray(y == "" if numbers is None else ~np.isfinite(numbers))


def as_numbers(y: Array) -> Array | None:
    """Labels as float64, or None if one of them is text that is no number."""
    try:
        return y.astype(np.float64)
    except ValueError:
        return None


def check_finite(X: Array, names: tuple[str, ...] | None) -> None:
    """Refuse NaN and infinity, naming the first."""
    if X.dtype.kind != "f":
        return
    for start in range(0, len(X), _ROWS_AT_ONCE):
        bad = ~np.isfinite(X[start : start + _ROWS_AT_ONCE])
        if bad.any():
            row, column = np.unravel_index(bad.argmax(), bad.shape)
            where = f"data row {start + row + 1}, column {_named(int(column), names)}"
            raise ValueError(f"{where}: {X[start + row, column]}; {NUMBERS_ONLY}")


def _named(column: int, names: tuple[str, ...] | None) -> str:
    """A column's name in quotes, or its number from 1."""
    return str(column + 1) if names is None else quoted([names[column]])


def _plain(value: Any) -> Any:
    """A field as JSON knows it."""
    if isinstance(value, Scaling):
        return {"mean": value.mean.tolist(), "deviation": value.deviation.tolist()}
    return value.tolist() if isinstance(value, np.ndarray) else value
