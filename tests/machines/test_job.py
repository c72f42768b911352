import sys
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

import fastdnn
from fastdnn.machines import job_of, world

from .mpi import LIMIT, run, told


def test_wrong_arguments_are_told_on_every_rank_before_any_work() -> None:
    parameters, optimizer, batch, empty, comm, validation, diverged = told(2, "errors")
    text = "ValueError: comm: want the same number of parameters on every rank, got 53 on rank 0"
    assert parameters.split(" | ") == [f"{text} and 63 on rank 1"] * 2
    first, second = optimizer.split(" | ")
    assert first == second
    assert first.startswith("ValueError: comm: want the same optimizer on every rank, got Adam(")
    wrong = "batch_size: want an integer in [1, inf), got -1"
    assert batch == f"ValueError: rank 1: {wrong} | ValueError: {wrong}"
    assert (
        empty.split(" | ") == ["ValueError: X: got no samples on any rank; want at least one"] * 2
    )
    assert "pip install 'fastdnn[mpi]'" in comm
    assert "want the same validation_data on every rank, got none on rank 0 and some" in validation
    # only rank 1's samples are too large
    for one in diverged.split(" | "):
        assert one.startswith(
            "DivergenceError: training diverged: the loss of step 0 of epoch 1 is"
        )


def test_what_is_no_communicator_is_refused() -> None:
    model = fastdnn.Sequential([fastdnn.Dense(1)], seed=1)
    model.compile("sgd")
    with pytest.raises(TypeError, match=r"comm: want a communicator of mpi4py.*fastdnn\[mpi\]"):
        model.fit(np.ones((4, 2)), np.ones(4), comm="world", verbose=0)
    assert job_of(None).size == 1


def test_mpiexec_without_mpi4py_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world() is None
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"4 processes.*pip install 'fastdnn\[mpi\]'"):
        world()


@pytest.mark.parametrize("how", ["raise", "SIGKILL"])
def test_a_rank_that_dies_ends_all(how: str, tmp_path: Path) -> None:
    start = monotonic()
    done = run(4, "die", how, str(tmp_path), limit=3 * LIMIT)
    assert monotonic() - start < LIMIT  # the start of four processes included
    assert done.returncode != 0
    both = done.stdout + done.stderr
    if how == "raise":
        why = "OSError: the disk of this machine is full"
        assert f"fastdnn: rank 3 of 4 has failed and ends all: {why}" in both
    else:
        assert "signal 9" in both
    assert (tmp_path / f"{how}.safetensors").exists()


@pytest.mark.parametrize(
    ("how", "name"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "SystemExit")]
)
def test_a_signal_to_one_rank_ends_all_at_the_same_step(
    how: str, name: str, tmp_path: Path
) -> None:
    done = run(3, "die", how, str(tmp_path))
    found = [line for line in done.stderr.replace("rank", "\nrank").splitlines() if name in line]
    steps = [line.split()[-1] for line in found]
    assert len(steps) == 3
    assert len(set(steps)) == 1, done.stderr
