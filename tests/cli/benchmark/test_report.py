import json
from pathlib import Path

import pytest

from fastdnn.cli.benchmark import report
from fastdnn.cli.benchmark.race import Lane

SETTINGS = {"optimizer": "adam", "dtype": "float32", "threads": 2, "rounds": 2}


@pytest.fixture
def result() -> report.Result:
    # Steps of an epoch: 64 in digits, 4 in large.
    lanes = {
        "digits": {
            "fastdnn": Lane([64e-5, 64e-6], first=1.23456, version="0.1"),
            "torch": Lane([64e-5, 64e-5], first=2.0, version="2.13"),
            "numpy": Lane([64e-6 * 1.5, 64e-4], first=0.5, version="2.4"),
            "jax": Lane(skipped="jax is not installed: pip install jax jaxlib"),
        },
        "large": {
            "fastdnn": Lane([4 * 0.02], first=3.0, version="0.1"),
            "torch": Lane([4 * 0.01], first=2.0, version="2.13"),
            "numpy": Lane(skipped="MemoryError: no room"),
            "jax": Lane(skipped="jax is not installed: pip install jax jaxlib"),
        },
    }
    return report.result_of(SETTINGS, lanes)


def test_the_result_holds_every_round(result: report.Result) -> None:
    assert json.loads(json.dumps(result)) == result
    assert result["settings"] == SETTINGS
    assert result["cases"]["digits"] == {
        "fastdnn": {"microseconds per step": [10, 1], "first epoch seconds": 1.235},
        "torch": {"microseconds per step": [10, 10], "first epoch seconds": 2},
        "numpy": {"microseconds per step": [1.5, 100], "first epoch seconds": 0.5},
        "jax": {"skipped": "jax is not installed: pip install jax jaxlib"},
    }
    assert result["environment"]["versions"] == {"fastdnn": "0.1", "torch": "2.13", "numpy": "2.4"}


def test_the_machine_is_not_named(result: report.Result) -> None:
    import platform

    name = platform.node()
    assert not name or name not in json.dumps(result["environment"])


def test_best_and_ratio(result: report.Result) -> None:
    digits, large = result["cases"]["digits"], result["cases"]["large"]
    assert report.best(digits, "fastdnn") == 1
    assert report.best(digits, "jax") is None
    assert report.ratio(digits) == (1.5, "numpy")
    assert report.ratio(large) == (0.5, "torch")
    assert report.ratio({"fastdnn": digits["fastdnn"]}) is None
    assert report.ratio({"torch": digits["torch"], "fastdnn": digits["jax"]}) is None


@pytest.mark.parametrize(
    ("case", "wanted"),
    [("digits", "64-100-10"), ("deep", "64 x 17-10"), ("wide", "100-1024 x 3-1")],
)
def test_layers(case: str, wanted: str) -> None:
    assert report.layers(case) == wanted


def test_layers_of_two_equal_widths() -> None:
    assert report.layers("mnist_m") == "784-512-512-10"


@pytest.mark.parametrize(
    ("value", "wanted"), [(1, "1.0"), (12.34, "12.3"), (99.6, "100"), (12345, "12,300")]
)
def test_three_digits(value: float, wanted: str) -> None:
    assert report._digits(value) == wanted


def test_markdown(result: report.Result) -> None:
    lines = report.markdown(result).splitlines()
    assert lines[:4] == [
        "| case | layers | batch | fastdnn | PyTorch | NumPy | JAX | fastdnn to the best |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| digits | 64-100-10 | 200 | 1.0 | 10.0 | 1.5 | – | 1.50 (NumPy) |",
        "| large | 2048 x 4-10 | 1024 | 20,000 | 10,000 | – | – | 0.50 (PyTorch) |",
    ]
    assert "the best of 2 rounds; adam, float32, 2 threads" in lines[5]
    assert "fastdnn 0.1, PyTorch 2.13, NumPy 2.4" in lines[6]
    assert lines[7:] == [
        "Left out: JAX: jax is not installed: pip install jax jaxlib",
        "Left out: NumPy: MemoryError: no room",
    ]


def test_text_has_the_same_cells(result: report.Result) -> None:
    table, _, about = report.text(result).partition("\n\n")
    heading, digits, large = table.splitlines()
    assert heading.split()[:3] == ["case", "layers", "batch"]
    assert " ".join(digits.split()) == "digits 64-100-10 200 1.0 10.0 1.5 – 1.50 (NumPy)"
    assert large.split()[:4] == ["large", "2048", "x", "4-10"]
    assert digits.index("64-100-10") == large.index("2048 x 4-10") == heading.index("layers")
    assert about == report.markdown(result).partition("\n\n")[2]


def test_plot(result: report.Result, tmp_path: Path) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )
    from fastdnn.plots import new_figure

    figure = new_figure((6, 4))
    report.plot(result, figure, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    torch, numpy, jax = axes.containers
    assert [bar.get_height() for bar in torch] == pytest.approx([10, 0.5])
    assert numpy[0].get_height() == pytest.approx(1.5)
    assert [bar.get_height() for bar in jax] == pytest.approx([float("nan")] * 2, nan_ok=True)
    assert [label.get_text().split("\n")[0] for label in axes.get_xticklabels()] == [
        "digits",
        "large",
    ]


def test_plot_of_one_contender_needs_no_legend(result: report.Result, tmp_path: Path) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )
    from fastdnn.plots import new_figure

    for case, of in result["cases"].items():
        result["cases"][case] = {"fastdnn": of["fastdnn"]}
    figure = new_figure((6, 4))
    report.plot(result, figure, tmp_path / "bars.png")
    assert figure.axes[0].get_legend() is None
