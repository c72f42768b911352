"""Every loss: its value for each sample and the derivative to start from, one table.

For a sample with target y and output a (n outputs) a loss is l and its derivatives. Each entry
states one function of a `Strip`, `rows` samples one after the other. It writes l to l[i], float64,
and n derivatives to d[i n:], for each sample i. A *plain* loss reads a and writes dA = dl/da. Fused
with the activation whose inverse link it is, a loss reads Z from s instead, writes a itself and
gives dZ = dl/dz: more accurate (no log of a rounded probability) and one pass. `y` holds dense
targets, `labels` class numbers; `ps` holds the loss's parameters, at least `PARAMETERS` and n of
them. No two of s, a, y, d and l overlap; d and l serve as scratch.

To add a loss, write its formulas and its entry in `mean_losses` (a mean over the outputs needs only
two formulas) or `class_losses`: the entry also says what the loss takes for targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numba import float64, int64

from fastdnn.kernels.base.constants import ZERO
from fastdnn.kernels.compiler.dispatch import switch
from fastdnn.kernels.compiler.jit import FLOATS, Leaf, kernel, leaf, pointer
from fastdnn.kernels.compiler.native import FIRST, SECOND, Pair, call_at, call_strip, kept_calls
from fastdnn.kernels.llvm.scalar import copy_strip
from fastdnn.kernels.llvm.simd import span

from . import class_losses, mean_losses
from .loss_facts import Facts, Form, Function, Loss
from .mean_losses import PARAMETERS, Strip

RARE = 100  # the first code of a rare loss's functions
_common: list[Function] = []  # compiled into the step's leaf
_rare: list[Function] = []  # each a leaf of its own, compiled for who chooses it


def _code(function: Function, of: list[Function]) -> int:
    of.append(function)
    return len(of) - 1 + (RARE if of is _rare else 0)


def _entry(form: Form) -> Loss:
    of = _rare if form.rare else _common
    fused = {activation: _code(other, of) for activation, other in form.fused.items()}
    facts = {one.name: getattr(form, one.name) for one in fields(Facts)}
    return Loss(code=_code(form.strip, of), fused=fused, **facts)


_FORMS = mean_losses.LOSSES | class_losses.LOSSES
LOSSES = {name: _entry(form) for name, form in _FORMS.items()}
GIVEN = "given"  # a loss whose y are the derivatives dA themselves, and whose value is 0


@kernel
def _given(x):
    copy_strip(x.rows * x.n, x.d, ZERO, x.y, ZERO)
    for i in range(x.rows):
        x.l[i] = 0.0


_ENTRIES = LOSSES | {GIVEN: _entry(Form(strip=_given, rare=True, is_smooth=False))}


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
    return kept_calls(key, lambda: [(spare.address(FLOATS[dtype]), inner)])


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
        """Return what a table would hold; the object owns the code that `code` names."""


def loss_of(loss: str | OwnLoss) -> Loss:
    """Return the entry of a name in `LOSSES`, of `GIVEN`, or of a user's own loss."""
    return _ENTRIES[loss] if isinstance(loss, str) else loss.entry


def native_entry(pair: Pair) -> Loss:
    """Return the entry of a mean over outputs, of a pair of value(a, y) and slope(a, y) / share."""
    return Loss(code=pair.code, is_smooth=False)
