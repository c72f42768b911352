"""Losses, by Keras's names and averaged as Keras averages them.

A loss gives l_i for each sample (a mean over the outputs, where it is a sum of one term per
output); over m samples with weights w_i the loss is sum_i w_i l_i / m. The formulas and their
derivatives are entries of the kernels' table, whose facts every class has; a class here adds the
settings and what they mean. The class of an entry without settings follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels import LOSSES as TABLE
from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.elementwise.loss_facts import Loss as Entry
from fastdnn.kernels.engine import Engine

from ._checks import check_flag, check_number
from ._closed import closed
from ._config import CLASSES, storable
from ._derived import derived

Array = NDArray[Any]


@dataclass(frozen=True)
class Loss:
    """What all losses share.

    Attributes
    ----------
    name : str
        Its entry in the kernels' table, and its name for `compile`.
    """

    name: ClassVar[str] = ""
    from_logits = False
    of_arrays: ClassVar[bool] = False  # y may have any shape that begins with m

    @property
    def entry(self) -> Entry:
        """Return what the kernels know the loss by."""
        return TABLE[self.name]

    def bind(self, engine: Engine) -> Engine:
        """Have an engine use the loss; returns what to call instead of it."""
        engine.set_loss(self.name, self.parameters(), from_logits=self.from_logits)
        return engine

    def parameters(self) -> tuple[float, ...]:
        """Return the parameters of the kernel; outputs beyond them take them in turn."""
        return ()

    def n_targets(self, n: int) -> int:
        """Return how many targets a sample has where the network has n outputs."""
        return n

    def quantiles(self, n: int) -> Array:
        """Return which quantile each of n outputs is, if no other is said the median."""
        return np.full(n, 0.5)

    def check_outputs(self, n: int) -> None:
        """Refuse a network with n outputs that are too few."""
        if n < self.entry.least_outputs:
            raise ValueError(
                f"loss: {self.name!r} needs an output per class, and the last layer has {n}; use"
                " 'binary_crossentropy'"
            )

    def compared(self, y: Array, n: int) -> Array:
        """Return the targets (m, n) that metrics compare the n outputs with."""
        return y

    def smoothed(self, y: Array) -> Array:
        """Return the targets (m, n) that the kernel reads."""
        return y

    def _check(self, setting: str, interval: str) -> None:
        check_number(f"{type(self).__name__}.{setting}", getattr(self, setting), interval)


@dataclass(frozen=True)
class Huber(Loss):
    """mean_j (e^2 / 2 where abs(e) <= delta, else delta (abs(e) - delta / 2)), e = a_j - y_j.

    Parameters
    ----------
    delta : float
        Where the square ends, > 0.
    """

    delta: float = 1.0
    name = "huber"

    def __post_init__(self) -> None:
        self._check("delta", "(0, inf)")

    def parameters(self) -> tuple[float, ...]:
        """Return delta."""
        return (self.delta,)


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss: mean_j max(q (y_j - a_j), (q - 1) (y_j - a_j)); its minimum is quantile q.

    Parameters
    ----------
    q : float or sequence of float
        Between 0 and 1. With several quantiles a network has one output for each, and for several
        targets one group of outputs after the other: output t k + i is quantile i of target t.
        Metrics then compare each target with all of its outputs. The derivative is taken as 0
        where y = a.

    References
    ----------
    Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).
    """

    q: float | Sequence[float] = 0.5
    name = "quantile"

    def __post_init__(self) -> None:
        if isinstance(self.q, Sequence | np.ndarray) and not isinstance(self.q, str):
            # a tuple, as a frozen object may be hashed
            object.__setattr__(self, "q", tuple(np.asarray(self.q, object).tolist()))
            if not self.q:
                raise ValueError("Quantile.q: want at least one quantile, got none")
        for q in self.parameters():
            check_number("Quantile.q", q, "(0, 1)")

    def parameters(self) -> tuple[float, ...]:
        """Return the quantiles."""
        return self.q if isinstance(self.q, tuple) else (self.q,)

    def quantiles(self, n: int) -> Array:
        """Return the quantile of each of n outputs."""
        return np.resize(np.array(self.parameters(), np.float64), n)

    def n_targets(self, n: int) -> int:
        """Return how many targets n outputs are the quantiles of."""
        return n // len(self.parameters())

    def check_outputs(self, n: int) -> None:
        """Refuse outputs that are no whole groups of quantiles."""
        k = len(self.parameters())
        if n % k:
            raise ValueError(
                f"loss: {self!r} needs {k} outputs for each target, and the last layer has {n}"
            )

    def compared(self, y: Array, n: int) -> Array:
        """Return each target as often as it has quantiles."""
        k = len(self.parameters())
        return y if k == 1 else np.repeat(y, k, axis=1)


