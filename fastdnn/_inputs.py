"""What a user hands over, checked before any work and made into what the engine reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdnn.kernels.base.arrays import DTYPES, as_array, as_native, from_objects, refuse_masked
from fastdnn.kernels.engine import Targets
from fastdnn.kernels.finite import all_finite

from ._checks import check_number, share_of, shown
from .data.rows import Part, dense, is_readable, is_small, is_sparse, rows_of
from .losses import Loss

Array = NDArray[Any]
FEW = 5_000  # for so few numbers a scalar product is quicker, and BLAS starts no thread


class Data(NamedTuple):
    """Samples in rows, with what they are compared with."""

    X: Any  # a matrix, or sparse rows
    y: Array  # labels (m,) or dense targets (m, n_L): what metrics take
    targets: Targets
    weights: Array | None

    def rows(self, part: Part) -> Data:
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights[part]
        return Data(rows_of(self.X, part), self.y[part], self.targets.rows(part), weights)


def check_X(
    X: Any, n_0: int | None, dtype: np.dtype[Any], *, finite: bool = True, whole: bool = True
) -> Any:
    """Return X as (m, n_0) in float32 or float64: kept where it is that, else converted to `dtype`.

    Without `finite`, NaN and infinity are not looked for. Unless it is wanted `whole`, X stays as
    it is, or rows of SciPy's CSR, where a converted one would take much memory.
    """
    if type(X) is np.ndarray and X.dtype in DTYPES:
        array = X  # the quick way of a service's single samples
    else:
        array = _sparse_rows(X) if is_sparse(X) else _numbers("X", X)
    if array.ndim != 2:
        hint = ""
        if array.ndim == 1:
            hint = "; for one sample use X.reshape(1, -1)"
        elif array.ndim > 2:
            hint = "; flatten each sample: X.reshape(len(X), -1)"
        raise ValueError(f"X: want 2 dimensions (samples, features), got shape {array.shape}{hint}")
    if array.shape[1] == 0:
        raise ValueError(f"X: got shape {array.shape}, without features")
    if n_0 is not None and array.shape[1] != n_0:
        raise ValueError(f"X: want {n_0} features, as the model's input_size, got {array.shape[1]}")
    if not is_readable(array) and (whole or is_small(array, dtype)):
        array = dense(array, dtype)
    if finite:
        check_finite("X", array, dtype)
    return array


def _sparse_rows(X: Any) -> Any:
    """Return X as rows of SciPy's CSR."""
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X: want real numbers, got dtype {X.dtype}")
    return X if X.format == "csr" or X.ndim != 2 else X.tocsr()


def check_finite(name: str, array: Any, dtype: np.dtype[Any]) -> None:
    """Refuse NaN, infinity and what is infinite in `dtype`, saying where the first one is."""
    if array.dtype.kind != "f":
        return  # an integer fits any float's range
    if is_sparse(array):
        if not _sum_is_finite(array.data, dtype):
            _refuse_infinite(name, array.tocoo(), dtype)
        return
    # one quick pass, and only a suspicious result has a second look: in a sum they survive
    if array.flags.c_contiguous and array.dtype == dtype and is_finite(array):
        return
    if not _sum_is_finite(array, dtype):
        _refuse_infinite(name, array, dtype)


def is_finite(array: Array) -> bool:
    """Return whether a matrix in C order of float32 or float64 holds neither NaN nor infinity."""
    if array.size < FEW and math.isfinite(np.vdot(array, array)):
        return True
    return all_finite(array.reshape(-1))


def _sum_is_finite(array: Array, dtype: np.dtype[Any]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum(dtype=dtype))


def _refuse_infinite(name: str, array: Any, dtype: np.dtype[Any]) -> None:
    """Say where an array, or the COO form of a sparse one, is not finite, if it is not."""
    values = array.data if is_sparse(array) else array
    with np.errstate(over="ignore", invalid="ignore"):
        where = np.argwhere(~np.isfinite(values.astype(dtype, copy=False)))
    if not len(where):
        return
    at = tuple(where[0].tolist())
    value = values[at]
    if is_sparse(array):
        at = int(array.row[at[0]]), int(array.col[at[0]])
    raise ValueError(
        f"{name}: want finite numbers of {dtype}, got {value} at "
        f"{name}[{', '.join(map(str, at))}] ({len(where)} such values)"
    )


