"""What the kernels' tests share."""

from __future__ import annotations

import pytest

from fastdnn.kernels import threads


@pytest.fixture
def share_small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all threads take part in products and steps that are too small to be worth it."""
    monkeypatch.setattr(threads, "SERIAL_FLOPS", 0)
