"""Random starts for W (n, n_prev): functions of (n, n_prev, rng), in float64. b starts at zero.

Sources: Glorot and Bengio 2010 (variance 2 / (n + n_prev)), He et al. 2015 (2 / n_prev) and
LeCun et al. 1998 (1 / n_prev). The normal distributions are plain ones. Keras cuts its off at two
standard deviations and scales them to the same variance: only the tails differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.lookup import lookup

from ._checks import check_number
from ._closed import closed
from ._config import storable

Initializer = Callable[[int, int, np.random.Generator], NDArray[np.float64]]

FANS: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda n, n_prev: n_prev,
    "fan_avg": lambda n, n_prev: (n + n_prev) / 2,
}
# Functions of (rng, standard deviation, shape), all of mean 0.
DISTRIBUTIONS: dict[
    str, Callable[[np.random.Generator, float, tuple[int, int]], NDArray[np.float64]]
] = {
    "normal": lambda rng, std, shape: rng.normal(0.0, std, shape),
    "uniform": lambda rng, std, shape: rng.uniform(-std * sqrt(3), std * sqrt(3), shape),
}


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class Normal:
    """W ~ N(0, scale ** 2).

    Parameters
    ----------
    scale : float
        The standard deviation, > 0; 0.05 is Keras's, 0.01 the textbook's.
    """

    scale: float = 0.05

    def __post_init__(self) -> None:
        check_number("Normal.scale", self.scale, "(0, inf)")

    def __call__(self, n: int, n_prev: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return W of shape (n, n_prev)."""
        return rng.normal(0.0, self.scale, (n, n_prev))


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class Zeros:
    """W = 0. Units that start alike stay alike, so this suits a single layer only."""

    def __call__(self, n: int, n_prev: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return W of shape (n, n_prev)."""
        return np.zeros((n, n_prev))


@storable
@closed(frozen=True)
@dataclass(frozen=True)
class VarianceScaling:
    """W with mean 0 and variance scale / fan: signals neither fade nor grow with the depth.

    Parameters
    ----------
    scale : float
        The variance times the fan, > 0: 2 for relu and its kin (He), else 1.
    fan : {"fan_in", "fan_avg"}
        n_prev, or (n + n_prev) / 2.
    distribution : {"normal", "uniform"}
        N(0, scale / fan), or uniform between -/+ sqrt(3 * scale / fan).
    """

    scale: float = 1.0
    fan: str = "fan_in"
    distribution: str = "normal"

    def __post_init__(self) -> None:
        check_number("VarianceScaling.scale", self.scale, "(0, inf)")
        lookup("VarianceScaling.fan", self.fan, FANS)
        lookup("VarianceScaling.distribution", self.distribution, DISTRIBUTIONS)

    def __call__(self, n: int, n_prev: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return W of shape (n, n_prev)."""
        std = sqrt(self.scale / FANS[self.fan](n, n_prev))
        return DISTRIBUTIONS[self.distribution](rng, std, (n, n_prev))


INITIALIZERS: dict[str, Initializer] = {
    "he_normal": VarianceScaling(2.0, "fan_in", "normal"),
    "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "fan_avg", "normal"),
    "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "fan_in", "normal"),
    "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
    "normal": Normal(),
    "zeros": Zeros(),
}
INITIALIZERS |= {
    "he": INITIALIZERS["he_normal"],
    "glorot": INITIALIZERS["glorot_uniform"],
    "lecun": INITIALIZERS["lecun_normal"],
}


def get(initializer: str | Initializer) -> Initializer:
    """Return the initializer of that name; a callable is returned as it is.

    Raises
    ------
    TypeError
        If it is neither a string nor callable.
    ValueError
        If the name is unknown; the nearest known one is proposed.
    """
    if callable(initializer):
        return initializer
    return lookup("kernel_initializer", initializer, INITIALIZERS)
