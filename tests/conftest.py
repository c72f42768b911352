"""What the tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiers

# Numba reads this once, when it is imported. Four threads on any machine: results must not depend
# on the number of threads, so it does not matter that they share cores.
os.environ["NUMBA_NUM_THREADS"] = str(max(4, os.cpu_count() or 1))
os.environ.setdefault("MPLBACKEND", "Agg")

FASHION_MNIST = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nightly",
        action="store_true",
        help="all combinations, not pairs; 10,000 fuzz examples; and what is marked nightly",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: takes too long for every day")
    tiers.NIGHTLY = config.getoption("--nightly")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave for the night what takes long, and all combinations but those that make each pair."""
    if tiers.NIGHTLY:
        return
    kept = tiers.daily(items)
    left = set(items).difference(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = kept


@pytest.fixture(autouse=True)
def same_threads_after() -> Iterator[None]:
    """Restore the number of threads that a test may have set."""
    import fastdnn

    before = fastdnn.get_num_threads()
    yield
    fastdnn.set_num_threads(before)


@pytest.fixture
def awake_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all threads take part in calls that are over before a second one would be awake."""
    from fastdnn.kernels.cpu import threads

    monkeypatch.setattr(threads, "AWAKE_FLOPS", 0)


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """The folder of Fashion-MNIST's IDX files; the test is skipped where there is none."""
    folder = Path(os.environ.get("FASTDNN_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    for name in FASHION_MNIST:
        if not any((folder / f"{name}{end}").is_file() for end in ("", ".gz")):
            pytest.skip(
                f"no Fashion-MNIST in {folder}: install Debian's package dataset-fashion-mnist or "
                "set FASTDNN_FASHION_MNIST to a folder with its IDX files"
            )
    return folder
