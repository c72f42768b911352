"""A Sequential as an ONNX file, of operators that onnxruntime has in float32 and float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import fastdnn
from fastdnn._files import replacing
from fastdnn.embedding import (
    ColumnEmbedding,
    NumberEmbedding,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from fastdnn.layer import Layer
from fastdnn.layers import Activation, Dense, Dropout
from fastdnn.model import Sequential
from fastdnn.normalization import BatchNormalization, LayerNormalization, RMSNormalization
from fastdnn.residual import PReLU, Residual

from . import _common
from ._common import at

OPSET, IR = 17, 8  # what onnxruntime 1.12 reads, and all later ones
LIMIT = 2**31 - 2**20  # bytes: what protobuf holds, less what is no tensor


class Graph:
    """Operators and constants, one after the other; a value is known by its name."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator of values, and of numbers and arrays; return its output."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        output = f"A{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Add a constant: of the network's dtype, but for integers, which are places."""
        array = np.ascontiguousarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        name = f"constant{len(self.constants) + 1}"
        # `ascontiguousarray` makes a number a vector
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    @property
    def kind(self) -> int:
        """ONNX's number of the dtype."""
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))


def to_onnx(model: Sequential, path: str | Path) -> None:
    """Write a model's network to an ONNX file."""
    model = _common.still(model, "to_onnx")
    if model.parameters.nbytes > LIMIT:
        raise ValueError(
            f"to_onnx: want parameters of at most {LIMIT:,} bytes, as an ONNX file holds, got "
            f"{model.parameters.nbytes:,}"
        )
    made = written(model)
    with replacing(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


def written(model: Sequential) -> Any:
    """Return a network as onnx's ModelProto."""
    assert model.input_size is not None
    graph = Graph(model.dtype)
    _add_all(graph, "X", model.layers, model.input_size)
    graph.nodes[-1].output[0] = "A"
    n = model.engine.layers[-1].n
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "fastdnn",
            [helper.make_tensor_value_info("X", graph.kind, ["m", model.input_size])],
            [helper.make_tensor_value_info("A", graph.kind, ["m", n])],
            graph.constants,
        ),
        producer_name="fastdnn",
        producer_version=fastdnn.__version__,
        ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(made, model.metadata)
    return made


def _add_all(graph: Graph, A: str, layers: Sequence[Layer], n: int) -> str:
    for number, layer in enumerate(layers):
        with at(_common.place(number, layer)):
            writer = WRITERS.get(type(layer))
            if writer is None:
                raise _common.no_counterpart("fastdnn's ONNX", WRITERS)
            A = writer(graph, A, layer, n)
        n = layer.width(n)
    return A


# ------------------------------------------------------------------------------------- activations
def _leaky_relu(graph: Graph, z: str) -> str:
    return graph.add("Add", graph.add("Relu", z), graph.add("Mul", _below(graph, z), 0.01))


def _below(graph: Graph, z: str) -> str:
    return graph.add("Min", z, 0.0)


def _elu(graph: Graph, z: str) -> str:
    below = graph.add("Sub", graph.add("Exp", _below(graph, z)), 1.0)
    return graph.add("Add", graph.add("Relu", z), below)


def _gelu(graph: Graph, z: str) -> str:
    scaled = graph.add("Mul", z, math.sqrt(0.5))
    if graph.dtype == np.float64:  # onnxruntime has no erf in float64
        scaled = graph.add("Cast", scaled, to=onnx.TensorProto.FLOAT)
    erf = graph.add("Erf", scaled)
    if graph.dtype == np.float64:
        erf = graph.add("Cast", erf, to=graph.kind)
    return graph.add("Mul", z, graph.add("Mul", graph.add("Add", erf, 1.0), 0.5))


def _softplus(graph: Graph, z: str) -> str:
    below = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    return graph.add(
        "Add", graph.add("Relu", z), graph.add("Log", graph.add("Add", below, 1.0))
    )  # fmt: skip


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, z: z,
    "sigmoid": lambda graph, z: graph.add("Sigmoid", z),
    "relu": lambda graph, z: graph.add("Relu", z),
    "tanh": lambda graph, z: graph.add("Tanh", z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda graph, z: graph.add("Mul", z, graph.add("Sigmoid", z)),
    "softplus": _softplus,
    "exponential": lambda graph, z: graph.add("Exp", z),
    "softmax": lambda graph, z: graph.add("Softmax", z, axis=-1),
}


# ------------------------------------------------------------------------------------------ layers
def _activated(graph: Graph, z: str, g: Any) -> str:
    name = _common.named(g, "ONNX")
    if name not in ACTIVATIONS:
        raise ValueError(f"fastdnn's ONNX has no activation {name!r}")
    return ACTIVATIONS[name](graph, z)


