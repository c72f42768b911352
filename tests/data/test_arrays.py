from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.arrays import arrays_table, read_idx_folder, read_idx_images, read_npy, read_npz
from fastdnn.data.tables import Columns
from tests.datafiles import images, write_idx, write_idx_folder

TRAIN = Columns()
X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "t.npz", **arrays)
    return folder / "t.npz"


@pytest.mark.parametrize("names", ["Xy", "xy", "xY"])
def test_npz_of_x_and_y(tmp_path: Path, names: str) -> None:
    table = read_npz(npz(tmp_path, **{names[0]: X, names[1]: Y}), TRAIN)
    assert table.train is not None
    np.testing.assert_array_equal(table.train.X, X)
    np.testing.assert_array_equal(table.train.y, Y)
    assert (
        table.test is table.names is table.label is table.pixel_range is table.image_shape is None
    )


def test_npz_with_a_test_part_of_images(tmp_path: Path) -> None:
    train, y = images(6)
    path = npz(tmp_path, x_train=train, y_train=y, x_test=train[:2], y_test=y[:2, None])
    table = read_npz(path, TRAIN)
    assert table.train is not None
    assert table.test is not None
    np.testing.assert_array_equal(table.train.X, train.reshape(6, 20))
    np.testing.assert_array_equal(table.test.y, y[:2])
    assert (table.pixel_range, table.image_shape) == (255, (4, 5))


def test_bytes_in_a_table_and_float_images_are_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "t"
    table = arrays_table(path, {"train": (np.eye(3, dtype=np.uint8), None)})
    assert (table.pixel_range, table.image_shape) == (None, None)
    table = arrays_table(path, {"train": (np.ones((3, 2, 2)), None)})
    assert (table.pixel_range, table.image_shape) == (None, (2, 2))


