"""``mpiexec -n 2 fastdnn train``."""

from pathlib import Path

import fastdnn
from tests.machines.mpi import run

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