def _numbers(name: str, values: ArrayLike) -> Array:
    if type(values) is not np.ndarray:
        _refuse_other_arrays(name, values)
    array = as_array(name, values)
    if array.dtype == object:
        array = from_objects(name, array, missing=True)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: want real numbers, got dtype {array.dtype}")
    return array


def _refuse_other_arrays(name: str, values: Any) -> None:
    """Refuse what NumPy would not take for the numbers that it holds."""
    if hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        raise TypeError(f"{name}: got a sparse matrix; want a dense one ({name}.toarray())")
    refuse_masked(name, values)


def check_y(
    y: ArrayLike, m: int, n: int, loss: Loss, dtype: np.dtype[Any]
) -> tuple[Array, Targets]:
    """Return y as metrics take it, and as the engine takes it, for a network with n outputs."""
    array = as_native(_numbers("y", y))
    entry = loss.entry
    if len(array.shape) == 0 or len(array) != m:
        raise ValueError(f"y: want one target for each of X's {m} rows, got shape {array.shape}")
    if entry.labels:
        labels = _check_labels(array, n, loss)
        return labels, Targets(np.empty(0, dtype), labels)
    if loss.of_arrays:
        check_finite("y", array, dtype)
        array = array.reshape(m, 1) if array.ndim == n == 1 else array
        return array, Targets(array)
    n_targets = loss.n_targets(n)
    if array.shape not in ((m, n_targets), (m,) if n_targets == 1 else (m, n_targets)):
        hint = ""
        if array.ndim == 1 and entry.kind == "multiclass" and entry.other_form:
            hint = f"; for class numbers use the loss {entry.other_form!r}"
        raise ValueError(
            f"y: want shape ({m}, {n_targets}) with the loss {loss.name!r}, got {array.shape}{hint}"
        )
    check_finite("y", array, dtype)
    low, high = entry.targets
    if array.min() < low or array.max() > high:
        wanted = f"in [{low:g}, {high:g}]" if high < math.inf else f">= {low:g}"
        raise ValueError(
            f"y: want values {wanted} with the loss {loss.name!r}, "
            f"got {array.min()} to {array.max()}"
        )
    array = loss.compared(array.reshape(m, n_targets), n)
    return array, Targets(np.ascontiguousarray(loss.smoothed(array), dtype))


def _check_labels(array: Array, n: int, loss: Loss) -> Array:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        other = loss.entry.other_form
        hint = f"; for one-hot rows use the loss {other!r}" if array.ndim == 2 and other else ""
        raise ValueError(f"y: want one class number per sample, got shape {array.shape}{hint}")
    check_finite("y", array, np.dtype(np.float64))
    if array.min() < 0 or array.max() >= n:
        raise ValueError(
            f"y: want classes 0 to {n - 1}, for the network has {n} outputs; "
            f"got {array.min()} to {array.max()}"
        )
    labels = np.ascontiguousarray(array, np.int64)
    if array.dtype.kind == "f" and (labels != array).any():
        at = np.flatnonzero(labels != array)[0]
        raise ValueError(
            f"y: want class numbers with the loss {loss.name!r}, got {array[at]} at y[{at}]"
        )
    return labels


def check_weights(sample_weight: ArrayLike, m: int, dtype: np.dtype[Any]) -> Array:
    """Return the weight of each sample in the loss."""
    weights = as_native(_numbers("sample_weight", sample_weight))
    if weights.shape != (m,):
        raise ValueError(f"sample_weight: want shape ({m},), got {weights.shape}")
    check_finite("sample_weight", weights, dtype)
    if weights.min() < 0:
        raise ValueError(f"sample_weight: want weights >= 0, got {weights.min()}")
    return weights.astype(dtype)


def check_data(
    X: Any,
    y: ArrayLike,
    n_0: int | None,
    n: int,
    loss: Loss,
    dtype: np.dtype[Any],
    sample_weight: ArrayLike | None = None,
    *,
    finite: bool = True,
    whole: bool = True,
) -> Data:
    """Return everything that a pass with a loss reads, at least one sample of it."""
    X = check_X(X, n_0, dtype, finite=finite, whole=whole)
    m = X.shape[0]
    if m == 0:
        raise ValueError("X: got no samples; want at least one")
    y, targets = check_y(y, m, n, loss, dtype)
    weights = None if sample_weight is None else check_weights(sample_weight, m, dtype)
    return Data(X, y, targets, weights)


