import sys
from pathlib import Path

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import main
from tests.datafiles import flowers, write_csv

QUICK = ["--layers", "16", "--epochs", "30", "--batch-size", "8", "--learning-rate", "0.01"]
pytestmark = pytest.mark.usefixtures("own_folder")


def test_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = flowers()
    write_csv(Path("t.csv"), X, y, "u,v,species")
    assert main(["train", "--data", "t.csv", *QUICK]) == 0
    capsys.readouterr()
    assert main(["predict", "fastdnn-model.safetensors", "t.csv", "--probabilities"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "setosa,versicolor,virginica"
    A = np.array([row.split(",") for row in rows], float)
    want = fastdnn.load("fastdnn-model.safetensors").predict(X)
    np.testing.assert_allclose(A, want, rtol=1e-6, atol=1e-12)
    write_csv(Path("t.csv"), X, header="u,v")
    assert main(["train", "--data", "t.csv", *QUICK]) == 0
    capsys.readouterr()
    assert main(["predict", "fastdnn-model.safetensors", "t.csv", "--probabilities"]) == 2
    assert "--probabilities: the model predicts numbers" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_named_classes_from_training_to_prediction(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = flowers()
    data, unlabelled = f"iris.{kind}", f"new.{kind}"
    if kind == "csv":
        write_csv(Path(data), X, y, "u,v,species")
        write_csv(Path(unlabelled), X[:, ::-1], header="v,u")
    elif kind == "npz":
        np.savez(data, X=X, y=y)
        np.savez(unlabelled, X=X)
    else:
        pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
        pytest.importorskip("pyarrow", reason="not installed: pip install 'fastdnn[data]'")
        frame = pd.DataFrame(X, columns=["u", "v"])
        frame.to_parquet(unlabelled)
        frame.assign(species=y).to_parquet(data)
    assert main(["train", "--data", data, *QUICK]) == 0
    assert "test accuracy 1.0000 (12 of 12)" in capsys.readouterr().out
    model = "fastdnn-model.safetensors"
    assert main(["predict", model, data]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == y.tolist()
    assert err == "accuracy 1.0000 (60 of 60)\n"
    assert main(["predict", model, unlabelled, "--output", "labels.csv"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("labels.csv").read_text().splitlines() == y.tolist()
    assert main(["summary", model]) == 0
    out = capsys.readouterr().out
    assert f"trained on: {data}" in out
    assert "classes: 'setosa', 'versicolor', 'virginica'" in out
    assert ("features: 'u', 'v'\ntarget: 'species'" in out) == (kind != "npz")


def test_whole_number_classes_without_header(capsys: pytest.CaptureFixture[str]) -> None:
    X, _ = flowers()
    table = np.column_stack([np.arange(60) % 3 + 5, X])
    write_csv(Path("t.csv"), table)
    assert main(["train", "--data", "t.csv", "--target", "0", *QUICK]) == 0
    capsys.readouterr()
    np.save("t.npy", table)
    # Half of the labels are unknown: they are predicted all the same.
    rows = [",".join(map(repr, row)) for row in table.tolist()]
    Path("half.csv").write_text(
        "\n".join(["," + r.partition(",")[2] for r in rows[:30]] + rows[30:])
    )
    Path("none.csv").write_text("\n".join("," + r.partition(",")[2] for r in rows))
    for data, count in (("t.csv", 60), ("t.npy", 60), ("half.csv", 30), ("none.csv", 0)):
        assert main(["predict", "fastdnn-model.safetensors", data]) == 0
        out, err = capsys.readouterr()
        assert out.split() == [str(label) for label in np.arange(60) % 3 + 5.0]
        assert err == (f"accuracy 1.0000 ({count} of {count})\n" if count else "")


@pytest.mark.parametrize("target", [0, 2])
def test_a_table_without_the_header_of_the_training_data(
    target: int, capsys: pytest.CaptureFixture[str]
) -> None:
    X, _ = flowers()
    y = np.arange(60) % 3 + 5.0
    table = np.insert(X, target, y, axis=1)
    names = ["u", "v"]
    names.insert(target, "species")
    write_csv(Path("t.csv"), table, header=",".join(names))
    assert main(["train", "--data", "t.csv", "--target", "species", *QUICK]) == 0
    capsys.readouterr()
    write_csv(Path("bare.csv"), table)
    np.save("t.npy", table)
    for data in ("t.csv", "bare.csv", "t.npy"):
        assert main(["predict", "fastdnn-model.safetensors", data]) == 0
        out, err = capsys.readouterr()
        assert out.split() == [str(label) for label in y]
        assert err == "accuracy 1.0000 (60 of 60)\n"


def test_unknown_labels_count_as_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = flowers()
    write_csv(Path("t.csv"), X, y)
    assert main(["train", "--data", "t.csv", *QUICK]) == 0
    y = y.astype("<U20")
    y[:15] = "other"
    write_csv(Path("t.csv"), X, y)
    capsys.readouterr()
    assert main(["predict", "fastdnn-model.safetensors", "t.csv"]) == 0
    assert capsys.readouterr().err == "accuracy 0.7500 (45 of 60)\n"


def test_summary_of_a_model_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(3, "softmax")], input_size=2, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save("m.safetensors")
    assert main(["summary", "m.safetensors"]) == 0
    assert "trained on" not in capsys.readouterr().out
    write_csv(Path("t.csv"), np.ones((2, 2)))
    assert main(["predict", "m.safetensors", "t.csv"]) == 2
    assert "does not say how its data were prepared" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    facts = dict(line.split(None, 1) for line in out.splitlines())
    assert facts["fastdnn"] == fastdnn.__version__
    assert facts["python"] == sys.version.split()[0]


def test_warmup(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup"]) == 0
    assert "compiled in" in capsys.readouterr().out


def test_export_writes_an_onnx_file(capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is missing: pip install 'fastdnn[onnx]'")
    model = fastdnn.Sequential([fastdnn.Dense(3)], input_size=4)
    model.save("net.safetensors")
    assert main(["export", "net.safetensors", "net.onnx"]) == 0
    assert capsys.readouterr().out == "network: net.onnx\n"
    onnx.checker.check_model("net.onnx", full_check=True)
    assert main(["export", "net.safetensors", "net.txt"]) == 2
    assert "OUT.onnx: want a name that ends so" in capsys.readouterr().err
