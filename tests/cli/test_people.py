"""Tables as people have them, from the raw file to the same labels on both ways."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import main
from tests.peoplefiles import write_adult, write_titanic

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
pl = pytest.importorskip("polars", reason="not installed: pip install 'fastdnn[test]'")
MODEL = "fastdnn-model.safetensors"
QUICK = ["--layers", "16", "--epochs", "30", "--batch-size", "32", "--learning-rate", "0.01"]

pytestmark = pytest.mark.usefixtures("own_folder")


def predicted(data: str, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """What the command line says of a file, line by line."""
    capsys.readouterr()
    assert main(["predict", MODEL, data, *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_income(capsys: pytest.CaptureFixture[str]) -> None:
    write_adult(Path("people.csv"))
    assert main(["train", "--data", "people.csv", "--target", "income", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "8 features as 21 inputs, 2 classes of column 'income'" in out
    assert "task: classification: the labels, 'income' (--target names another), are text" in out
    assert "  'age', 'fnlwgt', 'education-num', 'hours-per-week': numbers, scaled\n" in out
    assert "  'workclass': categories, an input for each of 4 values and one for the" in out
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.75
    labels = predicted("people.csv", capsys)
    assert set(labels) == {"<=50K", ">50K"}
    model = fastdnn.load(MODEL)
    # pandas keeps the blanks after the commas, in the names too.
    for frame in (pd.read_csv("people.csv"), pd.read_csv("people.csv", skipinitialspace=True)):
        assert model.predict_labels(frame).tolist() == labels
    assert model.predict_labels(pl.from_pandas(frame)).tolist() == labels
    assert model.predict_labels(frame[frame.columns[::-1]].assign(new=1)).tolist() == labels
    assert model.predict_labels(frame.drop(columns="income").to_numpy()).tolist() == labels
    assert model.predict_labels(frame.to_numpy().tolist()).tolist() == labels
    assert model.evaluate(frame, frame["income"])["accuracy"] == pytest.approx(
        np.mean(frame["income"] == labels)
    )
    # New data without labels, and with a category that nobody has seen.
    frame.drop(columns="income").assign(workclass="Never-seen").to_csv("new.csv", index=False)
    new = predicted("new.csv", capsys)
    assert model.predict_labels(pd.read_csv("new.csv")).tolist() == new


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_survival(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(write_titanic(Path("titanic.csv")))
    if kind == "parquet":
        frame.to_parquet("titanic.parquet")
    data = f"titanic.{kind}"
    assert main(["train", "--data", data, "--target", "Survived", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "are two whole numbers (wrong? use --task regression)" in out
    assert "  'PassengerId': dropped: a different whole number in every row" in out
    assert "  'Name', 'Ticket': dropped: 320 different texts in 320 rows" in out
    assert "  'Cabin': dropped: " in out
    assert "  'Age': numbers, scaled; " in out
    assert "missing: the median instead, and an input that marks them" in out
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.8
    labels = predicted(data, capsys)
    model = fastdnn.load(MODEL)
    for X in (
        frame,
        pl.from_pandas(frame),
        frame.drop(columns=["Survived", "Name", "Ticket", "Cabin", "PassengerId"]),
        frame.drop(columns="Survived").to_numpy(),
        frame.to_numpy(),
    ):
        got = model.predict_labels(X)
        assert got.dtype == np.int64
        assert got.astype(str).tolist() == labels
    main(["summary", MODEL])
    assert "  'PassengerId': dropped: a different whole number" in capsys.readouterr().out


def test_a_model_of_a_file_goes_on_with_raw_data(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(write_titanic(Path("titanic.csv")))
    assert main(["train", "--data", "titanic.csv", "--target", "Survived", *QUICK]) == 0
    model = fastdnn.load(MODEL)
    y = frame["Survived"]
    history = model.fit(frame, y, epochs=2, validation_data=(frame, y), verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert model.train_on_batch(frame[:5], y[:5])["loss"] > 0
    with pytest.raises(ValueError, match=r"y: got '7' at y\[0\]; the model's classes are '0', '1'"):
        model.evaluate(frame, y + 7)
    with pytest.raises(ValueError, match="X: no column 'Age'; the model was trained on 'Pclass'"):
        model.predict(frame.drop(columns="Age"))
    with pytest.raises(ValueError, match="X: data row 3, column 'Fare': 'free' is not a number"):
        model.predict(frame.astype({"Fare": object}).assign(Fare=["1", "2", "free"] + ["3"] * 397))
    # The preparation is kept by save, and taken away by the user.
    model.save("again.safetensors", metadata={"by": "me"})
    again = fastdnn.load("again.safetensors")
    assert again.metadata == {"by": "me"}
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    X = again.preparation.inputs(frame, "float32")
    A = again.predict(frame)
    again.preparation = None
    np.testing.assert_array_equal(again.predict(X), A)
    with pytest.raises(RuntimeError, match="predict_labels: the model does not know its labels"):
        again.predict_labels(X)
    again.save("bare.safetensors")
    assert fastdnn.load("bare.safetensors").preparation is None


def test_prices_with_dates_and_decimal_commas(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, 300), unit="D")
    size, garden = rng.uniform(20, 200, 300).round(2), rng.random(300) < 0.5
    price = (1000.37 * size + 20_000 * garden + 50 * (day - day.min()).days + 5e5).round(2)
    frame = pd.DataFrame({"größe": size, "garten": garden, "datum": day, "preis": price})
    text = frame.assign(
        garten=np.where(garden, "ja", "nein"), datum=day.strftime("%d.%m.%Y")
    ).to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")
    Path("häuser.csv").write_bytes(text.encode("cp1252"))
    assert main(["train", "--data", "häuser.csv", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "file: read as cp1252, as it is not UTF-8" in out
    assert "task: regression: the labels, 'preis' (--target names another), are numbers, not" in out
    assert "  'größe': numbers written like 1,5, scaled\n" in out
    assert "  'datum': dates: days, month and day of the week, read as %d.%m.%Y, scaled\n" in out
    assert float(out.split("test R2 ")[1].split(",")[0]) > 0.9
    values = np.array(predicted("häuser.csv", capsys), float)
    model = fastdnn.load(MODEL)
    new = frame.assign(garten=np.where(garden, "ja", "nein"))
    A = model.predict(new)
    assert A.shape == (300, 1)
    np.testing.assert_allclose(A[:, 0], values, rtol=1e-6)
    np.testing.assert_array_equal(model.predict_labels(new), A[:, 0])
    logs = model.evaluate(new, price)
    assert logs["r2"] > 0.9
    assert logs["loss"] < 0.1  # of the target with mean 0 and deviation 1


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_labels_stay_as_they_are_written(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["02139", "06520", "1e2", "100"])[np.arange(80) % 4]
    X = rng.normal(size=(80, 2)) + 50 * (np.arange(80) % 4)[:, None]
    frame = pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "zip": y})
    if kind == "csv":
        frame.to_csv("t.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet("t.parquet")
    else:
        np.savez("t.npz", X=X, y=y)
    assert main(["train", "--data", f"t.{kind}", *QUICK]) == 0
    assert predicted(f"t.{kind}", capsys) == y.tolist()
    assert fastdnn.load(MODEL).predict_labels(X).tolist() == y.tolist()


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy", "bare.csv"])
def test_an_index_is_left_out_in_every_format(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    number, x = rng.permutation(60) + 1.0, rng.normal(size=60)
    frame = pd.DataFrame({"Unnamed: 0": number, "x": x, "y": (x > 0) * 1.0})
    if kind == "parquet":
        frame.to_parquet("t.parquet")
    elif kind == "npy":
        np.save("t.npy", frame.to_numpy())
    else:
        frame.to_csv(f"t.{kind}", index=False, header=kind == "csv")
    assert main(["train", "--data", f"t.{kind}", "--epochs", "1", "--layers", "4"]) == 0
    out = capsys.readouterr().out
    assert "2 features as 1 input," in out
    assert "dropped: it numbers the rows" in out or "dropped: whole numbers without a name" in out


def test_columns_of_all_kinds_in_all_containers(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    m = 200
    frame = pd.DataFrame(
        {
            "when": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.integers(0, 9000, m), unit="h"),
            "member": rng.random(m) < 0.5,
            "visits": pd.array(rng.integers(0, 9, m), dtype="Int64"),
            "color": pd.Categorical(rng.choice(["red", "green"], m)),
            "weight": rng.normal(size=m),
        }
    )
    frame.loc[::9, "visits"] = pd.NA
    frame.loc[::11, ["when", "color"]] = None
    y = np.where(frame["member"] & (frame["weight"] > -1), "buys", "leaves")
    frame.assign(y=y).to_csv("t.csv", index=False)
    assert main(["train", "--data", "t.csv", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "  'when': dates: days, month and day of the week, hour, scaled; " in out
    assert "  'member': 1 for true, 0 for false, scaled\n" in out
    labels = predicted("t.csv", capsys)
    assert np.mean(labels == y) > 0.9
    model = fastdnn.load(MODEL)
    polar = pl.read_csv("t.csv", try_parse_dates=True)
    for X in (
        frame,
        frame.astype(object),
        pd.read_csv("t.csv"),
        pd.read_csv("t.csv", dtype=str),
        pd.read_csv("t.csv", parse_dates=["when"]),
        polar,
        polar.with_columns(pl.col("color").cast(pl.Categorical)),
        frame.astype(object).to_numpy(),
        frame.astype(object).to_numpy().tolist(),
        pd.read_csv("t.csv", dtype=str).fillna("").to_numpy(dtype=str),
    ):
        assert model.predict_labels(X).tolist() == labels
    frame.assign(y=y).to_parquet("t.parquet")
    assert predicted("t.parquet", capsys) == labels
    assert main(["train", "--data", "t.parquet", *QUICK]) == 0
    assert predicted("t.parquet", capsys) == predicted("t.csv", capsys) == labels


# A file that fastdnn 0.1.0's command line wrote knew scaling alone.
OLD = (
    '{"data": "iris.csv", "n_features": 2, "scaling": {"mean": [10.0, 100.0], "deviation":'
    ' [1.0, 10.0]}, "classes": ["a", "b"], "target_scaling": null, "features": ["u", "v"],'
    ' "target": "species", "label": 2}'
)
OLD_NUMBER = (
    '{"data": "t.npy", "n_features": 2, "scaling": {"mean": [10.0, 100.0], "deviation":'
    ' [1.0, 10.0]}, "classes": null, "target_scaling": {"mean": 500.0, "deviation": 50.0},'
    ' "features": null, "target": null, "label": 2}'
)


def write_old(path: Path, text: str) -> None:
    """Write a network that tells u < v in units of deviations, or takes v - u, as 0.1.0 did."""
    from safetensors.numpy import save_file

    classes = json.loads(text)["classes"]
    last = {"class": "Dense", "units": 2 if classes else 1}
    model = fastdnn.Sequential(
        [fastdnn.Dense(last["units"], "softmax" if classes else None)], input_size=2, seed=0
    )
    config, tensors = model.get_state()
    W = [[1.0, -1.0], [-1.0, 1.0]] if classes else [[-1.0, 1.0]]
    tensors["W1"] = np.array(W, np.float32)
    save_file(
        tensors,
        path,
        metadata={
            "fastdnn.format": "1",
            "fastdnn.model": json.dumps(config),
            "fastdnn.data.preparation": text,
        },
    )


def test_models_of_0_1_0_answer_rightly_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_old(Path(MODEL), OLD)
    X = np.array([[11.0, 100.0], [10.0, 110.0]])  # (1, 0) and (0, 1) deviations from the mean
    frame = pd.DataFrame(X, columns=["u", "v"])
    model = fastdnn.load(MODEL)
    for given in (X, X.tolist(), frame, frame[["v", "u"]], pl.from_pandas(frame)):
        assert model.predict_labels(given).tolist() == ["a", "b"]
    p = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(model.predict(X), [[p, 1 - p], [1 - p, p]], rtol=1e-6)
    frame.to_csv("new.csv", index=False)
    assert predicted("new.csv", capsys) == ["a", "b"]
    with pytest.raises(ValueError, match="X: data row 1, column 'v': nan"):
        model.predict([[1.0, np.nan]])
    write_old(Path(MODEL), OLD_NUMBER)
    model = fastdnn.load(MODEL)
    np.testing.assert_allclose(model.predict(X), [[450], [550]], rtol=1e-6)
    np.save("new.npy", X)
    assert predicted("new.npy", capsys) == ["450", "550"]
    assert main(["summary", MODEL]) == 0


@pytest.mark.nightly  # test_readme.py runs such commands in turn every day
def test_from_an_empty_folder() -> None:
    """As a user types it, warnings and all."""
    write_adult(Path("people.csv"), m=200)
    path = os.pathsep.join([str(Path(fastdnn.__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    train = run(
        "-m", "fastdnn", "train", "--data", "people.csv", "--target", "income", "--epochs", "2"
    )
    assert train.returncode == 0, train.stderr
    labels = run("-m", "fastdnn", "predict", MODEL, "people.csv")
    program = (
        f"import fastdnn, pandas; model = fastdnn.load({MODEL!r});"
        "print(*model.predict_labels(pandas.read_csv('people.csv')), sep='\\n')"
    )
    python = run("-c", program)
    assert labels.stdout.splitlines() == python.stdout.splitlines()
    assert len(labels.stdout.splitlines()) == 200
