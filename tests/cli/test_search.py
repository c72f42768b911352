"""``fastdnn search``: its scores are those of fits by hand, and its model the best one's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

import fastdnn
from fastdnn.cli import main, search
from fastdnn.data import datasets
from tests.datafiles import flowers, write_csv

QUICK = ["--folds", "3", "--epochs", "12", "--batch-size", "16"]
FILES = ["best.csv", "best.png", "best.safetensors"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(Path("flowers.csv"), *flowers())


def run(*arguments: str, data: str = "flowers.csv") -> int:
    """Search, quickly, the model going to best.safetensors."""
    output = ["--output", "best.safetensors"]
    return main(["search", "--data", data, *QUICK, *output, *arguments])


def table() -> list[dict[str, str]]:
    """Return the rows of the table that a search has written."""
    with Path("best.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def network(n_0: int, units: list[int], outputs: int, rate: float) -> fastdnn.Sequential:
    layers = [fastdnn.Dense(n, "relu") for n in units]
    last = fastdnn.Dense(outputs, "softmax" if outputs > 1 else None)
    model = fastdnn.Sequential([*layers, last], input_size=n_0, seed=0)
    loss = "sparse_categorical_crossentropy" if outputs > 1 else "mean_squared_error"
    model.compile(fastdnn.Adam(rate), loss)
    return model


def test_scores_are_those_of_fits_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="not installed: pip install 'fastdnn[plot]'")
    rates, layers = [0.003, 0.03], {"8": [8], "6,4": [6, 4]}
    assert run("--layers", *layers, "--learning-rate", *map(str, rates), "--dropout", "0") == 0
    out = capsys.readouterr().out
    data = datasets.load("flowers.csv")
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(data.X_train, data.y_train))
    rows = table()
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:
        scores = []
        for others, own in folds:
            n_0, classes = data.X_train.shape[1], len(data.classes)
            model = network(n_0, layers[row["layers"]], classes, float(row["learning_rate"]))
            model.fit(data.X_train[others], data.y_train[others], 16, 12, verbose=0)
            A = model.predict(data.X_train[own])
            scores.append(np.mean(A.argmax(axis=1) == data.y_train[own]))
        assert row["accuracy"] == f"{np.mean(scores):.4f}"
        assert row["deviation"] == f"{np.std(scores):.4f}"
        assert int(row["parameters"]) == model.count_params()
    found = [(-float(row["accuracy"]), int(row["parameters"])) for row in rows]
    assert found == sorted(found)
    # the best one, trained on all of the training part
    best = rows[0]
    model = network(n_0, layers[best["layers"]], classes, float(best["learning_rate"]))
    model.fit(data.X_train, data.y_train, 16, 12, verbose=0)
    saved = fastdnn.load("best.safetensors")
    np.testing.assert_array_equal(saved.parameters, model.parameters)
    accuracy = np.mean(model.predict(data.X_test).argmax(axis=1) == data.y_test)
    assert f"test accuracy {accuracy:.4f}" in out
    assert "4 candidates x 3 folds" in out
    assert sorted(path.name for path in Path().glob("best*")) == FILES
    assert Path("best.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", "best.safetensors", "flowers.csv"]) == 0


def test_a_regression_is_scored_by_r2(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = 100 + 20 * X[:, 0]
    np.savez("numbers.npz", X=X, y=y)
    given = ["--task", "regression", "--layers", "", "--dropout", "0"]
    assert run(*given, "--learning-rate", "0.1", "0.0001", data="numbers.npz") == 0
    data = datasets.load("numbers.npz", task="regression")
    scaled = data.preparation.target_scaling.apply(data.y_train, "float32")
    scores = []
    for others, own in KFold(3, shuffle=True, random_state=0).split(data.X_train):
        model = network(3, [], 1, 0.1)
        model.fit(data.X_train[others], scaled[others], 16, 12, verbose=0)
        t, A = data.y_train[own], model.predict(data.X_train[own])[:, 0]
        A = data.preparation.target_scaling.undo(A)
        scores.append(1 - np.sum((t - A) ** 2) / np.sum((t - t.mean()) ** 2))
    best = table()[0]
    assert best["learning_rate"] == "0.1"
    assert float(best["r2"]) == pytest.approx(np.mean(scores), abs=1e-4)
    assert "test R2 0.9" in capsys.readouterr().out


def test_all_combinations_or_some_at_random() -> None:
    values = ["--layers", "", "4", "--activation", "relu", "tanh", "--l2", "0", "0.1"]
    more = ["--normalization", "none", "batch", "--optimizer", "adam", "sgd", "--dropout", "0"]
    names = ["layers", "activation", "normalization", "l2", "optimizer"]
    assert run(*values, *more, "--learning-rate", "0.01", "--epochs", "1") == 0
    every = [tuple(row[name] for name in names) for row in table()]
    assert len(set(every)) == len(every) == 32
    assert {one[0] for one in every} == {"none", "4"}
    tries = []
    for seed in ("1", "1", "2"):
        given = ["--candidates", "5", "--seed", seed, "--epochs", "1", "--learning-rate", "0.01"]
        assert run(*values, *more, *given) == 0
        tries.append({tuple(row[name] for name in names) for row in table()})
    assert [len(one) for one in tries] == [5, 5, 5]
    assert tries[0] == tries[1] != tries[2]
    assert tries[0] <= set(every)


def test_the_threads_change_no_score() -> None:
    found = []
    for threads in ("1", "2"):
        assert run("--layers", "8", "32,16", "--threads", threads) == 0
        found.append([{**row, "seconds": ""} for row in table()])
    assert found[0] == found[1]


def test_one_that_diverges_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--optimizer", "sgd", "--layers", "8", "--dropout", "0"]
    assert run(*given, "--learning-rate", "1e30", "0.1") == 0
    first, last = table()
    assert (first["learning_rate"], last["learning_rate"]) == ("0.1", "1e+30")
    assert (last["accuracy"], last["deviation"]) == ("diverged", "")
    capsys.readouterr()
    Path("best.safetensors").unlink()
    assert run(*given, "--learning-rate", "1e30") == 2
    assert "all of these diverged" in capsys.readouterr().err
    assert not Path("best.safetensors").exists()


def test_ctrl_c_shows_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, calls = search._Candidate.run, []

    def stop(self: Any, *arguments: Any) -> None:
        calls.append(self)
        if len(calls) == 6:  # of nine
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(search._Candidate, "run", stop)
    given = ["--layers", "4", "8", "64", "--dropout", "0", "--learning-rate", "0.01"]
    assert run(*given, "--threads", "1") == 130
    assert [row["layers"] for row in table()] == ["64"]  # the costly one, which begins
    assert "stopped by Ctrl-C; these are done" in capsys.readouterr().err
    assert not Path("best.safetensors").exists()


def test_a_single_candidate_is_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--layers", "8", "--dropout", "0", "--learning-rate", "0.01") == 0
    out = capsys.readouterr().out
    assert "1 candidate x 3 folds" in out
    assert "picture" not in out
    assert Path("best.safetensors").exists()


def test_without_matplotlib_there_is_no_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert run("--layers", "8") == 0
    assert "picture: none (drawing needs matplotlib" in capsys.readouterr().out
    assert Path("best.safetensors").exists()


def test_the_best_of_equal_scores_is_the_smallest() -> None:
    data = np.column_stack([np.repeat([0.0, 1.0], 40)] * 2)
    np.save("easy.npy", data)
    given = ["--dropout", "0", "--learning-rate", "0.1"]
    assert run("--layers", "32", "8", "16", *given, data="easy.npy") == 0
    assert [row["layers"] for row in table()] == ["8", "16", "32"]
    assert {row["accuracy"] for row in table()} == {"1.0000"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--folds 1", "--folds: '1'; want a whole number from 2"),
        ("--folds 100", "--folds: 100; want up to"),
        ("--layers 4 x", "--layers: 'x'; want units by layer, as 256,128"),
        ("--normalization bach", "--normalization: 'bach'; want batch, layer, rms or none"),
        ("--activation relu rleu", "'rleu'; did you mean 'relu'?"),
        ("--optimizer adma", "'adma'; did you mean 'adam'?"),
        ("--output a.csv", "a.csv is where the table goes"),
        ("--output a.png", "a.png is where the picture goes"),
        ("--candidates 0", "--candidates: '0'; want a whole number from 1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert main(["search", "--data", "flowers.csv", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before
