import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastdnn.data.datasets import load, load_new
from tests.datafiles import flowers, images, write_csv, write_idx, write_idx_folder


def test_digits_are_the_default() -> None:
    data = load()
    assert data.name == "digits"
    assert data.X_train.shape == (1437, 64)
    assert data.X_test.shape == (360, 64)
    assert data.X_train.dtype == np.float32
    assert (data.X_train.min(), data.X_train.max()) == (0, 1)
    assert data.classes is not None
    assert data.classes.tolist() == list(range(10))
    assert data.image_shape == (8, 8)
    assert data.feature_names is None
    # Each class in both parts by its share.
    shares = np.bincount(data.y_test) / np.bincount(data.y_train)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)
    assert "1437 training and 360 test samples, 64 features (8 x 8), 10 classes" in str(data)


def test_the_seed_makes_the_split() -> None:
    first, again, other = load(seed=1), load(seed=1), load(seed=2)
    np.testing.assert_array_equal(first.X_train, again.X_train)
    np.testing.assert_array_equal(first.y_test, again.y_test)
    assert not np.array_equal(first.X_train, other.X_train)


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path: Path, dash: str, suffix: str) -> None:
    data = load(write_idx_folder(tmp_path / "mnist", dash, suffix), dtype="float64")
    X, y = images(60)
    np.testing.assert_array_equal(data.X_train, X.reshape(60, 20) / 255)
    np.testing.assert_array_equal(data.y_train, y)
    assert (data.y_train.dtype, data.X_test.shape) == (np.int64, (15, 20))
    assert (data.name, data.image_shape) == ("mnist", (4, 5))


