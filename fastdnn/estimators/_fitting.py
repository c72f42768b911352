"""How an estimator is fitted: by epochs of minibatches, or by L-BFGS over all samples."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastdnn._checks import check_number
from fastdnn._inputs import Data
from fastdnn._streams import say
from fastdnn.divergence import DivergenceError
from fastdnn.hooks import Callback
from fastdnn.loop import State
from fastdnn.progress import ProgressBar

from ._epochs import EpochTrainer
from ._lbfgs import INTERRUPTED, FullBatch, minimise
from ._parameters import hidden_activations
from ._rules import Rules, fitted_copy

if TYPE_CHECKING:
    from ._base import BaseMLP
    from ._compat import FitContext

Array = NDArray[Any]
AUTO_BATCH = 200
LEAST_VALIDATION = 2  # samples


def not_finite(reason: str = "") -> ValueError:
    """Return the error of a training that has left the finite numbers."""
    return ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and"
        f" need to be preprocessed. {reason}".rstrip()
    )


def fit_by_lbfgs(of: BaseMLP, data: Data, context: FitContext) -> None:
    """Minimise the loss of all samples by SciPy's L-BFGS-B."""
    constant = of._constant(data)
    l2 = of.alpha / 2 / len(data.y)
    model = of._build(l2, 0)
    of._bind(model)
    of._made_for = None  # partial_fit needs another network
    iterations = 0

    def after(loss: float) -> bool:
        nonlocal iterations
        iterations += 1
        of.loss_curve_.append(loss + constant)
        if of.verbose:
            say(f"Iteration {iterations}, loss = {loss + constant:.8f}")
        # only now: SciPy does not tell when an iteration begins, nor which one is the last
        context.begin(iterations - 1)
        return context.end(lambda: fitted_copy(of))

    of.n_iter_, loss = minimise(
        FullBatch(model.engine, model.lock, data, of.alpha, of._summed, of._averaged),
        max_iter=of.max_iter, max_fun=of.max_fun, tol=of.tol, after=after,
    )  # fmt: skip
    of.loss_ = loss + constant
    if not of.early_stopping:
        of.best_loss_ = min(of.best_loss_, of.loss_)


def _made_for(of: BaseMLP) -> tuple[Any, ...]:
    """Return the parameters that a network holds: others than before need another network."""
    clips = of.clipnorm, of.global_clipnorm
    return of.solver, of.loss, of.alpha > 0, of.dropout, hidden_activations(of), *clips


def fit_by_epochs(
    of: BaseMLP,
    data: Data,
    unseen: Data | None,
    rng: np.random.RandomState,
    context: FitContext,
    *,
    incremental: bool,
) -> None:
    """Train epoch by epoch until scikit-learn's rules, or a callback, end it.

    Parameters
    ----------
    data : Data
    unseen : Data, optional
        Validation samples; without them, early stopping takes a part of the data.
    incremental : bool
        One epoch, with the optimizer's memory of the epochs before.
    """
    if of.early_stopping and unseen is None:
        data, unseen = _split(of, data, rng)
    m = len(data.y)
    batch = _batch_size(of, m)
    made_for = _made_for(of)
    if not (incremental and of._is_bound() and of._made_for == made_for):
        seed = int(rng.randint(2**31)) if of.dropout > 0 else 0
        of._state, of._l2, of._made_for = State(seed), of.alpha / 2 / batch, made_for
        of._bind(of._build(of._l2, seed))
    model = of.model_
    of._optimizer = model.optimizer
    rules = Rules(of, model.engine, data, unseen, context)
    callbacks: list[Callback] = [rules, *(of.callbacks or ())]
    epochs = range(1 if incremental else of.max_iter)
    if of.verbose == "bar":
        callbacks.append(ProgressBar(len(epochs), m, batch, 1))
    trainer = EpochTrainer(
        engine=model.engine, lock=model.lock, optimizer=model.optimizer, state=of._state,
        data=data, batch=batch, metrics={}, callbacks=callbacks, shuffle=of.shuffle, rng=rng,
        alpha=of.alpha, l2=of._l2, outputs_summed=of._summed, outputs_averaged=of._averaged,
        constants=of._constants(data),
    )  # fmt: skip
    of.n_iter_ = 0
    _run(of, trainer, model, epochs, rules)
    reached = of.n_iter_ == of.max_iter and not model.stop_training
    if reached and not incremental:
        warnings.warn(
            f"the training reached max_iter={of.max_iter} epochs and has not converged yet",
            ConvergenceWarning,
            stacklevel=5,
        )


def _run(of: BaseMLP, trainer: EpochTrainer, model: Any, epochs: range, rules: Rules) -> None:
    """Train; what ends it early leaves a usable model."""
    try:
        trainer.run(model, epochs)
    except KeyboardInterrupt:
        warnings.warn(INTERRUPTED, stacklevel=6)
    except DivergenceError as error:
        rules.diverged()
        if rules.best is None:
            raise not_finite(str(error)) from error
        warnings.warn(
            f"{error} The parameters of the best epoch are kept.", ConvergenceWarning, stacklevel=6
        )


def _batch_size(of: BaseMLP, m: int) -> int:
    if of.batch_size == "auto":
        return min(AUTO_BATCH, m)
    if of.batch_size > m:
        warnings.warn(
            f"batch_size: got {of.batch_size}, more than the {m} samples; it is taken as {m}",
            stacklevel=6,
        )
    return min(int(of.batch_size), m)


def _split(of: BaseMLP, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
    """Draw the samples that early stopping looks at."""
    check_number("validation_fraction", of.validation_fraction, "(0, 1)")
    m = len(data.y)
    train, unseen = train_test_split(
        np.arange(m), random_state=rng, test_size=of.validation_fraction,
        stratify=of._strata(data),
    )  # fmt: skip
    if len(unseen) < LEAST_VALIDATION:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return data.rows(train), data.rows(unseen)
