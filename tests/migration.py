"""docs/migration.md as its tests read it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense
from fastdnn.estimators._compat import HAS_CALLBACKS

TEXT = (Path(__file__).parents[1] / "docs" / "migration.md").read_text(encoding="utf-8")
CHAPTERS = {
    text.splitlines()[0].removeprefix("From "): text
    for text in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
}
LOSS = "sparse_categorical_crossentropy"
KERAS_HOME = tempfile.TemporaryDirectory()
MODULES = {"scikit-learn": "sklearn", "Keras": "keras", "PyTorch": "torch"}


class Cells(NamedTuple):
    """What a row says of the two libraries."""

    theirs: str
    ours: str


def imported(library: str) -> Any:
    """The other library; the test is skipped where it is not installed."""
    name = MODULES[library]
    if name == "keras":
        if importlib.util.find_spec("torch"):
            os.environ.setdefault("KERAS_BACKEND", "torch")
        os.environ.setdefault("KERAS_HOME", KERAS_HOME.name)  # Keras writes there
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(
            f"only fastdnn's side was run, as {library} cannot be imported: {error}",
            allow_module_level=True,
        )
    if name == "torch":
        module.set_num_threads(1)  # others would wait beside fastdnn's, on the same cores
    if name == "sklearn" and not HAS_CALLBACKS:  # they came with 1.9
        pytest.skip(
            f"only fastdnn's side was run: want scikit-learn 1.9, got {module.__version__}",
            allow_module_level=True,
        )
    return module


def numbers(cell: str) -> list[float]:
    """The numbers that a cell names."""
    return [float(number) for number in re.findall(r"\b\d+(?:\.\d+)?(?:e-?\d+)?\b", cell)]


def names(cell: str) -> list[str]:
    """The names that a cell sets in code."""
    return re.findall(r"`(\w+)`", cell)


class Table:
    """A table under a heading "What differs from …"; each row is one test's.

    Used as a decorator, it gives the test the row's two cells.
    """

    def __init__(self, library: str, of: str = "") -> None:
        title = re.escape(f"### What differs from {library}{of}\n")
        (text,) = re.findall(rf"^{title}([^#]*)", CHAPTERS[library], re.MULTILINE)
        lines = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
        self.rows = {
            name.strip(): Cells(left.strip(), right.strip()) for name, left, right in lines
        }
        del self.rows[""], self.rows["---"]
        self.tested: set[str] = set()

    def __call__(self, name: str) -> Callable[[Any], Any]:
        self.tested.add(name)
        return pytest.mark.parametrize("cells", [pytest.param(self.rows[name], id=name)])


def flushes() -> bool:
    """Whether numbers below the smallest normal one count as 0 on this CPU."""
    return platform.machine().lower() in ("x86_64", "amd64")


def exported(kind: type) -> set[str]:
    """The names of fastdnn's classes of this kind."""
    found = {name: getattr(fastdnn, name) for name in fastdnn.__all__}
    return {
        name
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, kind) and value is not kind
    }


def networks(Z: Any) -> tuple[Any, Callable[..., Any]]:
    """Two networks that are softmax(Z) at X = 1."""
    n = len(Z)
    model = fastdnn.Sequential([Dense(n, "softmax", use_bias=False)], input_size=1)
    model.layers[0].W = np.reshape(Z, (n, 1))
    model.compile(fastdnn.SGD(0.1), LOSS, ["accuracy"])

    def theirs(*metrics: str) -> Any:
        keras = imported("Keras")
        layer = keras.layers.Dense(n, "softmax", use_bias=False)
        network = keras.Sequential([keras.Input((1,)), layer])
        network.set_weights([np.reshape(Z, (1, n))])
        network.compile(keras.optimizers.SGD(0.1), LOSS, metrics=list(metrics))
        return network

    return model, theirs
