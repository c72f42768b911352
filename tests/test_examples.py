"""Every example runs, in a small form, and writes its picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastdnn

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "why_depth_helps.py": ["--samples", "500", "--epochs", "2", "--seeds", "2"],
    "first_layer_weights.py": ["FOLDER", "--epochs", "1", "--units", "4"],
    "fashion_mnist.py": ["FOLDER", "--epochs", "1"],
    "on_a_cluster.py": ["--networks", "3"],
    "seconds_per_epoch.py": ["FOLDER", "--rounds", "1", "--samples", "1000"],
}


def run(name: str, folder: Path, *arguments: str | Path) -> str:
    """What the example prints; it runs in `folder`."""
    path = os.pathsep.join([str(Path(fastdnn.__file__).parents[1]), *sys.path])
    result = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def check_picture(path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    assert imread(path).std() > 0.05  # it is not blank


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SMALL)


def test_why_depth_helps(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install 'fastdnn[plot]'")
    output = run("why_depth_helps.py", tmp_path, *SMALL["why_depth_helps.py"])
    title, *rows, last = output.splitlines()
    assert title.split()[:3] == ["hidden", "layers", "parameters"]
    assert [row.split(" units")[0] for row in rows] == ["1 x 249", "2 x 29", "4 x 17", "1 x 999"]
    for row in rows:
        parameters, *accuracies = row.split("units")[1].split()
        assert 980 < int(parameters) < 4000
        assert len(accuracies) == 2
        assert all(0.4 < float(accuracy) < 1 for accuracy in accuracies)
    assert last == "see why_depth_helps.png"
    check_picture(tmp_path / "why_depth_helps.png")


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_on_a_cluster(kind: str, tmp_path: Path) -> None:
    package = {"dask": "distributed"}.get(kind, kind)
    pytest.importorskip(package, reason=f"{kind} is missing: pip install 'fastdnn[{kind}]'")
    output = run("on_a_cluster.py", tmp_path, kind, *SMALL["on_a_cluster.py"])
    best, accuracy, bits = output.splitlines()
    assert best.startswith("best of the search: 0.9")
    assert accuracy.startswith("accuracy of 3 networks: 0.9")
    assert bits == "the bits are those of a fit here: yes"


@pytest.mark.parametrize(
    "name",
    [
        "first_layer_weights.py",
        pytest.param("fashion_mnist.py", marks=pytest.mark.nightly),
        pytest.param("seconds_per_epoch.py", marks=pytest.mark.nightly),  # with all other libraries
    ],
)
def test_on_fashion_mnist(name: str, tmp_path: Path, fashion_mnist: Path) -> None:
    arguments = [fashion_mnist if word == "FOLDER" else word for word in SMALL[name]]
    if name == "first_layer_weights.py":
        pytest.importorskip(
            "matplotlib", reason="matplotlib is missing: pip install 'fastdnn[plot]'"
        )
    output = run(name, tmp_path, *arguments)
    if name == "first_layer_weights.py":
        check_picture(tmp_path / "first_layer_weights.png")
    if name == "seconds_per_epoch.py":
        assert "\nfastdnn " in output
    else:
        accuracy = float(output.split("test accuracy ")[1].split()[0])
        assert 0.7 < accuracy < 1
