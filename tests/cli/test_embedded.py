"""A table's columns of many values go to a trained vector for each, from the file to the labels."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import main, networks, training
from fastdnn.data import columns, datasets

pd = pytest.importorskip("pandas", reason="not installed: pip install 'fastdnn[data]'")
QUICK = ["--layers", "16", "--epochs", "30", "--batch-size", "32", "--learning-rate", "0.01"]

pytestmark = pytest.mark.usefixtures("own_folder")


def predicted(model: str, data: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command line says of a file, line by line."""
    capsys.readouterr()
    assert main(["predict", model, data]) == 0
    return capsys.readouterr().out.splitlines()


def write_towns(m: int = 6000) -> Any:
    """Write a table in which one of 300 towns decides most of a price, and return it."""
    rng = np.random.default_rng(0)
    town, size = rng.integers(0, 300, m), rng.normal(size=m)
    price = 10 * rng.normal(size=300)[town] + 2 * size + rng.normal(size=m)
    frame = pd.DataFrame(
        {"town": [f"town {i}" for i in town], "size": size, "kind": rng.choice(["a", "b"], m)}
    )
    frame.loc[::50, "town"] = None
    frame.assign(price=price).to_csv("towns.csv", index=False)
    return frame.assign(price=price)


def test_a_column_of_many_values_is_embedded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = write_towns()
    given: dict[str, list[float]] = {}
    monkeypatch.setattr(columns, "MOST_CATEGORIES", 300)  # for a fair comparison
    for way, above in (("embedded", networks.EMBED_ABOVE), ("one-hot", 300)):
        monkeypatch.setattr(training, "EMBED_ABOVE", above)
        command = ["train", "--data", "towns.csv", "--epochs", "8", "--validation-split", "0.1"]
        assert main([*command, "--output", f"{way}.safetensors"]) == 0
        output = capsys.readouterr()
        r2 = float(output.err.rsplit("val_r2 ", 1)[1].split()[0])
        given[way] = [r2, Path(f"{way}.safetensors").stat().st_size]
        wanted = "a trained vector" if way == "embedded" else "an input"
        assert f"categories, {wanted} for each of 300 values and one for the " in output.out
    assert given["embedded"][0] > max(given["one-hot"][0] - 0.01, 0.9)
    assert given["embedded"][1] < given["one-hot"][1]
    model = fastdnn.load("embedded.safetensors")
    first = model.layers[0]
    assert isinstance(first, fastdnn.ColumnEmbedding)
    assert (first.columns, first.cardinalities, first.dims) == ((3,), (302,), (39,))
    assert model.preparation.inputs(frame, "float32").shape == (6000, 4)
    labels = predicted("embedded.safetensors", "towns.csv", capsys)
    got = model.predict(frame)[:, 0]
    np.testing.assert_allclose(got, np.array(labels, float), rtol=1e-6)
    # what was never seen counts as nothing, whatever it is called; a missing town was seen
    assert (first.E[0][0] == 0).all()
    strange = [frame.head(5).assign(town=name) for name in ("nowhere", "elsewhere", None)]
    one, other, missing = (model.predict(part) for part in strange)
    np.testing.assert_array_equal(one, other)
    assert (one != missing).all()
    strange[0].drop(columns="price").to_csv("new.csv", index=False)
    np.testing.assert_allclose(
        np.array(predicted("embedded.safetensors", "new.csv", capsys), float), one[:, 0],
        rtol=1e-6,
    )  # fmt: skip
    # raw tables go on training it
    assert model.fit(frame, frame["price"], epochs=1, verbose=0).history["loss"][0] < 0.1
    assert main(["summary", "embedded.safetensors"]) == 0
    assert "1 ColumnEmbedding              E1 (302, 39)" in capsys.readouterr().out


def test_no_column_is_made_for_a_value_that_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = write_towns(2000)
    monkeypatch.setattr(columns, "MOST_CATEGORIES", 300)
    peaks = []
    for above in (networks.EMBED_ABOVE, None):
        data = datasets.load("towns.csv", embed_above=above)
        n_0 = data.X_train.shape[1]
        assert n_0 > 290 if above is None else n_0 == 4
        tracemalloc.start()
        data.preparation.inputs(frame, "float32")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] > 2000 * 290 * 4  # as many columns of float32 fewer


def test_few_values_keep_an_input_each(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    letters = np.array([chr(ord("a") + i) for i in range(networks.EMBED_ABOVE + 1)])
    for n in (networks.EMBED_ABOVE, networks.EMBED_ABOVE + 1):
        frame = pd.DataFrame({"c": rng.permutation(np.resize(letters[:n], 400))})
        frame["y"] = np.where(frame["c"] < "d", "low", "high")
        frame.to_csv("t.csv", index=False)
        assert main(["train", "--data", "t.csv", *QUICK]) == 0
        assert ("ColumnEmbedding" in capsys.readouterr().out) == (n > networks.EMBED_ABOVE)
        assert predicted("fastdnn-model.safetensors", "t.csv", capsys) == frame["y"].tolist()
