import gzip
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.idx import find_idx, read_idx
from tests.datafiles import IDX_TYPES, idx_bytes, write_idx


@pytest.mark.parametrize("kind", IDX_TYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0, 3)])
def test_every_type_and_shape_comes_back(tmp_path: Path, kind: str, shape: tuple[int]) -> None:
    want = np.random.default_rng(0).integers(0, 127, shape).astype(kind)
    got = read_idx(write_idx(tmp_path / "a", want))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_gz_is_unpacked(tmp_path: Path) -> None:
    want = np.arange(300, dtype=np.int32)
    np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "a.gz", want)), want)


GOOD = idx_bytes(np.zeros((2, 3), np.uint8))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"wrong magic number \(the file is empty\)"),
        (b"\0\0", "wrong magic number 00 00;"),
        (b"PK\3\4" + GOOD, "wrong magic number 50 4b 03 04"),
        (b"\0\0\7\1" + GOOD[4:], "wrong magic number 00 00 07 01"),
        (b"\0\0\x08\0" + GOOD[4:], "wrong magic number 00 00 08 00"),
        (
            GOOD[:-1],
            r"truncated: its head says shape \(2, 3\), which takes 18 bytes, and it has 17",
        ),
        (GOOD[:7], "truncated"),
        (GOOD + b"\0", "too long"),
        (b"\0\0\x08\3" + b"\xff" * 12, "truncated"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "its head says 255 dimensions; want up to 8"),
        (b"\0\0\x08\xff", "its head says 255 dimensions"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [PACKED[:-9], b"no gzip", PACKED[:15]])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged gzip"):
        read_idx(path)


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("train-images-idx3-ubyte", True),
        ("train-images.idx3-ubyte", True),
        ("t10k-labels-idx1-ubyte.gz", True),
        ("t10k-labels.idx1-ubyte.gz", True),
        ("train-images-idx3-ubyte.zip", False),
        ("other-images-idx3-ubyte", False),
        ("my-train-images-idx3-ubyte", False),
    ],
)
def test_mnist_names(tmp_path: Path, name: str, yes: bool) -> None:
    (tmp_path / name).touch()
    assert list(find_idx(tmp_path).values()) == ([tmp_path / name] if yes else [])


def test_plain_file_goes_before_its_packed_twin(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "t10k-labels.idx1-ubyte"):
        (tmp_path / name).touch()
    (tmp_path / "train-labels-idx1-ubyte").mkdir()
    assert find_idx(tmp_path) == {
        ("train", "images"): tmp_path / "train-images-idx3-ubyte",
        ("t10k", "labels"): tmp_path / "t10k-labels.idx1-ubyte",
    }