@dataclass(frozen=True, kw_only=True)
class _Crossentropy(Loss):
    """What losses of probabilities share: two settings that are given by name."""

    from_logits: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_flag(f"{type(self).__name__}.from_logits", self.from_logits)
        self._check("label_smoothing", "[0, 1]")

    def smoothed(self, y: Array) -> Array:
        """Return y (1 - s) + s / n: of an output by itself n is 2, else the number of classes."""
        if not self.label_smoothing:
            return y
        n = y.shape[1] if self.entry.kind == "multiclass" else 2
        # in float64: of targets in float16 three digits would be left
        return y.astype(np.float64) * (1 - self.label_smoothing) + self.label_smoothing / n


@dataclass(frozen=True)
class BinaryCrossentropy(_Crossentropy):
    """-mean_j (y_j log a_j + (1 - y_j) log(1 - a_j)), for probabilities y and a in [0, 1].

    After sigmoid, and from logits, it is computed from Z; else a is kept in [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool
        The last layer is linear and its outputs are z, a = sigmoid(z); `predict` gives z.
    label_smoothing : float
        s in [0, 1]: y becomes y (1 - s) + s / 2.
    """

    name = "binary_crossentropy"


@dataclass(frozen=True)
class CategoricalCrossentropy(_Crossentropy):
    """-sum_j y_j log a_j, for rows y of class probabilities, such as one-hot rows.

    After softmax, and from logits, it is computed from Z; else a is divided by its sum and kept in
    [1e-7, 1 - 1e-7].

    Parameters
    ----------
    from_logits : bool
        The last layer is linear and its outputs are z, a = softmax(z); `predict` gives z.
    label_smoothing : float
        s in [0, 1]: of n classes, y becomes y (1 - s) + s / n.
    """

    name = "categorical_crossentropy"


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(_Crossentropy):
    """-log a_y for the class number y; see `CategoricalCrossentropy`, of which y is a one-hot row.

    Parameters
    ----------
    from_logits, label_smoothing
        As in `CategoricalCrossentropy`; no one-hot rows are made.
    """

    name = "sparse_categorical_crossentropy"

    def parameters(self) -> tuple[float, ...]:
        """Return the smoothing."""
        return (self.label_smoothing,)


