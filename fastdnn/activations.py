"""The names of activations, as users of Keras and of the textbook write them.

The functions themselves, g and its derivative, are the entries of `ACTIVATIONS`
(``kernels/elementwise/activations.py``), which also say what else is known of each. leaky_relu has
the slope 0.01, elu has alpha 1, gelu is exact.
"""

from __future__ import annotations

from dataclasses import fields

from fastdnn.kernels import ACTIVATIONS
from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.elementwise.activations import OwnActivation, activation_of

from .custom import ScalarActivation
from .losses import Loss

__all__ = ["ACTIVATIONS", "check_output", "get", "resolve"]

_NAMES = {name: name for name in ACTIVATIONS} | {
    alias: name for name, entry in ACTIVATIONS.items() for alias in entry.aliases
}


def resolve(activation: str | None) -> str:
    """Return the table's name of an activation; None means the identity, as in Keras.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or no known name; the nearest known one is proposed.
    """
    return "identity" if activation is None else lookup("activation", activation, _NAMES)


def get(activation: str | ScalarActivation | None) -> str | ScalarActivation:
    """Return a user's own activation as it is, else the table's name.

    Raises
    ------
    TypeError, ValueError
        As `resolve`; a function alone is refused too, whose derivative is not known.
    """
    if isinstance(activation, ScalarActivation):
        return activation
    try:
        return resolve(activation)
    except TypeError as error:
        raise TypeError(f"{error}; functions want ScalarActivation(g, g_prime)") from None


def is_constant(activation: str | OwnActivation, n: int) -> bool:
    """Return whether n outputs are always the same: a softmax of one output is 1."""
    return n == 1 and activation_of(activation).is_distribution


def check_output(loss: Loss, activation: str | ScalarActivation, n: int) -> None:
    """Refuse an activation of the last layer whose n outputs the loss cannot take.

    Raises
    ------
    ValueError
        If `activation` may leave the interval that the loss wants of its outputs, or, where the
        loss takes logits, is not the identity; if the outputs are constant.
    """
    if is_constant(activation, n):
        raise ValueError(
            "layers: a softmax of one output is always 1, so the last layer learns nothing; want "
            "'sigmoid' for a probability, or an output for each class"
        )
    entry = loss.entry
    suited = " or ".join(map(repr, entry.fused))
    if loss.from_logits:
        if activation != "identity":
            raise ValueError(
                f"loss: {loss!r} takes logits: want no activation in the last layer (the loss "
                f"applies {suited} itself) or from_logits=False, got {activation!r}"
            )
        return
    (low, high), (lowest, highest) = entry.outputs, activation_of(activation).outputs
    if lowest < low or highest > high:
        takes = "probabilities" if high == 1 else "outputs >= 0"
        takes_logits = "from_logits" in {setting.name for setting in fields(loss)}
        logits = ", or from_logits=True without one" if takes_logits else ""
        raise ValueError(
            f"loss: {loss.name!r} takes {takes}: want {suited} as the last layer's "
            f"activation{logits}, got {activation!r}"
        )