def _dense(graph: Graph, A: str, layer: Dense, n: int) -> str:
    b = [] if layer.b is None else [layer.b]
    return _activated(graph, graph.add("Gemm", A, layer.W, *b, transB=1), layer.activation)


def _layer_norm(graph: Graph, A: str, layer: LayerNormalization, n: int) -> str:
    gamma = np.ones(n) if layer.gamma is None else layer.gamma
    beta = [] if layer.beta is None else [layer.beta]
    return graph.add("LayerNormalization", A, gamma, *beta, axis=-1, epsilon=layer.epsilon)


def _rms_norm(graph: Graph, A: str, layer: RMSNormalization, n: int) -> str:
    squares = graph.add("ReduceMean", graph.add("Mul", A, A), axes=[-1], keepdims=1)
    root = graph.add("Sqrt", graph.add("Add", squares, layer.epsilon))
    return graph.add("Mul", graph.add("Div", A, root), layer.gamma)


def _batch_norm(graph: Graph, A: str, layer: BatchNormalization, n: int) -> str:
    # onnxruntime's own operator takes gamma A / s + (beta - gamma mean / s): in float32 the digits
    # of a mean that is large beside s cancel there
    centred = graph.add("Sub", A, layer.moving_mean)
    gamma = 1.0 if layer.gamma is None else layer.gamma
    made = graph.add("Mul", centred, gamma / np.sqrt(layer.moving_variance + layer.epsilon))
    return made if layer.beta is None else graph.add("Add", made, layer.beta)


def _prelu(graph: Graph, A: str, layer: PReLU, n: int) -> str:
    below = graph.add("Mul", _below(graph, A), layer.alpha)
    return graph.add("Add", graph.add("Relu", A), below)


def _residual(graph: Graph, A: str, layer: Residual, n: int) -> str:
    return graph.add("Add", A, _add_all(graph, A, layer.layers, n))


def _behind(graph: Graph, A: str, made: list[str], columns: Sequence[int], n: int) -> str:
    """Put the columns that pass behind what the others have become."""
    passing = [j for j in range(n) if j not in columns]
    if passing:
        made = [*made, graph.add("Gather", A, np.array(passing), axis=1)]
    return graph.add("Concat", *made, axis=1)


def _columns(graph: Graph, A: str, layer: ColumnEmbedding, n: int) -> str:
    made = []
    for column, E in zip(layer.columns, layer.E, strict=True):
        category = graph.add("Gather", A, np.array(column), axis=1)
        category = graph.add("Cast", category, to=onnx.TensorProto.INT64)
        made.append(graph.add("Gather", E, category, axis=0))
    return _behind(graph, A, made, layer.columns, n)


def _numbers(graph: Graph, A: str, layer: NumberEmbedding, n: int) -> tuple[str, Sequence[int]]:
    """Return the numbers that are embedded, each on an axis of its own, and their columns."""
    columns = range(n) if layer.columns is None else layer.columns
    numbers = graph.add("Gather", A, np.array(columns), axis=1)
    return graph.add("Unsqueeze", numbers, np.array([2])), columns


def _flat(graph: Graph, made: str, size: int) -> str:
    return graph.add("Reshape", made, np.array([0, size]))  # 0 keeps m


def _periodic(graph: Graph, A: str, layer: PeriodicEmbedding, n: int) -> str:
    x, columns = _numbers(graph, A, layer, n)
    v = graph.add("Mul", x, 2 * math.pi * layer.c)  # rounded as fastdnn's, whose sines it makes
    both = graph.add("Concat", graph.add("Sin", v), graph.add("Cos", v), axis=2)
    return _behind(graph, A, [_flat(graph, both, 2 * layer.c.size)], columns, n)


def _piecewise(graph: Graph, A: str, layer: PiecewiseLinearEmbedding, n: int) -> str:
    x, columns = _numbers(graph, A, layer, n)
    b = np.array(layer.boundaries, graph.dtype)
    widths = np.diff(b)
    least, most = np.zeros(widths.shape[1]), np.ones(widths.shape[1])
    least[0], most[-1] = -np.inf, np.inf
    shares = graph.add("Div", graph.add("Sub", x, b[:, :-1]), widths)
    within = graph.add("Min", graph.add("Max", shares, least), most)
    return _behind(graph, A, [_flat(graph, within, widths.size)], columns, n)


WRITERS: dict[type[Layer], Callable[[Graph, str, Any, int], str]] = {
    Dense: _dense,
    Activation: lambda graph, A, layer, n: _activated(graph, A, layer.activation),
    Dropout: lambda graph, A, layer, n: A,
    LayerNormalization: _layer_norm,
    RMSNormalization: _rms_norm,
    BatchNormalization: _batch_norm,
    PReLU: _prelu,
    Residual: _residual,
    ColumnEmbedding: _columns,
    PeriodicEmbedding: _periodic,
    PiecewiseLinearEmbedding: _piecewise,
}
