"""What a network's layers have: their parameters in one vector, and views into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastdnn.kernels.layers.operations import TRAINED

from .parameters import Layer, Parameters
from .workspace import zeros

Derivatives = tuple[NDArray[Any] | None, ...]  # by each of a layer's tensors; None: no b


class Values:
    """The values of a network's layers, as they start.

    Parameters
    ----------
    layers : sequence of Layer
    places : Parameters
        Where what they have lies.
    dtype : float32 or float64

    Attributes
    ----------
    values : ndarray of shape (P + Q,)
        All parameters, and behind them what layers have besides, such as moving averages.
    parameters, gradient : ndarray of shape (P,)
        W^T row by row, then b, or what else a layer trains, layer after layer; and, after
        `Engine.differentiate`, the loss's derivatives in the same order.
    slots : ndarray
        The update rule's memory: none, one or more vectors like `parameters`.
    """

    def __init__(self, layers: Sequence[Layer], places: Parameters, dtype: DTypeLike) -> None:
        self.layers = tuple(layers)
        self.dtype = np.dtype(dtype)
        self._layout = places
        self.hold(zeros(places.size + places.state, self.dtype))
        for own in places.tensors:
            for one in own:
                if np.any(one.tensor.start):
                    one.view(self.values)[...] = one.tensor.start
        self.gradient = self.slots = np.empty(0, self.dtype)

    def hold(self, values: NDArray[Any]) -> None:
        """Take `values`, as `zeros` makes them, for all that the layers have."""
        self.values, self.parameters = values, values[: self._layout.size]

    def copied(self) -> NDArray[Any]:
        """Return a copy of all values that `hold` takes."""
        values = zeros(self.values.size, self.dtype)
        values[:] = self.values
        return values

    @property
    def flops_per_sample(self) -> int:
        """Return how much work a forward pass is."""
        return self._layout.work

    def tensors(self, l: int, *roles: str) -> dict[str, NDArray[Any]]:
        """Return what layer l = 1, 2, … has of its own, by name, of these roles or all: views."""
        return {
            one.tensor.name: one.view(self.values)
            for one in self._layout.tensors[l - 1]
            if not roles or one.tensor.role in roles
        }

    def weights(self, l: int) -> NDArray[Any]:
        """Return W of dense layer l, shape (n, n_prev): a view into `parameters`."""
        return self.tensors(l)["W"]

    def bias(self, l: int) -> NDArray[Any] | None:
        """Return b of dense layer l, shape (n,): a view into `parameters`; None without one."""
        return self.tensors(l).get("b")

    def gradients(self) -> list[Derivatives]:
        """Return the derivatives of the last `Engine.differentiate` by the layers' tensors: views.

        (dW, db) of a dense layer, with None where it has no b; of others, what is trained. Layers
        of which nothing is trained are left out.
        """
        found: list[Derivatives] = []
        for l, layer in enumerate(self.layers, 1):
            views = tuple(self.derivatives(l).values())
            if views:
                found.append((*views, None) if layer.is_dense and len(views) == 1 else views)
        return found

    def derivatives(self, l: int) -> dict[str, NDArray[Any]]:
        """Return those by what layer l = 1, 2, … trains, by name: views into `gradient`."""
        self._make_gradient()
        own = self._layout.tensors[l - 1]
        return {
            one.tensor.name: one.view(self.gradient) for one in own if one.tensor.role == TRAINED
        }

    def _make_slots(self, n_slots: int) -> None:
        if self.slots.size < n_slots * self._layout.size:
            slots = np.zeros(n_slots * self._layout.size, self.dtype)
            slots[: self.slots.size] = self.slots
            self.slots = slots

    def _make_gradient(self) -> None:
        if not self.gradient.size:
            self.gradient = zeros(self._layout.size, self.dtype)
