"""What the kernels' tests share."""

from __future__ import annotations

import numba
import pytest

from fastdnn.kernels import threads
from tests.kernels import regimes


@pytest.fixture
def share_small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all threads take part in products and steps that are too small to be worth it."""
    monkeypatch.setattr(threads, "SERIAL_FLOPS", 0)


@pytest.fixture(params=["as chosen", "blocked", "segments and chunks"])
def in_every_regime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test as the sizes say, and with all networks shared in one way or another."""
    if request.param != "as chosen":
        regimes.force(monkeypatch, request.param)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """All ranks of a call run one after another, on one thread."""
    numba.set_num_threads(1)
    monkeypatch.setattr(numba, "set_num_threads", lambda n: None)
