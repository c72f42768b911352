"""Model files: safetensors with the arrays by name, the configuration as JSON in the metadata.

Nothing in a file is ever executed. This module knows no model: `Sequential` gives and takes what
is written here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from errno import EFBIG, EIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._files import replacing
from ._headers import MOST_HEADER, check_header, parsed

Array = NDArray[Any]
FORMAT = "1"
_KEY = "fastdnn.model"
_FORMAT_KEY = "fastdnn.format"
_CHECKSUM_KEY = "fastdnn.checksum"


# What a bad file may lead to, in code that is not made for it.
WRONG = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
# Files of others, by their suffixes, that a model's file would be taken for.
_OTHERS = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "Keras"),
    **dict.fromkeys((".pt", ".pth"), "PyTorch"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "Python's pickles"),
    **dict.fromkeys((".npy", ".npz"), "NumPy"),
    ".onnx": "ONNX",
}


class Content(NamedTuple):
    """What a file holds."""

    config: Any
    tensors: dict[str, Array]
    metadata: dict[str, str]


def write(path: str | Path, content: Content) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    TypeError
        If the metadata are not strings.
    OSError, ValueError
        If no file can be written at `path`, or a name in the metadata is one of fastdnn's own.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save_file

    path = Path(path)
    check_suffix("path", path)
    for key, value in content.metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata: want strings, got {key!r}: {value!r}")
        if key in (_FORMAT_KEY, _KEY, _CHECKSUM_KEY):
            raise ValueError(f"metadata: want names that fastdnn does not use itself, got {key!r}")
    config = json.dumps(content.config)
    tensors = {name: np.ascontiguousarray(array) for name, array in content.tensors.items()}
    checksum = _checksum(config, content.metadata, tensors, tensors.__getitem__)
    if len(config) > MOST_HEADER // 2:  # `read` would refuse the file
        raise OSError(EFBIG, "the model's description is too large", str(path))
    own = {_FORMAT_KEY: FORMAT, _KEY: config, _CHECKSUM_KEY: checksum}
    metadata = own | content.metadata
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
            # before it takes the place of a good one
            with safe_open(temporary, "numpy") as file:
                again = _checksum(config, content.metadata, tensors, file.get_tensor)
                is_there = file.metadata() == metadata and again == checksum
        except SafetensorError as error:
            raise _system_error(error, path) or OSError(EIO, str(error), str(path)) from None
        if not is_there:
            raise OSError(EIO, "the file does not hold what was written", str(path))


def check_suffix(name: str, path: str | Path) -> None:
    """Refuse to give a model's file the suffix of another format, by ValueError."""
    of = _OTHERS.get(Path(path).suffix.lower())
    if of is not None:
        raise ValueError(
            f"{name}: want the suffix .safetensors, as that is what a model's file is, got {path}, "
            f"which is {of}'s suffix"
        )


def read(path: str | Path) -> Content:
    """Read a file that `write` wrote.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is none that `write` wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; want a model that save wrote")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; want a model that save wrote")
    try:
        check_header(path)
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            is_ours = metadata.pop(_FORMAT_KEY, None) == FORMAT and _KEY in metadata
            names = file.keys() if is_ours else []
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, *WRONG) as error:
        if (of_system := _system_error(error, path)) is not None:
            raise of_system from None
        found = _kind(path)
        raise ValueError(
            f"{path}: {found or 'not a safetensors file'}; want a model that save wrote ({error})"
        ) from None
    if not is_ours:
        raise ValueError(f"{path}: not a model that this version of fastdnn wrote")
    text, checksum = metadata.pop(_KEY), metadata.pop(_CHECKSUM_KEY, None)
    # the files of 0.1.0 have none
    if checksum is not None and checksum != _checksum(text, metadata, tensors, tensors.__getitem__):
        raise damaged(path, ValueError("its checksum is not that of what it holds"))
    try:
        config = parsed(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    return Content(config, tensors, metadata)


def _system_error(error: Exception, path: Path) -> OSError | None:
    """Return the system's error, which the library tells in words alone, if it is one."""
    found = re.search(r"os error (\d+)", str(error))
    return found and OSError(int(found[1]), os.strerror(int(found[1])), str(path))


def _checksum(
    config: str,
    metadata: Mapping[str, str],
    names: Iterable[str],
    tensor_of: Callable[[str], Array],
) -> str:
    """Return a number that says whether any bit of a file's content has changed."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([config, sorted(metadata.items())]).encode())
    for name in sorted(names):
        array = tensor_of(name)
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _kind(path: Path) -> str | None:
    """Return what a file of another format is, where its first bytes tell."""
    with path.open("rb") as file:
        begin = file.read(8)
    if begin == b"\x89HDF\r\n\x1a\n":
        return "an HDF5 file, as Keras writes"
    if begin.startswith(b"\x80") and begin[1:2] <= b"\x05":
        return "a pickle"
    if begin.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    if "data.pkl" in names:
        return "a file of PyTorch"
    if "model.weights.h5" in names:
        return "a model of Keras"
    return "a file of NumPy" if any(name.endswith(".npy") for name in names) else "a ZIP archive"


def damaged(path: str | Path, error: Exception) -> ValueError:
    """Return the error that names a file of which `error` says what is wrong."""
    return ValueError(f"{path}: a damaged model file ({error!r})")
