"""What fastdnn has and PyTorch has not, as modules of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Tensor = Any  # as mypy does not follow PyTorch's imports


class Exponential(nn.Module):
    """A = exp(Z)."""

    def forward(self, Z: Tensor) -> Tensor:
        """Return A."""
        return torch.exp(Z)


class Residual(nn.Sequential):
    """A = A_prev + f(A_prev), where f is modules in a row."""

    def forward(self, A_prev: Tensor) -> Tensor:
        """Return A."""
        return A_prev + super().forward(A_prev)


class _OfColumns(nn.Module):
    """What is made of some columns; the others pass, behind what those have become."""

    def __init__(self, n_prev: int, columns: Sequence[int] | None) -> None:
        super().__init__()
        self.n_prev = n_prev
        self.columns = None if columns is None else tuple(columns)
        self.own = list(range(n_prev) if columns is None else columns)
        self.passing = [j for j in range(n_prev) if j not in self.own]

    def extra_repr(self) -> str:
        """Return the columns."""
        return f"n_prev={self.n_prev}, columns={self.columns}"


class ColumnEmbedding(_OfColumns):
    """A = [E_1[x_c1], E_2[x_c2], …, the other columns of X].

    Parameters
    ----------
    n_prev : int
        The columns of X.
    columns : sequence of int
        Those that hold categories.
    E : sequence of tensor of shape (cardinality, dim)
    """

    def __init__(self, n_prev: int, columns: Sequence[int], E: Sequence[Tensor]) -> None:
        super().__init__(n_prev, columns)
        self.E = nn.ModuleList([nn.Embedding.from_pretrained(one, freeze=False) for one in E])

    def forward(self, X: Tensor) -> Tensor:
        """Return A."""
        looked_up = [E(X[:, j].long()) for j, E in zip(self.own, self.E, strict=True)]
        return torch.cat([*looked_up, X[:, self.passing]], dim=1)


class PeriodicEmbedding(_OfColumns):
    """A = [sin(2 pi c_k x), cos(2 pi c_k x) of the first number, of the second, …, what passes].

    Parameters
    ----------
    n_prev : int
    columns : sequence of int, optional
        None is all.
    c : tensor of shape (columns, K)
    scale : float
        Of the start that c had.
    """

    def __init__(self, n_prev: int, columns: Sequence[int] | None, c: Tensor, scale: float) -> None:
        super().__init__(n_prev, columns)
        self.c, self.scale = nn.Parameter(c), scale

    def forward(self, A_prev: Tensor) -> Tensor:
        """Return A."""
        v = (2 * math.pi * self.c) * A_prev[:, self.own, None]  # rounded as fastdnn's
        made = torch.cat([torch.sin(v), torch.cos(v)], dim=2).flatten(1)
        return torch.cat([made, A_prev[:, self.passing]], dim=1)


class PiecewiseLinearEmbedding(_OfColumns):
    """A = [shares of the intervals of the first number, of the second, …, what passes].

    Parameters
    ----------
    n_prev : int
    columns : sequence of int, optional
        None is all.
    boundaries : sequence of sequence of float
        Increasing, T + 1 for each column.
    dtype : torch.dtype
    """

    def __init__(
        self,
        n_prev: int,
        columns: Sequence[int] | None,
        boundaries: Sequence[Sequence[float]],
        dtype: Any,
    ) -> None:
        super().__init__(n_prev, columns)
        self.boundaries = tuple(map(tuple, boundaries))
        b = torch.tensor(boundaries, dtype=dtype)
        least, most = torch.zeros(b.shape[1] - 1, dtype=dtype), torch.ones(b.shape[1] - 1)
        least[0], most[-1] = -torch.inf, torch.inf
        self.register_buffer("low", b[:, :-1].clone())
        self.register_buffer("width", b[:, 1:] - b[:, :-1])
        self.register_buffer("least", least)
        self.register_buffer("most", most.to(dtype))

    def forward(self, A_prev: Tensor) -> Tensor:
        """Return A."""
        shares = (A_prev[:, self.own, None] - self.low) / self.width
        made = torch.minimum(torch.maximum(shares, self.least), self.most).flatten(1)
        return torch.cat([made, A_prev[:, self.passing]], dim=1)
