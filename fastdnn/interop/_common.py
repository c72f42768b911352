"""What the converters share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from fastdnn._inputs import check_finite
from fastdnn.custom import ScalarActivation
from fastdnn.embedding import ColumnEmbedding
from fastdnn.layer import Activation_, Array, Layer
from fastdnn.layers import Activation, Dense, Dropout
from fastdnn.model import Sequential
from fastdnn.residual import PReLU

DTYPES = ("float32", "float64")


@contextmanager
def at(place: str) -> Iterator[None]:
    """Have the errors of a block begin with a layer's place."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{place}: {error}") from None


def place(number: int, layer: Layer) -> str:
    """Name a layer of a model, as errors do."""
    return f"layers[{number}], {type(layer).__name__}"


def named(g: Activation_, library: str) -> str:
    """Return the table's name of an activation that another library is to know."""
    if isinstance(g, ScalarActivation):
        raise ValueError(
            f"{g!r} is a function of your own, which {library} does not know; want an activation "
            "of fastdnn's"
        )
    return g


def no_counterpart(library: str, known: Iterable[type]) -> ValueError:
    """Return the error of a layer that a library does not have."""
    return ValueError(f"{library} has none; want {', '.join(sorted(k.__name__ for k in known))}")


def still(model: Sequential, method: str) -> Sequential:
    """Return a copy of a model as it is after some step, whatever other threads do.

    Warns
    -----
    UserWarning
        If it has a preparation, which the other library does not take over.
    """
    parameters = model.parameters  # or the error that there are none
    assert parameters.size
    if model.preparation is not None:
        undo = "" if model.preparation.target_scaling is None else (
            ", and what it returns is to go through model.preparation.outputs"
        )  # fmt: skip
        warnings.warn(
            f"{method}: takes the network over, without the model's preparation of tables: it "
            f"reads X = model.preparation.inputs(table, model.dtype){undo}",
            stacklevel=4,
        )
    return copy(model)


class Found:
    """The layers that another library's network has, as far as it has been read.

    Attributes
    ----------
    dtype : str
    layers : list of Layer
    input_size : int or None
        Of the first layer that tells.
    n : int or None
        The outputs of the last layer, once they are known.
    """

    def __init__(self, dtype: str, n: int | None = None) -> None:
        self.dtype = dtype
        self.layers: list[Layer] = []
        self.input_size, self.n = n, n
        self._tensors: list[tuple[Layer, Mapping[str, Any]]] = []
        self._table: Array | None = None  # of the embedding that X goes through first
        self._is_flat = False

    def takes(self, n: int) -> None:
        """Say how many inputs the next layer has."""
        if self._table is not None:
            self._embed(self._table, n)
        if self.n is None:
            self.input_size = self.n = n
        if self.n != n:
            raise ValueError(f"takes {n} numbers, and the layer before gives {self.n}")

    def add(self, layer: Layer, **tensors: Any) -> None:
        """Add a layer, with what its parameters and moving averages are to be."""
        self.layers.append(layer)
        if tensors:
            self._tensors.append((layer, tensors))
        if self.n is not None:
            self.n = layer.width(self.n)

    def activate(self, name: str) -> None:
        """Add an activation: it becomes that of the Dense before, if there is one without."""
        last = self.layers[-1] if self.layers else None
        if name == "softmax" and self._table is not None and not self._is_flat:
            raise ValueError("want the embedding's vectors flattened before")
        if name == "identity" and not isinstance(last, Dropout):  # which cannot be the last
            return
        if not isinstance(last, Dense) or last.activation != "identity":
            self.add(Activation(name))
            return
        # a new one, as the start of W follows from the activation
        dense = Dense(
            last.units, name, last.use_bias, kernel_regularizer=last.kernel_regularizer
        )  # fmt: skip
        self.layers[-1] = dense
        self._tensors[-1] = dense, self._tensors[-1][1]

    def bend(self, slope: float) -> None:
        """Add max(A, 0) + slope min(A, 0), for a slope that leaky_relu has not."""
        if slope == 0.01:
            self.activate("leaky_relu")
        else:
            self.add(PReLU(slope), alpha=np.array(slope))

    def look_up(self, table: Array) -> None:
        """Let each column of X, of which there are yet unknown many, look a vector up."""
        if self.layers or self.n is not None or self._table is not None:
            raise ValueError("want an embedding first: fastdnn embeds columns of X")
        self._table, self._is_flat = table, False

    def flatten(self) -> None:
        """Lay the vectors of a sample in a row."""
        self._is_flat = True

    def _embed(self, table: Array, n: int) -> None:
        count, dim = table.shape
        columns, rest = divmod(n, dim)
        if rest or columns < 1 or (columns > 1 and not self._is_flat):
            raise ValueError(
                f"takes {n} numbers, and the embedding before gives vectors of {dim}"
                + ("" if self._is_flat else ", which nothing flattens")
            )
        layer = ColumnEmbedding(tuple(range(columns)), (count,) * columns, (dim,) * columns)
        self.layers.insert(0, layer)
        self._tensors.insert(0, (layer, {f"E{t}": table for t in range(1, columns + 1)}))
        self.input_size, self.n, self._table = columns, n, None

    def block(self, inner: Found, layer: Layer) -> None:
        """Add a block of layers that has been read."""
        if inner.input_size is not None:
            self.takes(inner.input_size)
        self.add(layer)
        self._tensors += inner._tensors

    def model(self) -> Sequential:
        """Return the network, with copies of the tensors."""
        if self._table is not None:
            raise ValueError("want a layer behind the embedding that tells how many columns X has")
        model = Sequential(self.layers, input_size=self.input_size, dtype=self.dtype)
        for layer, tensors in self._tensors:
            views = layer.tensors()
            for name, value in tensors.items():
                if value.shape not in ((), (1,), views[name].shape):
                    wanted = f"want {name} of shape {views[name].shape}, got {value.shape}"
                    raise ValueError(f"{type(layer).__name__}: {wanted}")
                check_finite(name, value, views[name].dtype)
                if name == "moving_variance" and (value < 0).any():
                    raise ValueError(f"{name}: want variances >= 0, got {value.min()}")
                views[name][...] = value
        return model


def one_dtype(dtypes: Iterable[str]) -> str:
    """Return the dtype that all parameters have."""
    found = sorted(set(dtypes))
    if len(found) != 1 or found[0] not in DTYPES:
        raise ValueError(
            f"want parameters of one dtype, float32 or float64, got {', '.join(found) or 'none'}"
        )
    return found[0]