@pytest.mark.parametrize(
    ("y", "want"),
    [
        (np.array(["a", "b", "a", "c"]), ["a", "b", "a", "c"]),
        (np.array([b"a", b"b", b"a", b"c"]), ["a", "b", "a", "c"]),
        (np.array([True, False, True, False]), ["True", "False", "True", "False"]),
        (np.array([[1.5], [2], [3], [4]]), [1.5, 2, 3, 4]),
    ],
)
def test_npz_labels_of_any_plain_kind(tmp_path: Path, y: np.ndarray, want: list) -> None:
    table = read_npz(npz(tmp_path, X=X, y=y), TRAIN)
    assert table.train is not None
    assert table.train.y is not None
    assert table.train.y.tolist() == want


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": Y}, "holds a, b; want X and y, or x_train, y_train, x_test, y_test"),
        ({}, "holds no arrays"),
        ({"X": X, "y": Y[:3]}, "4 train samples and 3 labels; want as many"),
        ({"X": X, "y": np.eye(4)}, r"train labels of shape \(4, 4\); want \(4,\), .*argmax"),
        ({"X": X, "y": np.array(1)}, r"train labels of shape \(\)"),
        ({"X": X[0], "y": Y}, r"train features of shape \(3,\); want \(samples, features\)"),
        ({"X": X[:0], "y": Y[:0]}, r"train features of shape \(0, 3\)"),
        ({"X": X.astype(str), "y": Y}, "train features have dtype <U32; want numbers"),
        ({"x_train": X, "x_test": X[:, :2]}, r"samples of shape .*\(3,\).*; want one shape"),
        ({"X": X, "y": np.array([{}] * 4)}, r"not an \.npz file of plain arrays.*astype\(str\)"),
    ],
)
def test_npz_errors(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = npz(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        read_npz(path, TRAIN)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_web_page_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text("<!DOCTYPE html>\n<html>Not found</html>")
    with pytest.raises(ValueError, match=rf"not an \.{suffix} file of plain arrays but a web page"):
        (read_npy if suffix == "npy" else read_npz)(path, TRAIN)
    with pytest.raises(
        ValueError, match="not an IDX file but a web page, not the file itself: wro"
    ):
        read_idx_images(path, Columns(n_features=3))


def test_text_labels_stay_text(tmp_path: Path) -> None:
    for labels in (["02139", "06520", "1e2", "100"], ["1", "2", "1", "2"]):
        table = read_npz(npz(tmp_path, X=X, y=np.array(labels)), TRAIN)
        assert table.train is not None
        assert table.train.y is not None
        assert table.train.y.tolist() == labels


@pytest.mark.parametrize("content", [b"", b"1,2\n", b"PK\3\4 and no more"])
def test_damaged_npz_and_npy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        read_npz(path, TRAIN)
    with pytest.raises(ValueError, match=r"not an \.npy file"):
        read_npy(path, TRAIN)


def test_npy_named_npz_and_npz_named_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(ValueError, match=r"not an \.npz file .*, but an \.npy file; rename it"):
        read_npz(tmp_path / "a.npy", TRAIN)
    with pytest.raises(ValueError, match=r"not an \.npy file .*, but an \.npz file; rename it"):
        read_npy(npz(tmp_path, X=X), TRAIN)


@pytest.mark.parametrize(
    ("columns", "features", "labels"),
    [
        (TRAIN, X[:, :2], X[:, 2]),
        (Columns(0), X[:, 1:], X[:, 0]),
        (Columns(2, 2), X[:, :2], X[:, 2]),
        (Columns(2, 3), X, None),
    ],
)
def test_npy(tmp_path: Path, columns: Columns, features: np.ndarray, labels) -> None:
    np.save(tmp_path / "t.npy", X)
    table = read_npy(tmp_path / "t.npy", columns)
    assert table.train is not None
    np.testing.assert_array_equal(table.train.X, features)
    assert (table.train.y is None) == (labels is None)
    if labels is not None:
        np.testing.assert_array_equal(table.train.y, labels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[0], r"shape \(3,\); want \(samples, features \+ 1\)"),
        (X[:0], r"shape \(0, 3\)"),
        (X[:, :1], "one column"),
        (X.astype(str), "columns have dtype <U32"),
        (np.array([[{}, 1]]), r"not an \.npy file of plain arrays"),
    ],
)
def test_npy_errors(tmp_path: Path, data: np.ndarray, message: str) -> None:
    np.save(tmp_path / "t.npy", data)
    with pytest.raises(ValueError, match=message):
        read_npy(tmp_path / "t.npy", TRAIN)


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path: Path, dash: str, suffix: str) -> None:
    table = read_idx_folder(write_idx_folder(tmp_path, dash, suffix), TRAIN)
    assert table.train is not None
    assert table.test is not None
    want, y = images(60)
    np.testing.assert_array_equal(table.train.X, want.reshape(60, 20))
    np.testing.assert_array_equal(table.train.y, y)
    assert table.test.X.shape == (15, 20)
    assert (table.pixel_range, table.image_shape) == (255, (4, 5))


def test_idx_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no IDX files in this folder; want train-images-idx3"):
        read_idx_folder(tmp_path, TRAIN)
    write_idx_folder(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(14, np.uint8))
    with pytest.raises(ValueError, match="15 test samples and 14 labels"):
        read_idx_folder(tmp_path, TRAIN)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((14, 4, 6), np.uint8))
    with pytest.raises(ValueError, match=r"samples of shape .*\(4, 6\)"):
        read_idx_folder(tmp_path, TRAIN)


def test_one_idx_file_of_images(tmp_path: Path) -> None:
    path = write_idx_folder(tmp_path) / "t10k-images-idx3-ubyte"
    with pytest.raises(ValueError, match="one IDX file; training takes the folder"):
        read_idx_images(path, TRAIN)
    table = read_idx_images(path, Columns(n_features=20))
    assert table.train is not None
    np.testing.assert_array_equal(table.train.y, images(15)[1])
    path.with_name("t10k-labels-idx1-ubyte").unlink()
    table = read_idx_images(path, Columns(n_features=20))
    assert table.train is not None
    assert table.train.y is None
