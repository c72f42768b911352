"""`Sequential`: a stack of layers, trained as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastdnn.kernels._lookup import lookup
from fastdnn.kernels.engine import Engine
from fastdnn.kernels.engine import Layer as Row

from . import checkpoint, initializers, losses, optimizers, regularizers
from ._inputs import Data, check_count, check_data, check_X
from .layers import Array, Dense, Dropout, Layer
from .losses import Loss
from .metrics import Metric, resolve
from .optimizers import Optimizer
from .progress import Callback, History, ProgressBar
from .summary import summarize
from .training import EVALUATION_BATCH, INITIALIZATION, State, Trainer, evaluate

Validation = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


class Sequential:
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
    history: History

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        self.layers = _checked(layers)
        self.dtype = lookup(
            "dtype", dtype if isinstance(dtype, str) else np.dtype(dtype).name, DTYPES
        )
        self.seed = None if seed is None else check_count("seed", seed, 0)
        entropy = np.random.SeedSequence(self.seed).entropy
        assert isinstance(entropy, int)
        self._state = State(entropy)
        self.metrics: dict[str, Metric] = {}
        self._metric_names: Sequence[str | Callable[..., float]] = ()
        self.metadata: dict[str, str] = {}
        self.stop_training = False
        self._engine: Engine | None = None
        self.input_size = None if input_size is None else check_count("input_size", input_size, 1)
        if self.input_size is not None:
            self._build(self.input_size)

    # ------------------------------------------------------------------------------- parameters
    @property
    def built(self) -> bool:
        """Whether the input size is known, and so there are parameters."""
        return self._engine is not None

    @property
    def _dense(self) -> list[Dense]:
        return [layer for layer in self.layers if isinstance(layer, Dense)]

    def _build(self, input_size: int) -> Engine:
        rows, rates, n_prev = [], _dropout_rates(self.layers), input_size
        for layer, rate in zip(self._dense, rates[1:], strict=True):
            penalty = regularizers.get(layer.kernel_regularizer)
            activation = str(layer.activation)
            rows.append(
                Row(n_prev, layer.units, activation, layer.use_bias, rate, penalty.l1, penalty.l2)
            )
            n_prev = layer.units
        engine = Engine(rows, dtype=self.dtype, input_dropout=rates[0])
        rng = self._state.generator(INITIALIZATION)
        for l, layer in enumerate(self._dense, 1):
            W, initializer = engine.weights(l), layer.kernel_initializer
            assert initializer is not None  # Dense has chosen one
            n, n_prev = W.shape
            W[...] = initializers.get(initializer)(n, n_prev, rng)
            layer._place = engine, l
        self.input_size = input_size
        self._engine = engine
        return engine

    def _built_engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError(
                "the model has no parameters yet: give it an input_size, or call fit"
            )
        return self._engine

    @property
    def parameters(self) -> Array:
        """All W and b, layer by layer: a writable view."""
        return self._built_engine().parameters

    def get_weights(self) -> list[Array]:
        """Copies of W_1 transposed (n_0, n_1), b_1 (n_1,), …: Keras's order and shapes."""
        engine = self._built_engine()
        weights = []
        for l in range(1, len(engine.layers) + 1):
            weights.append(engine.weights(l).T.copy())
            b = engine.bias(l)
            if b is not None:
                weights.append(b.copy())
        return weights

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Take the parameters from a list like that of `get_weights`."""
        present = self.get_weights()
        arrays = [np.asarray(w) for w in weights]
        shapes, want = [w.shape for w in arrays], [w.shape for w in present]
        if shapes != want:
            raise ValueError(f"weights: want shapes {want}, got {shapes}")
        self.parameters[...] = np.concatenate([w.reshape(-1) for w in arrays])

    # ---------------------------------------------------------------------------------- training
    def compile(
        self,
        optimizer: str | Optimizer = "adam",
        loss: str | Loss = "mean_squared_error",
        metrics: Sequence[str | Callable[..., float]] = (),
    ) -> None:
        """Choose how to train. The optimizer's memory starts anew.

        Parameters
        ----------
        optimizer : Optimizer or str
        loss : Loss or str
        metrics : sequence of str or callable
            Names (see `fastdnn.metrics.resolve`), or functions of (y_true, y_pred) that return a
            number.

        Raises
        ------
        TypeError, ValueError
            If one is none of the known names; the nearest one is proposed.
        """
        self.optimizer = optimizers.get(optimizer)
        self.loss = losses.get(loss)
        self._metric_names = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
        n_outputs = self._dense[-1].units
        self.metrics = dict(resolve(m, self.loss.name, n_outputs) for m in self._metric_names)
        if "categorical" in self.loss.name and n_outputs == 1:
            raise ValueError(
                f"loss: {self.loss.name!r} needs an output per class, and the last layer has 1;"
                " use 'binary_crossentropy'"
            )
        self._state.steps = self._state.epochs = 0
        if self._engine is not None:
            self._engine.slots[:] = 0

    def _data(self, X: ArrayLike, y: ArrayLike, **weights: Any) -> tuple[Engine, Data]:
        if not hasattr(self, "loss"):
            raise RuntimeError("the model does not know its loss yet: call compile first")
        n = self._dense[-1].units
        data = check_data(X, y, self.input_size, n, self.loss, self.dtype, **weights)
        engine = self._engine or self._build(data.X.shape[1])
        engine.set_loss(self.loss.name, self.loss.parameter)
        return engine, data

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
        callbacks: Iterable[Callback] = (),
        verbose: int | str = "auto",
        initial_epoch: int = 0,
    ) -> History:
        """Train by minibatch gradient descent.

        Parameters
        ----------
        X : array_like of shape (m, n_0)
            Any layout; float32 and float64 are read where they lie.
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
            Share of the data, taken from the end before shuffling, to use as validation data.
        sample_weight : array_like of shape (m,), optional
            w_i in the loss sum_i w_i l_i / m.
        class_weight : dict of class number to float, optional
            Multiplies the weights of the samples of that class.
        callbacks : iterable of Callback
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal, else 2.
        initial_epoch : int
            The number of the first epoch, to go on with a training.

        Returns
        -------
        History
            ``history["loss"]`` and so on, a value per epoch.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; nothing has been trained then.
        DivergenceError
            If a loss or gradient is not finite; the parameters are the last finite ones.

        Notes
        -----
        Ctrl-C ends the call by KeyboardInterrupt between two steps: the model stays usable.
        """
        epochs = check_count("epochs", epochs, 0)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        batch_size = check_count("batch_size", batch_size, 1)
        engine, data = self._data(X, y, sample_weight=sample_weight, class_weight=class_weight)
        data, validation = self._split(data, validation_data, validation_split)
        self.history = History({"epochs": epochs, "steps": -(-len(data.X) // batch_size)})
        callbacks = [*callbacks, self.history]
        if verbose != 0:
            callbacks.append(ProgressBar(epochs, len(data.X), batch_size, verbose))
        for callback in callbacks:
            callback.set_model(self)
        engine.compile()
        trainer = Trainer(
            engine, self.optimizer, self._state, data, batch_size, bool(shuffle),
            self.metrics, validation, callbacks,
        )  # fmt: skip
        self._run(trainer, range(initial_epoch, epochs))
        return self.history

    def _run(self, trainer: Trainer, epochs: range) -> None:
        self.stop_training = False
        try:
            for callback in trainer.callbacks:
                callback.on_train_begin()
            for epoch in epochs:
                for callback in trainer.callbacks:
                    callback.on_epoch_begin(epoch)
                logs = trainer.epoch(epoch)
                for callback in trainer.callbacks:
                    callback.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:
            for callback in trainer.callbacks:
                callback.on_train_end()

    def _split(
        self, data: Data, validation: Validation | None, share: float
    ) -> tuple[Data, Data | None]:
        if validation is not None:
            if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
                raise ValueError("validation_data: want (X, y) or (X, y, sample_weight)")
            weights = validation[2] if len(validation) == 3 else None
            return data, self._data(validation[0], validation[1], sample_weight=weights)[1]
        if not 0 <= share < 1:
            raise ValueError(f"validation_split: want a share in [0, 1), got {share!r}")
        if share == 0:
            return data, None
        m = len(data.X)
        cut = int(m * (1 - share))
        if cut in (0, m):
            raise ValueError(f"validation_split: {share} of {m} samples leaves one part empty")
        return data.rows(slice(cut)), data.rows(slice(cut, m))

    def train_on_batch(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """One step on all of X; returns the loss and metrics before it."""
        engine, data = self._data(X, y, sample_weight=sample_weight)
        trainer = Trainer(
            engine, self.optimizer, self._state, data, len(data.X), False, self.metrics, None, ()
        )
        logs = trainer.epoch(self._state.epochs)
        del logs["learning_rate"]
        return logs

    # -------------------------------------------------------------------------------- the results
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
        """
        batch_size = check_count("batch_size", batch_size, 1)
        engine, data = self._data(X, y, sample_weight=sample_weight)
        return evaluate(engine, data, self.metrics, batch_size)

    def predict(self, X: ArrayLike, *, batch_size: int = EVALUATION_BATCH) -> Array:
        """A_L for every row of X, shape (m, n_L), without dropout.

        `batch_size` bounds the samples at work at once, and so the memory; no output depends on it.
        """
        batch_size = check_count("batch_size", batch_size, 1)
        engine = self._built_engine()
        return engine.forward(check_X(X, self.input_size, self.dtype), batch=batch_size)

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
        engine, data = self._data(X, y, sample_weight=sample_weight)
        loss = engine.differentiate(data.X, data.targets, weights=data.weights)
        pairs = engine.gradients()
        return loss, [(dW.copy(), None if db is None else db.copy()) for dW, db in pairs]

    def summary(self) -> None:
        """Print the layers with the notes' shapes of W, b, Z and A, and count the parameters."""
        print(summarize(self.layers, self.input_size, self.dtype.name))

    def save(self, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model, with the optimizer's memory, to a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or Path
        metadata : mapping of str to str, optional
            Kept in the file beside the model; `load` gives it back as ``model.metadata``.
        """
        checkpoint.save(self, path, self.metadata if metadata is None else metadata)

    @classmethod
    def load(cls, path: str | Path) -> Sequential:
        """Read a model that `save` wrote; training goes on exactly where it stood."""
        return checkpoint.load(cls, path)


def _checked(layers: Iterable[Layer]) -> tuple[Dense | Dropout, ...]:
    stack: list[Dense | Dropout] = []
    for layer in layers:
        if not isinstance(layer, Dense | Dropout):
            raise TypeError(f"layers: want Dense and Dropout layers, got {layer!r}")
        stack.append(layer)
        if isinstance(layer, Dense) and layer._place is not None:
            raise ValueError(
                "layers: a Dense layer belongs to another model already; make a new one"
            )
    if len(set(map(id, stack))) < len(stack):
        raise ValueError("layers: one layer is there twice; make one for each place")
    if not stack or not isinstance(stack[-1], Dense):
        raise ValueError("layers: want at least one Dense layer, and it last")
    return tuple(stack)


def _dropout_rates(layers: tuple[Dense | Dropout, ...]) -> list[float]:
    """The dropout of X and of each Dense layer's outputs; two in a row act as one."""
    rates = [0.0]
    for layer in layers:
        if isinstance(layer, Dense):
            rates.append(0.0)
        else:
            rates[-1] = 1.0 - (1.0 - rates[-1]) * (1.0 - layer.rate)
    return rates
