"""`Compiled`: a network with an optimizer and a loss; `Sequential` adds `fit` and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, Literal, overload

from numpy.typing import ArrayLike

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import NO_LABELS, Engine

from . import activations, losses, optimizers
from ._checks import check_batch_size, check_flag
from ._config import from_config, is_storable, to_config
from ._custom_objects import refuse_ambiguous
from ._inputs import Data, check_data, check_finite
from .building import check_complete, ending, flat
from .data.preparation import prepared
from .data.streams import Stream, refuse_lonely, refuse_targets
from .embedding import check_categories
from .evaluation import evaluate, metric_functions
from .layer import Array, Layer
from .losses import Loss
from .metrics import Metric
from .network import Network
from .optimizers import Optimizer
from .progress import sample_bar
from .schedules import Schedule
from .training import Draw, Trainer
from .validation import EVALUATION_BATCH


class Compiled(Network):
    """A network with an optimizer and a loss: what `Sequential` is without `fit` and files."""

    optimizer: Optimizer
    loss: Loss

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size=input_size, dtype=dtype, seed=seed)
        self.metrics: dict[str, Metric] = {}
        self._metrics_given: Sequence[str | Callable[..., float]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse the name of an optimizer or a loss, which `compile` alone looks up."""
        kind = {"optimizer": Optimizer, "loss": Loss}.get(name)
        if kind is not None and not isinstance(value, kind):
            raise TypeError(
                f"{name}: want an object of {kind.__name__}, got {value!r}; compile takes names too"
            )
        # a callback may set its learning rate, and the user's object may be another model's too
        super().__setattr__(name, copy(value) if name == "optimizer" else value)

    def compile(
        self,
        optimizer: str | Optimizer = "adam",
        loss: str | Loss = "mean_squared_error",
        metrics: Iterable[str | Callable[..., float]] | None = (),
    ) -> None:
        """Choose how to train. The optimizer's memory and the count of steps start anew.

        Parameters
        ----------
        optimizer : Optimizer or str
            The model takes a copy, ``model.optimizer``, which callbacks may change.
        loss : Loss or str
            Also a loss of your own: a `ScalarLoss` or an `ArrayLoss`.
        metrics : iterable of str or callable
            Names (see `fastdnn.metrics.resolve`), or functions of (y_true, y_pred) that return a
            number; the logs call these by their ``__name__``.

        Raises
        ------
        TypeError, ValueError
            If one is none of the known names (the nearest one is proposed), two metrics have the
            same name, or the loss does not suit the last layer: the cross-entropies take
            probabilities, which sigmoid and softmax make.
        RuntimeError
            If it is called within the model's own `fit`, by a callback. Another thread's `fit` is
            waited for.
        """
        check_complete(self.layers)
        n, g = ending(self.layers)
        optimizer, loss = optimizers.get(optimizer), losses.get(loss, n)
        activations.check_output(loss, g, n)
        if isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        if not isinstance(metrics, Iterable | None):
            raise TypeError(f"metrics: want a list of names and functions, got {metrics!r}")
        given = tuple(metrics or ())
        functions = metric_functions(given, loss, n)
        if self.lock.training.is_mine:
            raise RuntimeError("compile: the model is being trained; wait for the end of fit")
        with self.lock.training, self.lock:
            self.optimizer, self.loss = optimizer, loss
            self.metrics, self._metrics_given = functions, given
            self._state.steps = self._state.epochs = 0
            if self._engine is not None:
                self._engine.slots = self._engine.slots[:0]

    def _check_compiled(self) -> None:
        if not hasattr(self, "loss"):
            raise RuntimeError("the model does not know its loss yet: call compile first")

    def _checked(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        n_0: int | None,
        *,
        loss: Loss | None = None,
        finite: bool = True,
        whole: bool = True,
    ) -> Data:
        self._check_compiled()
        loss = loss or self.loss
        n, dtype, preparation = ending(self.layers)[0], self.dtype, self.preparation
        if preparation is not None:
            X = prepared("X", X, lambda X: preparation.inputs(X, dtype))
            y = prepared("y", y, preparation.targets)
        data = check_data(X, y, n_0, n, loss, dtype, sample_weight, finite=finite, whole=whole)
        check_categories(data.X, self.layers)
        return data

    def _ready(self, data: Data) -> Engine:
        """Return the engine, to read these data with the loss."""
        engine = self._engine or self._build(data.X.shape[1])
        return self.loss.bind(engine)

    def train_on_batch(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> dict[str, float]:
        """One step on all of X; returns the loss and metrics before it; `n_threads` as in `fit`."""
        with threads.of_call(n_threads), self.lock:
            data = self._checked(X, y, sample_weight, self.input_size)
            trainer = Trainer(
                engine=self._ready(data), lock=self.lock, optimizer=self.optimizer,
                state=self._state, metrics=self.metrics, data=data, batch=len(data.y),
                draw=lambda first, passes: Draw(NO_LABELS, data.weights),
            )  # fmt: skip
            return trainer.epoch(self._state.epochs)

    @overload
    def evaluate(
        self,
        X: Any,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: ArrayLike | None = None,
        *,
        return_dict: Literal[True] = True,
        n_threads: int | None = None,
    ) -> dict[str, float]: ...

    @overload
    def evaluate(
        self,
        X: Any,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: ArrayLike | None = None,
        *,
        return_dict: Literal[False],
        n_threads: int | None = None,
    ) -> list[float]: ...

    def evaluate(
        self,
        X: Any,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: ArrayLike | None = None,
        *,
        return_dict: bool = True,
        n_threads: int | None = None,
    ) -> dict[str, float] | list[float]:
        """Return the loss (penalties included) and the metrics, without dropout.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        batch_size : int, optional
            Bounds the samples at work at once, and so the memory; 1024 by default.
        verbose : {0, 1, 2, "auto"}
            1 shows a bar if the work takes more than half a second, "auto" does on a terminal and
            in a notebook; 0 and 2 are silent.
        return_dict : bool
            False: return the values alone, in a list, as Keras does.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            "loss", then the metrics; or the list of its values.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If `compile` has not been called, or the model has no parameters yet: the data to
            evaluate do not say its input size.

        Warns
        -----
        RuntimeWarning
            If the loss is not finite, for X or the parameters are too large; the row is named.
        """
        batch = check_batch_size(batch_size, EVALUATION_BATCH)
        return_dict = check_flag("return_dict", return_dict)
        with threads.of_call(n_threads):
            logs = self._evaluate(X, y, batch, verbose, sample_weight)
        return logs if return_dict else list(logs.values())

    def _evaluate(
        self,
        X: Any,
        y: ArrayLike | None,
        batch: int,
        verbose: int | str,
        sample_weight: ArrayLike | None,
    ) -> dict[str, float]:
        n_0, total = self.input_size, getattr(X, "n_samples", None)
        self._check_compiled()
        loss, metrics = self.loss, self.metrics  # another thread may compile the model anew
        data: Data | Stream
        if y is None:
            refuse_lonely(X, sample_weight=sample_weight)
            data = Stream(X, lambda X, y, w: self._checked(X, y, w, n_0, loss=loss))
        else:
            refuse_targets(X, y)
            data = self._checked(X, y, sample_weight, n_0, loss=loss, whole=False)
            total = len(data.y)
        network = self.engine  # not `_ready`: the data to evaluate do not make one

        @contextmanager
        def reading() -> Iterator[Engine]:
            with self.lock.reading(network) as engine:
                yield loss.bind(engine)

        with sample_bar("evaluate", total, verbose) as report:
            return evaluate(reading, data, metrics, batch, report, warns=True)

    def get_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return all of the model: a configuration that JSON can hold, and arrays by name.

        `from_state` makes the model of both. Functions are left out or named, as `save` says.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        ValueError
            If two different activations and losses of your own have one name.
        """
        own = [getattr(layer, "activation", None) for layer in flat(self.layers)]
        refuse_ambiguous([*own, getattr(self, "loss", None)])
        engine = self.engine
        with self.lock.still():
            config, tensors = super().get_state()
            if hasattr(self, "loss"):
                config |= self._training_config()
            if engine.slots.size:
                tensors["optimizer"] = engine.slots.copy()
        return config, tensors

    def _training_config(self) -> dict[str, Any]:
        """Optimizer, loss and metrics, as far as they can be named: no trained model is refused."""
        optimizer = self.optimizer
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule) and not is_storable(rate):
            now = optimizer.learning_rate_at(self._state.steps)
            warnings.warn(
                f"the file holds the present learning rate {now:g}, as it cannot hold {rate!r}; "
                "after load, set model.optimizer.learning_rate to your schedule to go on with it",
                stacklevel=4,
            )
            optimizer = replace(optimizer, learning_rate=now)
        if not is_storable(optimizer):
            warnings.warn(
                f"the file cannot hold {optimizer!r}: compile the model after load", stacklevel=4
            )
            return {}
        return {
            "optimizer": to_config(optimizer),
            "loss": to_config(self.loss),
            "metrics": [m for m in self._metrics_given if isinstance(m, str)],
        }

    def _restore(self, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        if "loss" in config:
            optimizer, loss = from_config(config["optimizer"]), from_config(config["loss"])
            self.compile(optimizer, loss, config["metrics"])
        self._restore_values(config, tensors)  # the counters too, which compile has set to 0

    def _restore_values(self, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Take over parameters, counters and the optimizer's memory, but not how to train."""
        super()._restore(config, tensors)
        if "optimizer" in tensors:
            slots, size = tensors["optimizer"], self.parameters.size
            if slots.shape not in ((size,), (2 * size,)):
                raise ValueError(f"want one or two numbers for each parameter, got {slots.shape}")
            check_finite("optimizer", slots, self.dtype)
            if slots.size == 2 * size and slots[size:].min() < 0:
                raise ValueError("want second moments >= 0")
            self.engine.slots = slots.astype(self.dtype)
