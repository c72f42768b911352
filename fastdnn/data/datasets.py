"""Data sets: scikit-learn's digits, or what a file or folder holds, split and scaled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike

from .arrays import read_idx_folder, read_idx_images, read_npy, read_npz
from .preparation import Preparation, Scaling, Task, check_finite, encode_labels
from .tables import Array, Columns, Part, Table, read_csv, read_parquet

_TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".data")
READERS: dict[str, Callable[[Path, Columns], Table]] = {
    **dict.fromkeys(_TEXT, read_csv),
    ".parquet": read_parquet,
    ".npz": read_npz,
    ".npy": read_npy,
}
_QUANTITIES = "choose task 'regression' if the labels are quantities"
KINDS = "a .csv, .parquet, .npz or .npy file, or a folder of IDX files as MNIST's"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples, ready for a network.

    Parameters
    ----------
    X_train, X_test : ndarray, shape (m, n_0)
        Scaled features: pixels to [0, 1], other columns to mean 0 and deviation 1 over the
        training part.
    y_train, y_test : ndarray, shape (m,)
        int64 class numbers, or a regression's target in its own unit.
    name : str
        "digits", or the name of the file or folder.
    preparation : Preparation
        How the columns were scaled and the labels encoded.
    image_shape : tuple of int or None
        The shape of one sample, if the samples are images.
    """

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    name: str
    preparation: Preparation
    image_shape: tuple[int, ...] | None = None

    @property
    def classes(self) -> Array | None:
        """The classes' labels: class number k is ``classes[k]``. None for regression."""
        return self.preparation.classes

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The features' names, if the file has them."""
        return self.preparation.features

    def __str__(self) -> str:
        what = f"{self.X_train.shape[1]} features"
        if self.image_shape is not None:
            what += f" ({' x '.join(map(str, self.image_shape))})"
        target = "one target" if self.classes is None else f"{len(self.classes)} classes"
        if self.preparation.target is not None:
            target += f" of column {self.preparation.target!r}"
        return (
            f"{self.name}: {len(self.X_train)} training and {len(self.X_test)} test samples,"
            f" {what}, {target}"
        )


def load(
    path: str | Path | None = None,
    *,
    target: str | int | None = None,
    test_size: float = 0.2,
    seed: int = 0,
    dtype: DTypeLike = "float32",
    task: str | None = None,
) -> Dataset:
    """Load a data set and make it ready for training.

    Parameters
    ----------
    path : str, Path or None
        - None: the 1,797 images of digits that come with scikit-learn.
        - a folder: the IDX files of MNIST, Fashion-MNIST and their like, plain or ``.gz``.
        - ``.csv`` (also ``.tsv``, ``.txt``, ``.data``): with a header or without.
        - ``.parquet``: needs ``pip install 'fastdnn[data]'``.
        - ``.npz``: ``X`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``.
        - ``.npy``: features and, in the last column, the labels.
    target : str, int or None
        The label column of a table: its name, or its number from 0. None is the last column.
    test_size : float
        The share of the samples that becomes the test part, the same in each class, where the file
        makes none itself.
    seed : int
        For that choice.
    dtype : {"float32", "float64"}
        Of X.
    task : {"classification", "regression"} or None
        None: regression if the labels are numbers of which many differ.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If an argument is wrong, there is no such file, it is damaged, features are not numbers, or
        anything is missing.
    ImportError
        If a Parquet file needs a package that is not installed.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype: {dtype}; want 'float32' or 'float64'")
    if not isinstance(test_size, Real) or not 0 < test_size < 1:
        raise ValueError(f"test_size: {test_size!r}; want a share between 0 and 1")
    if task not in (None, *get_args(Task)):
        raise ValueError(f"task: {task!r}; want {' or '.join(map(repr, get_args(Task)))}")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: {seed!r}; want a whole number from 0 to {2**32 - 1}")
    if not isinstance(target, str | Integral | None):
        raise ValueError(f"target: {target!r}; want a column's name, or its number from 0")
    if path is None and target is not None:
        raise ValueError(
            f"target: {target!r}; scikit-learn's digits have no columns to choose from"
        )
    if path is None:
        return _prepare("digits", _digits(), task, test_size, seed, dtype)
    table = read_table(path, Columns(target))
    try:
        return _prepare(Path(path).resolve().name, table, task, test_size, seed, dtype)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_new(
    path: str | Path, preparation: Preparation, dtype: DTypeLike = "float32"
) -> tuple[Array, Array | None]:
    """Load samples for a network that is trained: the test part of a file that has one, else all.

    Parameters
    ----------
    path : str or Path
        As for `load`; also one IDX file of images.
    preparation : Preparation
        That of the training data.
    dtype : {"float32", "float64"}
        Of X.

    Returns
    -------
    X : ndarray, shape (m, n_0)
        Scaled as the training data were.
    y : ndarray, shape (m,), or None
        The labels as the file has them, if it has any.

    Raises
    ------
    ValueError
        As `load`, and if the columns are not those of the training data.
    """
    table = read_table(path, preparation.columns)
    part = table.test or table.train
    assert part is not None
    try:
        return preparation.inputs(part, table.names, dtype), part.y
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_table(path: str | Path, columns: Columns) -> Table:
    """Read a file by its suffix, or a folder of IDX files."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; want {KINDS}")
    name = path.name.lower()
    reader = next((read for suffix, read in READERS.items() if name.endswith(suffix)), None)
    if path.is_dir():
        reader = read_idx_folder
    elif reader is None and "idx" in name:
        reader = read_idx_images
    if reader is None:
        raise ValueError(f"{path}: unknown kind of file; want {KINDS}")
    has_columns = reader in (read_csv, read_parquet, read_npy)
    if columns.n_features is None and columns.target is not None and not has_columns:
        raise ValueError(
            f"{path}: target: {columns.target!r}; only a table has columns to choose from"
        )
    return reader(path, columns)


