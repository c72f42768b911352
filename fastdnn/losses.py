"""Losses, by Keras's names and averaged as Keras averages them.

A loss gives l_i for each sample (a mean over the outputs, where it is a sum of one term per
output); over m samples with weights w_i the loss is sum_i w_i l_i / m. The formulas and their
derivatives are the entries of ``kernels/losses.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastdnn.kernels import LOSSES as TABLE
from fastdnn.kernels.lookup import lookup

from ._checks import check_number
from ._config import storable


@storable
@dataclass(frozen=True)
class Loss:
    """A loss of the table.

    Parameters
    ----------
    name : str
        An entry of `LOSSES`.
    parameter : float
        Huber's delta; the others have none.
    """

    name: str
    parameter: float = 1.0

    def __post_init__(self) -> None:
        lookup("loss", self.name, TABLE)
        check_number("Loss.parameter", self.parameter, "(0, inf)")


def Huber(delta: float = 1.0) -> Loss:
    """Return Huber's loss: e^2 / 2 where abs(e) <= delta, else delta (abs(e) - delta / 2)."""
    check_number("Huber.delta", delta, "(0, inf)")
    return Loss("huber", float(delta))


LOSSES = {name: Loss(name) for name in TABLE}
_ALIASES = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}
_NAMES = LOSSES | {alias: LOSSES[name] for alias, name in _ALIASES.items()}
_OF_PROBABILITIES = {
    name: entry for name, entry in TABLE.items() if entry.labels or entry.probabilities
}
# Such a loss is fused with the activations that make probabilities out of any Z.
_TO_PROBABILITIES = {name for entry in _OF_PROBABILITIES.values() for name in entry.fused}


def get(loss: str | Loss, n_outputs: int) -> Loss:
    """Return the loss that is meant, for a network with this many outputs.

    Raises
    ------
    TypeError, ValueError
        If it is neither a `Loss` nor a known name (the nearest known one is proposed), or needs
        more outputs.
    """
    found = loss if isinstance(loss, Loss) else lookup("loss", loss, _NAMES)
    if "categorical" in found.name and n_outputs == 1:
        raise ValueError(
            f"loss: {found.name!r} needs an output per class, and the last layer has 1; use"
            " 'binary_crossentropy'"
        )
    return found


def check_activation(loss: Loss, activation: str) -> None:
    """Refuse a loss of probabilities after an activation whose outputs may leave [0, 1].

    Raises
    ------
    ValueError
        If `activation`, that of the last layer, does not suit the loss.
    """
    if loss.name in _OF_PROBABILITIES and activation not in _TO_PROBABILITIES:
        suited = " or ".join(map(repr, _OF_PROBABILITIES[loss.name].fused))
        raise ValueError(
            f"loss: {loss.name!r} takes probabilities: want {suited} as the last layer's "
            f"activation, got {activation!r}"
        )
