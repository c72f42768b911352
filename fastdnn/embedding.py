"""Embeddings: categories and numbers of a table become vectors that a network learns from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_count, check_number
from ._closed import closed
from ._config import storable
from .layer import Array, Layer
from .stack import Stack

START = 0.05  # a category's vector starts between - and + that, as Keras's does


def _whole_numbers(name: str, value: Any, least: int) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: want a list of whole numbers, got {value!r}")
    return tuple(check_count(f"{name}[{i}]", one, least) for i, one in enumerate(value))


def _columns(name: str, value: Any) -> tuple[int, ...]:
    columns = _whole_numbers(name, value, 0)
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"{name}: want different columns, at least one, got {list(columns)}")
    return columns


def _refuse_beyond(name: str, columns: tuple[int, ...], n_prev: int) -> None:
    if max(columns) >= n_prev:
        raise ValueError(f"{name}: want columns from 0 to {n_prev - 1}, got {max(columns)}")


@storable
@closed()
@dataclass(eq=False, repr=False)
class ColumnEmbedding(Layer):
    """Give each category of some columns of X a vector, which is trained: the first layer.

    A = [E_1[x_c1], E_2[x_c2], …, the other columns in their order]: what one-hot columns and a
    Dense layer would make, without the zeros.

    Parameters
    ----------
    columns : sequence of int
        The columns of X that hold categories, as whole numbers from 0.
    cardinalities : sequence of int
        How many categories each has.
    dims : sequence of int
        How many numbers a category of each becomes.

    Attributes
    ----------
    E : list of ndarray of shape (cardinality, dim)
        Writable views into the model's `parameters`, once the model knows its input size.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`; or ValueError if the lists are not as long as each other, or X has not as many
        columns.

    Notes
    -----
    An X that holds another number in one of the columns is refused. A category has no derivative:
    in `input_gradient` its column is 0.
    """

    columns: tuple[int, ...]
    cardinalities: tuple[int, ...]
    dims: tuple[int, ...]

    def _checked(self, name: str, value: Any) -> Any:
        full = f"ColumnEmbedding.{name}"
        numbers = _columns(full, value) if name == "columns" else _whole_numbers(full, value, 1)
        if name != "columns" and len(numbers) != len(self.columns):
            raise ValueError(
                f"{full}: want {len(self.columns)} numbers, one for each column, got {len(numbers)}"
            )
        return numbers

    def width(self, n_prev: int) -> int:
        """Return the sum of the dims, and of the columns that pass."""
        return n_prev - len(self.columns) + sum(self.dims)

    def lay(self, stack: Stack) -> None:
        """Add the row that looks vectors up."""
        _refuse_beyond("ColumnEmbedding.columns", self.columns, stack.n)
        stack.operate(
            "column_embedding",
            self.width(stack.n),
            self,
            columns=self.columns,
            cardinalities=self.cardinalities,
            dims=self.dims,
        )

    def start(self, rng: np.random.Generator) -> None:
        """Give the vectors their random start."""
        for E in self.E:
            E[...] = rng.uniform(-START, START, E.shape)

    @property
    def E(self) -> list[Array]:
        """Return the vectors, one matrix (cardinality, dim) for each column: writable views."""
        return list(self.tensors().values())


def embedding_size(cardinality: int) -> int:
    """Return how many numbers a category of so many becomes: min(600, round(1.6 n^0.56)).

    Source: the rule of fast.ai's library, `emb_sz_rule`, found by trials with many tables.
    """
    return min(600, round(1.6 * math.pow(cardinality, 0.56)))


def check_categories(X: Any, layers: Sequence[Layer]) -> None:
    """Refuse an X with other numbers than categories in the columns that the layers embed."""
    first = layers[0] if layers else None
    if not isinstance(first, ColumnEmbedding):
        return
    for column, count in zip(first.columns, first.cardinalities, strict=True):
        values = X[:, [column]].toarray() if hasattr(X, "toarray") else X[:, column]
        values = np.asarray(values).reshape(-1)
        wrong = ~((values >= 0) & (values < count) & (values == np.floor(values)))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"X: want whole numbers from 0 to {count - 1} in column {column}, which is "
                f"embedded, got {values[at]} at X[{at}, {column}]"
            )


class NumberEmbedding(Layer):
    """An embedding of the numbers of some columns, or of all; the others pass."""

    columns: tuple[int, ...] | None

    def _own(self, n_prev: int) -> tuple[int, ...]:
        return tuple(range(n_prev)) if self.columns is None else self.columns

    def _each(self) -> int:
        """How many numbers one becomes."""
        raise NotImplementedError

    def width(self, n_prev: int) -> int:
        """Return the numbers that the columns become, and the columns that pass."""
        own = len(self._own(n_prev))
        return n_prev - own + own * self._each()

    def _embed(self, operation: str, stack: Stack, **settings: Any) -> None:
        """Add the row of an operation on the columns."""
        columns = self._own(stack.n)
        _refuse_beyond(f"{type(self).__name__}.columns", columns, stack.n)
        stack.operate(operation, self.width(stack.n), self, columns=columns, **settings)


@storable
@closed()
@dataclass(eq=False, repr=False)
class PeriodicEmbedding(NumberEmbedding):
    """Turn each number x into sin(2 pi c_k x) and cos(2 pi c_k x), k = 1, …, K.

    A = [sin of the first number, cos of it, sin of the second, …, the columns that pass]. Networks
    learn steep functions of a number from these which they do not learn from x. Scale X before: c
    is right for numbers of variance 1. Source: Gorishniy et al. 2022.

    Parameters
    ----------
    frequencies : int
        K, for each number.
    scale : float
        The standard deviation of the random start of c: as large as X needs fine steps.
    columns : sequence of int, optional
        Of the layer's input; None is all.

    Attributes
    ----------
    c : ndarray of shape (columns, K)
        A writable view into the model's `parameters`, once the model knows its input size.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`; or ValueError if there are not as many columns.
    """

    frequencies: int = 16
    scale: float = 0.1
    columns: tuple[int, ...] | None = None

    def _checked(self, name: str, value: Any) -> Any:
        full = f"PeriodicEmbedding.{name}"
        if name == "frequencies":
            return check_count(full, value, 1)
        if name == "scale":
            check_number(full, value, "(0, inf)")
            return float(value)
        return None if value is None else _columns(full, value)

    def _each(self) -> int:
        return 2 * self.frequencies

    def lay(self, stack: Stack) -> None:
        """Add the row that makes sines and cosines."""
        self._embed("periodic_embedding", stack)

    def start(self, rng: np.random.Generator) -> None:
        """Give the frequencies their random start."""
        self.c[...] = rng.normal(0.0, self.scale, self.c.shape)

    @property
    def c(self) -> Array:
        """Return the frequencies, shape (columns, K): a writable view."""
        return self.tensors()["c"]


@storable
@closed()
@dataclass(eq=False, repr=False)
class PiecewiseLinearEmbedding(NumberEmbedding):
    """Turn each number into its shares of the intervals between boundaries.

    z_t = (x - b_{t-1}) / (b_t - b_{t-1}), t = 1, …, T, but at least 0 for t > 1 and at most 1 for
    t < T: 1 for each interval below x, a share for the one around it, 0 for those above. A = [z of
    the first number, z of the second, …, the columns that pass]. `of` takes the boundaries from
    data. Source: Gorishniy et al. 2022.

    Parameters
    ----------
    boundaries : array_like of shape (columns, T + 1)
        Increasing, for each column; they are not trained.
    columns : sequence of int, optional
        Of the layer's input; None is all.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`; or ValueError if boundaries do not increase, or there are not as many columns.
    """

    boundaries: tuple[tuple[float, ...], ...]
    columns: tuple[int, ...] | None = None

    def _checked(self, name: str, value: Any) -> Any:
        full = f"PiecewiseLinearEmbedding.{name}"
        if name == "columns":
            columns = None if value is None else _columns(full, value)
            if columns is not None and len(columns) != len(self.boundaries):
                raise ValueError(
                    f"{full}: want {len(self.boundaries)} columns, one for each row of boundaries, "
                    f"got {len(columns)}"
                )
            return columns
        return _increasing(full, value)

    @classmethod
    def of(
        cls, X: ArrayLike, bins: int = 16, columns: Iterable[int] | None = None
    ) -> PiecewiseLinearEmbedding:
        """Return the layer with boundaries at quantiles of data.

        Parameters
        ----------
        X : array_like of shape (m, n)
            The layer's input, as of the training samples.
        bins : int
            T. A column whose quantiles are not all different has even intervals instead.
        columns : sequence of int, optional
            Those to be embedded; None is all.

        Raises
        ------
        ValueError
            If X has no samples, is not finite, or a column is constant.
        """
        numbers = np.asarray(X, np.float64)
        bins = check_count("bins", bins, 1)
        if numbers.ndim != 2 or not len(numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"X: want finite samples in rows, got shape {numbers.shape}")
        own = range(numbers.shape[1]) if columns is None else _columns("columns", columns)
        rows = [_quantiles(numbers[:, j], bins, j) for j in own]
        return cls(tuple(map(tuple, rows)), None if columns is None else tuple(own))

    def _each(self) -> int:
        return len(self.boundaries[0]) - 1

    def lay(self, stack: Stack) -> None:
        """Add the row that makes shares."""
        columns = self._own(stack.n)
        if len(columns) != len(self.boundaries):
            raise ValueError(
                f"PiecewiseLinearEmbedding.boundaries: want a row for each of {len(columns)} "
                f"columns, got {len(self.boundaries)}"
            )
        self._embed("piecewise_linear_embedding", stack, boundaries=self.boundaries)


def _increasing(name: str, value: Any) -> tuple[tuple[float, ...], ...]:
    try:
        rows = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: want a matrix of numbers, got {value!r:.60}") from None
    if rows.ndim != 2 or not len(rows) or rows.shape[1] < 2:
        raise ValueError(f"{name}: want shape (columns, T + 1), T >= 1, got {rows.shape}")
    if not np.isfinite(rows).all() or (np.diff(rows.astype(np.float32), axis=1) <= 0).any():
        raise ValueError(f"{name}: want finite boundaries that increase, also in float32")
    return tuple(tuple(row) for row in rows.tolist())


def _quantiles(values: NDArray[np.float64], bins: int, column: int) -> list[float]:
    found = np.quantile(values, np.linspace(0.0, 1.0, bins + 1))
    if (np.diff(found.astype(np.float32)) <= 0).any():
        found = np.linspace(values.min(), values.max(), bins + 1)
    if found[0] >= found[-1]:
        raise ValueError(f"X: want different numbers in column {column}, got {found[0]} alone")
    return [float(one) for one in found]
