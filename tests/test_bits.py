import re
from pathlib import Path

import pytest

from tests.benchfiles import FOLDER, bench_module
from tests.test_gate import repository

bits = bench_module("bits")
ROOT = FOLDER.parent


def test_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    assert bits.compare(["a", "b"], {"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == 0
    assert capsys.readouterr().out == "0 of 2 networks have other bits\n"


@pytest.mark.parametrize("tree", [{"a": "1", "b": "3"}, {"a": "1"}])
def test_other_bits(tree: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bits.compare(["a", "b"], {"a": "1", "b": "2"}, tree) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"b: base 2, tree {tree.get('b', 'none')}"
    assert last == "1 of 2 networks have other bits"


def test_networks_have_bits_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is there twice, and a hash follows from what is trained alone."""
    assert len({repr(network) for network in bits.NETWORKS.values()}) == len(bits.NETWORKS)
    network = bits.NETWORKS["tiny float32"]
    before = bits.trained(network)
    assert bits.trained(network) == before
    assert bits.trained(network._replace(dtype="float64")) != before
    monkeypatch.setattr(bits, "SEED", 3)
    assert bits.trained(network) != before


def test_forced_thresholds_exist_and_are_put_back() -> None:
    from fastdnn.kernels.engine import placement

    before = {name: getattr(placement, name) for of in bits.FORCED.values() for name in of}
    bits.trained(bits.NETWORKS["cut float32"])
    assert {name: getattr(placement, name) for name in before} == before


@pytest.mark.parametrize(
    "arguments", [["--networks", "nope"], ["--base", "no-such-commit"]], ids=lambda x: x[0]
)
def test_errors_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if arguments[0] == "--networks":
        with pytest.raises(SystemExit) as caught:
            bits.main(arguments)
        assert caught.value.code == 2
        assert "unknown 'nope'; there are tiny float32" in capsys.readouterr().err
    else:
        assert bits.main(arguments) == 2
        assert "bits: error: " in capsys.readouterr().err


def test_a_side_that_fails_is_an_error(tmp_path: Path) -> None:
    """Neither are its networks taken for ones that differ."""
    package = tmp_path / "fastdnn"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('none here')\n")
    with pytest.raises(RuntimeError, match=rf"^{re.escape(str(tmp_path))}: \w+Error: "):
        bits.hashes(tmp_path, ["tiny float32"])


@repository
def test_each_side_is_its_own_fastdnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "__file__", str(tmp_path / "which.py"))
    (tmp_path / "which.py").write_text(
        "import json, fastdnn; print(json.dumps(['where', fastdnn.__file__]))\n"
    )
    assert bits.hashes(ROOT, [])["where"].startswith(str(ROOT))
