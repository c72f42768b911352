"""`Sequential`: a stack of layers, trained as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from numpy.typing import ArrayLike

from . import checkpoint
from ._checks import check_count, check_flag
from ._inputs import Data, check_finite, split, weigh_classes
from .compiled import Compiled
from .layers import Array, Layer
from .progress import Callback, History, ProgressBar
from .training import Trainer, check_callbacks, log_names, tells_of_X

Validation = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]


class Sequential(Compiled):
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

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size=input_size, dtype=dtype, seed=seed)
        self.metadata: dict[str, str] = {}
        self.history = History()
        self.stop_training = False

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
        kept = dict(self.metadata if metadata is None else metadata)
        checkpoint.write(path, checkpoint.Content(*self.get_state(), kept))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that `save` wrote; training goes on exactly where it stood.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is none that `save` wrote.
        """
        config, tensors, metadata = checkpoint.read(path)
        try:
            model = cls.from_state(config, tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.damaged(path, error) from error
        model.metadata = metadata
        return model
