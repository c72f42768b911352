"""Every loss: its value for each sample and the derivative to start from, one table.

For a sample with target y and output a (n outputs) a loss is l and its derivatives. Each entry
states one function of a `Strip`, `rows` samples one after the other. It writes l to l[i], float64,
and n derivatives to d[i n:], for each sample i. A *plain* loss reads a and writes dA = dl/da. Fused
with the activation whose inverse link it is, a loss reads Z from s instead, writes a itself and
gives dZ = dl/dz: more accurate (no log of a rounded probability) and one pass. `y` holds dense
targets, `labels` class numbers; `ps` holds the loss's parameters, at least `PARAMETERS` and n of
them. No two of s, a, y, d and l overlap; d and l serve as scratch.

To add a loss, write its function (a mean over the outputs needs only two formulas, see
`mean_losses`) and its line in `LOSSES`, which also says what the loss takes for targets.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import float64, int64
from numpy.typing import NDArray

from . import class_losses, mean_losses
from ._dispatch import switch
from ._jit import FLOATS, Leaf, kernel, leaf, pointer
from ._scalar import copy_strip
from ._simd import span
from .arrays import address_of
from .layout import ZERO
from .mean_losses import PARAMETERS, Strip
from .native import FIRST, SECOND, Pair, call_at, call_strip

Function = Callable[..., None]  # of a `Strip`
Interval = tuple[float, float]
ANY, PROBABILITY, NOT_NEGATIVE = (-inf, inf), (0.0, 1.0), (0.0, inf)


class Loss(NamedTuple):
    """A table entry."""

    code: int
    fused: dict[Any, int]  # output activation -> code of the fused function
    labels: bool = False  # targets are class numbers
    targets: Interval = ANY  # where dense targets lie
    outputs: Interval = ANY  # where outputs have to lie
    least_outputs: int = 1
    # What a sample is, and so which accuracy suits: "multiclass" one of n classes, "multilabel" a
    # yes or no for each output, "any" one of both by the number of outputs, "regression" neither.
    kind: str = "any"
    parameters: tuple[float, ...] = (0.0,)  # by default; outputs take them in turn


RARE = 100  # the first code of a rare loss's functions
_common: list[Function] = []  # compiled into the step's leaf
_rare: list[Function] = []  # each a leaf of its own, compiled for who chooses it


def _code(function: Function, of: list[Function]) -> int:
    of.append(function)
    return len(of) - 1 + (RARE if of is _rare else 0)


def _entry(
    function: Function,
    fused: dict[str, Function] | None = None,
    *,
    rare: bool = False,
    **facts: Any,
) -> Loss:
    of = _rare if rare else _common
    codes = {activation: _code(other, of) for activation, other in (fused or {}).items()}
    return Loss(_code(function, of), codes, **facts)


_OF_LABELS: dict[str, Any] = {
    "targets": PROBABILITY,
    "outputs": PROBABILITY,
    "kind": "multilabel",
}
_OF_CLASSES = _OF_LABELS | {"kind": "multiclass", "least_outputs": 2}

LOSSES = {
    "mean_squared_error": _entry(mean_losses.squared_error),
    "mean_absolute_error": _entry(mean_losses.absolute_error),
    "huber": _entry(mean_losses.huber, parameters=(1.0,)),
    "log_cosh": _entry(mean_losses.log_cosh, rare=True),
    "quantile": _entry(mean_losses.quantile, rare=True, kind="regression", parameters=(0.5,)),
    "poisson": _entry(
        mean_losses.poisson,
        {"exponential": mean_losses.exponential_poisson},
        rare=True,
        targets=NOT_NEGATIVE,
        outputs=NOT_NEGATIVE,
        kind="regression",
    ),
    "binary_crossentropy": _entry(
        mean_losses.binary_crossentropy,
        {"sigmoid": mean_losses.sigmoid_crossentropy},
        **_OF_LABELS,
    ),
    "binary_focal_crossentropy": _entry(
        mean_losses.binary_focal,
        {"sigmoid": mean_losses.sigmoid_focal},
        rare=True,
        **_OF_LABELS,
        parameters=(2.0, 1.0, 1.0),
    ),
    "categorical_crossentropy": _entry(
        class_losses.categorical_crossentropy,
        {"softmax": class_losses.softmax_crossentropy},
        **_OF_CLASSES,
    ),
    "categorical_focal_crossentropy": _entry(
        class_losses.categorical_focal,
        {"softmax": class_losses.softmax_focal},
        rare=True,
        **_OF_CLASSES,
        parameters=(2.0, 0.25),
    ),
    "sparse_categorical_crossentropy": _entry(
        class_losses.sparse_crossentropy,
        {"softmax": class_losses.sparse_softmax_crossentropy},
        **_OF_CLASSES,
        labels=True,
    ),
}
GIVEN = "given"  # a loss whose y are the derivatives dA themselves, and whose value is 0


@kernel
def _given(x):
    copy_strip(x.rows * x.n, x.d, ZERO, x.y, ZERO)
    for i in range(x.rows):
        x.l[i] = 0.0


_ENTRIES = LOSSES | {GIVEN: _entry(_given, rare=True)}


def _signature(t: Any) -> tuple[Any, ...]:
    return (
        *(int64, pointer(t), int64, pointer(t), int64, pointer(t), int64, pointer(int64), int64),
        *(pointer(t), int64, int64, int64, pointer(t), pointer(float64), int64),
    )


def _own(code, s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
    # a `Pair` of value(a, y) and slope(a, y) / n
    call_strip(code, FIRST, rows * n, d, d0, a, a0, y, y0, 1.0)
    mean_losses.row_means(d, d0, rows, n, l, l0)
    call_strip(code, SECOND, rows * n, d, d0, a, a0, y, y0, np.float64(n))


def _on_strip(pick: Function, name: str) -> Callable[..., None]:
    """Make the function of addresses that calls `pick(code, strip)`."""

    def rows(code, s, s0, a, a0, y, y0, labels, label0, d, d0, rows, n, ps, l, l0):
        size = rows * n
        strip = Strip(
            span(s, s0, size), span(a, a0, size), span(y, y0, size), span(labels, label0, rows),
            span(d, d0, size), rows, n, span(ps, 0, n + PARAMETERS), span(l, l0, rows),
        )  # fmt: skip
        pick(code, strip)

    # code from the cache is told apart by names
    rows.__name__ = rows.__qualname__ = name
    return rows


SPARES = [
    Leaf(_on_strip(switch([function]), f"rare_{number}"), _signature)
    for number, function in enumerate(_rare)
]
SPARES.append(Leaf(_own, _signature))
_places: dict[tuple[str, int, str], NDArray[np.int64]] = {}


def native_code(code: int, dtype: np.dtype[Any]) -> int:
    """Return what the compiled step knows a loss's function by, in a network of this dtype.

    `code` is that of a table entry, or of a user's `Pair`. What is not compiled into the step is
    loaded first, and known by where its address lies.
    """
    if code < RARE:
        return code
    is_own = code >= RARE + len(_rare)
    spare, inner = (SPARES[-1], code) if is_own else (SPARES[code - RARE], 0)
    key = spare.name, inner, dtype.name
    if key not in _places:
        place = np.array([spare.address(FLOATS[dtype]), inner], np.int64)
        # of two threads the first one's stays: its address may be in use
        _places.setdefault(key, place)
    return address_of(_places[key])


_call_at = call_at(_own, _signature)


@kernel
def _at_address(code, x):
    _call_at(
        code, x.s, ZERO, x.a, ZERO, x.y, ZERO, x.labels, ZERO, x.d, ZERO, x.rows, x.n, x.ps, x.l,
        ZERO,
    )  # fmt: skip


# The loss of each sample of a strip, and its derivatives.
loss_rows = leaf(_signature)(_on_strip(switch(_common, _at_address), "loss_rows"))


class OwnLoss(Protocol):
    """A loss of a user's own, of scalars."""

    @property
    def entry(self) -> Loss:
        """What a table would hold; the object owns the code that the entry's `code` names."""


def loss_of(loss: str | OwnLoss) -> Loss:
    """Return the entry of a name in `LOSSES`, of `GIVEN`, or of a user's own loss."""
    return _ENTRIES[loss] if isinstance(loss, str) else loss.entry


def native_entry(pair: Pair) -> Loss:
    """Return the entry of a mean over outputs, of a pair of value(a, y) and slope(a, y) / share."""
    return Loss(pair.code, {})
