"""The step's Python side: lays a network out for the compiled program and makes its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import step, targets, threads
from ._arrays import aligned_empty, as_matrix, rounded
from .activations import ACTIVATIONS
from .dropout import LEVELS
from .gemm import (
    CODE,
    DROP,
    FIELDS,
    FROM_Z,
    N_PREV,
    WHOLE_ROW,
    A,
    B,
    N,
    S,
    W,
    scratch_elements,
    shared_elements,
)
from .losses import LOSSES
from .update import COEFFICIENTS, UPDATES

CHUNK = 8192  # parameters that a rank updates at a time
CLIPPING = {None: 0, "tensor": 1, "global": 2}
_NO_LABELS = np.empty(0, np.int64)
_NONE = {np.dtype(t): np.empty(0, t) for t in (np.float32, np.float64)}


class Layer(NamedTuple):
    """A = dropout(g(W A_prev + b)), W of shape (n, n_prev)."""

    n_prev: int
    n: int
    activation: str = "identity"
    use_bias: bool = True
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0


class Targets(NamedTuple):
    """What a loss compares outputs with: rows (m, n_L) or labels (m,); the other is empty."""

    y: NDArray[Any]
    labels: NDArray[np.int64] = _NO_LABELS


class Rule(NamedTuple):
    """An update rule for the next steps.

    `coefficients` has a row per step, in the order that the rule of this name in `update.UPDATES`
    reads them.
    """

    name: str
    coefficients: NDArray[np.float64]
    clip: str | None = None  # None, "tensor" or "global": which norm `limit` bounds
    limit: float = np.inf


class Outcome(NamedTuple):
    """What a call did: the loss of each step done, and why it stopped early (a `step` constant)."""

    losses: NDArray[np.float64]
    done: int
    reason: int


class Engine:
    """A network of `layers`, its parameters in one vector, and the calls of the compiled step.

    Parameters
    ----------
    layers : sequence of Layer
        From the first to the output layer; each `n_prev` is the `n` before.
    loss, loss_parameter : str, float
        An entry of `losses.LOSSES` and its parameter.
    dtype : float32 or float64
        Of parameters and all computation.
    input_dropout : float
        Probability with which an element of X is dropped in training.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (P,)
        W^T row by row, then b, layer after layer; and the loss's derivatives in the same order.
    slots : ndarray of shape (2 P,)
        The update rule's memory (one or two vectors like `parameters`).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        loss: str = "mean_squared_error",
        loss_parameter: float = 1.0,
        dtype: DTypeLike = "float32",
        input_dropout: float = 0.0,
    ) -> None:
        self.layers = tuple(layers)
        self.dtype = np.dtype(dtype)
        self._input_dropout = input_dropout
        self._tile = targets.tile(self.dtype)
        self._table = np.zeros((len(layers) + 1, FIELDS), np.int64)
        self._table[0, [N, W, B, CODE]] = layers[0].n_prev, -1, -1, -1
        self._place_parameters()
        self.parameters = aligned_empty(self._size, self.dtype)
        self.parameters[:] = 0
        self.gradient = _NONE[self.dtype]
        self.slots = _NONE[self.dtype]
        self._batch = 0
        self._scratches = _NONE[self.dtype]
        self._results = np.zeros(2, np.int64)
        self.set_loss(loss, loss_parameter)

    # ------------------------------------------------------------------------------------ layout
    def _place_parameters(self) -> None:
        at = 0
        chunks: list[tuple[int, int, int]] = []
        penalties: list[tuple[float, float]] = []
        for l, layer in enumerate(self.layers, 1):
            activation = ACTIVATIONS[layer.activation]
            last = l == len(self.layers)
            self._table[l, [N_PREV, N, W]] = layer.n_prev, layer.n, at
            self._table[l, CODE] = -1 if last else activation.code
            self._table[l, FROM_Z] = activation.from_z
            self._table[l, WHOLE_ROW] = activation.whole_row and not last
            tensors = [(layer.n_prev * layer.n, layer.l1, layer.l2)]
            self._table[l, B] = -1
            if layer.use_bias:
                self._table[l, B] = at + tensors[0][0]
                tensors.append((layer.n, 0.0, 0.0))
            for size, l1, l2 in tensors:
                starts = range(at, at + size, CHUNK)
                chunks += [(i, min(i + CHUNK, at + size), len(penalties)) for i in starts]
                penalties.append((l1, l2))
                at += size
        self._size = at
        self._chunks = np.array(chunks, np.int64).reshape(-1, 3)
        self._penalties = np.array(penalties, np.float64)

    def _place_batch(self, batch: int) -> None:
        """Make the workspace for batches of up to `batch` samples."""
        if batch <= self._batch:
            return
        dropouts = [self._input_dropout, *(layer.dropout for layer in self.layers)]
        output, at = len(self.layers), 0
        for l, (row, dropout) in enumerate(zip(self._table, dropouts, strict=True)):
            row[DROP] = round(dropout * LEVELS)
            row[S] = row[A] = at
            at += rounded(batch * row[N])
            # X is dropped where it lies; the loss reads Z and writes A
            if l == output or (l > 0 and (row[FROM_Z] or dropout)):
                row[A] = at
                at += rounded(batch * row[N])
        widest = rounded(batch * int(self._table[1:, N].max()))
        self._deltas = at, at + widest
        self._ws = aligned_empty(at + 2 * widest, self.dtype)
        self._shared = aligned_empty(self._shared_size(batch), self.dtype)
        # without dropout, A lies at S wherever g' does not need Z
        self._plain_table = self._table.copy()
        self._plain_table[:, DROP] = 0
        same = (self._table[:, FROM_Z] == 0) & (self._table[:, CODE] >= 0)
        self._plain_table[same, A] = self._plain_table[same, S]
        partial = max(len(self._chunks), -(-batch // step.LOSS_ROWS))
        self._partial = np.empty(partial)
        self._norms = np.empty(len(self._chunks))
        self._batch = batch

    def _shared_size(self, batch: int) -> int:
        products = [
            shape
            for layer in self.layers
            for shape in ((layer.n, layer.n_prev), (layer.n, batch), (layer.n_prev, layer.n))
        ]
        return max(shared_elements(n, k, self._tile) for n, k in products)

    def set_loss(self, loss: str, parameter: float) -> None:
        """Choose the loss of the following calls."""
        entry, activation = LOSSES[loss], self.layers[-1].activation
        self._fused = activation in entry.fused
        self._loss = entry.fused.get(activation, entry.code)
        self._loss_parameter = parameter

    def compile(self) -> None:
        """Have the step compiled, or read from the cache, before the first call."""
        step.run.compile(self.dtype)

    def weights(self, l: int) -> NDArray[Any]:
        """W of layer l = 1, 2, …, shape (n, n_prev): a view into `parameters`."""
        n_prev, n, at = (int(v) for v in self._table[l, [N_PREV, N, W]])
        return self.parameters[at : at + n_prev * n].reshape(n_prev, n).T

    def bias(self, l: int) -> NDArray[Any] | None:
        """b of layer l, shape (n,): a view into `parameters`; None where the layer has none."""
        n, at = (int(v) for v in self._table[l, [N, B]])
        return None if at < 0 else self.parameters[at : at + n]

    def gradients(self) -> list[tuple[NDArray[Any], NDArray[Any] | None]]:
        """(dW, db) of every layer, of the last call with a gradient: views into `gradient`."""
        pairs = []
        for n_prev, n, w, b in self._table[1:, [N_PREV, N, W, B]].tolist():
            dW = self.gradient[w : w + n_prev * n].reshape(n_prev, n).T
            pairs.append((dW, None if b < 0 else self.gradient[b : b + n]))
        return pairs

    # ------------------------------------------------------------------------------------- calls
    def forward(self, X: NDArray[Any], *, batch: int) -> NDArray[Any]:
        """A_L for every row of X (m, n_0)."""
        outputs = np.empty((len(X), self.layers[-1].n), self.dtype)
        if len(X):
            self._call(X, None, batch, outputs=outputs.reshape(-1))
        return outputs

    def evaluate(
        self,
        X: NDArray[Any],
        targets: Targets,
        *,
        weights: NDArray[Any] | None = None,
        batch: int,
    ) -> tuple[float, NDArray[Any]]:
        """The loss over all rows of X without penalties, and A_L."""
        outputs = np.empty((len(X), self.layers[-1].n), self.dtype)
        losses = self._call(X, targets, batch, weights=weights, outputs=outputs.reshape(-1)).losses
        sizes = np.minimum(batch, len(X) - batch * np.arange(len(losses)))
        return float(np.dot(losses, sizes) / len(X)), outputs

    def differentiate(
        self, X: NDArray[Any], targets: Targets, *, weights: NDArray[Any] | None = None
    ) -> float:
        """The loss of X as one batch, with penalties; its derivatives go to `gradient`."""
        return float(self._call(X, targets, len(X), weights=weights, gradient=True).losses[0])

    def train(
        self,
        X: NDArray[Any],
        targets: Targets,
        rule: Rule,
        *,
        batch: int,
        first: int = 0,
        order: NDArray[np.int64] = _NO_LABELS,
        weights: NDArray[Any] | None = None,
        seed: int = 0,
        step_number: int = 0,
        outputs: NDArray[Any] | None = None,
    ) -> Outcome:
        """One step per row of the rule's coefficients.

        Parameters
        ----------
        X, targets, weights
            All samples, and their weights in the loss.
        batch : int
            Samples in a minibatch; the last of an epoch takes what is left.
        first : int
            Number of the first minibatch within the epoch; after an epoch's last the first follows.
        order : ndarray of int64
            The samples in the order of the epoch; empty for 0, 1, 2, …
        seed, step_number : int
            Dropout's masks follow from the seed and the number of a step since training began.
        outputs : ndarray, optional
            Takes A_L of every sample trained on, as (m, n_L) row-major.

        Returns
        -------
        Outcome
            If a loss or gradient is not finite, `done` is the number of steps before it and the
            parameters are those that these left.
        """
        return self._call(
            X, targets, batch, weights=weights, outputs=outputs, gradient=True, rule=rule,
            first=first, order=order, seed=seed, step_number=step_number, dropout=True,
        )  # fmt: skip

    def _call(
        self,
        X: NDArray[Any],
        targets: Targets | None,
        batch: int,
        *,
        weights: NDArray[Any] | None = None,
        outputs: NDArray[Any] | None = None,
        gradient: bool = False,
        rule: Rule | None = None,
        first: int = 0,
        order: NDArray[np.int64] = _NO_LABELS,
        seed: int = 0,
        step_number: int = 0,
        dropout: bool = False,
    ) -> Outcome:
        none = _NONE[self.dtype]
        samples = len(X)
        batch = min(batch, samples)
        self._place_batch(batch)
        steps = -(-samples // batch) if rule is None else len(rule.coefficients)
        n_ranks = self._ranks(batch)
        if gradient and not self.gradient.size:
            self.gradient = aligned_empty(self._size, self.dtype)
        coefficients = np.empty((0, COEFFICIENTS), self.dtype)
        plan = self._plan(X, batch, targets is not None)
        plan[[step.FIRST, step.STEPS, step.STEP]] = first, steps, step_number
        plan[[step.SEED, step.GRADIENT]] = seed, gradient
        if rule is not None:
            update = UPDATES[rule.name]
            plan[[step.UPDATE, step.CLIP]] = update.code, CLIPPING[rule.clip]
            coefficients = np.ascontiguousarray(rule.coefficients, self.dtype)
            self._make_slots(update.n_slots)
        matrix = as_matrix(X)
        plan[[step.X_OFFSET, step.X_ROW, step.X_COLUMN]] = matrix[1:]
        single = X.dtype == np.float32
        losses = np.empty(steps)
        self._results[:] = 0, step.FINITE
        step.run(
            self.dtype,
            n_ranks,
            plan,
            step.Net(
                self._table if dropout else self._plain_table, self.parameters, self.gradient,
                self.slots, self._chunks, self._penalties,
            ),
            step.Samples(
                matrix.flat if single else _NONE[np.dtype(np.float32)],
                _NONE[np.dtype(np.float64)] if single else matrix.flat,
                none if targets is None else targets.y.reshape(-1),
                _NO_LABELS if targets is None else targets.labels,
                none if weights is None else weights, order,
                none if outputs is None else outputs,
            ),
            step.Rule(coefficients, np.inf if rule is None else rule.limit),
            self._loss_parameter,
            step.Memory(
                self._ws, self._shared, self._scratches, self._partial, self._norms, losses,
                self._results,
            ),
        )  # fmt: skip
        done, reason = self._results.tolist()
        return Outcome(losses[: done + (reason != step.FINITE)], done, reason)

    def _plan(self, X: NDArray[Any], batch: int, with_loss: bool) -> NDArray[np.int64]:
        activation = ACTIVATIONS[self.layers[-1].activation]
        plan = np.zeros(step.PLAN, np.int64)
        plan[[step.BATCH, step.SAMPLES, step.UPDATE]] = batch, len(X), -1
        plan[step.LOSS] = self._loss if with_loss else -1
        plan[step.FUSED] = self._fused and with_loss
        plan[[step.OUT_CODE, step.OUT_FROM_Z]] = activation.code, activation.from_z
        plan[[step.GRADIENT_A, step.GRADIENT_B]] = self._deltas
        plan[step.X64] = X.dtype == np.float64
        return plan

    def _ranks(self, batch: int) -> int:
        n_ranks = threads.workers(2 * batch * sum(layer.n * layer.n_prev for layer in self.layers))
        size = n_ranks * scratch_elements(self._tile)
        if self._scratches.size < size:
            self._scratches = aligned_empty(size, self.dtype)
        return n_ranks

    def _make_slots(self, n_slots: int) -> None:
        if self.slots.size < n_slots * self._size:
            slots = np.zeros(n_slots * self._size, self.dtype)
            slots[: self.slots.size] = self.slots
            self.slots = slots