def test_idx_folder_without_test_files_is_split(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    data = load(tmp_path, test_size=0.25)
    assert (len(data.X_train), len(data.X_test)) == (45, 15)


def test_idx_folder_without_training_files(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="training labels are missing"):
        load(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(ValueError, match="training samples are missing"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "header.csv", "parquet", "npz"])
def test_tables_of_named_classes(tmp_path: Path, kind: str) -> None:
    X, y = flowers()
    path = tmp_path / f"iris.{kind}"
    if kind == "npz":
        np.savez(path, X=X, y=y)
    elif kind == "parquet":
        pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
        pytest.importorskip("pyarrow", reason="not installed: pip install 'fastdnn[data]'")
        pd.DataFrame(X, columns=["u", "v"]).assign(species=y).to_parquet(path)
    else:
        write_csv(path, X, y, "u,v,species" if kind == "header.csv" else "")
    data = load(path, dtype="float64")
    assert data.classes is not None
    assert data.classes.tolist() == ["setosa", "versicolor", "virginica"]
    assert data.feature_names == (("u", "v") if kind in ("header.csv", "parquet") else None)
    assert (data.X_train.shape, data.X_test.shape) == ((48, 2), (12, 2))
    assert Counter(data.y_test.tolist()) == {0: 4, 1: 4, 2: 4}
    np.testing.assert_allclose(data.X_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.X_train.std(axis=0), 1, rtol=1e-12)
    # The test part is scaled by the training part, and each row keeps its label.
    scaling = data.preparation.scaling
    back = np.concatenate([scaling.undo(data.X_train), scaling.undo(data.X_test)])
    labels = data.classes[np.concatenate([data.y_train, data.y_test])]
    order, want = np.argsort(back[:, 0]), np.argsort(X[:, 0])
    np.testing.assert_allclose(back[order], X[want], rtol=1e-9)
    np.testing.assert_array_equal(labels[order], y[want])


def test_npy_of_a_regression(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(100, 5, (50, 4))
    np.save(tmp_path / "t.npy", table)
    data = load(tmp_path / "t.npy", test_size=0.1)
    assert data.classes is None
    assert sorted([*data.y_train, *data.y_test]) == sorted(table[:, 3])
    scaled = data.preparation.target_scaling.apply(data.y_train, "float64")
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-12)
    assert "45 training and 5 test samples, 3 features, one target" in str(data)


def test_target_and_task_are_chosen(tmp_path: Path) -> None:
    X, y = flowers()
    path = write_csv(tmp_path / "t.csv", np.column_stack([np.arange(60) % 3, X]), y, "a,u,v,s")
    assert load(path, target="a").X_train.shape[1] == 5  # u, v and the three names
    path = write_csv(tmp_path / "t.csv", np.column_stack([np.arange(60) % 3, X]), header="a,u,v")
    data = load(path, target="a")
    assert data.feature_names == ("u", "v")
    assert data.classes is not None
    assert data.classes.tolist() == ["0.0", "1.0", "2.0"]
    assert "3 classes of column 'a'" in str(data)
    data = load(path, target=0, task="regression")
    assert data.classes is None
    assert "task: regression, as asked for, of the labels, 'a' (--target" in data.report()


def test_npz_with_its_own_test_part(tmp_path: Path) -> None:
    X, y = flowers()
    path = tmp_path / "t.npz"
    np.savez(path, x_train=X[:40], y_train=y[:40], x_test=X[40:], y_test=y[40:])
    data = load(path)
    assert (len(data.X_train), len(data.X_test)) == (40, 20)
    np.testing.assert_array_equal(data.y_test, np.arange(40, 60) % 3)


NUMBERS = np.arange(20.0).reshape(10, 2)


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ({"X": NUMBERS}, {}, "training labels are missing"),
        ({"X": NUMBERS, "y": [0, 1] * 5}, {"target": "y"}, "target: 'y'; only a table has columns"),
        ({"X": NUMBERS, "y": [0] * 9 + [1]}, {}, "labels: 1 stands once, .* task 'regression'"),
        (
            {"X": NUMBERS, "y": [0, 1] * 5},
            {"test_size": 0.1},
            "test_size: 0.1 of 10 samples makes 9 to train and 1 to test; each part needs 2",
        ),
        (
            {"X": NUMBERS, "y": [0, 1, 2, 3, 4] * 2},
            {"task": "classification"},
            "2 to test; each part needs 5, one of each class; choose task 'regression' if the lab",
        ),
        ({"X": NUMBERS, "y": NUMBERS[:, 0]}, {"test_size": 0.1}, "each part needs 2$"),
        ({"X": NUMBERS, "y": [0, 1] * 4 + [np.nan, 1]}, {}, "labels: 1 of 10 are missing"),
        (
            {"X": np.where(NUMBERS == 5, np.inf, NUMBERS), "y": [0, 1] * 5},
            {},
            "data row 3, column '1': inf",
        ),
        ({"X": NUMBERS, "y": ["a", "b"] * 5}, {"task": "regression"}, "a is text"),
        ({"X": NUMBERS * 9e306, "y": [0, 1] * 5}, {}, "column '0': want numbers whose mean and"),
        ({"X": NUMBERS, "y": NUMBERS[:, 0] * 9e306}, {}, "column 'labels': want numbers whose me"),
    ],
)
def test_unusable_data(tmp_path: Path, arrays: dict, arguments: dict, message: str) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load(path, **arguments)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float16"}, "dtype: float16; want 'float32' or 'float64'"),
        ({"test_size": 0}, "test_size: 0; want a share between 0 and 1"),
        ({"test_size": 1.0}, "test_size: 1.0"),
        ({"seed": -1}, "seed: -1; want a whole number from 0"),
        ({"test_size": "x"}, "test_size: 'x'; want a share between 0 and 1"),
        ({"test_size": None}, "test_size: None; want a share"),
        ({"seed": "a"}, "seed: 'a'; want a whole number from 0 to 4294967295"),
        ({"seed": 1.5}, r"seed: 1\.5; want a whole number"),
        ({"seed": None}, "seed: None; want a whole number"),
        ({"path": "t.csv", "target": 1.5}, r"target: 1\.5; want a column's name, or its number"),
        ({"target": 0}, "target: 0; scikit-learn's digits have no columns"),
        ({"drop": "age"}, "drop: 'age'; want a list of columns"),
        ({"drop": ["age"]}, r"drop: \['age'\]; scikit-learn's digits have no columns"),
        ({"validation_split": 1}, "validation_split: 1; want a share from 0 and below 1"),
        ({"embed_above": 0}, r"embed_above: want an integer in \[1, inf\), got 0"),
        ({"task": "ranking"}, "task: 'ranking'; want 'classification' or 'regression'"),
        ({"path": "no/such.csv"}, r"no/such.csv: no such file or folder; want a \.csv, .*MNIST"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.touch()
    with pytest.raises(ValueError, match=r"unknown kind of file; want a \.csv"):
        load(path)


def test_new_data_takes_the_way_of_the_training_data(tmp_path: Path) -> None:
    X, y = flowers()
    data = load(write_csv(tmp_path / "t.csv", X, y, "u,v,s"), dtype="float64")
    want = data.preparation.scaling.apply(X, "float64")
    got, labels = load_new(tmp_path / "t.csv", data.preparation, "float64")
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(labels, y)
    swapped = write_csv(tmp_path / "swapped.csv", X[:, ::-1], header="v,u")
    got, labels = load_new(swapped, data.preparation, "float64")
    np.testing.assert_array_equal(got, want)
    assert labels is None
    with pytest.raises(ValueError, match=r"new.csv: data row 1, column 'u': inf"):
        load_new(write_csv(tmp_path / "new.csv", X * np.inf), data.preparation)


def test_new_images_from_folder_or_file(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path / "mnist", suffix=".gz")
    data = load(folder)
    X, y = images(15)
    for path in (folder, folder / "t10k-images-idx3-ubyte.gz"):
        got, labels = load_new(path, data.preparation)
        np.testing.assert_allclose(got, X.reshape(15, 20) / 255, rtol=1e-6)
        np.testing.assert_array_equal(labels, y)
    other = write_idx(tmp_path / "my.idx3", X[:, :3])
    with pytest.raises(ValueError, match=r"my.idx3: 15 features; the model takes 20"):
        load_new(other, data.preparation)


def test_a_report_of_what_was_done(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
    path = tmp_path / "t.csv"
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]},{'' if i % 5 else 2.5 * i},{i % 3}" for i in range(60))
    path.write_text(f"{rows}\n")
    data = load(path, drop=[1], validation_split=0.25, dtype="float64")
    assert str(data) == (
        "t.csv: 36 training, 12 validation and 12 test samples, 3 features, 3 classes"
    )
    *lines, gaps = data.report().splitlines()
    assert lines == [
        "file: it has no header: columns are numbered from 0",
        "task: classification: the labels, column 3 (--target names another), are 3 different whole"
        " numbers from 0 to 2, and up to 10 are taken as classes (wrong? use --task regression)",
        "columns, numbered from 0:",
        "  '0': numbers, scaled",
        "  '1': dropped: as --drop says",
    ]
    assert gaps.endswith(" missing: the median instead, and an input that marks them")
    assert data.X_validation is not None
    assert data.y_validation is not None
    assert (data.X_validation.shape, data.y_validation.shape) == ((12, 3), (12,))
    # Mean, deviation and median are those of the training part.
    np.testing.assert_allclose(data.X_train.mean(axis=0), 0, atol=1e-12)
    assert abs(data.X_validation.mean(axis=0)).max() > 1e-3
    assert load(path).X_validation is None


