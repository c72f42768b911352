"""`Layer`: what every layer has in common, and what one of its own kind states."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdnn.kernels.base.arrays import as_float
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.layers.operations import MOVED, TRAINED

from ._config import to_config
from ._inputs import check_finite
from .custom import ScalarActivation
from .stack import Stack

Array = NDArray[Any]
Activation_ = str | ScalarActivation


@dataclass(eq=False)
class Layer:
    """What `Sequential` stacks; its settings stay once its model is built.

    A layer of its own lays itself out in rows of the engine by `lay`, and tells `width`.
    """

    _names: ClassVar[frozenset[str]]
    _built: bool = field(default=False, init=False, repr=False)
    _place: tuple[Engine, int] | None = field(default=None, init=False, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a setting whenever it is set."""
        if name in self._settings():
            if self._built:
                raise AttributeError(
                    f"{type(self).__name__}.{name}: want {getattr(self, name)!r}, as the layer's "
                    f"model is built, got {value!r}; make a new model of new layers"
                )
            value = self._checked(name, value)
        super().__setattr__(name, value)

    @classmethod
    def _settings(cls) -> frozenset[str]:
        """Return the names of what the constructor takes."""
        if "_names" not in vars(cls):  # of this class, and not of its base
            cls._names = frozenset(one.name for one in fields(cls) if one.init)
        return cls._names

    def _checked(self, name: str, value: Any) -> Any:
        """Return the value that the setting `name` takes, or raise an error."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the settings that are not the defaults: ``LayerNormalization(epsilon=0.1)``."""
        settings = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if one.init and getattr(self, one.name) != one.default
        ]
        return f"{type(self).__name__}({', '.join(settings)})"

    def fix(self) -> None:
        """Refuse further changes of the settings, which a model has read."""
        self._built = True

    def lay(self, stack: Stack) -> None:
        """Add the layer's rows to those of the layers before."""
        raise NotImplementedError

    def width(self, n_prev: int) -> int:
        """Return n, the number of outputs, of so many inputs."""
        return n_prev

    def ending(self, before: Activation_) -> Activation_:
        """Return the activation that the outputs come from, `before` that of the layer before."""
        return "identity"

    def flat(self) -> Iterator[Layer]:
        """Yield the layer, and those inside it."""
        yield self

    def start(self, rng: np.random.Generator) -> None:
        """Give parameters their random start, once they have a place."""

    def place(self, engine: Engine, l: int) -> None:
        """Take the parameters of row l of the engine."""
        self._place = engine, l

    def leave(self) -> None:
        """Give the place up."""
        self._place = None

    def unplaced(self) -> Self:
        """Return a copy without parameters."""
        other = copy(self)
        other.leave()
        return other

    @property
    def is_placed(self) -> bool:
        """Return whether the layer has parameters, those of a model."""
        return self._place is not None

    def _placed(self) -> tuple[Engine, int]:
        if self._place is None:
            raise RuntimeError(
                "this layer has no parameters yet: give Sequential an input_size, or call fit"
            )
        return self._place

    def tensors(self) -> dict[str, Array]:
        """Return what a file keeps of the layer, by name: its parameters and moving averages."""
        engine, l = self._placed()
        return engine.tensors(l, TRAINED, MOVED)

    def weights(self) -> list[Array]:
        """Return the same in Keras's order and shapes."""
        return list(self.tensors().values())

    def get_config(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        config: dict[str, Any] = to_config(self)
        return config


def assign(name: str, view: Array | None, value: ArrayLike) -> None:
    """Write a value into a tensor of a layer's, if it has that; a number fills it."""
    if view is None:
        raise AttributeError(f"{name}: this layer has none")
    array = as_float(name, value, ndim=None)
    if array.shape not in ((), view.shape):
        raise ValueError(f"{name}: want shape {view.shape}, got {array.shape}")
    check_finite(name, np.broadcast_to(array, view.shape), view.dtype)
    view[...] = array
