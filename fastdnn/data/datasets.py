"""Data sets: scikit-learn's digits, or what a file or folder holds, split and prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike

from fastdnn._checks import check_count
from fastdnn._files import named

from .arrays import read_idx_folder, read_idx_images, read_npy, read_npz
from .columns import Column
from .csv_files import read_csv
from .features import Encoder, fit_columns
from .frames import read_parquet
from .labels import Task, choose_task, encode_labels, refuse_missing
from .preparation import Preparation
from .scaling import Scaling, check_finite
from .splits import Shares, split_rows
from .tables import Array, Columns, Part, Table, locate

_TEXT = (".csv", ".tsv", ".txt", ".data")
READERS: dict[str, Callable[[Path, Columns], Table]] = {
    **dict.fromkeys((*_TEXT, *(f"{suffix}.gz" for suffix in _TEXT)), read_csv),
    ".parquet": read_parquet,
    ".npz": read_npz,
    ".npy": read_npy,
}
KINDS = (
    "a .csv, .tsv, .txt, .data (each also .gz), .parquet, .npz or .npy file, a folder of Parquet"
    " files, or a folder of IDX files as MNIST's"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples, ready for a network.

    Parameters
    ----------
    X_train, X_test : ndarray, shape (m, n_0)
        Pixels scaled to [0, 1]; other numbers with mean 0 and deviation 1 over the training part,
        and categories with an input each, or as whole numbers where they are to be embedded.
    y_train, y_test : ndarray, shape (m,)
        int64 class numbers, or a regression's target in its own unit.
    name : str
        "digits", or the name of the file or folder.
    preparation : Preparation
        What was made of the columns and the labels.
    image_shape : tuple of int or None
        The shape of one sample, if the samples are images.
    X_validation, y_validation : ndarray or None
        As those of training, if a validation part was asked for.
    notes : tuple of str
        What is to be known of how the file was read.
    """

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    name: str
    preparation: Preparation
    image_shape: tuple[int, ...] | None = None
    X_validation: Array | None = None
    y_validation: Array | None = None
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> Array | None:
        """Return the classes' labels: class number k is ``classes[k]``. None for regression."""
        return self.preparation.classes

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Return the features' names, if the file has them."""
        return self.preparation.features

    def __str__(self) -> str:
        n_0, n = self.X_train.shape[1], self.preparation.n_features
        what = f"{n} feature{'s' * (n != 1)}"
        if n != n_0:
            what += f" as {n_0} input{'s' * (n_0 != 1)}"
        if self.image_shape is not None:
            what += f" ({' x '.join(map(str, self.image_shape))})"
        target = "one target" if self.classes is None else f"{len(self.classes)} classes"
        if self.preparation.target is not None:
            target += f" of column {self.preparation.target!r}"
        validation = self.X_validation
        held = "" if validation is None else f", {len(validation)} validation"
        return (
            f"{self.name}: {len(self.X_train)} training{held} and {len(self.X_test)} test samples,"
            f" {what}, {target}"
        )

    def report(self) -> str:
        """Say how the file was read, what was done with each column, and why the task is so."""
        lines = [f"file: {note}" for note in self.notes]
        return "\n".join([*lines, *filter(None, [self.preparation.report()])])


