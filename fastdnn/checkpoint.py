"""Model files: safetensors with the arrays by name, the configuration as JSON in the metadata.

Nothing in a file is ever executed. This module knows no model: `Sequential` gives and takes what
is written here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from errno import EIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._files import replacing

Array = NDArray[Any]
FORMAT = "1"
_KEY = "fastdnn.model"
_FORMAT_KEY = "fastdnn.format"
_CHECKSUM_KEY = "fastdnn.checksum"


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
        If no file can be written at `path`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    for key, value in content.metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata: want strings, got {key!r}: {value!r}")
    config = json.dumps(content.config)
    tensors = {name: np.ascontiguousarray(array) for name, array in content.tensors.items()}
    checksum = _checksum(config, tensors, content.metadata)
    own = {_FORMAT_KEY: FORMAT, _KEY: config, _CHECKSUM_KEY: checksum}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={**content.metadata, **own})
        except SafetensorError as error:
            # the library tells an error of the system in words alone
            number = int(found[1]) if (found := re.search(r"os error (\d+)", str(error))) else EIO
            raise OSError(number, os.strerror(number), str(path)) from None


def read(path: str | Path) -> Content:
    """Read a file that `write` wrote.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        If there is no such file, or it is none that `write` wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; want a model that save wrote")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; want a model that save wrote")
    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            if metadata.pop(_FORMAT_KEY, None) != FORMAT or _KEY not in metadata:
                raise ValueError(f"{path}: not a model that this version of fastdnn wrote")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    text, checksum = metadata.pop(_KEY), metadata.pop(_CHECKSUM_KEY, None)
    # the files of 0.1.0 have none
    if checksum is not None and checksum != _checksum(text, tensors, metadata):
        raise damaged(path, ValueError("its checksum is not that of what it holds"))
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    return Content(config, tensors, metadata)


def _checksum(config: str, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """A number that says whether any bit of a file's content has changed."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([config, sorted(metadata.items())]).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def damaged(path: str | Path, error: Exception) -> ValueError:
    """Return the error that names a file of which `error` says what is wrong."""
    return ValueError(f"{path}: a damaged model file ({error!r})")
