"""Kernels that only other kernels call, made callable: ``(bytes moved, a call for each thread)``.

A commit that has not got one, or has another form of it, raises NotImplementedError: asv's n/a.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit

Runs = tuple[int, list[Callable[[], Any]]]


def module_of_kernels(name: str) -> Any:
    """A module of `fastdnn.kernels`, in whichever of its packages a commit has it.

    Raises
    ------
    ImportError
    """
    import fastdnn.kernels

    start, end = f"{fastdnn.kernels.__name__}.", f".{name}"
    found = [key for key in sys.modules if key.startswith(start) and key.endswith(end)]
    if not found:
        raise ImportError(f"there is no {name} in fastdnn.kernels")
    return sys.modules[max(found, key=len)]  # a package may have the name of its module


def _inner(module: str, name: str, parameters: str) -> Any:
    """A kernel with just these parameters."""
    try:
        function = getattr(module_of_kernels(module), name)
    except (ImportError, AttributeError):
        raise NotImplementedError(f"this commit has no {module}.{name}") from None
    # an intrinsic's first parameter is numba's
    defined = getattr(function, "py_func", None) or partial(function._defn, None)
    has = list(signature(defined).parameters)
    if has != parameters.split():
        raise NotImplementedError(f"this commit has another {module}.{name}: {' '.join(has)}")
    return function


def _parts(count: int, threads: int) -> list[tuple[int, int]]:
    return list(pairwise(int(x) for x in np.linspace(0, count, threads + 1)))


def adam(count: int, dtype: str, threads: int) -> Runs:
    """The update of so many parameters."""
    update_range = _inner(
        "update", "update_range", "code p gradient slots size start stop factor coefficients"
    )
    from fastdnn.kernels import UPDATES

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def run(code, p, gradient, slots, size, start, stop, factor, coefficients):  # type: ignore[no-untyped-def]
        update_range(code, p, gradient, slots, size, start, stop, factor, coefficients)

    p, gradient, slots = (np.full(n, 0.5, dtype) for n in (count, count, 2 * count))
    c = np.array([1e-3, 0.9, 0.1, 0.999, 0.001, 1, 1, 1e-8], dtype)
    code = UPDATES["adam"].code
    calls = [
        partial(run, code, p, gradient, slots, count, *part, 1.0, c)
        for part in _parts(count, threads)
    ]
    return 7 * p.nbytes, calls


def softmax_crossentropy(rows: int, dtype: str, threads: int) -> Runs:
    """A, dZ and the losses of so many samples of 10 classes."""
    loss_rows = _inner(
        "losses", "loss_rows", "code s s0 a a0 y y0 labels label0 d d0 rows n ps l l0"
    )
    from fastdnn.kernels import LOSSES

    n = 10

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def run(code, s, a, y, labels, d, ps, l, start, stop):  # type: ignore[no-untyped-def]
        at = start * n
        loss_rows(code, s, at, a, at, y, 0, labels, start, d, at, stop - start, n, ps, l, start)

    rng = np.random.default_rng(0)
    s = rng.standard_normal((rows, n)).astype(dtype).reshape(-1)
    a, d, losses = np.zeros_like(s), np.zeros_like(s), np.zeros(rows)
    labels, y, ps = rng.integers(0, n, rows), np.empty(0, dtype), np.zeros(n, dtype)
    code = LOSSES["sparse_categorical_crossentropy"].fused["softmax"]
    calls = [
        partial(run, code, s, a, y, labels, d, ps, losses, *part) for part in _parts(rows, threads)
    ]
    return 3 * s.nbytes + labels.nbytes + losses.nbytes, calls


def gather(samples: int, features: int, dtype: str, threads: int) -> Runs:
    """A copy of the samples in another order."""
    gather_rows = _inner(
        "pack",
        "gather_rows",
        "a a0 to_row to_column x x0 row column n order first begin end",
    )

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def run(a, x, n, order, begin, end):  # type: ignore[no-untyped-def]
        gather_rows(a, 0, n, 1, x, 0, n, 1, n, order, 0, begin, end)

    order = np.random.default_rng(0).permutation(samples)
    x = np.ones(samples * features, dtype)
    a = np.zeros_like(x)
    calls = [partial(run, a, x, features, order, *part) for part in _parts(samples, threads)]
    return 2 * x.nbytes, calls
