"""The layers of a network: Dense computes A = g(W A_prev + b), Activation A = g(A_prev).

Dropout thins A while training. Others are in `normalization`, `embedding` and `residual`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastdnn import kernels
from fastdnn.kernels.base.arrays import as_float
from fastdnn.kernels.elementwise.activations import activation_of
from fastdnn.kernels.engine import Layer as Row

from . import activations, initializers, regularizers
from ._checks import check_flag, check_number
from ._closed import closed
from ._config import is_storable, storable
from .custom import ScalarActivation
from .initializers import Initializer
from .layer import Activation_, Array, Layer, assign
from .regularizers import L1L2
from .stack import Stack


class Cache(NamedTuple):
    """What `Dense.forward` keeps for `Dense.backward`."""

    A_prev: Array
    Z: Array
    A: Array


@storable
@closed()
@dataclass(eq=False)
class Dense(Layer):
    """A fully connected layer: Z = W A_prev + b, A = g(Z).

    Parameters
    ----------
    units : int
        n, the number of outputs.
    activation : str or ScalarActivation, optional
        g, a name in `fastdnn.activations.ACTIVATIONS` or one of your own; None is the identity.
    use_bias : bool
        False: no b.
    kernel_initializer : str or callable, optional
        W's random start, see `fastdnn.initializers`; None is He's for relu and its kin, else
        Glorot's.
    kernel_regularizer : L1L2 or str, optional
        Penalty on W, see `fastdnn.regularizers`.

    Attributes
    ----------
    W : ndarray of shape (n, n_prev)
    b : ndarray of shape (n,), or None
        Writable views into the model's `parameters`, once the model knows its input size.

    Raises
    ------
    TypeError, ValueError
        If a parameter is none of these.
    AttributeError
        If one is set once the model is built, which has read it.
    """

    units: int
    activation: str | ScalarActivation | None = None
    use_bias: bool = True
    kernel_initializer: str | Initializer | None = None
    kernel_regularizer: L1L2 | str | None = None

    def _checked(self, name: str, value: Any) -> Any:
        if name == "units":
            # of any size: a model that is too large for the memory says so
            check_number("Dense.units", value, "[1, inf)", whole=True)
            return int(value)
        if name == "activation":
            return activations.get(value)
        if name == "use_bias":
            return check_flag("Dense.use_bias", value)
        if name == "kernel_initializer":
            if value is None:  # the activation is set before
                return activation_of(self._g).initializer
            initializers.get(value)
            return value
        if name == "kernel_regularizer":
            return regularizers.get(value)
        return value  # of a class of the user's own

    def __repr__(self) -> str:
        """Return the settings besides the defaults: ``Dense(10, 'softmax', use_bias=False)``."""
        shown = [repr(self.units)]
        if self.activation != "identity":
            shown.append(repr(self.activation))
        # the initializer's default depends on the activation
        optional = {f.name: f.default for f in fields(self) if f.init and f.default is not MISSING}
        del optional["activation"]
        plain = replace(self, **optional)
        for name in optional:
            value = getattr(self, name)
            if value != getattr(plain, name):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def lay(self, stack: Stack) -> None:
        """Add Z = W A_prev + b and A = g(Z)."""
        penalty = regularizers.get(self.kernel_regularizer)
        row = Row(stack.n, self.units, self._g, self.use_bias, l1=penalty.l1, l2=penalty.l2)
        stack.push(row, self)

    def width(self, n_prev: int) -> int:
        """Return n."""
        return self.units

    def ending(self, before: Activation_) -> Activation_:
        """Return g."""
        return self._g

    def start(self, rng: np.random.Generator) -> None:
        """Give W its random start."""
        assert self.kernel_initializer is not None  # `_checked` has chosen one
        n, n_prev = self.W.shape
        W = initializers.get(self.kernel_initializer)(n, n_prev, rng)
        W = as_float("kernel_initializer's W", W, ndim=None)
        if W.shape != (n, n_prev):
            raise ValueError(
                f"kernel_initializer: want W of shape (n, n_prev) = ({n}, {n_prev}), got {W.shape}"
            )
        self.W[...] = W

    def weights(self) -> list[Array]:
        """Return W transposed (n_prev, n), and b (n,)."""
        return [self.W.T] if self.b is None else [self.W.T, self.b]

    def get_config(self) -> dict[str, Any]:
        """Return the settings; a function that made W has done its work and is left out."""
        initializer = self.kernel_initializer
        if callable(initializer) and not is_storable(initializer):
            return replace(self, kernel_initializer=None).get_config()
        return super().get_config()

    @property
    def _g(self) -> str | ScalarActivation:
        """Return the activation, as the kernels take it."""
        assert self.activation is not None  # `_checked` has made a name of None
        return self.activation

    @property
    def W(self) -> Array:
        """Return the weights, shape (n, n_prev): a writable view."""
        engine, l = self._placed()
        return engine.weights(l)

    @W.setter
    def W(self, value: ArrayLike) -> None:
        assign("W", self.W, value)

    @property
    def b(self) -> Array | None:
        """Return the biases, shape (n,): a writable view; None without biases."""
        engine, l = self._placed()
        return engine.bias(l)

    @b.setter
    def b(self, value: ArrayLike) -> None:
        b = self.b
        if b is None:
            raise AttributeError("b: this layer has use_bias=False")
        assign("b", b, value)

    def forward(self, A_prev: ArrayLike) -> tuple[Array, Cache]:
        """A = g(W A_prev + b), the notes' forward block.

        Parameters
        ----------
        A_prev : array_like of shape (n_prev, m)
            Samples in columns, as in the notes.

        Returns
        -------
        A : ndarray of shape (n, m)
        cache : Cache
            For `backward`.
        """
        A_prev = as_float("A_prev", A_prev, self.W.dtype)
        m = A_prev.shape[1]
        Z = np.empty((self.units, m), self.W.dtype, order="F")
        A = kernels.linear_forward(A_prev, self.W, self.b, self._g, Z=Z)
        return A, Cache(A_prev, Z, A)

    def backward(self, dA: ArrayLike, cache: Cache) -> tuple[Array, Array, Array | None]:
        """dZ = dA * g'(Z), dW = dZ A_prev^T / m, db = sum dZ / m, dA_prev = W^T dZ.

        The notes' backward block.

        Parameters
        ----------
        dA : array_like of shape (n, m)
        cache : Cache
            What `forward` returned.

        Returns
        -------
        dA_prev : ndarray of shape (n_prev, m)
        dW : ndarray of shape (n, n_prev)
        db : ndarray of shape (n,), or None
            The shapes of W and b.
        """
        if not isinstance(cache, Cache):
            raise TypeError(f"cache: want what forward returned, got {cache!r:.60}")
        dA = as_float("dA", dA, self.W.dtype)
        dA_prev, dW, db = kernels.linear_backward(
            dA, cache.A_prev, self.W, self._g, A=cache.A, Z=cache.Z
        )
        assert dA_prev is not None  # only need_dA_prev=False leaves it out
        return dA_prev, dW, db.reshape(-1) if self.use_bias else None


@storable
@closed()
@dataclass(eq=False)
class Dropout(Layer):
    """While training, an output of the layer before is 0 with probability `rate`.

    The others are multiplied by 1 / (1 - rate). As the first layer, it thins the input.
    Source: Srivastava et al. 2014.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    rate: float

    def _checked(self, name: str, value: Any) -> Any:
        check_number("Dropout.rate", value, "[0, 1)")
        return value

    def __repr__(self) -> str:
        """Return the rate: ``Dropout(0.2)``."""
        return f"{type(self).__name__}({self.rate!r})"

    def lay(self, stack: Stack) -> None:
        """Thin the outputs of the layer before, or the input."""
        stack.drop(self.rate)

    def ending(self, before: Activation_) -> Activation_:
        """Return the activation of the layer before."""
        return before


@storable
@closed()
@dataclass(eq=False)
class Activation(Layer):
    """A = g(A_prev): an activation as a layer, where other layers stand between Dense and g.

    Behind a Dense without an activation it costs no more than the Dense's own.

    Parameters
    ----------
    activation : str or ScalarActivation
        g, as for `Dense`.

    Raises
    ------
    TypeError, ValueError, AttributeError
        As `Dense`.
    """

    activation: str | ScalarActivation

    def _checked(self, name: str, value: Any) -> Any:
        return activations.get(value)

    def __repr__(self) -> str:
        """Return the activation: ``Activation('relu')``."""
        return f"{type(self).__name__}({self.activation!r})"

    def lay(self, stack: Stack) -> None:
        """Apply g to the outputs of the layer before."""
        stack.activate(self.activation)

    def ending(self, before: Activation_) -> Activation_:
        """Return g."""
        return self.activation
