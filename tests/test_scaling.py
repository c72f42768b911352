"""asv_bench/scaling.py computes what docs/machines.md shows."""

import pytest

from tests.benchfiles import FOLDER, bench_module

scaling = bench_module("scaling")
DOCUMENT = FOLDER.parent / "docs" / "machines.md"


def test_the_document_holds_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main()
    assert capsys.readouterr().out.strip() in DOCUMENT.read_text(encoding="utf-8")


def test_the_formula() -> None:
    of = scaling.Network(latency=10.0, byte=0.001)
    assert scaling.n_bytes("mnist_m 784-512-512-10 b128") == 4 * 669_706
    assert scaling.sum_time(1000, 8, of) == pytest.approx(3 * 11.0)
    assert scaling.sum_time(1_000_000, 4, of) == pytest.approx(4 * 10 + 1.5 * 1000)
    # four times as much of a step as is added to it
    name, added = "large 2048x4-10 b1024", scaling.PYTHON
    added += scaling.sum_time(scaling.n_bytes(name), 2, of)
    assert scaling.steps_apart(name, 2, of) == -(-4 * added // scaling.STEPS[name])
