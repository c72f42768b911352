"""Normalisation layers bring samples or units to mean 0 and variance 1, then to gamma and beta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from fastdnn.kernels.base.lookup import lookup

from ._checks import check_flag, check_number
from ._closed import closed
from ._config import storable
from .layer import Activation_, Array, Layer, assign
from .layers import Activation, Dense, Dropout
from .stack import Stack


@dataclass(eq=False, repr=False)
class Normalization(Layer):
    """A layer with gamma and beta, or without one or both."""

    _OPERATION: ClassVar[str] = "layer_normalization"
    # what the operation is told beside the settings, and in the place of those that are missing
    _DECIDED: ClassVar[Mapping[str, Any]] = {
        "center": True, "scale": True, "centered": True, "groups": 1,
    }  # fmt: skip

    def lay(self, stack: Stack) -> None:
        """Add the row that normalises."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        stack.operate(self._OPERATION, owner=self, **{**self._DECIDED, **own})

    def _checked(self, name: str, value: Any) -> Any:
        full = f"{type(self).__name__}.{name}"
        if name in ("center", "scale"):
            return check_flag(full, value)
        check_number(full, value, "(0, inf)" if name == "epsilon" else "[0, 1]")
        return float(value)

    def _tensor(self, name: str) -> Array | None:
        return self.tensors().get(name)

    @property
    def gamma(self) -> Array | None:
        """Return the scales, shape (n,): a writable view; None without."""
        return self._tensor("gamma")

    @gamma.setter
    def gamma(self, value: Any) -> None:
        assign("gamma", self.gamma, value)

    @property
    def beta(self) -> Array | None:
        """Return the shifts, shape (n,): a writable view; None without."""
        return self._tensor("beta")

    @beta.setter
    def beta(self, value: Any) -> None:
        assign("beta", self.beta, value)


@storable
@closed()
@dataclass(eq=False, repr=False)
class LayerNormalization(Normalization):
    """Bring each sample's units to mean 0 and variance 1: A = gamma x^ + beta.

    x^ = (A_prev - mean) / sqrt(variance + epsilon), with mean and variance over the n units of a
    sample. Source: Ba et al. 2016.

    Parameters
    ----------
    epsilon : float
        Keeps the square root from 0.
    center, scale : bool
        Whether there is a beta, which starts at 0, and a gamma, which starts at 1.

    Attributes
    ----------
    gamma, beta : ndarray of shape (n,), or None
        Writable views into the model's `parameters`, once the model knows its input size.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True


@storable
@closed()
@dataclass(eq=False, repr=False)
class RMSNormalization(Normalization):
    """Bring each sample's units to a mean square of 1: A = gamma A_prev / sqrt(ms + epsilon).

    ms is the mean of the squares of a sample's n units. Source: Zhang and Sennrich 2019.

    Parameters
    ----------
    epsilon : float
        Keeps the square root from 0.

    Attributes
    ----------
    gamma : ndarray of shape (n,)
        Starts at 1; a writable view into the model's `parameters`, once it knows its input size.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    epsilon: float = 1e-6
    _DECIDED: ClassVar[Mapping[str, Any]] = {
        **Normalization._DECIDED, "center": False, "centered": False,
    }  # fmt: skip


@storable
@closed()
@dataclass(eq=False, repr=False)
class BatchNormalization(Normalization):
    """Bring each unit to mean 0 and variance 1 over the batch: A = gamma x^ + beta.

    x^ = (A_prev - mean) / sqrt(variance + epsilon). While training, mean and variance are the whole
    batch's, whatever number of threads share it; each step moves averages of both, with which
    `predict` and `evaluate` work. `loss_and_gradients` takes the batch's, as training does, and
    `apply_gradients` moves the averages by them. Source: Ioffe and Szegedy 2015.

    Parameters
    ----------
    momentum : float
        Of the averages, in [0, 1]: moving = momentum moving + (1 - momentum) of the batch.
    epsilon : float
        Keeps the square root from 0.
    center, scale : bool
        Whether there is a beta, which starts at 0, and a gamma, which starts at 1.

    Attributes
    ----------
    gamma, beta : ndarray of shape (n,), or None
        Writable views into the model's `parameters`, once the model knows its input size.
    moving_mean, moving_variance : ndarray of shape (n,)
        Writable views. The variance is the mean of squares over the batch's m, as Keras's; PyTorch
        divides by m - 1.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    _OPERATION: ClassVar[str] = "batch_normalization"

    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True

    @property
    def moving_mean(self) -> Array:
        """Return the average of the batches' means, shape (n,): a writable view."""
        return self.tensors()["moving_mean"]

    @property
    def moving_variance(self) -> Array:
        """Return the average of the batches' variances, shape (n,): a writable view."""
        return self.tensors()["moving_variance"]


# By the names that the estimators and the command line take.
NORMALIZATIONS: dict[str, type[Normalization]] = {
    "batch": BatchNormalization,
    "layer": LayerNormalization,
    "rms": RMSNormalization,
}


def check_normalization(normalization: str | None) -> None:
    """Refuse what is neither a name of the table nor None, which stands for no such layer."""
    if normalization is not None:
        lookup("normalization", normalization, NORMALIZATIONS)


def hidden_layers(
    units: int,
    activation: Activation_,
    *,
    normalization: str | None = None,
    dropout: float = 0.0,
    **settings: Any,
) -> list[Layer]:
    """Return what makes up one hidden layer: Dense, its normalisation, g, and dropout.

    Parameters
    ----------
    units : int
    activation : str or ScalarActivation
        g.
    normalization : str, optional
        A name in `NORMALIZATIONS`; Z is normalised, before g.
    dropout : float
        The rate; 0 makes no layer.
    **settings
        Of `Dense`.
    """
    dense = Dense(units, activation, **settings)
    layers: list[Layer] = [dense]
    if normalization is not None:
        # W starts as right for g; b stays, as in Keras, for one layout of W and b in all networks
        settings = {**settings, "kernel_initializer": dense.kernel_initializer}
        norm = lookup("normalization", normalization, NORMALIZATIONS)()
        layers = [Dense(units, **settings), norm, Activation(activation)]
    return [*layers, Dropout(dropout)] if dropout > 0 else layers
