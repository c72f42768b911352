"""Which tests run: the suite of every day, or nightly all of it (`python -m pytest --nightly`)."""

NIGHTLY = False  # `conftest.py` sets it before any test is imported


def times(daily: int, nightly: int) -> int:
    """Return how often to try something that chance decides."""
    return nightly if NIGHTLY else daily