def check_gradients(
    gradients: Iterable[Sequence[ArrayLike | None]],
    views: Sequence[tuple[Array | None, ...]],
    dtype: np.dtype[Any],
    *,
    name: str = "gradients",
    what: str = "(dW, db)",
) -> list[tuple[Array, Array]]:
    """Return each of the engine's derivatives, such as dW, with what is to be written there."""
    if not isinstance(gradients, Iterable):
        raise TypeError(f"{name}: want a list of {what}, got {gradients!r:.60}")
    pairs = list(gradients)
    if len(pairs) != len(views):
        raise ValueError(f"{name}: want {what} for {len(views)} layers, got {len(pairs)}")
    checked = []
    for l, (pair, view) in enumerate(zip(pairs, views, strict=True)):
        if not isinstance(pair, tuple | list) or len(pair) != len(view):
            of_layer = what if len(view) == 2 else f"a tuple of {len(view)} arrays"
            raise TypeError(f"{name}[{l}]: want {of_layer}, got {pair!r:.60}")
        for i, (array, place) in enumerate(zip(pair, view, strict=True)):
            element = f"{name}[{l}][{i}]"
            if array is None and place is None:
                continue
            if array is None or place is None:
                wanted = "None, as the layer has no b" if place is None else f"shape {place.shape}"
                raise ValueError(f"{element}: want {wanted}, got {array!r:.60}")
            array = as_native(_numbers(element, array))
            if array.shape != place.shape:
                raise ValueError(f"{element}: want shape {place.shape}, got {array.shape}")
            check_finite(element, array, dtype)
            checked.append((place, array))
    return checked


def check_vector(
    name: str, vector: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """Return a vector of this shape in float64, of numbers that are finite in `dtype`."""
    array = as_native(_numbers(name, vector))
    if array.shape != shape:
        raise ValueError(
            f"{name}: want shape {shape}, as the model's parameters, got {array.shape}"
        )
    check_finite(name, array, dtype)
    return array.astype(np.float64)


def weigh_classes(
    data: Data, class_weight: Mapping[int, float], n: int, dtype: np.dtype[Any]
) -> Data:
    """Return the same data, the weight of each sample times that of its class, with n outputs."""
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight: want a dict of class to weight, got {shown(class_weight)}")
    y = _classes(data, class_weight)
    weights = np.ones(len(y))
    for label, weight in class_weight.items():
        check_number(f"class_weight[{shown(label)}]", weight, "[0, inf)")
        members = y == label
        # a class may be missing from these samples; one output tells two classes apart
        if not np.any(members) and label not in range(max(n, 2)):
            raise ValueError(f"class_weight: want classes of y, got {shown(label)}")
        weights[members] = weight
    if data.weights is not None:
        weights *= data.weights
    return data._replace(weights=weights.astype(dtype))


def _classes(data: Data, known: Mapping[int, float]) -> Array:
    """Return each sample's class: its label, the place of its 1, or its one target."""
    y = data.y
    if data.targets.labels.size:
        return y
    if y.size > len(y):
        is_one_hot = y.ndim == 2 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
        if not is_one_hot:
            raise ValueError(
                "class_weight: want y with one class per sample, as class numbers or one-hot rows, "
                "got rows with several classes or with other numbers; want sample_weight for these"
            )
        return y.argmax(axis=1)  # type: ignore[no-any-return]
    y = y.reshape(-1)
    values = np.unique(y)
    if len(values) > 2 or not all(value in (0, 1) or value in known for value in values.tolist()):
        raise ValueError(
            "class_weight: want y of two classes, 0 and 1, got "
            f"{values[0]:g} to {values[-1]:g}; want sample_weight for numbers"
        )
    return y


def split(data: Data, share: float) -> tuple[Data, Data | None]:
    """Return the data without their last part, and that part: `share` of the samples."""
    if share == 0:
        return data, None
    m = len(data.y)
    if m == 1:
        raise ValueError(f"validation_split: {share} of one sample leaves one part empty")
    cut = m - share_of(share, m)
    return data.rows(slice(cut)), data.rows(slice(cut, m))
