"""`Sequential`: a stack of layers, trained as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fastdnn.kernels.engine import Engine

from . import checkpoint, losses, optimizers
from ._checks import check_count, check_flag
from ._inputs import Data, check_data, check_finite, split, weigh_classes
from .layers import Array, Layer
from .losses import Loss
from .metrics import Metric
from .network import Network
from .optimizers import Optimizer
from .progress import Callback, History, ProgressBar
from .training import (
    EVALUATION_BATCH,
    Trainer,
    check_callbacks,
    evaluate,
    log_names,
    metric_functions,
    tells_of_X,
)

Validation = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]


class Sequential(Network):
    """A network of layers, each reading the one before: A_l = g_l(W_l A_{l-1} + b_l), A_0 = X.

    Samples lie in rows: X is (m, n_0), the output (m, n_L).

    Parameters
    ----------
    layers : iterable of Dense and Dropout
        The last one is Dense.
    input_size : int, optional
        n_0. Without it, the first data say.
    dtype : {"float32", "float64"}
        Of the parameters and of all computation.
    seed : int, optional
        Makes every random number, and so the whole training, repeatable; None takes a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    MemoryError
        If `input_size` is given and the parameters cannot fit in memory.

    Attributes
    ----------
    layers : tuple
    parameters : ndarray of shape (P,)
        All W and b in one vector; ``layer.W`` and ``layer.b`` are views into it.
    optimizer : Optimizer
    loss : Loss
    metrics : dict of functions
        What `compile` was given, by the names in the logs.
    history : History
        Of the last `fit`.
    stop_training : bool
        A callback sets it to end the training after the present epoch.
    metadata : dict of str
        What the file that the model was loaded from held besides.
    """

    optimizer: Optimizer
    loss: Loss

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size=input_size, dtype=dtype, seed=seed)
        self.metrics: dict[str, Metric] = {}
        self._metrics_given: Sequence[str | Callable[..., float]] = ()
        self.metadata: dict[str, str] = {}
        self.history = History()
        self.stop_training = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse the name of an optimizer or a loss, which `compile` alone looks up."""
        kind = {"optimizer": Optimizer, "loss": Loss}.get(name)
        if kind is not None and not isinstance(value, kind):
            raise TypeError(
                f"{name}: want an object of {kind.__name__}, got {value!r}; compile takes names too"
            )
        super().__setattr__(name, value)

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
        loss : Loss or str
        metrics : iterable of str or callable
            Names (see `fastdnn.metrics.resolve`), or functions of (y_true, y_pred) that return a
            number; the logs call these by their ``__name__``.

        Raises
        ------
        TypeError, ValueError
            If one is none of the known names (the nearest one is proposed), two metrics have the
            same name, or the loss does not suit the last layer: the cross-entropies take
            probabilities, which sigmoid and softmax make.
        """
        last = self._dense[-1]
        n = last.units
        optimizer, loss = optimizers.get(optimizer), losses.get(loss, n)
        losses.check_activation(loss, str(last.activation))
        if isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        if not isinstance(metrics, Iterable | None):
            raise TypeError(f"metrics: want a list of names and functions, got {metrics!r}")
        given = tuple(metrics or ())
        functions = metric_functions(given, loss, n)
        self.optimizer, self.loss = optimizer, loss
        self.metrics, self._metrics_given = functions, given
        self._state.steps = self._state.epochs = 0
        if self._engine is not None:
            self._engine.slots = self._engine.slots[:0]

    def _checked(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        n_0: int | None,
        *,
        finite: bool = True,
    ) -> Data:
        if not hasattr(self, "loss"):
            raise RuntimeError("the model does not know its loss yet: call compile first")
        n = self._dense[-1].units
        return check_data(X, y, n_0, n, self.loss, self.dtype, sample_weight, finite=finite)

    def _ready(self, data: Data) -> Engine:
        """The engine, to read these data with the loss."""
        engine = self._engine or self._build(data.X.shape[1])
        loss = self.loss
        engine.set_loss(loss.name, loss.parameters(), from_logits=loss.from_logits)
        return engine

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Validation | None = None,
        validation_split: float = 0.0,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        callbacks: Iterable[Callback] | None = (),
        verbose: int | str = "auto",
        initial_epoch: int = 0,
    ) -> History:
        """Train by minibatch gradient descent.

        Parameters
        ----------
        X : array_like of shape (m, n_0)
            Any layout; float32 and float64 are read where they lie. Shuffled samples are read
            fastest in C order: pass ``np.ascontiguousarray(X)`` where X has Fortran order, as a
            DataFrame's ``to_numpy()`` gives.
        y : array_like
            Class numbers (m,) for the sparse loss, else targets (m, n_L), or (m,) where n_L is 1.
        epochs : int
            The number of the epoch to stop before, counted from 0.
        batch_size : int
            Samples in a step; an epoch's last step takes what is left.
        shuffle : bool
            Draw a new order of the samples for every epoch.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated after every epoch.
        validation_split : float
            Share of the data, taken from the end before shuffling, to use as validation data
            where no `validation_data` are given.
        sample_weight : array_like of shape (m,), optional
            w_i in the loss sum_i w_i l_i / m.
        class_weight : dict of class number to float, optional
            Multiplies the weights of the training samples of that class.
        callbacks : iterable of Callback
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal, else 2.
        initial_epoch : int
            The number of the first epoch, to go on with a training.

        Returns
        -------
        History
            ``history["loss"]`` and so on, a value per epoch; the "learning_rate" is that of the
            epoch's first step.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; the model is as before then. Of much data it is a step that
            meets NaN or infinity in X, and what the steps before it have changed is undone.
        RuntimeError
            If `compile` has not been called.
        MemoryError
            If the network's parameters cannot fit in memory.
        DivergenceError
            If a loss or gradient is not finite; the parameters are the last finite ones.

        Notes
        -----
        Ctrl-C ends the call by KeyboardInterrupt between two steps: the model stays usable.
        """
        epochs = check_count("epochs", epochs, 0)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        batch_size = check_count("batch_size", batch_size, 1)
        shuffle = check_flag("shuffle", shuffle)
        data = self._checked(X, y, sample_weight, self.input_size, finite=False)
        reads_all, refuse = initial_epoch < epochs and validation_split == 0, None
        if reads_all and self._engine is not None and tells_of_X(self._engine, data.X):
            refuse = self._refusal(data.X)
        else:
            check_finite("X", data.X, self.dtype)
        data, validation = self._validation(data, validation_data, validation_split)
        if class_weight is not None:
            data = weigh_classes(data, class_weight, self._dense[-1].units, self.dtype)
        history = History({"epochs": epochs, "steps": -(-len(data.X) // batch_size)})
        names = log_names(self.metrics, validation is not None)
        callbacks = [*check_callbacks(callbacks, names), history]
        if verbose != 0:
            callbacks.append(ProgressBar(epochs, len(data.X), batch_size, verbose))
        engine, self.history = self._ready(data), history
        trainer = Trainer(
            engine, self._lock, self.optimizer, self._state, data, batch_size, shuffle,
            self.metrics, validation, callbacks,
        )  # fmt: skip
        trainer.run(self, range(initial_epoch, epochs), refuse)
        return history

    def _refusal(self, X: Array) -> Callable[[], None]:
        """A function that refuses an X that is not finite, with the model as it is now."""
        engine, state, history = self._built_engine(), self._state, self.history
        parameters, slots = engine.parameters.copy(), engine.slots.copy()
        steps, epochs = state.steps, state.epochs

        def refuse() -> None:
            try:
                check_finite("X", X, self.dtype)
            except ValueError as error:
                engine.parameters[...], engine.slots = parameters, slots
                state.steps, state.epochs, self.history = steps, epochs, history
                raise error from None

        return refuse

    def _validation(
        self, data: Data, validation: Validation | None, share: float
    ) -> tuple[Data, Data | None]:
        """What to train on, and what to validate on."""
        if validation is None:
            return split(data, share)
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise ValueError(
                "validation_data: want a tuple (X, y) or (X, y, sample_weight), "
                f"got {type(validation).__name__}"
            )
        X, y, sample_weight = (*validation, None)[:3]
        try:
            return data, self._checked(X, y, sample_weight, data.X.shape[1])
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None

    def train_on_batch(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """One step on all of X; returns the loss and metrics before it."""
        data = self._checked(X, y, sample_weight, self.input_size)
        trainer = Trainer(
            self._ready(data), self._lock, self.optimizer, self._state, data, len(data.X), False,
            self.metrics, None, (),
        )  # fmt: skip
        return trainer.epoch(self._state.epochs)

    def evaluate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        batch_size: int = EVALUATION_BATCH,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """The loss (penalties included) and the metrics, without dropout.

        `batch_size` bounds the samples at work at once, and so the memory.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong.
        RuntimeError
            If `compile` has not been called, or the model has no parameters yet: the data to
            evaluate do not say its input size.
        """
        batch_size = check_count("batch_size", batch_size, 1)
        data = self._checked(X, y, sample_weight, self.input_size)
        self._built_engine()
        with self._lock:
            return evaluate(self._ready(data), data, self.metrics, batch_size)

    def loss_and_gradients(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, list[tuple[Array, Array | None]]]:
        """The loss of X as one batch, and its derivatives; no parameter changes, no dropout.

        Returns
        -------
        loss : float
            Penalties included.
        gradients : list of (dW, db)
            For every Dense layer, in the shapes of its W and b (None without b); copies.
        """
        data = self._checked(X, y, sample_weight, self.input_size)
        with self._lock:
            engine = self._ready(data)
            loss = engine.differentiate(data.X, data.targets, weights=data.weights)
            pairs = engine.gradients()
            return loss, [(dW.copy(), None if db is None else db.copy()) for dW, db in pairs]

    def save(self, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model, with the optimizer's memory, to a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or Path
        metadata : mapping of str to str, optional
            Kept in the file beside the model; `load` gives it back as ``model.metadata``.

        Notes
        -----
        A file cannot hold functions, so metrics of your own are left out, and a schedule of your
        own is replaced by its present learning rate (with a warning): set
        ``model.optimizer.learning_rate`` after `load` to go on with it.
        """
        checkpoint.save(self, path, self.metadata if metadata is None else metadata)

    @classmethod
    def load(cls, path: str | Path) -> Sequential:
        """Read a model that `save` wrote; training goes on exactly where it stood.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is none that `save` wrote.
        """
        return checkpoint.load(cls, path)
