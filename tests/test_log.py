"""What the logger "fastdnn" tells, and that it is silent by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastdnn
from tests.nets import classifier, regressor, samples

X, y = samples(64)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def test_a_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastdnn")
    path = tmp_path / "model"
    saved = fastdnn.ModelCheckpoint(path, every_n_steps=4)
    classifier(dtype="float64").fit(X, y, epochs=2, callbacks=[saved], **FIT)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        "fit begins",
        "epoch 0 ends",
        "checkpoint of step 4",
        "epoch 1 ends",
        "checkpoint of step 8",
        "fit ends",
    ]
    begin = lines[0]
    assert "epochs 0 to 2" in begin
    assert "'samples': 64, 'features': 4, 'batch_size': 16" in begin
    threads = fastdnn.get_num_threads()
    assert f"parameters, float64, tiny, {threads} threads; seed 0" in begin
    assert str(path) in lines[2]
    assert lines[-1].endswith("step 8 in all")


def test_batches(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastdnn")
    classifier().fit([(X, y)], verbose=0)
    assert "'steps_per_epoch': None" in caplog.records[0].getMessage()


def test_divergence_and_interruption(caplog: pytest.LogCaptureFixture) -> None:
    model = regressor(fastdnn.SGD(1e30))
    with pytest.raises(fastdnn.DivergenceError) as error:
        model.fit(X, y, epochs=50, **FIT)
    assert [record.getMessage() for record in caplog.records] == [str(error.value)]
    caplog.clear()

    class Stop(fastdnn.Callback):
        def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier().fit(X, y, callbacks=[Stop()], **FIT)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "fit is stopped by KeyboardInterrupt() at step 4"


def test_silent_unless_configured() -> None:
    program = (
        "import numpy as np, fastdnn\n"
        "model = fastdnn.Sequential([fastdnn.Dense(1)], seed=0)\n"
        "model.compile('sgd', 'mse')\n"
        "model.optimizer.learning_rate = 1e30\n"
        "try: model.fit(np.ones((9, 2)), np.ones(9), epochs=99, verbose=0)\n"
        "except fastdnn.DivergenceError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