def test_missing_numbers_in_arrays_are_filled(tmp_path: Path) -> None:
    X, y = flowers()
    X[::7, 1] = np.nan
    np.savez(tmp_path / "t.npz", X=X, y=y)
    data = load(tmp_path / "t.npz", dtype="float64")
    assert data.X_train.shape == (48, 3)
    assert np.isfinite(data.X_train).all()
    got, _ = load_new(tmp_path / "t.npz", data.preparation, "float64")
    np.testing.assert_array_equal(got, data.preparation.inputs(X, "float64"))


def test_images_have_no_columns_to_drop(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="drop: images have no columns to choose from"):
        load(write_idx_folder(tmp_path), drop=[0])


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
    pytest.importorskip("pyarrow", reason="not installed: pip install 'fastdnn[data]'")
    X, y = flowers()
    frame = pd.DataFrame(X, columns=["u", "v"]).assign(species=y)
    for part in range(3):
        (tmp_path / f"day={part}").mkdir()
        frame[part::3].to_parquet(tmp_path / f"day={part}" / "a.parquet")
    data = load(tmp_path, target="species")
    assert len(data.X_train) + len(data.X_test) == 60
    assert data.feature_names == ("u", "v", "day")


WITHOUT_PANDAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "polars", "pyarrow"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from fastdnn.data.datasets import load, load_new
for path in (None, "t.npz", "t.npy", "mnist"):
    data = load(path)
    if path is not None:
        load_new(path, data.preparation)
data.preparation.inputs([[0] * 20], "float32")
for path in ("t.csv", "t.parquet"):
    try:
        load(path)
    except ImportError as error:
        print(error)
"""


def test_arrays_and_images_need_no_pandas(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "t.npz", X=np.where(X > 2, np.nan, X), y=np.array(["a", "b"] * 20))
    np.save(tmp_path / "t.npy", X)
    write_idx_folder(tmp_path / "mnist")
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_text("1,2\n3,4\n")
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    csv, parquet = run.stdout.splitlines()
    assert csv == "t.csv: reading a table needs pandas: pip install 'fastdnn[data]'"
    assert parquet.endswith("needs pandas and pyarrow: pip install 'fastdnn[data]'")
