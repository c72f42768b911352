"""Warnings that point at the user's own line, however deep in fastdnn they are found."""

from __future__ import annotations

import sys
import warnings

# Packages whose functions stand between the user's line and what is found.
_BETWEEN = {
    *("fastdnn", "numba", "llvmlite", "sklearn", "joblib"),
    *("contextlib", "functools", "importlib", "threading"),
}


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn of something, at the nearest caller's line that is no library's."""
    frame = sys._getframe(1)
    # code that was made from text has no module
    while _is_between(frame.f_globals.get("__name__", "fastdnn")) and frame.f_back is not None:
        frame = frame.f_back
    told = frame.f_globals
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=told.get("__name__"),
        registry=told.setdefault("__warningregistry__", {}),
    )


def _is_between(module: str) -> bool:
    return module.partition(".")[0] in _BETWEEN