def _digits() -> Table:
    """scikit-learn's digits: 1,797 images of 8 x 8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Table(Part(X, y), pixel_range=16.0, image_shape=(8, 8))


def _prepare(
    name: str, table: Table, task: str | None, test_size: float, seed: int, dtype: np.dtype[Any]
) -> Dataset:
    """Encode the labels, split, and scale by the training part."""
    parts = [part for part in (table.train, table.test) if part is not None]
    labels = [part.y for part in parts if part.y is not None]
    if table.train is None or len(labels) < len(parts):
        missing = "samples" if table.train is None else "labels"
        raise ValueError(f"training {missing} are missing")
    for part in parts:
        check_finite(part.X, table.names)
    y, classes = encode_labels(np.concatenate(labels), task)
    if table.test is None:
        train, test = _split(y, classes, test_size, seed)
        X_train, X_test = table.train.X[train], table.train.X[test]
    else:
        train, test = np.arange(len(table.train.X)), np.arange(len(table.train.X), len(y))
        X_train, X_test = table.train.X, table.test.X
    y_train, y_test = y[train], y[test]
    pixels = table.pixel_range
    if pixels is None:
        scaling = Scaling.fit(X_train, table.names)
    else:
        scaling = Scaling(np.zeros(1), np.array([pixels]))
    labels_name = (table.target or "labels",)
    target_scaling = Scaling.fit(y_train, labels_name) if classes is None else None
    n, label = X_train.shape[1], table.label
    preparation = Preparation(
        name, n, scaling, classes, target_scaling, table.names, table.target, label
    )
    X_train, X_test = scaling.apply(X_train, dtype), scaling.apply(X_test, dtype)
    return Dataset(X_train, y_train, X_test, y_test, name, preparation, table.image_shape)


def _split(y: Array, classes: Array | None, test_size: float, seed: int) -> tuple[Array, Array]:
    """The row numbers of the training and of the test part, each class in both by its share."""
    from sklearn.model_selection import train_test_split

    n_test = math.ceil(test_size * len(y))
    least = 2 if classes is None else len(classes)
    if min(n_test, len(y) - n_test) < least:
        why = "" if classes is None else f", one of each class; {_QUANTITIES}"
        raise ValueError(
            f"test_size: {test_size} of {len(y)} samples makes {len(y) - n_test} to train and"
            f" {n_test} to test; each part needs {least}{why}"
        )
    if classes is not None and np.bincount(y).min() < 2:
        rare = classes[np.bincount(y).argmin()]
        raise ValueError(
            f"labels: {rare!s} stands once, and each class must be in the training and the test"
            f" part; drop such rows, or {_QUANTITIES}"
        )
    rows = np.arange(len(y))
    stratify = None if classes is None else y
    train, test = train_test_split(rows, test_size=n_test, random_state=seed, stratify=stratify)
    return train, test
