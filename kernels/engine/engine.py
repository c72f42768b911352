"""The step's Python side: lays a network out for the compiled program and makes its arguments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastdnn.kernels.base.arrays import address_of, as_matrix, is_plain
from fastdnn.kernels.compiler.jit import FLOATS
from fastdnn.kernels.cpu import targets, threads
from fastdnn.kernels.elementwise.activations import activation_of
from fastdnn.kernels.elementwise.losses import OwnLoss, loss_of, native_code
from fastdnn.kernels.elementwise.mean_losses import PARAMETERS
from fastdnn.kernels.elementwise.update import COEFFICIENTS, UPDATES
from fastdnn.kernels.layers import layout
from fastdnn.kernels.layers.layout import GIVEN, MADE, OF_FIRST, OF_LAST, VARYING
from fastdnn.kernels.layers.operation_table import link
from fastdnn.kernels.passes import step

from . import calls
from .calls import NO_LABELS, Again, Arguments, Outcome, Report, Rule, Stop, Targets, parts_of
from .many import Pass
from .parameters import TABLE, Layer, place_parameters
from .placement import Place, place_batch
from .plans import plan_of
from .ranks import Crowd, ranks_for
from .steps import GradientSteps
from .values import Values
from .workspace import Workspace

GRADIENT_PASSES = 2  # forward passes that a step takes as long as, at least
KINDS = 16  # of calls whose arguments are kept
OF_CALLS = "_workspace", "_arguments", "_again", "_crowds"  # what calls write, and no copy has
CALL_FLOPS = 8_000_000_000  # of a forward call, at most: a tenth of a second, more or less
_NONE = {dtype: np.empty(0, dtype) for dtype in FLOATS}
_NO_COEFFICIENTS = {dtype: np.empty((0, COEFFICIENTS), dtype) for dtype in FLOATS}
_OTHER = dict(zip(FLOATS, reversed(FLOATS), strict=True))


class _Call(NamedTuple):
    """What a native call is made with."""

    n_ranks: int
    arguments: Arguments
    limit: float
    x: NDArray[Any]
    outputs: NDArray[Any]
    losses: NDArray[np.float64]
    crowd: Crowd
    read: tuple[Any, ...]  # what else lies at the addresses


class Engine(GradientSteps, Values):
    """A network of `layers`, its parameters in one vector, and the calls of the compiled step.

    Parameters
    ----------
    layers : sequence of Layer
        From the first to the output layer; each `n_prev` is the `n` before.
    loss, loss_parameters : str or OwnLoss, sequence of float
        As `set_loss` takes them.
    dtype : float32 or float64
        Of parameters and all computation.
    input_dropout : float
        Probability with which an element of X is dropped in training.

    Notes
    -----
    One call at a time: calls share their memory.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        loss: str | OwnLoss = "mean_squared_error",
        loss_parameters: Sequence[float] = (),
        dtype: DTypeLike = "float32",
        input_dropout: float = 0.0,
    ) -> None:
        self._tile = targets.tile(np.dtype(dtype))
        super().__init__(layers, place_parameters(layers, self._tile), dtype)
        self.input_dropout = input_dropout
        self._places: dict[int, Place] = {}
        self._penalties = self._layout.penalties.copy()
        self._penalised = int(any(layer.l1 or layer.l2 for layer in self.layers))
        self._has_statistics = False  # of a batch that has been differentiated
        self._loss_parameters = np.empty(max(self.layers[-1].n, PARAMETERS), self.dtype)
        self._loss_given: Any = None
        self._forget_calls()
        self.set_loss(loss, loss_parameters)

    def _forget_calls(self) -> None:
        self._workspace = Workspace(self.dtype)
        self._arguments: dict[tuple[Any, ...], Arguments] = {}
        self._again: Again | None = None
        self._crowds: dict[tuple[int, int], Crowd] = defaultdict(Crowd)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in OF_CALLS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # a user's own functions may lie elsewhere
        penalties, self._places = self._layout.penalties, {}
        self._layout = place_parameters(self.layers, self._tile)._replace(penalties=penalties)
        self._forget_calls()
        self.hold(self.copied())  # a copy or a pickle has lost what lies behind them
        # which a shallow copy has in common with the original
        self._loss_parameters = self._loss_parameters.copy()
        (loss, parameters, from_logits), self._loss_given = self._loss_given, None
        self.set_loss(loss, parameters, from_logits=from_logits)

    def set_loss(
        self, loss: str | OwnLoss, parameters: Sequence[float] = (), *, from_logits: bool = False
    ) -> None:
        """Choose the loss of the following calls.

        Parameters
        ----------
        loss : str or OwnLoss
            What `losses.loss_of` takes.
        parameters : sequence of float
            Its parameters, or none for the entry's own; outputs beyond them take them in turn.
        from_logits : bool
            Whether A_L, which is Z_L then, is the argument of the activation fused with the loss.
        """
        if (loss, parameters, from_logits) == self._loss_given:
            return
        entry, activation = loss_of(loss), self.layers[-1].activation
        if from_logits:
            (activation,) = entry.fused
        self._fused = layout.LOGITS if from_logits else int(activation in entry.fused)
        self._loss = native_code(entry.fused.get(activation, entry.code), self.dtype)
        given = parameters or entry.parameters
        self._loss_parameters[:] = np.resize(given, self._loss_parameters.size)
        self._loss_given = loss, parameters, from_logits

    def scale_penalties(self, factor: float, *, per_sample: bool = False) -> None:
        """Have the penalties be `factor` times the layers', by the batch's samples if need be."""
        self._layout.penalties[...] = factor * self._penalties
        self._penalised = min(self._penalised, 1) * (layout.PER_SAMPLE if per_sample else 1)

    def compile(self, batch: int = 1) -> None:
        """Have what steps of `batch` samples may need compiled, or read from the cache."""
        many, rule = 10**9, Rule("adam", _NO_COEFFICIENTS[self.dtype])  # as many ranks as may be
        step.run.compile(self.dtype, ranks_for(self._layout, self.place(batch), batch, many, rule))

    def forward(self, X: NDArray[Any], *, batch: int, report: Report | None = None) -> NDArray[Any]:
        """A_L for every row of X (m, n_0); tells `report` how many rows each native call took."""
        m = len(X)
        outputs = np.empty((m, self.layers[-1].n), self.dtype)
        again = self._again
        if again is not None and again.key == (X.shape, X.dtype, batch) and is_plain(X):
            # all is as it was in the call before but X and what takes the outputs
            self._run(1, again.arguments, np.inf, X.ravel(), outputs.ravel(), again.losses)
            return outputs
        for part in self._parts(m, batch, report):
            self._call(X[part], None, batch, outputs=outputs[part])
        return outputs

    def batch_losses(
        self,
        X: NDArray[Any],
        targets: Targets,
        *,
        weights: NDArray[Any] | None = None,
        batch: int,
        report: Report | None = None,
        stop: Stop = None,
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return each batch's loss without penalties, and A_L; or raise `StoppedError`."""
        outputs = np.empty((len(X), self.layers[-1].n), self.dtype)
        found = []
        for part in self._parts(len(X), batch, report):
            given, y = None if weights is None else weights[part], targets.rows(part)
            outcome = self._call(X[part], y, batch, weights=given, outputs=outputs[part], stop=stop)
            if outcome.reason == layout.STOPPED:
                raise calls.StoppedError
            found.append(outcome.losses)
        return np.concatenate(found), outputs

    def _parts(self, m: int, batch: int, report: Report | None) -> Iterator[slice]:
        """m samples by calls, whole batches each, between which Ctrl-C is noticed."""
        return parts_of(m, max(CALL_FLOPS // (self._layout.work * batch), 1) * batch, report)

    def differentiate(
        self,
        X: NDArray[Any],
        targets: Targets,
        *,
        weights: NDArray[Any] | None = None,
        dZ_1: NDArray[Any] | None = None,
        learning: bool = True,
    ) -> float:
        """Return the loss of X as one batch, with penalties; its derivatives go to `gradient`.

        And to `dZ_1`, as (m, n_1) row-major, those by Z_1. `learning`: with the statistics of this
        batch, as in training, and not those that predictions are made with.
        """
        outcome = self._call(
            X, targets, len(X), weights=weights, outputs=dZ_1, wanted=OF_FIRST, gradient=MADE,
            learning=learning,
        )  # fmt: skip
        self._has_statistics = self._has_statistics or learning
        return float(outcome.losses[0])

    def update(self, rule: Rule) -> None:
        """One step of the rule with what `gradient` holds: finite numbers, penalties included."""
        X = np.zeros((1, self.layers[0].n_prev))
        learning, self._has_statistics = self._has_statistics, False
        self._call(X, None, 1, gradient=GIVEN, rule=rule, learning=learning)

    def train(
        self,
        X: NDArray[Any],
        targets: Targets,
        rule: Rule,
        *,
        batch: int,
        first: int = 0,
        order: NDArray[np.int64] = NO_LABELS,
        weights: NDArray[Any] | None = None,
        seed: int = 0,
        step_number: int = 0,
        outputs: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
        stop: Stop = None,
    ) -> Outcome:
        """One step per row of the rule's coefficients.

        Parameters
        ----------
        X, targets, weights
            All samples, and their weights in the loss.
        batch : int
            Samples in a minibatch; the last of an epoch, or the only one, takes what is left.
        first : int
            Number of the first minibatch within the epoch; after an epoch's last the first follows.
        order : ndarray of int64
            The samples in the order of the epoch, or the orders of several behind each other, for
            the steps past the first one's end; empty for 0, 1, 2, …
        seed, step_number : int
            Dropout's masks follow from the seed and the number of a step since training began.
        outputs : ndarray, optional
            Takes A_L of every sample trained on, as (m, n_L) row-major.
        factors : ndarray of float64, optional
            What each step's gradient is multiplied by, penalties included.
        stop : array of one int64, optional
            When another thread sets it, the call ends soon, within a step too.

        Returns
        -------
        Outcome
            If it was stopped, or a loss or gradient is not finite, `done` is the number of steps
            before it and the parameters are those that these left.
        """
        return self._call(
            X, targets, batch, weights=weights, outputs=outputs, gradient=MADE, rule=rule,
            first=first, order=order, seed=seed, step_number=step_number, dropout=True, stop=stop,
            learning=True, factors=factors,
        )  # fmt: skip

    def forward_pass(self, X: NDArray[Any], outputs: NDArray[Any], *, batch: int) -> Pass:
        """A forward pass of X (m, n_0) to `outputs`, for `many.run_all`."""
        call, flops = self._prepare(X, None, batch, outputs=outputs, most=1), self.flops_per_sample
        return Pass(call.arguments.copied(), call.x, call.outputs, call.losses, flops * len(X))

    def _call(self, X: NDArray[Any], targets: Targets | None, batch: int, **how: Any) -> Outcome:
        """Run steps; the keywords are those of `_prepare`."""
        call = self._prepare(X, targets, batch, **how)
        self._run(*call[:6])
        call.crowd.done(int(call.arguments.plan[layout.STEPS]))
        # so small a call has one rank, whatever the number of threads will be
        is_small = targets is None and self._layout.work * len(X) < threads.AWAKE_FLOPS
        if is_small and is_plain(X) and not how.get("dropout", False):
            again = call.arguments.copied()
            self._again = Again((X.shape, X.dtype, batch), again, call.losses)
        return calls.outcome_of(call.losses, how.get("factors"), *self._workspace.results.tolist())

    def _prepare(
        self,
        X: NDArray[Any],
        targets: Targets | None,
        batch: int,
        *,
        weights: NDArray[Any] | None = None,
        outputs: NDArray[Any] | None = None,
        wanted: int = OF_LAST,
        gradient: int = 0,
        rule: Rule | None = None,
        first: int = 0,
        order: NDArray[np.int64] = NO_LABELS,
        seed: int = 0,
        step_number: int = 0,
        dropout: bool = False,
        steps: int | None = None,
        stop: Stop = None,
        learning: bool = False,
        most: int | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> _Call:
        """Make the arguments of a native call, of at most so many ranks."""
        samples = len(X)
        if rule is None and not dropout:  # in training, fewer are an epoch's end
            batch = min(batch, samples)
        place = self.place(batch)
        steps = steps or (-(-samples // batch) if rule is None else len(rule.coefficients))
        if gradient:
            self._make_gradient()
        coefficients, limit = _NO_COEFFICIENTS[self.dtype], np.inf
        update, clip = -1, calls.CLIPPING[None]
        if rule is not None:
            update, clip, limit = UPDATES[rule.name].code, calls.CLIPPING[rule.clip], rule.limit
            coefficients = np.ascontiguousarray(rule.coefficients, self.dtype)
            self._make_slots(UPDATES[rule.name].n_slots)
        x = as_matrix(X)  # a copy where the strides are no whole elements, or X is dropped
        drops = dropout and self.input_dropout > 0
        same = X.dtype == self.dtype
        passes = steps * batch * (GRADIENT_PASSES if gradient else 1)
        crowd = self._crowds[batch, gradient]
        n_ranks = crowd.ranks(most or ranks_for(self._layout, place, batch, passes, rule))
        may_replicate = rule is not None and clip == calls.CLIPPING[None] and not self._penalised
        table = place.undropped_table if gradient else place.plain_table
        arguments = self._arguments_of(
            batch, n_ranks, place.table if dropout else table, targets is not None,
            self._penalised > 0 or clip == calls.CLIPPING["tensor"],
            place.replica if may_replicate and n_ranks > 1 else 0,
        )  # fmt: skip
        arguments.plan[:VARYING] = (
            samples, first, steps, step_number, seed, gradient, update, clip,
            0 if outputs is None else wanted, not same, x.offset, x.row_stride, x.column_stride,
            same and not len(order) and not drops and place.reads_in_place(x.column_stride),
            learning, samples if len(order) > samples else 0, factors is not None,
        )  # fmt: skip
        given = (*((None, None) if targets is None else targets), weights, order)
        read = *(None if a is None else np.ascontiguousarray(a) for a in given), coefficients, stop
        arguments.addresses[: step.TABLE] = [address_of(one) for one in read]
        self._workspace.results[:] = 0
        taken = _NONE[self.dtype] if outputs is None else outputs.ravel()
        losses = np.empty(steps) if factors is None else np.append(np.empty(steps), factors)
        return _Call(n_ranks, arguments, limit, x.flat, taken, losses, crowd, read)

    def _run(
        self,
        n_ranks: int,
        arguments: Arguments,
        limit: float,
        x: NDArray[Any],
        outputs: NDArray[Any],
        losses: NDArray[np.float64],
    ) -> None:
        other = _NONE[_OTHER[self.dtype]]
        xs = (x, other) if x.dtype == self.dtype else (_NONE[self.dtype], x)
        step.run(self.dtype, n_ranks, *arguments[:2], limit, *xs, outputs, losses)

    def place(self, batch: int) -> Place:
        """Return how batches of so many samples are computed, and where what that needs lies."""
        if batch not in self._places:
            place = place_batch(self.layers, self.input_dropout, self._layout, self._tile, batch)
            operations = [None if one.is_dense else one.operation for one in self.layers]
            for table in (place.table, place.undropped_table, place.plain_table):
                link(table, operations, self.dtype)
            self._places[batch] = place
        return self._places[batch]

    def _arguments_of(
        self, batch: int, n_ranks: int, table: TABLE, with_loss: bool, by_tensor: bool, own: int
    ) -> Arguments:
        """Return the arguments of a kind of call, but for what `_call` writes into them each time.

        The slots and the gradient may be other arrays than before, and there may be more memory.
        """
        loss, fused = (self._loss, self._fused) if with_loss else (-1, 0)
        held, settings = (self.values, self.gradient, self.slots), (batch, n_ranks, own)
        key = (*settings, loss, fused, by_tensor, self._penalised, *map(id, (table, *held)))
        found = self._arguments.get(key)
        if found is not None:
            return found
        place, version = self.place(batch), self._workspace.version
        chunks = self._layout.tensor_chunks if by_tensor else self._layout.chunks
        memory = self._workspace.of(place, self._layout, batch, n_ranks, own)
        self._drop_arguments(held, self._workspace.version != version)
        used = (table, *held, chunks, self._layout.penalties, *memory, self._loss_parameters)
        facts = activation_of(self.layers[-1].activation), self._penalised, len(chunks), own
        plan = plan_of(place, self._layout, batch, loss, fused, *facts, self.slots.size)
        addresses = np.array([0] * step.TABLE + [address_of(one) for one in used], np.int64)
        self._arguments[key] = Arguments(plan, addresses, used)
        return self._arguments[key]

    def _drop_arguments(self, held: tuple[NDArray[Any], ...], every: bool) -> None:
        """Let go of memory that has been replaced: all of it, or other arrays than are `held`."""
        self._again = None
        kept = {} if every or len(self._arguments) == KINDS else self._arguments
        self._arguments = {k: one for k, one in kept.items() if all(map(is_, one.used[1:], held))}
