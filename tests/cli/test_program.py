import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastdnn
from fastdnn.cli import commands, main, training
from fastdnn.data.datasets import READERS
from fastdnn.data.labels import RULE
from tests.barestream import Bare
from tests.datafiles import flowers, write_csv

SOURCES = str(Path(fastdnn.__file__).parents[1])
PATH = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH", "")]))
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}
COMMAND = [sys.executable, "-m", "fastdnn"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = flowers()
    write_csv(Path("iris.csv"), X, y, "u,v,species")
    Path("page.csv").write_text("<html>")
    Path("ragged.csv").write_text("a,b,c\n1,2,3\n1,2,3,4\n")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("broken.safetensors").write_bytes(b"no model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "COMMAND"),
        ("trian", "'trian'"),
        ("train --epoch-s 3", "unrecognized arguments: --epoch-s 3; 'fastdnn --help' says more"),
        ("train --epochs 0", "--epochs: '0'; want a whole number from 1; 'fastdnn train --help'"),
        ("train --epochs 1.5", "--epochs: '1.5'; want a whole number from 1"),
        ("train --layers 10,x", "--layers: '10,x'; want units by layer, as 256,128"),
        ("train --layers 10,0", "--layers: '10,0'"),
        ("train --layers 10000000000000000000000", "layers: want parameters that fit, with their"),
        ("train --dropout 1", "--dropout: '1'; want a number from 0 and below 1"),
        ("train --learning-rate nan", "--learning-rate: 'nan'; want a number from 0"),
        ("train --learning-rate 0", "--learning-rate: '0'; want a number above 0"),
        ("train --learning-rate -1", "--learning-rate: '-1'; want a number from 0"),
        ("train --l2 -1", "--l2: '-1'; want a number from 0"),
        ("train --threads 9999", "--threads: '9999'; want up to "),
        ("bench --threads 9999", "--threads: '9999'; want up to "),
        ("train --early-stopping 0", "--early-stopping: '0'; want a whole number from 1"),
        ("train --validation-split 1", "--validation-split: '1'; want a number from 0 and below 1"),
        (
            "train --validation-split 0 --early-stopping",
            "--validation-split: 0; --early-stopping needs samples to validate on",
        ),
        ("train --drop a,,b", "--drop: 'a,,b'; want names of columns, as a,b"),
        ("train --drop u", "drop: ['u']; scikit-learn's digits have no columns to choose from"),
        ("train --data iris.csv --drop u,w", "iris.csv: drop: no column 'w'; it has 'u', 'v', 's"),
        ("train --data iris.csv --drop species", "'species' is the label column; name a feature"),
        ("train --data iris.csv --drop u,v", "no feature is left: 'u' dropped: as --drop says"),
        ("train --data page.csv", "page.csv: not a text file but a web page"),
        ("train --data ragged.csv", "ragged.csv: line 3: 4 cells, where the header has 3"),
        ("train --dtype float16", "--dtype: invalid choice: 'float16'"),
        ("train --normalization btach", "--normalization: invalid choice: 'btach' (choose from"),
        ("train --activation rleu", "'rleu'; did you mean 'relu'?"),
        ("train --optimizer adma", "'adma'; did you mean 'adam'?"),
        ("train --data nowhere", "nowhere: no such file or folder; want a .csv"),
        ("train --data folder", "folder: no IDX files in this folder"),
        ("train --data iris.csv --target name", "no column 'name'; it has 'u', 'v', 'species'"),
        ("train --data iris.csv --task regression", "labels: setosa is text"),
        ("train --seed -1", "seed: -1; want a whole number from 0 to 4294967295"),
        ("train --target u", "target: 'u'; scikit-learn's digits have no columns to choose from"),
        ("train --output folder", "--output: folder is a folder; name a file"),
        ("train --output no/m.safetensors", "--output: there is no folder no; make it first"),
        ("train --output a.png", "a.png is where the curves go"),
        ("train --output pipe", "--output: pipe is a device or a pipe; name a file"),
        ("train --data iris.csv --output iris.csv", "--output: want another file than the input"),
        ("predict iris.csv", "the following arguments are required: DATA"),
        ("predict nowhere iris.csv", "nowhere: no such model file; 'fastdnn train' writes one"),
        (
            "predict folder iris.csv",
            "folder: a folder; name a model file that 'fastdnn train' wrote",
        ),
        ("predict broken.safetensors iris.csv", "broken.safetensors"),
        ("summary broken.safetensors", "broken.safetensors"),
        ("predict broken.safetensors iris.csv --output folder", "--output: folder is a folder"),
        ("predict broken.safetensors iris.csv --output iris.csv", "--output: want another file"),
        (
            "predict broken.safetensors iris.csv --output ./broken.safetensors",
            "--output: want another file than the input, got broken.safetensors",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith("fastdnn: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert "Traceback" not in out + err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("X:\n  is\twrong"), 2, "X: is wrong"),
        (PermissionError(13, "Permission denied", "m"), 2, "m: Permission denied"),
        (MemoryError(), 2, "MemoryError"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_every_error_is_one_line(
    error: BaseException,
    status: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(commands, "info", fail)
    assert main(["info"]) == status
    assert capsys.readouterr().err == f"fastdnn: error: {line}\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise KeyError("no user could know")

    monkeypatch.setattr(commands, "info", fail)
    with pytest.raises(KeyError):
        main(["info"])


def test_divergence_is_status_1_and_saves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.save("t.npy", rng.normal(size=(200, 4)))
    before = sorted(Path().iterdir())
    arguments = ["--data", "t.npy", "--optimizer", "sgd", "--learning-rate", "1e30"]
    assert main(["train", *arguments]) == 1
    err = capsys.readouterr().err
    last = err.splitlines()[-1]
    assert last.startswith("fastdnn: error: ")
    assert last.endswith("Nothing was written.")
    assert "epoch" in last
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leave:
        main(arguments)
    assert leave.value.code == 0
    assert "usage: fastdnn" in capsys.readouterr().out


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    options = "data target drop task validation-split layers activation dropout l2 dtype optimizer"
    options += " learning-rate epochs early-stopping"
    for option in (*options.split(), "batch-size", "threads", "seed", "output"):
        assert f"--{option}" in out
    assert "exit status" in out
    words = " ".join(out.split())
    for kind in READERS:
        assert kind in words.replace("(each also .gz)", ".csv.gz .tsv.gz .txt.gz .data.gz")
    assert RULE in words


def test_version_of_the_process() -> None:
    run = subprocess.run(
        [*COMMAND, "--version"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"fastdnn {fastdnn.__version__}\n"


def test_bad_input_of_the_process() -> None:
    run = subprocess.run(
        [*COMMAND, "train", "--data", "nowhere"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("fastdnn: error: nowhere: no such file or folder")
    assert run.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_of_the_process() -> None:
    # A shell's background jobs, and so their children, ignore SIGINT unless told otherwise.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from fastdnn.cli import main; sys.exit(main())"
    )
    arguments = ["train", "--layers", "8", "--epochs", "1000000"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            while "epoch 2/" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "stopped by Ctrl-C; saving" in err
    assert "Traceback" not in err
    assert "test accuracy" in out
    assert Path("fastdnn-model.safetensors").stat().st_size > 0


def test_a_reader_that_leaves_needs_no_message() -> None:
    with subprocess.Popen(
        [*COMMAND, "info"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# --------------------------------------------------------------------- streams and encodings
CLOSED = {
    "stdout": ">&-",
    "stderr": "2>&-",
    "both": ">&- 2>&-",
    "all": "<&- >&- 2>&-",
}


def in_a_shell(rest: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the shell's own words behind it."""
    line = f"exec {sys.executable} -W error -m fastdnn {rest}"
    return subprocess.run(
        ["sh", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of other systems closes streams")
@pytest.mark.parametrize(
    "closed",
    [
        "stdout",
        "all",
        *(pytest.param(one, marks=pytest.mark.nightly) for one in ("stderr", "both")),
    ],
)
def test_closed_streams(closed: str) -> None:
    run = in_a_shell(f"train --data iris.csv --epochs 1 {CLOSED[closed]}")
    assert run.returncode == 0
    assert ("test accuracy" in run.stdout) == (closed == "stderr")
    assert ("epoch 1/1" in run.stderr) == (closed == "stdout")
    assert "Traceback" not in run.stderr
    assert fastdnn.load("fastdnn-model.safetensors").preparation is not None
    wrong = in_a_shell(f"train --no {CLOSED[closed]}")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == (closed == "stdout")


@pytest.mark.parametrize("missing", ["nothing", "stdout", "stderr", "both"])
def test_streams_of_a_programs_own(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Bare(), Bare()
    monkeypatch.setattr(sys, "stdout", None if missing in ("stdout", "both") else out)
    monkeypatch.setattr(sys, "stderr", None if missing in ("stderr", "both") else err)
    before = sys.stdout, sys.stderr
    assert main(["train", "--data", "iris.csv", "--epochs", "1"]) == 0
    assert main(["summary", "fastdnn-model.safetensors"]) == 0
    assert main(["predict", "fastdnn-model.safetensors", "iris.csv"]) == 0
    assert main(["train", "--nonsense"]) == 2
    assert (sys.stdout, sys.stderr) == before
    assert ("parameters:" in out.text) == (missing in ("nothing", "stderr"))
    assert ("fastdnn: error: " in err.text) == (missing in ("nothing", "stdout"))


NARROW = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
}


@pytest.mark.parametrize(
    "narrow",
    [
        "C",
        pytest.param("ascii", marks=pytest.mark.nightly),
        pytest.param("latin-1", marks=pytest.mark.nightly),
    ],
)
def test_what_an_encoding_lacks(narrow: str) -> None:
    rows = [f"{i % 7},{i % 3},{'日…é' if i % 2 else 'x'}" for i in range(20)]
    Path("words.csv").write_text("\n".join(["u,v,λ", *rows]), encoding="utf-8")
    assert main(["train", "--data", "words.csv", "--epochs", "1"]) == 0
    model = "fastdnn-model.safetensors"
    fastdnn.load(model)
    wanted = {
        ("--help",): "usage: fastdnn",
        ("train", "--help"): "--layers N,N,",
        ("bench", "--help"): "--cases NAME,",
        ("summary", model): "classes: ",
        ("predict", model, "words.csv"): "\n",
        ("train", "--data", "words.csv", "--epochs", "1"): "test accuracy",
        ("info",): "numba",
    }

    def run(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=ENVIRONMENT | NARROW[narrow],
            capture_output=True,
            check=False,
        )

    with ThreadPoolExecutor(2) as pool:  # each does little but start
        for said, found in zip(wanted.values(), pool.map(run, wanted), strict=True):
            assert found.returncode == 0, found.stderr
            assert b"Traceback" not in found.stderr
            assert said in found.stdout.decode("latin-1")


def test_a_full_disk_is_named() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*COMMAND, "info"], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert run.returncode != 0
    assert run.stderr.decode().splitlines()[0] == "fastdnn: error: No space left on device"


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.pt"])
def test_a_model_has_no_suffix_of_another_format(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert main(["train", "--data", "iris.csv", "--output", name]) == 2
    assert "--output: want the suffix .safetensors" in capsys.readouterr().err
    assert sorted(Path().iterdir()) == before


def test_a_checkpoint_that_cannot_be_written_costs_no_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, path: str, state: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(fastdnn.Sequential, "save_training", fail)
    command = ["train", "--layers", "4", "--epochs", "2", "--resume", "--output", "m.safetensors"]
    monkeypatch.setattr(training, "SAVED_EVERY", 1e-9)
    with pytest.warns(RuntimeWarning, match="ModelCheckpoint: .*No space left"):
        assert main(command) == 0
    assert "could not be written (No space left on device)" in capsys.readouterr().err
    assert len(fastdnn.load("m.safetensors").layers) == 2
