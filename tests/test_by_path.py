import subprocess
import sys
from pathlib import Path

from fastdnn.cli.benchmark import contenders
from tests.benchfiles import FOLDER, bench_module

by_path = bench_module("by_path")


def test_a_part_has_a_name_of_its_own() -> None:
    module = by_path.comparison("contenders")
    assert module is by_path.comparison("contenders")
    assert module is not contenders
    assert module.__name__ == "working_tree_benchmark.contenders"
    assert Path(module.__file__).samefile(contenders.__file__)
    assert module.CASES == contenders.CASES


def test_relative_imports_stay_inside() -> None:
    assert by_path.comparison("race").Work is by_path.comparison("contenders").Work


def test_an_installed_fastdnn_is_not_imported() -> None:
    """Else a commit's benchmarks would time the working tree."""
    program = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import by_path;"
        " by_path.comparison('race');"
        " by_path.comparison('contenders'); print('fastdnn' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