def load(
    path: str | Path | None = None,
    *,
    target: str | int | None = None,
    test_size: float = 0.2,
    seed: int = 0,
    dtype: DTypeLike = "float32",
    task: str | None = None,
    drop: Sequence[str | int] = (),
    validation_split: float = 0.0,
    embed_above: int | None = None,
) -> Dataset:
    """Load a data set and make it ready for training.

    Parameters
    ----------
    path : str, Path or None
        - None: the 1,797 images of digits that come with scikit-learn.
        - a folder: the IDX files of MNIST, Fashion-MNIST and their like, plain or ``.gz``.
        - ``.csv`` (also ``.tsv``, ``.txt``, ``.data``, each also ``.gz``): with a header or
          without. Columns may hold numbers, truth values, dates and text, and lack values.
        - ``.parquet``: the same; also a folder of such files. Both need
          ``pip install 'fastdnn[data]'``.
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
        None: by the rule `fastdnn.data.labels.RULE`; the report says how it came out.
    drop : sequence of str or int
        Columns of a table to leave out, as `target` names them.
    validation_split : float
        The share of the training samples that becomes a validation part; 0 makes none.
    embed_above : int, optional
        A table's text columns of more values become whole numbers, the last columns of X, which
        `preparation.cardinalities` names for a `ColumnEmbedding`. None: an input for each value.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If an argument is wrong, there is no such file, it is damaged, a column is neither numbers
        nor categories, a number is infinite, or a label is missing.
    ImportError
        If the file needs a package that is not installed.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype: {dtype}; want 'float32' or 'float64'")
    if not isinstance(test_size, Real) or not 0 < test_size < 1:
        raise ValueError(f"test_size: {test_size!r}; want a share between 0 and 1")
    if not isinstance(validation_split, Real) or not 0 <= validation_split < 1:
        raise ValueError(f"validation_split: {validation_split!r}; want a share from 0 and below 1")
    if task not in (None, *get_args(Task)):
        raise ValueError(f"task: {task!r}; want {' or '.join(map(repr, get_args(Task)))}")
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: {seed!r}; want a whole number from 0 to {2**32 - 1}")
    if not isinstance(target, str | Integral | None):
        raise ValueError(f"target: {target!r}; want a column's name, or its number from 0")
    if isinstance(drop, str) or not isinstance(drop, Sequence):
        raise ValueError(f"drop: {drop!r}; want a list of columns")
    if embed_above is not None:
        check_count("embed_above", embed_above, 1)
    for name, given in (("target", target), ("drop", [*drop] or None)):
        if path is None and given is not None:
            raise ValueError(
                f"{name}: {given!r}; scikit-learn's digits have no columns to choose from"
            )
    shares = Shares(float(test_size), float(validation_split), int(seed))
    plan = _Plan(task, shares, dtype, embed_above)
    if path is None:
        return _prepare("digits", _digits(), plan)
    table = read_table(path, Columns(target))
    dropped = _dropped(Path(path), table, drop)
    try:
        return _prepare(Path(path).resolve().name, table, plan, dropped)
    except ValueError as error:
        of = ""
        if table.label is not None and str(error).startswith("labels"):
            column = f"column {table.label}" if table.target is None else repr(table.target)
            of = f"target {column} (--target names another): "
        raise ValueError(f"{path}: {of}{error}") from None


class _Plan(NamedTuple):
    """What `load` was asked for."""

    task: str | None
    shares: Shares
    dtype: np.dtype[Any]
    embed_above: int | None


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
        Prepared as the training data were.
    y : ndarray, shape (m,), or None
        The labels as the file has them, if it has any.

    Raises
    ------
    ValueError
        As `load`, and if the columns are not those of the training data.
    """
    table = read_table(path, preparation.known)
    part = table.test or table.train
    assert part is not None
    try:
        return preparation.inputs(part.X, dtype), part.y
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
        reader = read_parquet if any(path.rglob("*.parquet")) else read_idx_folder
    elif reader is None and "idx" in name:
        reader = read_idx_images
    if reader is None:
        raise ValueError(f"{path}: unknown kind of file; want {KINDS}")
    has_columns = reader in (read_csv, read_parquet, read_npy)
    if columns.n_features is None and columns.target is not None and not has_columns:
        raise ValueError(
            f"{path}: target: {columns.target!r}; only a table has columns to choose from"
        )
    with named(path):
        return reader(path, columns)


