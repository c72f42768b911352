"""What callbacks can do at which moment of `fit`, and how it calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Protocol

from numpy.typing import NDArray


class Model(Protocol):
    """What callbacks need of a model; `Sequential` has it."""

    optimizer: Any
    stop_training: bool

    def get_weights(self) -> list[NDArray[Any]]:
        """Return all W and b."""

    def set_weights(self, weights: list[NDArray[Any]], /) -> None:
        """Replace all W and b."""

    def save(self, path: str, /) -> None:
        """Write the model to a file."""

    def save_training(self, path: str, state: Mapping[str, Any], /) -> None:
        """Write the model and the state of its training to a file."""


class Callback:
    """Something to do at certain moments of `fit`; subclass it and write the methods you need.

    Epochs and steps count from 0. `logs` holds "loss", the metrics, the same with "val_" before
    them where there are validation data, and "learning_rate". Set ``self.model.stop_training``
    to True to end the training after this epoch.

    Attributes
    ----------
    model : Sequential
        The model that is trained.
    params : dict
        Facts of the training: "epochs", where their count ends, and "steps" of an epoch.

    Notes
    -----
    The names of the hooks are Keras's, and so are their arguments: a hook may also take `logs` as
    its last argument where none are listed here, as callbacks written for Keras do
    (``def on_train_begin(self, logs=None)``), and one that takes fewer gets the first ones. The
    logs of a beginning are empty, those of `on_train_end` the last epoch's.

    `fit` refuses a misspelt hook. Keras's ``on_predict_begin``, … may be there and are not called.
    """

    model: Model
    params: dict[str, object]
    writes = False  # files, or what people read: of several ranks, the first one's alone acts
    is_kept = True  # in the state of a training; one that only shows it need not be

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed training must know: numbers, text, arrays, lists, dicts of such.

        `ModelCheckpoint` keeps it, and `fit` with `resume_from` gives it to `set_state`.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; `fit` calls this after the hooks that begin a training."""

    def set_model(self, model: Model) -> None:
        """Remember the model; `fit` calls this before the training."""
        self.model = model

    def set_params(self, params: Mapping[str, object]) -> None:
        """Remember facts of the training; `fit` calls this before it."""
        self.params = dict(params)

    def epochs_ahead(self) -> int:
        """Return how many epochs may be trained before this callback acts on the first of them.

        At most so many are trained in one native call where that is quicker, and then their hooks
        are called, one after another: the model is that of the last one already, and a change of
        it, or of the learning rate, comes after that. So the answer is 1 unless the callback reads
        the logs alone.
        """
        return 1

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse settings that do not suit the training; `fit` calls this before anything else.

        Parameters
        ----------
        names : collection of str
            What `logs` will hold at the end of an epoch with validation.
        """

    def on_train_begin(self) -> None:
        """Act before the first epoch."""

    def on_train_end(self) -> None:
        """Act after the last epoch, and also when an error or Ctrl-C ends the training.

        Every callback does, whatever another raises here; the first error comes through then.
        """

    def on_epoch_begin(self, epoch: int) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Act after an epoch and its validation."""

    def on_train_batch_begin(self, batch: int) -> None:
        """Act before a step, number `batch` of the epoch.

        Notes
        -----
        Where some callback has this hook or `on_train_batch_end`, each step is a native call of
        its own. That costs some 50 microseconds a step, and the metrics of each: more than the
        step of a small network itself. `on_batches_end` costs next to nothing. No result changes.
        """

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Act after a step; at the cost that `on_train_batch_begin` names.

        Parameters
        ----------
        batch : int
            The step's number in the epoch.
        logs : dict
            The mean "loss" of the epoch so far, and fastdnn's own metrics of this step.
        """

    def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
        """Act about every 0.1 s within an epoch.

        Parameters
        ----------
        step : int
            How many of the epoch's steps are done.
        n_steps : int or None
            How many steps the epoch has, if that is known: a stream of batches may not say.
        logs : dict
            The mean "loss" of the epoch so far, and fastdnn's own metrics of the samples since the
            last call.
        """

    def on_safe_point(self, epoch: int, steps: int, save: Callable[[str], object]) -> None:
        """Act between two slices of steps and after an epoch, where the training can be saved.

        Parameters
        ----------
        epoch : int
            The epoch that the training goes on in: after one, the next.
        steps : int
            How many steps there have been in all.
        save : callable
            Writes the model to a path, with what ``fit(resume_from=path)`` needs to go on.
        """

    def on_interrupt(self, epoch: int, steps: int, save: Callable[[str], object]) -> None:
        """Act when Ctrl-C or SIGTERM ends the training between two steps of an epoch.

        The arguments are those of `on_safe_point`, and so is what `save` writes.
        """

    def on_test_begin(self) -> None:
        """Act before the validation at an epoch's end."""

    def on_test_end(self, logs: dict[str, float]) -> None:
        """Act after the validation; the names in `logs` have no "val_" before them."""

    def on_divergence(self, error: ArithmeticError) -> None:
        """Act when a loss or gradient is not finite.

        `fit` raises the error unless ``self.model.stop_training`` is set to True here.
        """


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
# Keras's, which `fit` does not call there either.
NOT_OF_FIT = {f"on_predict_{what}" for what in ("begin", "end", "batch_begin", "batch_end")}
# What Keras took before, and what is nearest to it by meaning.
FORMER = {"on_batch_begin": "on_train_batch_begin", "on_batch_end": "on_train_batch_end"}


