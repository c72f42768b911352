"""What the kernels' tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numba.core.compiler
import pytest

from fastdnn.kernels.cpu import threads
from tests.kernels import regimes
from tests.kernels.common import use_folders


@pytest.fixture
def share_small_work(monkeypatch: pytest.MonkeyPatch, awake_threads: None) -> None:
    """Let all threads take part in products and steps that are too small to be worth it."""
    monkeypatch.setattr(threads, "SHARED_FLOPS", 0)


@pytest.fixture(params=["as chosen", "blocked", "cut", "segments and chunks"])
def in_every_regime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test as the sizes say, and with all networks shared in one way or another."""
    if request.param != "as chosen":
        regimes.force(monkeypatch, request.param)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """All ranks of a call run one after another, on one thread."""
    numba.set_num_threads(1)
    monkeypatch.setattr(numba, "set_num_threads", lambda n: None)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder."""
    use_folders(monkeypatch, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that numba compiles from now on."""
    names: list[str] = []
    compile_extra = numba.core.compiler.compile_extra

    def counted(context: Any, target: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        names.append(function.__name__)
        return compile_extra(context, target, function, *arguments, **options)

    monkeypatch.setattr(numba.core.compiler, "compile_extra", counted)
    return names
