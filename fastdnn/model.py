"""`Sequential`: a stack of layers, trained as in Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from . import checkpoint
from ._closed import closed
from ._custom_objects import with_functions
from .building import check_layers
from .data.preparation import Preparation
from .exchange import Exchange
from .fitting import Fitting
from .history import History
from .layer import Layer
from .resume import pack


@closed()
class Sequential(Exchange, Fitting):
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
    preparation : Preparation or None
        How the table was prepared that ``fastdnn train`` made the model from. With it every method
        takes such tables as they are: raw columns, and labels as the file has them. None takes it
        away, and the network reads X (m, n_0) as it is.
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
        kept = self._kept(self.metadata if metadata is None else metadata)
        checkpoint.write(path, checkpoint.Content(*self.get_state(), kept))

    def save_training(self, path: str | Path, state: Mapping[str, Any]) -> None:
        """Write the model and the state of its training: what `fit` resumes from.

        `ModelCheckpoint` does, and a callback of your own may, by what ``on_safe_point`` gives it.
        """
        config, tensors = self.get_state()
        config["training"] = pack(state, tensors)
        checkpoint.write(path, checkpoint.Content(config, tensors, self._kept(self.metadata)))

    def _kept(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Return what a file keeps beside the model."""
        of_data = {} if self.preparation is None else self.preparation.to_metadata()
        return {**metadata, **of_data}

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
        OSError
            If there is no such file, or it cannot be read.
        ValueError
            If it is none that `save` wrote, or it names an activation that `custom_objects` has
            not.
        TypeError
            If a custom object is of another class than the one that was saved.
        """
        content = checkpoint.read(path)
        if isinstance(content.config, dict) and "ensemble" in content.config:
            raise ValueError(
                f"{path}: want a single model, got an ensemble; use fastdnn.Ensemble.load"
            )
        return cls._from_content(path, content, {} if custom_objects is None else custom_objects)

    @classmethod
    def _from_content(
        cls, path: str | Path, content: checkpoint.Content, objects: Mapping[str, object]
    ) -> Self:
        """Return the model of what the file at `path` holds."""
        config, tensors, metadata = content
        try:
            config = with_functions(path, config, objects)
        except (LookupError, AttributeError, RuntimeError) as error:
            raise checkpoint.damaged(path, error) from None
        try:
            model = cls.from_state(config, tensors)
        except checkpoint.WRONG as error:
            raise checkpoint.damaged(path, error) from error
        model.metadata = Preparation.kept_apart(metadata)
        try:
            model.preparation = Preparation.from_metadata(metadata)
            if model.preparation is not None:
                rows = model.engine.layers
                model.preparation.check_network(rows[0].n_prev, rows[-1].n)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return model
