"""The table that `Sequential.summary` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastdnn.kernels.engine import size_of, tensors_of
from fastdnn.kernels.layers.operations import TRAINED

from .layer import Layer
from .layers import Activation, Dense, Dropout
from .residual import Residual
from .stack import Stack

HEAD = ("layer", "activation", "W", "b", "Z, A", "parameters")


class Line(NamedTuple):
    """A layer as the table shows it; None is unknown until the input size is."""

    name: str
    activation: str
    W: str
    b: str
    n: int | None
    size: int | None


def summarize(layers: Sequence[Layer], input_size: int | None, dtype: str) -> str:
    """Return the layers with their shapes: W (n, n_prev), b (n,), Z and A (n, m).

    Other layers' parameters stand in the places of W and b, with their names.
    """
    rows = [HEAD, ("X", "", "", "", f"({_known(input_size)}, m)", "")]
    total, n = 0, input_size
    for number, layer in enumerate(layers, 1):
        for indent, line in _lines(layer, n, ""):
            name = f"{indent}{line.name}" if indent else f"{number} {line.name}"
            count = "?" if line.size is None else f"{line.size:,}"
            rows.append((name, *line[1:4], f"({_known(line.n)}, m)", count))
            total, n = total + (line.size or 0), line.n
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    lines = [line.rstrip() for line in lines]
    counted = "unknown until the input size is" if input_size is None else f"{total:,}"
    return "\n".join([*lines, f"parameters: {counted} ({dtype})"])


def _known(n: int | None) -> str:
    return "?" if n is None else str(n)


def _lines(layer: Layer, n_prev: int | None, indent: str) -> Iterator[tuple[str, Line]]:
    """A layer's line, and those of the layers inside it."""
    if isinstance(layer, Residual):
        yield indent, Line("Residual", "", "", "", n_prev, 0)
        for inner in layer.layers:
            for deeper, line in _lines(inner, n_prev, indent + "    "):
                yield deeper, line
                n_prev = line.n
    elif isinstance(layer, Dense):
        n, bias = layer.units, layer.use_bias
        count = None if n_prev is None else n * (n_prev + bias)
        W, b = f"({n}, {_known(n_prev)})", f"({n},)" if bias else "none"
        yield indent, Line("Dense", str(layer.activation), W, b, n, count)
    else:
        yield indent, _line(layer, n_prev)


def _line(layer: Layer, n_prev: int | None) -> Line:
    """Return the line of a layer that is no product."""
    kind = type(layer).__name__
    name = f"{kind}({layer.rate:g})" if isinstance(layer, Dropout) else kind
    g = str(layer.activation) if isinstance(layer, Activation) else ""
    if n_prev is None:
        return Line(name, g, "", "", None, 0 if g or isinstance(layer, Dropout) else None)
    stack = Stack(n_prev)
    layer.lay(stack)
    rows = [stack.rows[l - 1] for _, l in stack.owners]
    own = [one for row in rows for one in tensors_of(row) if one.role == TRAINED]
    shown = [f"{one.name} {one.shape}" for one in own] + ["", ""]
    b = shown[1] if len(own) < 3 else f"{shown[1]}, …"
    return Line(name, g, shown[0], b, layer.width(n_prev), sum(size_of(one) for one in own))