def _digits() -> Table:
    """scikit-learn's digits: 1,797 images of 8 x 8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Table(Part(X, y), pixel_range=16.0, image_shape=(8, 8))


def _dropped(path: Path, table: Table, drop: Sequence[str | int]) -> list[int]:
    """Return the numbers among the features of the columns to leave out."""
    part = table.train or table.test
    assert part is not None
    n_columns = part.X.shape[1] + (table.label is not None)
    names = None if table.names is None else list(table.names)
    if names is not None and table.label is not None and table.target is not None:
        names.insert(table.label, table.target)
    places = [i for i in range(n_columns) if i != table.label]
    found = []
    for column in drop:
        at = locate(path, "drop", column, names, n_columns)
        if at == table.label:
            raise ValueError(f"{path}: drop: {column!r} is the label column; name a feature")
        found.append(places.index(at))
    return found


def _prepare(name: str, table: Table, plan: _Plan, dropped: Sequence[int] = ()) -> Dataset:
    """Encode the labels, split, and prepare the columns by the training part alone."""
    parts = [part for part in (table.train, table.test) if part is not None]
    labels = [part.y for part in parts if part.y is not None]
    if table.train is None or len(labels) < len(parts):
        missing = "samples" if table.train is None else "labels"
        raise ValueError(f"training {missing} are missing")
    if table.test is not None:
        check_finite(table.test.X, table.names, missing=True)
    y = np.concatenate(labels)
    refuse_missing(y)
    task, why = choose_task(y, plan.task, of_images=table.pixel_range is not None)
    y, classes = encode_labels(y, task)
    n_test = None if table.test is None else len(table.test.X)
    train, validation, test = split_rows(y, classes, plan.shares, n_test)
    columns, scaling, X = _fit(table, train, dropped, plan)
    target_scaling = Scaling.fit(y[train], (table.target or "labels",)) if classes is None else None
    preparation = Preparation(
        name,
        table.train.X.shape[1],
        scaling,
        classes,
        target_scaling,
        table.names,
        table.target,
        table.label,
        columns,
        _explain(task, why, table, plan),
    )
    X_test = X[test] if table.test is None else preparation.inputs(table.test.X, plan.dtype)
    has_validation = len(validation) > 0
    return Dataset(
        X if len(train) == len(X) else X[train],  # in a file with a test part they are in order
        y[train],
        X_test,
        y[test],
        name,
        preparation,
        table.image_shape,
        X[validation] if has_validation else None,
        y[validation] if has_validation else None,
        table.notes,
    )


def _fit(
    table: Table, train: Array, dropped: Sequence[int], plan: _Plan
) -> tuple[tuple[Column, ...] | None, Scaling, Array]:
    """Learn columns and scaling from the training rows, and prepare all rows by them."""
    assert table.train is not None
    X = table.train.X
    if table.image_shape is not None:
        if dropped:
            raise ValueError("drop: images have no columns to choose from")
        check_finite(X, None)
        scaling = Scaling.fit(X[train]) if table.pixel_range is None else _pixels(table.pixel_range)
        return None, scaling, scaling.apply(X, plan.dtype)
    columns, values = fit_columns(
        X, table.names, train, dropped, label=table.label, decimal_comma=table.decimal_comma,
        embed_above=plan.embed_above,
    )  # fmt: skip
    encoder = Encoder(columns)
    numbers = encoder.numbers(values, len(X))
    scaling = Scaling(np.zeros(0), np.ones(0))
    if numbers.shape[1]:
        scaling = Scaling.fit(numbers[train], encoder.names)
    return columns, scaling, encoder.apply(values, numbers, scaling, plan.dtype)


def _pixels(largest: float) -> Scaling:
    return Scaling(np.zeros(1), np.array([largest]))


def _explain(task: Task, why: str, table: Table, plan: _Plan) -> str:
    """Say which column the labels are in, why the task is what it is, and what changes both."""
    labels = "the labels"
    if table.label is not None:
        column = f"column {table.label}" if table.target is None else repr(table.target)
        labels = f"the labels, {column} (--target names another),"
    if plan.task is not None:
        return f"{task}, as asked for, of {labels.rstrip(',')}"
    other = "classification" if task == "regression" else "regression"
    change = "" if why.startswith("text") else f" (wrong? use --task {other})"
    return f"{task}: {labels} are {why}{change}"
