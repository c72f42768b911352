"""IDX, the format of MNIST and of the data sets made after it.

A file is a magic number (two zero bytes, a code of the element type, the number of dimensions),
each dimension as a big-endian 32-bit integer, and the elements, the last dimension running fastest:
http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .texts import other_kind, unpacked

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8
_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx[1-4]-ubyte(\.gz)?")


def read_idx(path: str | Path) -> npt.NDArray[Any]:
    """Read one IDX file.

    Parameters
    ----------
    path : str or Path
        The file; unpacked on the way if its name ends in ``.gz``.

    Returns
    -------
    ndarray
        The elements, in the machine's byte order and with the file's dimensions.

    Raises
    ------
    ValueError
        If the file is no IDX file, or shorter or longer than its head says.
    """
    content = unpacked(Path(path))
    kind, dimensions = (content[2], content[3]) if len(content) >= 4 else (0, 0)
    if content[:2] != b"\0\0" or kind not in _TYPES or dimensions == 0:
        found = other_kind(content)
        what = "" if found is None else f"not an IDX file but {found}: "
        raise ValueError(
            f"{path}: {what}wrong magic number {content[:4].hex(' ') or '(the file is empty)'};"
            " an IDX file begins with 00 00, a type (08 for bytes) and the number of dimensions"
        )
    if dimensions > _MOST_DIMENSIONS:
        raise ValueError(
            f"{path}: damaged: its head says {dimensions} dimensions; want up to {_MOST_DIMENSIONS}"
        )
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(_TYPES[kind])
    want = start + math.prod(shape) * dtype.itemsize
    if len(content) != want:
        state = "truncated" if len(content) < want else "too long"
        raise ValueError(
            f"{path}: {state}: its head says shape {shape}, which takes {want} bytes, and it has"
            f" {len(content)}; fetch it again"
        )
    data = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return data.astype(dtype.newbyteorder("="), copy=False)


def find_idx(folder: str | Path) -> dict[tuple[str, str], Path]:
    """Find MNIST's files in a folder.

    Parameters
    ----------
    folder : str or Path
        Where to look. ``-`` and ``.`` before ``idx`` and a trailing ``.gz`` are all usual.

    Returns
    -------
    dict
        From ``("train" or "t10k", "images" or "labels")`` to the file.
    """
    found = {}
    # In reverse, so that a plain file replaces its packed twin.
    for path in sorted(Path(folder).iterdir(), reverse=True):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            found[match[1], match[2]] = path
    return found
