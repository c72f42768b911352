"""ONNX files: the checker passes, and onnxruntime's outputs are fastdnn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import BatchNormalization, Dense, PeriodicEmbedding, Sequential
from fastdnn.kernels import ACTIVATIONS
from fastdnn.layer import Layer
from tests.interop import cases
from tests.interop.cases import DTYPES, LAYERS, activated, net

onnx = pytest.importorskip("onnx", reason="onnx writes the files: pip install 'fastdnn[onnx]'")
runtime = pytest.importorskip("onnxruntime", reason="it runs them: pip install onnxruntime")


def test_every_entry_of_the_tables_has_its_counterpart() -> None:
    from fastdnn.interop import onnx_file

    missing = set(ACTIVATIONS) ^ set(onnx_file.ACTIVATIONS)
    assert not missing, cases.hint("ACTIVATIONS of onnx_file.py", missing)
    missing = cases.kinds() ^ {kind.__name__ for kind in onnx_file.WRITERS}
    assert not missing, cases.hint("WRITERS of onnx_file.py", missing)


def check(model: Sequential, X: Any, path: Path) -> Any:
    model.to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for part in (X, X[:1]):
        (A,) = session.run(["A"], {"X": part})
        want = model.predict(part)
        assert A.dtype == want.dtype
        np.testing.assert_allclose(A, want, rtol=1e-5, atol=1e-5)
    return session


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, dtype: str, tmp_path: Path) -> None:
    check(*net(name, dtype), tmp_path / "net.onnx")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, alone: bool, dtype: str, tmp_path: Path) -> None:
    check(*activated(name, dtype, alone=alone), tmp_path / "net.onnx")


@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize("layer", [BatchNormalization(), PeriodicEmbedding(5)])
def test_numbers_far_from_0(layer: Layer, mean: float, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(mean, 1.0, (64, 4)).astype("float32")
    model = Sequential([layer.unplaced(), Dense(3)], input_size=4, seed=0)
    if isinstance(norm := model.layers[0], BatchNormalization):
        norm.moving_mean[...] = X.mean(axis=0)
    check(model, X, tmp_path / "net.onnx")


def test_what_the_file_says(tmp_path: Path) -> None:
    model, X = net("Dense", "float32")
    model.metadata = {"made": "here"}
    session = check(model, X, tmp_path / "net.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("X", ["m", 4], "tensor(float)")
    assert (made.name, made.shape) == ("A", ["m", 3])
    assert session.get_modelmeta().custom_metadata_map == {"made": "here"}
    file = onnx.load(tmp_path / "net.onnx")
    assert (file.producer_name, file.producer_version) == ("fastdnn", fastdnn.__version__)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("old")
    own = fastdnn.ScalarActivation(lambda z: z, lambda z: 1.0, name="mine")
    with pytest.raises(ValueError, match=r"^layers\[0\], Dense: .*'mine'.* your own, which ONNX"):
        Sequential([Dense(3, own)], input_size=4).to_onnx(path)
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]
    assert path.read_text() == "old"
