"""`Sequential`: a stack of layers, trained as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from numpy.typing import ArrayLike

from fastdnn.kernels.calls import NO_LABELS

from . import checkpoint
from ._checks import check_batch_size, check_count, check_flag
from ._closed import closed
from ._custom_objects import with_functions
from ._inputs import Data, check_finite, split, weigh_classes
from .compiled import Compiled
from .history import History
from .hooks import Callback, check_callbacks
from .layers import Array, Layer
from .network import check_layers
from .progress import ProgressBar
from .training import Draw, Trainer, log_names, tells_of_X
from .validation import check_validation, plan_validation

BATCH_SIZE = 32  # samples in a step
Given = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]


@closed()
class Sequential(Compiled):
    """A network of layers, each reading the one before: A_l = g_l(W_l A_{l-1} + b_l), A_0 = X.

    Samples lie in rows: X is (m, n_0), the output (m, n_L).

    Parameters
    ----------
    layers : iterable of Dense and Dropout
        The last one is Dense. More can be added before `compile`.
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
        layers: Iterable[Layer] = (),
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size=input_size, dtype=dtype, seed=seed)
        self.metadata: dict[str, str] = {}
        self.history = History()
        self.stop_training = False

    def add(self, layer: Layer) -> None:
        """Append a layer, before `compile` and before the model has parameters.

        Raises
        ------
        TypeError, ValueError
            If it is no layer, or belongs to a model already.
        RuntimeError
            If the model is compiled or has parameters.
        """
        self._check_open("add")
        self.layers = check_layers((*self.layers, layer))

    def pop(self) -> Layer:
        """Take the last layer away, and return it; when, see `add`.

        Raises
        ------
        ValueError
            If there is none.
        RuntimeError
            If the model is compiled or has parameters.
        """
        self._check_open("pop")
        if not self.layers:
            raise ValueError("pop: the model has no layers")
        *rest, last = self.layers
        self.layers = tuple(rest)
        return last

    def _check_open(self, method: str) -> None:
        if self.built or hasattr(self, "loss"):
            raise RuntimeError(
                f"{method}: the model is compiled or has parameters; give it its layers before, "
                "and its input_size last or not at all"
            )

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | None = (),
        validation_split: float = 0.0,
        validation_data: Given | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
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
        batch_size : int, optional
            Samples in a step, 32 by default; an epoch's last step takes what is left.
        epochs : int
            How many epochs to train. Those before `initial_epoch` count: with 5 there, and 8 here,
            it is three.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal and in a
            notebook, else 2.
        callbacks : iterable of Callback
        validation_split : float
            Share of the data, taken from the end before shuffling, to use as validation data
            where no `validation_data` are given.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated at an epoch's end.
        shuffle : bool
            Draw a new order of the samples for every pass over the data.
        class_weight : dict of class number to float, optional
            Multiplies the weights of the training samples of that class.
        sample_weight : array_like of shape (m,), optional
            w_i in the loss sum_i w_i l_i / m.
        initial_epoch : int
            The number of the first epoch, to go on with a training.
        steps_per_epoch : int, optional
            The length of an epoch; by default an epoch is one pass over the data. The next epoch
            goes on with the pass where the last one ended, and a pass that ends within an epoch is
            followed by a new one. The next `fit` begins a new pass.
        validation_steps : int, optional
            Evaluate only so many batches of the validation data, from their beginning.
        validation_batch_size : int, optional
            Samples in such a batch, `batch_size` by default; it also bounds the memory of the
            validation, to 1024 samples by default.
        validation_freq : int or iterable of int
            Evaluate at the end of every so many epochs; or of these, counted from 1.

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
            If a loss or gradient is not finite; the parameters are the last finite ones. With
            `TerminateOnNaN` among the callbacks the training ends without it.

        Notes
        -----
        Ctrl-C ends the call by KeyboardInterrupt between two steps: the model stays usable.
        """
        epochs = check_count("epochs", epochs, 0)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        batch_size = check_batch_size(batch_size, BATCH_SIZE)
        shuffle = check_flag("shuffle", shuffle)
        steps = steps_per_epoch
        steps = None if steps is None else check_count("steps_per_epoch", steps, 1)
        plan = plan_validation(validation_steps, validation_batch_size, validation_freq, batch_size)
        data = self._checked(X, y, sample_weight, self.input_size, finite=False)
        reads_all = initial_epoch < epochs and validation_split == 0 and steps is None
        refuse = None
        if reads_all and self._engine is not None and tells_of_X(self._engine, data.X):
            refuse = self._refusal(data.X)
        else:
            check_finite("X", data.X, self.dtype)
        data, given = self._split(data, validation_data, validation_split)
        validation = None if given is None else plan(given)
        if class_weight is not None:
            data = weigh_classes(data, class_weight, self._dense[-1].units, self.dtype)
        history = History()
        names = log_names(self.metrics, validation is not None)
        callbacks = [*check_callbacks(callbacks, names), history]
        if verbose != 0:
            samples = len(data.X) if steps is None else steps * min(batch_size, len(data.X))
            callbacks.append(ProgressBar(epochs, samples, batch_size, verbose))
        engine, self.history = self._ready(data), history
        trainer = Trainer(
            engine, self.lock, self.optimizer, self._state, data, batch_size,
            self._draws(data, shuffle), self.metrics, validation, callbacks, steps,
        )  # fmt: skip
        trainer.run(self, range(initial_epoch, epochs), refuse, quiet=verbose == 0)
        return history

    def _draws(self, data: Data, shuffle: bool) -> Callable[[int], Draw]:
        """What each pass over the data trains on."""
        state, m = self._state, len(data.X)
        return lambda number: Draw(state.order(m) if shuffle else NO_LABELS, data.weights)

    def _refusal(self, X: Array) -> Callable[[], None]:
        """A function that refuses an X that is not finite, with the model as it is now."""
        engine, state, history = self.engine, self._state, self.history
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

    def _split(
        self, data: Data, validation: Given | None, share: float
    ) -> tuple[Data, Data | None]:
        """What to train on, and what to validate on."""
        if validation is None:
            return split(data, share)
        n_0 = data.X.shape[1]
        return data, check_validation(validation, lambda X, y, w: self._checked(X, y, w, n_0))

    def save(self, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model, with the optimizer's memory, to a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or Path
        metadata : mapping of str to str, optional
            Kept in the file beside the model; `load` gives it back as ``model.metadata``.

        Notes
        -----
        A file cannot hold functions. Of activations and losses of your own it keeps the names, by
        which `load` takes them again; metrics of your own are left out, and a schedule of your own
        is replaced by its present learning rate (with a warning): set
        ``model.optimizer.learning_rate`` after `load` to go on with it.
        """
        kept = dict(self.metadata if metadata is None else metadata)
        checkpoint.write(path, checkpoint.Content(*self.get_state(), kept))

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, object] | None = None) -> Self:
        """Read a model that `save` wrote; training goes on exactly where it stood.

        Parameters
        ----------
        path : str or Path
        custom_objects : dict of str to ScalarActivation, ScalarLoss or ArrayLoss, optional
            The model's activations and loss of your own, by their names. Without its loss the model
            is not compiled, with a warning.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, it is none that `save` wrote, or it names an activation that
            `custom_objects` has not.
        TypeError
            If a custom object is of another class than the one that was saved.
        """
        config, tensors, metadata = checkpoint.read(path)
        config = with_functions(path, config, {} if custom_objects is None else custom_objects)
        try:
            model = cls.from_state(config, tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.damaged(path, error) from error
        model.metadata = metadata
        return model
