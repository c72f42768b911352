"""Which samples are trained on, validated on and tested on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastdnn._checks import exact_share

from .tables import Array

_QUANTITIES = "choose task 'regression' if the labels are quantities"


class Shares(NamedTuple):
    """How the samples are divided.

    Parameters
    ----------
    test_size : float
        The share of all samples that is tested on.
    validation_split : float
        The share of the others that is validated on; 0 makes no such part.
    seed : int
    """

    test_size: float
    validation_split: float
    seed: int


def split_rows(
    y: Array, classes: Array | None, shares: Shares, n_test: int | None
) -> tuple[Array, Array, Array]:
    """Choose the rows of each part.

    Parameters
    ----------
    y : ndarray, shape (m,)
        Class numbers, or a regression's target.
    classes : ndarray or None
        The classes' labels; None for regression.
    shares : Shares
    n_test : int or None
        How many samples at the end are the file's own test part; None if it has none.

    Returns
    -------
    train, validation, test : ndarray of int

    Raises
    ------
    ValueError
        If there are too few samples, or a class has only one.
    """
    if n_test is None:
        train, test = _split(y, classes, shares)
    else:
        train, test = np.arange(len(y) - n_test), np.arange(len(y) - n_test, len(y))
    if shares.validation_split == 0:
        return train, np.empty(0, np.int64), test
    n = count_of(shares.validation_split, len(train))
    if n == len(train):
        raise ValueError(
            f"validation_split: {shares.validation_split} of {len(train)} training samples leaves"
            " none to train on"
        )
    stratify = None
    if classes is not None:  # each class by its share, where both parts have room for all
        counts = np.unique(y[train], return_counts=True)[1]
        if counts.min() > 1 and min(n, len(train) - n) >= len(counts):
            stratify = y[train]
    train, validation = _pick(train, n, stratify, shares.seed)
    return train, validation, test


def count_of(share: float, m: int) -> int:
    """Return that share of m samples, rounded up as in exact arithmetic of decimal numbers."""
    return math.ceil(exact_share(share, m))


def _split(y: Array, classes: Array | None, shares: Shares) -> tuple[Array, Array]:
    """Return the rows of the training and the test part, each class in both by its share."""
    test_size = shares.test_size
    n_test = count_of(test_size, len(y))
    least = 2 if classes is None else len(classes)
    if min(n_test, len(y) - n_test) < least:
        why = "" if classes is None else f", one of each class; {_QUANTITIES}"
        raise ValueError(
            f"test_size: {test_size} of {len(y)} samples makes {len(y) - n_test} to train and"
            f" {n_test} to test; each part needs {least}{why}"
        )
    if classes is not None and np.bincount(y).min() < 2:
        rare = classes[np.bincount(y).argmin()]
        raise ValueError(
            f"labels: {rare!s} stands once, and each class must be in the training and the test"
            f" part; drop such rows, or {_QUANTITIES}"
        )
    return _pick(np.arange(len(y)), n_test, None if classes is None else y, shares.seed)


def _pick(rows: Array, n: int, stratify: Array | None, seed: int) -> tuple[Array, Array]:
    """Return the other rows, and n of them."""
    from sklearn.model_selection import train_test_split

    rest, picked = train_test_split(rows, test_size=n, random_state=seed, stratify=stratify)
    return rest, picked
