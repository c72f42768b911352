import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import main, training
from fastdnn.normalization import NORMALIZATIONS
from tests.cli.test_commands import QUICK
from tests.datafiles import flowers, images, write_csv, write_idx_folder

PNG = b"\x89PNG"
NO_MATPLOTLIB = "matplotlib is not installed: pip install 'fastdnn[plot]'"
pytestmark = pytest.mark.usefixtures("own_folder")


def test_train_without_arguments_learns_digits(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason=NO_MATPLOTLIB)
    assert main(["train"]) == 0
    out, err = capsys.readouterr()
    assert "digits: 1437 training and 360 test samples, 64 features (8 x 8), 10 classes" in out
    assert "epoch 20/20" in err
    assert "seconds per epoch" in out
    score = next(line for line in out.splitlines() if line.startswith("test accuracy"))
    assert float(score.split()[2]) >= 0.97
    assert "model: fastdnn-model.safetensors" in out
    assert "curves: fastdnn-model.png" in out
    assert Path("fastdnn-model.png").read_bytes().startswith(PNG)
    assert sorted(p.name for p in Path().iterdir()) == [
        "fastdnn-model.png",
        "fastdnn-model.safetensors",
    ]
    model = fastdnn.load("fastdnn-model.safetensors")
    assert [layer.units for layer in model.layers] == [256, 128, 10]
    assert model.dtype == "float32"


def test_train_options_reach_the_model() -> None:
    options = "--layers 7,5 --activation tanh --optimizer sgd --learning-rate 0.25 --epochs 2"
    options += " --batch-size 100 --dropout 0.1 --dtype float64 --seed 3 --threads 1 --output a.st"
    assert main(["train", *options.split()]) == 0
    model = fastdnn.load("a.st")
    assert model.dtype == "float64"
    assert model.seed == 3
    assert [type(layer).__name__ for layer in model.layers] == [
        *["Dense", "Dropout"] * 2,
        "Dense",
    ]
    assert [model.layers[i].units for i in (0, 2, 4)] == [7, 5, 10]
    assert type(model.optimizer).__name__ == "SGD"
    assert model.optimizer.learning_rate == 0.25
    assert fastdnn.get_num_threads() == 1