@dataclass(frozen=True)
class BinaryFocalCrossentropy(_Crossentropy):
    """mean_j w_j (1 - p_j)^gamma b_j, b_j the binary cross-entropy of output j.

    p = y a + (1 - y) (1 - a) is the probability that is given to what is true, so outputs that are
    right already count less.

    Parameters
    ----------
    apply_class_balancing : bool
        Whether w = y alpha + (1 - y) (1 - alpha); else it is 1.
    alpha : float
        The weight of y = 1, in [0, 1].
    gamma : float
        >= 0; with 0 it is the cross-entropy.
    from_logits, label_smoothing
        As in `BinaryCrossentropy`.

    References
    ----------
    Lin et al., "Focal loss for dense object detection" (2017); Keras's formula.
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    name = "binary_focal_crossentropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("BinaryFocalCrossentropy.apply_class_balancing", self.apply_class_balancing)
        self._check("alpha", "[0, 1]")
        self._check("gamma", "[0, inf)")

    def parameters(self) -> tuple[float, ...]:
        """Return gamma and the weights of y = 1 and y = 0."""
        balanced = self.apply_class_balancing
        return (self.gamma, *((self.alpha, 1 - self.alpha) if balanced else (1.0, 1.0)))


@dataclass(frozen=True)
class CategoricalFocalCrossentropy(_Crossentropy):
    """-alpha sum_j y_j (1 - a_j)^gamma log a_j, for rows y of class probabilities.

    Parameters
    ----------
    alpha : float
        Multiplies the loss, > 0.
    gamma : float
        >= 0; with 0 it is alpha times the cross-entropy.
    from_logits, label_smoothing
        As in `CategoricalCrossentropy`.

    References
    ----------
    Lin et al., "Focal loss for dense object detection" (2017); Keras's formula.
    """

    alpha: float = 0.25
    gamma: float = 2.0
    name = "categorical_focal_crossentropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("alpha", "(0, inf)")
        self._check("gamma", "[0, inf)")

    def parameters(self) -> tuple[float, ...]:
        """Return gamma and alpha."""
        return self.gamma, self.alpha


_WITH_SETTINGS: dict[str, type[Loss]] = {
    one.name: one
    for one in (
        Huber,
        Quantile,
        BinaryCrossentropy,
        BinaryFocalCrossentropy,
        CategoricalCrossentropy,
        CategoricalFocalCrossentropy,
        SparseCategoricalCrossentropy,
    )
}
LOSSES: dict[str, type[Loss]] = {
    name: _WITH_SETTINGS.get(name) or derived(name, Loss, entry.equation, frozen=True, name=name)
    for name, entry in TABLE.items()
}
MeanSquaredError = LOSSES["mean_squared_error"]
MeanAbsoluteError = LOSSES["mean_absolute_error"]
LogCosh = LOSSES["log_cosh"]
Poisson = LOSSES["poisson"]
for _one in LOSSES.values():
    storable(closed(frozen=True)(_one))


def _of_first_files(name: str, parameter: float) -> Loss:
    """Return the loss that version 0.1.0 kept as a name and a number."""
    return Huber(parameter) if name == Huber.name else LOSSES[name]()


CLASSES["Loss"] = _of_first_files
_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "logcosh": "log_cosh",
}
_MEANT = {  # what others call them
    **dict.fromkeys(("squared_error", "l2", "quadratic"), "mean_squared_error"),
    **dict.fromkeys(("absolute_error", "l1"), "mean_absolute_error"),
    **dict.fromkeys(("bce", "log_loss", "logloss", "logistic"), "binary_crossentropy"),
    **dict.fromkeys(
        ("cross_entropy", "crossentropy", "softmax", "nll"), "sparse_categorical_crossentropy"
    ),
    **dict.fromkeys(("pinball", "pinball_loss"), "quantile"),
    **dict.fromkeys(("smooth_l1", "huber_loss"), "huber"),
    **dict.fromkeys(("focal", "focal_loss"), "binary_focal_crossentropy"),
}
_NAMES = LOSSES | {alias: LOSSES[name] for alias, name in _ALIASES.items()}


def get(loss: str | Loss, n_outputs: int) -> Loss:
    """Return the loss that is meant, for a network with this many outputs.

    Raises
    ------
    TypeError, ValueError
        If it is neither a `Loss` nor a known name (the nearest known one is proposed), or needs
        another number of outputs.
    """
    try:
        found = loss if isinstance(loss, Loss) else lookup("loss", loss, _NAMES, _MEANT)()
    except TypeError as error:
        raise TypeError(
            f"{error}; functions of numbers want ScalarLoss(loss, derivative), one of arrays wants "
            "ArrayLoss(function) and returns the losses and their derivatives"
        ) from None
    if not found.name:
        raise TypeError(f"loss: want one of {sorted(LOSSES)} or its class's object, got {loss!r}")
    found.check_outputs(n_outputs)
    return found
