"""Penalties on W that are added to the loss: l1 * sum(abs(W)) + l2 * sum(W ** 2).

As in Keras, l2 has no factor 1/2, and the penalty is not divided by m. The gradient gains
l1 * sign(W) + 2 * l2 * W.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastdnn.kernels.base.lookup import lookup

from ._checks import check_number
from ._closed import closed
from ._config import storable


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class L1L2:
    """Add l1 * sum(abs(W)) + l2 * sum(W ** 2) to the loss, for one layer's W.

    Parameters
    ----------
    l1, l2 : float
        Finite and >= 0; 0 leaves the term out.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        check_number("l1", self.l1, "[0, inf)")
        check_number("l2", self.l2, "[0, inf)")


def L1(l1: float = 0.01) -> L1L2:
    """Return the penalty l1 * sum(abs(W))."""
    return L1L2(l1=l1)


def L2(l2: float = 0.01) -> L1L2:
    """Return the penalty l2 * sum(W ** 2)."""
    return L1L2(l2=l2)


REGULARIZERS = {"l1": L1(), "l2": L2()}


def get(regularizer: L1L2 | str | None) -> L1L2:
    """Return the regularizer that is meant; None means no penalty, ``L1L2(0.0, 0.0)``.

    Parameters
    ----------
    regularizer : L1L2, "l1", "l2" or None
        The names stand for a coefficient of 0.01.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if regularizer is None:
        return L1L2()
    if isinstance(regularizer, L1L2):
        return regularizer
    return lookup("kernel_regularizer", regularizer, REGULARIZERS)