_NO_CALLS: dict[str, list[Callable[..., object]]] = {name: [] for name in HOOKS}


class Hooks:
    """The callbacks of a training: ``hooks("on_epoch_end", epoch, logs)`` calls those that act.

    Parameters
    ----------
    callbacks : iterable of Callback
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self._calls = _NO_CALLS
        if self.callbacks:  # a single step has none, and little time
            self._calls = {
                name: [_caller(one, name) for one in self.callbacks if _acts(one, name)]
                for name in HOOKS
            }

    def acts(self, name: str) -> bool:
        """Return whether any callback has this hook."""
        return bool(self._calls[name])

    def epochs_ahead(self) -> int:
        """Return how many epochs may be trained before any callback must act on the first."""
        return min((one.epochs_ahead() for one in self.callbacks), default=1)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a hook of every callback that has it."""
        for call in self._calls[name]:
            call(*arguments)

    def begin(self, model: Model, params: Mapping[str, object]) -> None:
        """Tell every callback what is trained."""
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def end(self, logs: Mapping[str, float]) -> None:
        """Let every callback end, so that one's error costs no other's best weights."""
        errors: list[BaseException] = []
        for call in self._calls["on_train_end"]:
            try:
                call(logs)
            except BaseException as error:  # Ctrl-C is no reason to leave one out, either
                errors.append(error)
        if errors:
            raise errors[0]


def _acts(callback: Callback, name: str) -> bool:
    """Return whether the hook is not the one that does nothing."""
    hook = getattr(callback, name)
    return getattr(hook, "__func__", None) is not getattr(Callback, name)


def _caller(callback: Callback, name: str) -> Callable[..., object]:
    """Return the hook as a function that takes all of the arguments and gives it those it takes."""
    hook = getattr(callback, name)
    method = getattr(hook, "__func__", None)
    n = positional(hook) if method is None else _of_method(method)
    return lambda *arguments: hook(*arguments[:n])


@lru_cache(maxsize=256)  # asking for a signature takes as long as a step of a small network
def _of_method(method: Callable[..., object]) -> int | None:
    """Return how many positional arguments a method takes beside the object."""
    count = positional(method)
    return None if count is None else count - 1


def positional(function: Callable[..., object]) -> int | None:
    """Return how many positional arguments a function takes at most; None for any number."""
    try:
        kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # of a built-in function, which tells nothing
        return None
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    of_position = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(kind in of_position for kind in kinds)


def check_callbacks(callbacks: Iterable[Callback] | None, names: Collection[str]) -> list[Callback]:
    """Return the callbacks as a list, if they suit a training whose logs hold these names."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable | None):
        raise TypeError(f"callbacks: want a list of callbacks, got {callbacks!r}")
    found = list(callbacks or ())
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: want Callback objects, got {callback!r}")
        _check_hooks(callback)
        callback.check_logs(names)
    return found


def _check_hooks(callback: Callback) -> None:
    """Refuse a method that looks like a hook and would never be called."""
    for name in dir(callback):
        if not name.startswith("on_") or name in HOOKS or name in NOT_OF_FIT:
            continue
        if callable(getattr(callback, name)):
            near = [FORMER[name]] if name in FORMER else get_close_matches(name, HOOKS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise TypeError(
                f"callbacks: {type(callback).__name__}.{name} is no hook that fit calls; {hint}"
                f"Known: {', '.join(HOOKS)}"
            )