@pytest.mark.parametrize("name", sorted(NORMALIZATIONS))
def test_normalization_stands_before_the_activation(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = f"--layers 20,10 --normalization {name} --dropout 0.1 --learning-rate 0.01 --epochs 8"
    assert main(["train", *options.split()]) == 0
    out = capsys.readouterr().out
    kind = NORMALIZATIONS[name].__name__
    assert out.count(kind) == 2  # in the summary
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.7
    model = fastdnn.load("fastdnn-model.safetensors")
    each = ["Dense", kind, "Activation", "Dropout"]
    assert [type(layer).__name__ for layer in model.layers] == [*each, *each, "Dense"]
    assert [model.layers[i].activation for i in (0, 2, 8)] == ["identity", "relu", "softmax"]
    assert model.layers[0].kernel_initializer == "he_normal"  # as it is right for relu
    assert (model.layers[1].gamma != 1).all()
    assert main(["summary", "fastdnn-model.safetensors"]) == 0
    assert capsys.readouterr().out.count(kind) == 2


def test_no_hidden_layer_makes_a_linear_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--layers", "", "--epochs", "5", "--learning-rate", "0.05"]) == 0
    model = fastdnn.load("fastdnn-model.safetensors")
    assert [layer.units for layer in model.layers] == [10]
    assert float(capsys.readouterr().out.split("test accuracy ")[1].split()[0]) > 0.8


def test_the_penalty_is_on_every_layer() -> None:
    assert main(["train", "--layers", "8", "--epochs", "1", "--l2", "0.25"]) == 0
    layers = fastdnn.load("fastdnn-model.safetensors").layers
    assert [layer.kernel_regularizer for layer in layers] == [fastdnn.L2(0.25)] * 2
    assert main(["train", "--layers", "8", "--epochs", "1"]) == 0
    layers = fastdnn.load("fastdnn-model.safetensors").layers
    assert [layer.kernel_regularizer for layer in layers] == [fastdnn.L2(0.0)] * 2


def spied(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What `fit` and `predict` are given from now on."""
    given: list[dict] = []

    def spy(name: str) -> None:
        original = getattr(fastdnn.Sequential, name)

        def call(self: fastdnn.Sequential, X: np.ndarray, *arguments, **options):
            given.append({"call": name, "X": X, **options})
            return original(self, X, *arguments, **options)

        monkeypatch.setattr(fastdnn.Sequential, name, call)

    spy("fit")
    spy("predict")
    return given


def test_the_test_part_is_used_once_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spied(monkeypatch)
    options = ["--layers", "8", "--epochs", "3", "--validation-split", "0.25"]
    assert main(["train", *options]) == 0
    out, err = capsys.readouterr()
    assert "1077 training, 360 validation and 360 test samples" in out
    assert err.count("val_loss") == 3
    fit, predict = given
    assert (len(fit["X"]), len(fit["validation_data"][0])) == (1077, 360)
    assert (predict["call"], len(predict["X"])) == ("predict", 360)
    rows = {part.tobytes() for part in predict["X"]}
    assert not rows & {part.tobytes() for part in fit["validation_data"][0]}
    assert len({tuple(row) for row in fit["X"][:, :3].tolist()}) > 1
    given.clear()
    assert main(["train", "--layers", "8", "--epochs", "1"]) == 0
    assert given[0]["validation_data"] is None
    assert "val_loss" not in capsys.readouterr().err


def test_early_stopping_takes_the_best_epoch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spied(monkeypatch)
    options = "--layers 32 --learning-rate 0.3 --epochs 60 --early-stopping 2 --optimizer sgd"
    assert main(["train", *options.split()]) == 0
    out, err = capsys.readouterr()
    assert "1293 training, 144 validation and 360 test samples" in out
    losses = [float(line.split("val_loss ")[1].split()[0]) for line in err.splitlines()]
    assert 3 <= len(losses) < 60
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 2
    assert f"weights: those of epoch {best}, of the least validation loss" in out
    X, y = given[0]["validation_data"]
    model = fastdnn.load("fastdnn-model.safetensors")
    model.preparation = None
    assert model.evaluate(X, y)["loss"] == pytest.approx(min(losses), abs=1e-4)


def test_columns_are_dropped() -> None:
    X, y = flowers()
    write_csv(Path("t.csv"), X, y, "u,v,species")
    write_csv(Path("bare.csv"), X, y)
    for data, drop in (("t.csv", "v"), ("t.csv", "1"), ("bare.csv", "1"), ("bare.csv", "-2")):
        assert main(["train", "--data", data, f"--drop={drop}", *QUICK]) == 0
        model = fastdnn.load("fastdnn-model.safetensors")
        assert model.input_size == 1
        assert (model.predict_labels(X) == y).mean() > 0.9
        np.testing.assert_array_equal(model.predict(X * [1, 99]), model.predict(X))


def test_the_seed_makes_the_model() -> None:
    weights = []
    for seed in ("1", "1", "2"):
        assert main(["train", "--layers", "8", "--epochs", "1", "--seed", seed]) == 0
        weights.append(fastdnn.load("fastdnn-model.safetensors").get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_seed_splits_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = flowers()
    write_csv(Path("t.csv"), X, y)
    trained: list[bytes] = []

    def fit(model: Any, dataset: Any, *others: Any) -> None:
        trained.append(dataset.preparation.labels(np.eye(3)[dataset.y_test]).tobytes())

    monkeypatch.setattr(training, "_fit", fit)
    for seed in ("1", "1", "2"):
        assert main(["train", "--data", "t.csv", "--seed", seed, *QUICK]) == 0
    assert trained[0] == trained[1] != trained[2]


def test_a_regressions_validation_loss_is_of_the_scaled_target(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    write_csv(Path("t.csv"), X, 5000 + 300 * X[:, 0] - 100 * X[:, 1], "a,b,c,price")
    kept = []
    monkeypatch.setattr(
        training, "_draw_curves", lambda history, path: kept.append(history.history)
    )
    assert main(["train", "--data", "t.csv", "--validation-split", "0.2", *QUICK]) == 0
    score = float(capsys.readouterr().out.split("test R2 ")[1].split(",")[0])
    # of a target with variance 1, 1 - R2 is the mean squared error
    assert 0 < kept[0]["val_loss"][-1] < 10 * (1 - score) + 0.001


def test_regression_in_the_units_of_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = 5000 + 300 * X[:, 0] - 100 * X[:, 1]
    write_csv(Path("t.csv"), X, y, "a,b,c,price")
    assert main(["train", "--data", "t.csv", *QUICK]) == 0
    out = capsys.readouterr().out
    score = next(line for line in out.splitlines() if line.startswith("test R2"))
    r2, rmse = float(score.split()[2].rstrip(",")), float(score.split()[4])
    assert 0.98 < r2 <= 1
    assert 0 < rmse < 45
    assert main(["predict", "fastdnn-model.safetensors", "t.csv"]) == 0
    out, err = capsys.readouterr()
    values = np.array(out.split(), float)
    assert err.startswith("R2 0.9")
    assert np.sqrt(np.mean((values - y) ** 2)) == pytest.approx(float(err.split()[3]), rel=1e-4)
    write_csv(Path("t.csv"), X, np.array(["a"] * 200), "a,b,c,price")
    assert main(["predict", "fastdnn-model.safetensors", "t.csv"]) == 2
    assert "is text; the model predicts numbers" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_idx_folder(Path("mnist"), suffix=suffix)
    assert main(["train", "--data", "mnist", *QUICK]) == 0
    assert (
        "60 training and 15 test samples, 20 features (4 x 5), 3 classes" in capsys.readouterr().out
    )
    for data in (folder, folder / f"t10k-images-idx3-ubyte{suffix}"):
        assert main(["predict", "fastdnn-model.safetensors", str(data)]) == 0
        out, err = capsys.readouterr()
        assert out.split() == [str(label) for label in images(15)[1]]
        assert err == "accuracy 1.0000 (15 of 15)\n"


def test_without_matplotlib_the_model_is_saved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["train", "--layers", "8", "--epochs", "1"]) == 0
    assert "pip install 'fastdnn[plot]'" in capsys.readouterr().out
    assert [path.name for path in Path().iterdir()] == ["fastdnn-model.safetensors"]


def test_ctrl_c_saves_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(clock: training._Clock, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training._Clock, "on_epoch_end", stop)
    assert main(["train", "--layers", "32"]) == 130
    out, err = capsys.readouterr()
    assert "fastdnn: stopped by Ctrl-C; saving the model as it is now" in err
    assert "test accuracy" in out
    model = fastdnn.load("fastdnn-model.safetensors")
    assert "model: fastdnn-model.safetensors" in out
    assert model.preparation.data == "digits"


def test_resume(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "--layers", "32", "--epochs", "4", "--resume", "--early-stopping", "9"]
    assert main(command) == 0
    whole = fastdnn.load("fastdnn-model.safetensors").parameters.copy()
    out = capsys.readouterr().out
    kept = Path("fastdnn-model-training.safetensors")
    assert not kept.exists()

    def stop(clock: training._Clock, step: int, n_steps: int | None, logs: object) -> None:
        if len(clock.seconds) == 2:
            raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(training._Clock, "on_batches_end", stop)
        assert main(command) == 143
    assert "fastdnn: stopped by SIGTERM; saving the model as it is now" in capsys.readouterr().err
    assert kept.exists()
    assert main([*command, "--threads", "1"]) == 0
    again = capsys.readouterr().out
    score = [line for line in out.splitlines() if line.startswith(("weights", "test "))]
    assert [line for line in again.splitlines() if line.startswith(("weights", "test "))] == score
    np.testing.assert_array_equal(fastdnn.load("fastdnn-model.safetensors").parameters, whole)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (ValueError("no score"), 2)], ids=repr
)
def test_the_model_is_saved_before_it_is_scored(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> str:
        raise error

    monkeypatch.setattr(training, "score_of_test", fail)
    assert main(["train", "--layers", "8", "--epochs", "1"]) == status
    assert fastdnn.load("fastdnn-model.safetensors").built
