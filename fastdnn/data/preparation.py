"""From a table's columns to a network's X and y, and from its outputs back to labels.

What the training data fixed (what each column holds, its scale, the classes) is kept here and
stored with a model, so that new data takes the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastdnn._checks import check_number
from fastdnn._headers import parsed
from fastdnn.checkpoint import WRONG

from .columns import Column
from .features import Encoder, column_of
from .frames import as_frame, is_frame
from .labels import as_labels, as_numbers, match_labels
from .scaling import Array, Scaling, check_finite
from .tables import Columns, quoted

_DAMAGED = "the model's account of its data is damaged, or of another version ({})"
_KEY = "fastdnn.data.preparation"  # in a model's metadata


@dataclass(frozen=True, eq=False)
class Preparation:
    """What the training data fixed for all later data.

    Parameters
    ----------
    data : str
        The name of the training data.
    n_features : int
        How many columns they had, without the labels.
    scaling : Scaling
        Of the inputs that are numbers.
    classes : ndarray or None
        The classes' labels, ascending, as the network's outputs are. None for regression.
    target_scaling : Scaling or None
        Of a regression's target: the network learns it with mean 0 and deviation 1.
    features : tuple of str or None
        The columns' names.
    target : str or None
        The label column's name.
    label : int or None
        The label column's number.
    columns : tuple of Column or None
        What each column holds. None: finite numbers in all, none left out.
    task : str
        Why the task is what it is, for the report.
    """

    data: str
    n_features: int
    scaling: Scaling
    classes: Array | None
    target_scaling: Scaling | None = None
    features: tuple[str, ...] | None = None
    target: str | None = None
    label: int | None = None
    columns: tuple[Column, ...] | None = None
    task: str = ""

    @property
    def known(self) -> Columns:
        """Return what a table of new data must have."""
        target = self.label if self.target is None else self.target
        names = self.features
        names = None if names is None else tuple(names[i] for i in self._used)
        return Columns(target, self.n_features, names, self.label)

    @cached_property
    def _encoder(self) -> Encoder | None:
        return None if self.columns is None else Encoder(self.columns)

    @property
    def cardinalities(self) -> dict[int, int]:
        """Return X's columns that are to be embedded, and how many whole numbers each may hold."""
        return {} if self._encoder is None else self._encoder.cardinalities

    @property
    def _used(self) -> list[int]:
        return list(range(self.n_features)) if self._encoder is None else self._encoder.used

    def inputs(self, X: Any, dtype: DTypeLike) -> Array:
        """Make X (m, n_0) for the network of a table's columns.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array_like of shape (m, n)
            A frame's columns are found by their names, in any order, beside others. Rows without
            names have the columns of the training file in its order, with the labels or without.
        dtype : {"float32", "float64"}

        Raises
        ------
        TypeError, ValueError
            If columns are missing, or hold something else than those of the training data.
        """
        X = as_frame(X)
        columns = self._columns(X)
        if self._encoder is not None:
            numbers = self._encoder.numbers(columns, len(X))
            return self._encoder.apply(columns, numbers, self.scaling, dtype)
        if isinstance(X, np.ndarray) and len(columns) == X.shape[1]:
            numbers = X
        else:
            names = self.features or tuple(map(str, columns))
            parts = [Column(names[i], "number").numbers(X)[0] for i, X in columns.items()]
            numbers = np.column_stack(parts)
        check_finite(numbers, self.features)
        return self.scaling.apply(numbers, dtype)

    def _columns(self, X: Any) -> dict[int, Any]:
        """Return the columns that are read, by their numbers in the training file."""
        has_names = is_frame(X) and list(X.columns) != list(range(X.shape[1]))
        if self.features is not None and has_names:
            names = [str(name).strip() for name in X.columns]
            wanted = {i: self.features[i] for i in self._used}
            absent = [name for name in wanted.values() if name not in names]
            if absent:
                raise ValueError(
                    f"no column {quoted(absent)}; the model was trained on"
                    f" {quoted(list(wanted.values()))}"
                )
            return {i: X.iloc[:, names.index(name)] for i, name in wanted.items()}
        places = list(range(X.shape[1]))
        if X.shape[1] == self.n_features + 1 and self.label is not None:
            places.remove(self.label)
        if len(places) != self.n_features:
            told = "" if self.features is None else f": {quoted(self.features, most=30)}"
            raise ValueError(
                f"{X.shape[1]} features; the model takes {self.n_features}, as its training"
                f" data have{told}"
            )
        return {i: column_of(X, places[i]) for i in self._used}

    def labels(self, A: Array) -> Array:
        """Return labels (m,) of what `outputs` gave: the likeliest class, or the target."""
        return A[:, 0] if self.classes is None else np.asarray(self.classes[A.argmax(axis=1)])

    def outputs(self, A: Array) -> Array:
        """Return A as users want it: probabilities as they are, a target (m, 1) in its own unit."""
        return A if self.target_scaling is None else self.target_scaling.undo(A)

    def targets(self, y: ArrayLike) -> Array:
        """Return labels as the training file has them, as the network compares with its outputs.

        Returns
        -------
        ndarray, shape (m,)
            int64 class numbers, or a scaled target as float64.

        Raises
        ------
        ValueError
            If a label is missing or was not in the training data.
        """
        given = as_labels(y)
        if self.classes is None:
            numbers = as_numbers(given)
            if numbers is None or not np.isfinite(numbers).all():
                raise ValueError("want finite numbers, as the training file's labels are")
            assert self.target_scaling is not None
            return self.target_scaling.apply(numbers, np.float64)
        codes = self.codes(given)
        if (codes < 0).any():
            at = int((codes < 0).argmax())
            known = quoted([str(label) for label in self.classes])
            raise ValueError(f"got {str(given[at])!r} at y[{at}]; the model's classes are {known}")
        return codes

    def codes(self, y: Array) -> Array:
        """Class numbers (m,) of labels, with -1 for those that the training data did not have."""
        assert self.classes is not None
        return match_labels(y, self.classes)

    def report(self) -> str:
        """Say what was done with each column and why the task is what it is, line by line."""
        lines = [f"task: {self.task}"] if self.task else []
        groups: dict[str, list[str]] = {}
        for column in self.columns or ():
            groups.setdefault(column.note, []).append(column.name)
        counted = ", numbered from 0" if self.features is None else ""
        lines += [f"columns{counted}:"] if groups else []
        lines += [f"  {quoted(names)}: {note}" for note, names in groups.items()]
        return "\n".join(lines)

    def to_metadata(self) -> dict[str, str]:
        """As entries of a model file's metadata, exact to the last digit."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        state = {name: _plain(value) for name, value in fields.items()}
        return {_KEY: json.dumps(state, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Preparation | None:
        """Return what `to_metadata` stored, or None if the model was saved without.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        if _KEY not in metadata:
            return None
        try:
            return cls(**cls._decoded(parsed(metadata[_KEY])))
        except WRONG as error:
            raise ValueError(_DAMAGED.format(error)) from None

    def check_network(self, n_0: int, n_outputs: int) -> None:
        """Refuse an account of data that are not those of a network with so many in- and outputs.

        Raises
        ------
        ValueError
            If it is.
        """
        try:
            self._check_sizes(n_0, n_outputs)
        except WRONG as error:
            raise ValueError(_DAMAGED.format(error)) from None

    def _check_sizes(self, n_0: int, n_outputs: int) -> None:
        encoder, columns = self._encoder, self.columns
        check_number("n_features", self.n_features, "[1, inf)", whole=True)
        found = self.n_features if encoder is None else encoder.n_outputs
        if found != n_0:
            raise ValueError(f"want {n_0} inputs, got {found}")
        sizes = {n_0} if encoder is None else {len(encoder.fills)}
        _check_scaling(self.scaling, sizes | {1})
        for names in (self.features, columns):
            if names is not None and len(names) != self.n_features:
                raise ValueError(f"want {self.n_features} columns, got {len(names)}")
        if not all(isinstance(name, str) for name in self.features or ()):
            raise TypeError(f"want names of columns, got {self.features!r}")
        for column in columns or ():
            if len(set(column.categories)) < len(column.categories):
                raise ValueError(f"want different categories of {column.name!r}")
        if self.classes is not None and self.classes.shape != (n_outputs,):
            raise ValueError(f"want {n_outputs} classes, got {self.classes.shape}")
        if self.classes is None:
            if self.target_scaling is None:
                raise ValueError("want the target's scaling")
            _check_scaling(self.target_scaling, {1})

    @staticmethod
    def kept_apart(metadata: Mapping[str, str]) -> dict[str, str]:
        """Return the entries of a model file's metadata that are not `to_metadata`'s."""
        return {key: text for key, text in metadata.items() if key != _KEY}

    @staticmethod
    def _decoded(state: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that `_plain` made JSON of."""
        for name in ("scaling", "target_scaling"):
            if state[name] is not None:
                state[name] = Scaling(**{k: np.asarray(v) for k, v in state[name].items()})
        if state["classes"] is not None:
            state["classes"] = np.asarray(state["classes"])
        if state["features"] is not None:
            state["features"] = tuple(state["features"])
        if state.get("columns") is not None:  # 0.1.0 knew numbers alone
            state["columns"] = tuple(Column.from_facts(facts) for facts in state["columns"])
        return state


def prepared(name: str, given: Any, prepare: Callable[[Any], Array]) -> Array:
    """Return what `prepare` makes of a user's argument; its errors begin with the name."""
    try:
        return prepare(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _check_scaling(scaling: Scaling, sizes: set[int]) -> None:
    mean, deviation = scaling.mean, scaling.deviation
    if mean.shape != deviation.shape or not {mean.dtype.kind, deviation.dtype.kind} <= set("iuf"):
        raise ValueError("want a mean and a deviation of each column")
    if mean.size not in sizes or not np.isfinite([mean, deviation]).all() or (deviation <= 0).any():
        raise ValueError(f"want finite means and deviations of {sizes} columns, got {mean.shape}")


def _plain(value: Any) -> Any:
    """Return a field as JSON knows it."""
    if isinstance(value, Scaling):
        return {"mean": value.mean.tolist(), "deviation": value.deviation.tolist()}
    if isinstance(value, tuple) and value and isinstance(value[0], Column):
        return [asdict(column) for column in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
