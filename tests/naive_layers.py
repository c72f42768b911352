"""Layers that are no product, in plain NumPy float64: the specification of `kernels.layers`.

Samples lie in rows. Each function returns Z and what maps dZ to dA_prev and the derivatives by the
tensors, in the tensors' order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Back = Callable[[Array], tuple[Array, list[Array]]]


def normalised(
    x: Array, gamma: Array, beta: Array, epsilon: float, *, axis: int, centered: bool = True
) -> tuple[Array, Back]:
    """Return gamma x^ + beta, with statistics along an axis: 1 of a sample, 0 of the batch."""
    mean = x.mean(axis=axis, keepdims=True) if centered else 0.0
    deviation = np.sqrt(((x - mean) ** 2).mean(axis=axis, keepdims=True) + epsilon)
    hat = (x - mean) / deviation

    def back(d: Array) -> tuple[Array, list[Array]]:
        of_hat = d * gamma
        first = of_hat.mean(axis=axis, keepdims=True) if centered else 0.0
        second = (of_hat * hat).mean(axis=axis, keepdims=True)
        return (of_hat - first - hat * second) / deviation, [(d * hat).sum(0), d.sum(0)]

    return gamma * hat + beta, back


def grouped(
    x: Array, gamma: Array, beta: Array, epsilon: float, groups: int, *, centered: bool = True
) -> tuple[Array, Back]:
    """Return the same of each of so many groups of a sample's units."""
    parts = [np.split(one, groups, axis=-1) for one in (x, gamma, beta)]
    each = [
        normalised(*of_group, epsilon, axis=1, centered=centered)
        for of_group in zip(*parts, strict=True)
    ]

    def back(d: Array) -> tuple[Array, list[Array]]:
        found = [
            part(of_d) for (_, part), of_d in zip(each, np.split(d, groups, axis=1), strict=True)
        ]
        own = [np.concatenate(both) for both in zip(*(own for _, own in found), strict=True)]
        return np.hstack([dX for dX, _ in found]), own

    return np.hstack([Z for Z, _ in each]), back


def prelu(x: Array, alpha: Array) -> tuple[Array, Back]:
    """Return max(x, 0) + alpha min(x, 0)."""

    def back(d: Array) -> tuple[Array, list[Array]]:
        return d * np.where(x > 0, 1.0, alpha), [(d * np.minimum(x, 0)).sum(0)]

    return np.maximum(x, 0) + alpha * np.minimum(x, 0), back


def embedded(x: Array, columns: Sequence[int], tables: Sequence[Array]) -> tuple[Array, Back]:
    """Return the vectors of the columns' categories, then the other columns."""
    others = [j for j in range(x.shape[1]) if j not in columns]
    picked = [x[:, c].astype(int) for c in columns]
    parts = [E[rows] for E, rows in zip(tables, picked, strict=True)]

    def back(d: Array) -> tuple[Array, list[Array]]:
        dX, at, found = np.zeros_like(x), 0, []
        for E, rows in zip(tables, picked, strict=True):
            dE = np.zeros_like(E)
            np.add.at(dE, rows, d[:, at : at + E.shape[1]])
            found.append(dE)
            at += E.shape[1]
        dX[:, others] = d[:, at:]
        return dX, found

    return np.hstack([*parts, x[:, others]]), back


def periodic(x: Array, columns: Sequence[int], c: Array) -> tuple[Array, Back]:
    """Return [sin 2 pi c_k x, cos 2 pi c_k x] of the columns, then the other columns."""
    others = [j for j in range(x.shape[1]) if j not in columns]
    angle = 2 * np.pi * c * x[:, list(columns), None]  # (m, columns, K)
    parts = np.concatenate([np.sin(angle), np.cos(angle)], axis=2).reshape(len(x), -1)

    def back(d: Array) -> tuple[Array, list[Array]]:
        of_parts = d[:, : parts.shape[1]].reshape(len(x), len(columns), 2, -1)
        slope = of_parts[:, :, 0] * np.cos(angle) - of_parts[:, :, 1] * np.sin(angle)
        dX = np.zeros_like(x)
        dX[:, list(columns)] = 2 * np.pi * (slope * c).sum(2)
        dX[:, others] = d[:, parts.shape[1] :]
        return dX, [2 * np.pi * (slope * x[:, list(columns), None]).sum(0)]

    return np.hstack([parts, x[:, others]]), back


def piecewise(x: Array, columns: Sequence[int], boundaries: Any) -> tuple[Array, Back]:
    """Return the shares of the columns' intervals, then the other columns."""
    b = np.asarray(boundaries)
    others = [j for j in range(x.shape[1]) if j not in columns]
    number, width = x[:, list(columns), None], np.diff(b, axis=1)
    share = (number - b[:, :-1]) / width
    last = b.shape[1] - 2
    t = np.arange(last + 1)
    low, high = (t > 0) & (share < 0), (t < last) & (share > 1)
    parts = np.where(low, 0.0, np.where(high, 1.0, share)).reshape(len(x), -1)

    def back(d: Array) -> tuple[Array, list[Array]]:
        of_parts = d[:, : parts.shape[1]].reshape(share.shape)
        dX = np.zeros_like(x)
        dX[:, list(columns)] = np.where(low | high, 0.0, of_parts / width).sum(2)
        dX[:, others] = d[:, parts.shape[1] :]
        return dX, []

    return np.hstack([parts, x[:, others]]), back
