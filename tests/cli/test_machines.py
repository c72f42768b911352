"""``mpiexec -n 2 fastdnn train``."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastdnn
from tests.machines.mpi import LIMIT, MPIEXEC, ROOT, run

OPTIONS = ["train", "--epochs", "20", "--layers", "32", "--batch-size", "16", "--seed", "1"]


def test_one_process_prints_and_writes(tmp_path: Path) -> None:
    done = run(2, *OPTIONS, "--validation-split", "0.1", module="fastdnn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == done.stdout.count("data: digits") == 1
    assert done.stderr.count("epoch 20/20") == 1
    accuracy = float(done.stdout.split("test accuracy ")[1].split()[0])
    assert accuracy > 0.9
    model = fastdnn.load(tmp_path / "fastdnn-model.safetensors")
    # 1293 samples after the validation's: 647 and 646, in steps of 16
    assert model._state.steps == 20 * 41


def test_an_error_is_told_once(tmp_path: Path) -> None:
    done = run(2, *OPTIONS, "--data", "none.csv", module="fastdnn", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("none.csv: no such file") == 1


def test_ctrl_c_saves_and_a_resumed_training_is_the_whole_one(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    options = ["train", "--epochs", "600", "--layers", "32", "--seed", "1", "--resume"]
    assert run(2, *options, module="fastdnn", cwd=whole).returncode == 0
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    job = subprocess.Popen(
        [str(MPIEXEC), "-n", "2", sys.executable, "-m", "fastdnn", *options],
        cwd=stopped, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert job.stderr is not None
    for line in job.stderr:
        if line.startswith("epoch 3/"):
            break
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does, to every process of the job
    out, err = job.communicate(timeout=LIMIT)
    assert job.returncode != 0
    assert "fastdnn: stopped by Ctrl-C; saving the model as it is now" in err
    assert out.count("test accuracy") == 1
    kept = stopped / "fastdnn-model-training.safetensors"
    assert kept.exists()
    again = run(2, *options, module="fastdnn", cwd=stopped)
    assert again.returncode == 0, again.stderr
    assert not kept.exists()
    models = [fastdnn.load(one / "fastdnn-model.safetensors") for one in (whole, stopped)]
    assert models[0]._state.steps == models[1]._state.steps
    np.testing.assert_array_equal(models[1].parameters, models[0].parameters)
