"""What the sub-commands of ``fastdnn`` do; each takes its arguments and returns the exit status."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter

import fastdnn
from fastdnn import kernels
from fastdnn._files import checked_output, replacing
from fastdnn.data.datasets import load_new
from fastdnn.data.labels import missing_labels
from fastdnn.data.preparation import Preparation
from fastdnn.data.tables import Array, quoted
from fastdnn.model import Sequential

from .scores import score


def predict(arguments: Namespace) -> int:
    """Write the label of each sample, and on stderr how many are right if the data have labels."""
    output = None
    if arguments.output is not None:
        inputs = [arguments.model, arguments.data]
        output = checked_output(arguments.output, "--output", inputs)
    model = _load_model(arguments.model)
    preparation = model.preparation
    if preparation is None:
        raise ValueError(
            f"{arguments.model}: the model does not say how its data were prepared, as those of"
            " 'fastdnn train' do; use fastdnn.load(path).predict(X) in Python"
        )
    if arguments.probabilities and preparation.classes is None:
        raise ValueError("--probabilities: the model predicts numbers; it has no classes")
    X, y = load_new(arguments.data, preparation, model.dtype)
    model.preparation = None  # X is prepared
    A = preparation.outputs(model.predict(X, verbose="auto"))
    rows = _rows(preparation, A, arguments.probabilities)
    if output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with (
            replacing(output) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows(rows)
    if y is not None and not missing_labels(y).all():
        print(score(preparation, A, y), file=sys.stderr)
    return 0


def _rows(preparation: Preparation, A: Array, probabilities: bool) -> Iterator[list[str]]:
    """Return what `predict` writes: a label a row, or a probability for each class."""
    if preparation.classes is None:
        return ([f"{value:.8g}"] for value in preparation.labels(A).tolist())
    if not probabilities:
        return ([str(label)] for label in preparation.labels(A).tolist())
    head = [str(label) for label in preparation.classes.tolist()]
    return chain([head], ([f"{p:.8g}" for p in row] for row in A.tolist()))


def summary(arguments: Namespace) -> int:
    """Show a network, and what it was trained on."""
    model = _load_model(arguments.model)
    model.summary()
    preparation = model.preparation
    if preparation is None:
        return 0  # saved from Python: there is nothing more to show
    print(f"trained on: {preparation.data}")
    if preparation.features is not None:
        print(f"features: {quoted(preparation.features)}")
    if preparation.target is not None:
        print(f"target: {preparation.target!r}")
    if preparation.classes is not None:
        print(f"classes: {quoted([str(label) for label in preparation.classes])}")
    if preparation.report():  # files of 0.1.0 have none
        print(preparation.report())
    return 0


def export(arguments: Namespace) -> int:
    """Write a network as an ONNX file."""
    output = checked_output(arguments.output, "OUT.onnx", [arguments.model])
    if output.suffix != ".onnx":
        raise ValueError(f"OUT.onnx: want a name that ends so, got {output}")
    model = _load_model(arguments.model)
    is_prepared, model.preparation = model.preparation is not None, None
    model.to_onnx(output)
    print(f"network: {output}")
    if is_prepared:
        print(
            "fastdnn: the file takes the numbers that the model makes of a table, not the table;"
            " in Python model.preparation.inputs(table, model.dtype) makes them",
            file=sys.stderr,
        )
    return 0


def info(arguments: Namespace) -> int:
    """Show what the speed depends on."""
    facts = {"fastdnn": fastdnn.__version__, **kernels.info()}
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def warmup(arguments: Namespace) -> int:
    """Compile all there is, so that no later process has to."""
    start = perf_counter()
    kernels.warmup()
    print(f"compiled in {perf_counter() - start:.1f} s; kept in {kernels.info()['cache folder']}")
    return 0


def _load_model(path: str) -> Sequential:
    """Return a saved network."""
    if Path(path).is_dir():
        raise ValueError(f"{path}: a folder; name a model file that 'fastdnn train' wrote")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file; 'fastdnn train' writes one")
    return fastdnn.load(path)
