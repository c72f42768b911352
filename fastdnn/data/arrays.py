"""Arrays with labels: .npz and .npy files, and IDX files in a folder as MNIST's."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from fastdnn._files import is_of_system

from .bounds import check_unpacked
from .idx import find_idx, read_idx
from .labels import plain_labels
from .tables import Array, Columns, Part, Table, split_label
from .texts import other_kind

# What NumPy raises on a damaged file, where it does not say ValueError.
DAMAGE = (
    ValueError, EOFError, KeyError, AttributeError, OSError, OverflowError, MemoryError,
    NotImplementedError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_SPLIT = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path, columns: Columns) -> Table:
    """Read X and y, or x_train, y_train, x_test and y_test; there may be no labels."""
    arrays = {name.lower(): array for name, array in _load(path, "npz").items()}
    if "x" in arrays:
        return arrays_table(path, {"train": (arrays["x"], arrays.get("y"))})
    parts = {
        part: (arrays[f"x_{part}"], arrays.get(f"y_{part}"))
        for part in ("train", "test")
        if f"x_{part}" in arrays
    }
    if not parts:
        raise ValueError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'no arrays'}; want X and y, or"
            f" {', '.join(_SPLIT)}"
        )
    return arrays_table(path, parts)


def read_npy(path: Path, columns: Columns) -> Table:
    """Read one array of numbers (m, n + 1), whose last column holds the labels."""
    (data,) = _load(path, "npy").values()
    _check_numbers(path, "columns", data)
    if data.ndim != 2 or len(data) == 0:
        raise ValueError(f"{path}: shape {data.shape}; want (samples, features + 1)")
    label = columns.label(path, None, data.shape[1])
    if label is None:
        return Table(Part(data))
    return split_label(Part(np.delete(data, label, axis=1), data[:, label]), None, label)


def read_idx_folder(path: Path, columns: Columns) -> Table:
    """Read the train and t10k files of a folder, as far as there are images."""
    files = find_idx(path)
    parts = {
        part: (read_idx(files[name, "images"]), _read_labels(files.get((name, "labels"))))
        for part, name in (("train", "train"), ("test", "t10k"))
        if (name, "images") in files
    }
    if not parts:
        raise ValueError(
            f"{path}: no IDX files in this folder; want train-images-idx3-ubyte,"
            " train-labels-idx1-ubyte, and the two of t10k, also ending in .gz"
        )
    return arrays_table(path, parts)


def read_idx_images(path: Path, columns: Columns) -> Table:
    """Read one file of images to predict, with the labels that lie beside it if there are any."""
    if columns.n_features is None:
        raise ValueError(
            f"{path}: one IDX file; training takes the folder that holds images and labels"
        )
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = beside if beside != path and beside.exists() else None
    return arrays_table(path, {"train": (read_idx(path), _read_labels(labels))})


def arrays_table(path: Path, arrays: dict[str, tuple[Array, Array | None]]) -> Table:
    """Check arrays by part, "train" or "test", and flatten each sample to a row of features.

    Bytes in more than two dimensions are pixels. In two they may be anything that fits a byte.
    """
    for part, (X, y) in arrays.items():
        _check_part(path, part, X, y)
    shapes = {X.shape[1:] for X, _ in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"{path}: samples of shape {' and '.join(map(str, shapes))}; want one shape"
        )
    parts = {
        part: Part(X.reshape(len(X), -1), None if y is None else plain_labels(y))
        for part, (X, y) in arrays.items()
    }
    shape = shapes.pop()
    is_pixels = len(shape) > 1 and all(X.dtype == np.uint8 for X, _ in arrays.values())
    return Table(
        parts.get("train"),
        parts.get("test"),
        pixel_range=255.0 if is_pixels else None,
        image_shape=shape if len(shape) > 1 else None,
    )


def _load(path: Path, kind: str) -> dict[str, Array]:
    """Return the arrays of an .npz file by their names, or the one of an .npy file."""
    wrong = f"{path}: not an .{kind} file of plain arrays"
    try:
        # Opened here, for NumPy leaves a damaged file open.
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                _check_members(path, file)
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except DAMAGE as error:
        if is_of_system(error):  # the system's, not NumPy's
            raise
        if str(error).startswith(f"{path}: "):
            raise
        with path.open("rb") as file:
            found = other_kind(file.read(1000))
        if found is not None and not (kind == "npz" and "zip" in found):
            raise ValueError(f"{wrong} but {found}") from None
        reason = str(error).split(".")[0]  # without NumPy's advice on pickles
        hint = "; save text as y.astype(str)" if "Object arrays" in reason else ""
        raise ValueError(f"{wrong} ({reason}){hint}") from None
    other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if other:
        raise ValueError(f"{wrong}: {other[0]!r} in it is none")
    if isinstance(loaded, np.ndarray) != (kind == "npy"):
        raise ValueError(f"{wrong}, but an {'.npz' if kind == 'npy' else '.npy'} file; rename it")
    return arrays


def _check_members(path: Path, file: IO[bytes]) -> None:
    """Refuse an archive that unpacks to too much, or has two arrays of one name."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    size, names = path.stat().st_size, [one.filename.lower() for one in members]
    for one in members:
        check_unpacked(path, one.file_size, min(one.compress_size, size))
    check_unpacked(path, sum(one.file_size for one in members), size)
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: has two arrays of one name; want each once")


def _check_part(path: Path, part: str, X: Array, y: Array | None) -> None:
    """Refuse what is no matrix of numbers with one label a row."""
    _check_numbers(path, f"{part} features", X)
    if X.ndim < 2 or X.size == 0:
        raise ValueError(f"{path}: {part} features of shape {X.shape}; want (samples, features)")
    if y is None:
        return
    if y.ndim != 1 and not (y.ndim == 2 and y.shape[1] == 1):
        raise ValueError(
            f"{path}: {part} labels of shape {y.shape}; want ({len(X)},), one label a sample"
            " (y.argmax(axis=1) undoes a one-hot encoding)"
        )
    if len(y) != len(X):
        raise ValueError(f"{path}: {len(X)} {part} samples and {len(y)} labels; want as many")


def _check_numbers(path: Path, what: str, data: Array) -> None:
    """Refuse text, times and objects."""
    if data.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {what} have dtype {data.dtype}; want numbers")


def _read_labels(path: Path | None) -> Array | None:
    """Return the labels of an IDX file, if there is one."""
    return None if path is None else read_idx(path)
