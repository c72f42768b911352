"""Layers that bend or bridge: PReLU, and blocks whose input is added to their output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from ._checks import check_number
from ._closed import closed
from ._config import storable
from .layer import Array, Layer, assign
from .stack import FORK, Stack


@storable
@closed()
@dataclass(eq=False, repr=False)
class PReLU(Layer):
    """A = max(A_prev, 0) + alpha * min(A_prev, 0), with a trained alpha for each unit.

    Source: He et al. 2015.

    Parameters
    ----------
    alpha_initializer : float
        What every alpha starts at: 0 as Keras's, PyTorch's is 0.25.

    Attributes
    ----------
    alpha : ndarray of shape (n,)
        A writable view into the model's `parameters`, once the model knows its input size.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    alpha_initializer: float = 0.0

    def _checked(self, name: str, value: Any) -> Any:
        check_number("PReLU.alpha_initializer", value, "(-inf, inf)")
        return float(value)

    def lay(self, stack: Stack) -> None:
        """Add the row that bends."""
        stack.operate("prelu", owner=self, alpha=self.alpha_initializer)

    @property
    def alpha(self) -> Array:
        """Return the slopes below 0, shape (n,): a writable view."""
        return self.tensors()["alpha"]

    @alpha.setter
    def alpha(self, value: Any) -> None:
        assign("alpha", self.alpha, value)


@storable
@closed()
@dataclass(eq=False, repr=False)
class Residual(Layer):
    """A = A_prev + f(A_prev), where f is layers in a row: a residual block.

    The derivatives of both paths are added, so they reach the first layers of a deep network.
    Source: He et al. 2016.

    Parameters
    ----------
    layers : iterable of Layer
        f; its last layer has as many outputs as its first has inputs.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`; or ValueError if there are no layers, or the widths differ.
    """

    layers: tuple[Layer, ...]

    def _checked(self, name: str, value: Any) -> Any:
        if isinstance(value, Layer) or not isinstance(value, Iterable):
            raise TypeError(f"Residual.layers: want a list of layers, got {value!r}")
        layers = tuple(value)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"Residual.layers: want layers, got {layer!r}")
        if not layers:
            raise ValueError("Residual.layers: want at least one layer, got none")
        return layers

    def __repr__(self) -> str:
        """Return the layers: ``Residual([Dense(8)])``."""
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}])"

    def flat(self) -> Iterator[Layer]:
        """Yield the block, and the layers inside."""
        yield self
        for layer in self.layers:
            yield from layer.flat()

    def fix(self) -> None:
        """Refuse further changes of the settings, of the layers inside too."""
        super().fix()
        for layer in self.layers:
            layer.fix()

    def unplaced(self) -> Self:
        """Return a copy without parameters."""
        other = super().unplaced()
        # the settings are fixed by now
        object.__setattr__(other, "layers", tuple(layer.unplaced() for layer in self.layers))
        return other

    def lay(self, stack: Stack) -> None:
        """Add a fork, the layers inside, and a join."""
        n, fork = stack.n, stack.operate(FORK)
        for layer in self.layers:
            layer.lay(stack)
        if stack.n != n:
            raise ValueError(
                f"Residual.layers: want as many outputs as inputs, got {n} inputs and {stack.n} "
                "outputs; end with a Dense of as many units"
            )
        join = stack.operate("join", fork=fork)
        stack.rows[fork - 1] = stack.rows[fork - 1]._replace(settings={"join": join})
