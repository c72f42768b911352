"""`Network`: layers and their parameters; `Sequential` adds how to train them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastdnn.kernels.base.arrays import as_float
from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import Engine, frozen
from fastdnn.kernels.passes import step

from . import activations
from ._checks import SEED_BITS, check_batch_size, check_count, check_number, shown
from ._config import from_config
from ._inputs import check_finite, check_X, is_finite
from ._streams import say
from .building import (
    check_complete,
    check_layers,
    check_tensors,
    flat,
    lay_out,
    refuse_placed,
    refuse_too_many,
    stacked,
)
from .data.preparation import Preparation, prepared
from .data.rows import is_readable
from .data.streams import inputs_of, is_source
from .embedding import check_categories
from .evaluation import outputs_of
from .layer import Array, Layer
from .loop import INITIALIZATION, State
from .overflow import warn_of_outputs
from .progress import sample_bar
from .summary import summarize
from .turns import Turns
from .validation import EVALUATION_BATCH

DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


class Network:
    """Layers and their parameters: what `Sequential` is without training."""

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        input_size: int | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        self.layers = check_layers(layers)
        if self.layers:
            check_complete(self.layers)
        if dtype is not None and not isinstance(dtype, str):  # NumPy takes None for float64
            dtype = np.dtype(dtype).name
        self.dtype = lookup("dtype", dtype, DTYPES)
        self.seed = None if seed is None else check_count("seed", seed, 0, SEED_BITS)
        entropy = np.random.SeedSequence(self.seed).entropy
        assert isinstance(entropy, int)
        self._state = State(entropy)
        self._engine: Engine | None = None
        self.preparation: Preparation | None = None
        self.lock = Turns()
        self.input_size = None if input_size is None else check_count("input_size", input_size, 1)
        if self.input_size is not None and self.layers:
            self._build(self.input_size)

    def __getstate__(self) -> dict[str, Any]:
        """Return all of the model as it is after some step, whatever other threads do."""
        with self.lock.still():
            state = {**self.__dict__, "lock": None, "_state": copy(self._state)}
            if self._engine is not None:
                state["_engine"] = frozen(self._engine)
                # what leads to the engine that goes on: `__setstate__` makes it anew
                state["layers"] = tuple(layer.unplaced() for layer in self.layers)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=Turns())
        if self._engine is not None:
            assert self.input_size is not None
            stacked(self.layers, self.input_size).place(self._engine)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change what has been read, and would not be read again."""
        late = ("dtype", "seed") if hasattr(self, "lock") else ()
        if getattr(self, "_engine", None) is not None:
            late = (*late, "layers", "input_size")
        if name in late:
            raise AttributeError(
                f"{type(self).__name__}.{name}: want {getattr(self, name)!r}, which the model has "
                f"been made with, got {value!r}; make a new model"
            )
        super().__setattr__(name, value)

    @property
    def built(self) -> bool:
        """Return whether the input size is known, and so there are parameters."""
        return self._engine is not None

    def _build(self, input_size: int) -> Engine:
        """Lay the layers out in an engine, with W at its random start and b at 0."""
        with self.lock:
            if self._engine is None:
                self._lay_out(input_size)
            engine = self._engine
        assert engine is not None
        if self.input_size != input_size:  # another thread's data were first
            raise ValueError(
                f"X: want {self.input_size} features, as the model's input_size, got {input_size}"
            )
        return engine

    def _lay_out(self, input_size: int) -> None:
        check_complete(self.layers)
        refuse_placed(self.layers)  # since `check_layers`, another model may have taken one
        stack = stacked(self.layers, input_size)
        refuse_too_many(stack, self.dtype)
        engine = lay_out(stack, self.dtype)
        stack.place(engine)
        rng = self._state.generator(INITIALIZATION)
        try:
            for owner, _ in stack.owners:
                owner.start(rng)
        except BaseException:  # of a user's own initializer
            for owner, _ in stack.owners:
                owner.leave()
            raise
        for each in self.layers:
            each.fix()
        if any(activations.is_constant(row.activation, row.n) for row in stack.rows):
            warnings.warn(
                "layers: a softmax of one output is always 1, so nothing is learnt through it",
                stacklevel=4,
            )
        self.input_size, self._engine = input_size, engine

    @property
    def _owners(self) -> list[Layer]:
        """Return the layers that have parameters, in their order."""
        return [layer for layer in flat(self.layers) if layer.is_placed]

    @property
    def engine(self) -> Engine:
        """Return the compiled network; RuntimeError as long as the input size is unknown."""
        if self._engine is None and self.input_size is not None:
            return self._build(self.input_size)  # the layers have been added since
        if self._engine is None:
            raise RuntimeError(
                "the model has no parameters yet: give it an input_size, or call fit"
            )
        return self._engine

    @property
    def parameters(self) -> Array:
        """Return all W and b, layer by layer: a writable view."""
        return self.engine.parameters

    def get_weights(self) -> list[Array]:
        """Return copies of W_1 transposed (n_0, n_1), b_1 (n_1,), …: Keras's order and shapes.

        Other layers' tensors stand in their places, moving averages too.
        """
        assert self.engine is not None
        with self.lock.still():
            return [view.copy() for layer in self._owners for view in layer.weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Take the parameters from a list like that of `get_weights`."""
        want = [w.shape for w in self.get_weights()]
        if not isinstance(weights, Iterable):
            raise TypeError(f"weights: want a list of arrays, got {shown(weights)}")
        arrays = [as_float(f"weights[{i}]", w, ndim=None) for i, w in enumerate(weights)]
        shapes = [w.shape for w in arrays]
        if shapes != want:
            raise ValueError(f"weights: want shapes {want}, got {shapes}")
        for i, w in enumerate(arrays):
            check_finite(f"weights[{i}]", w, self.dtype)
        with self.lock:
            views = [view for layer in self._owners for view in layer.weights()]
            for view, w in zip(views, arrays, strict=True):
                view[...] = w

    def _named_parameters(self) -> dict[str, Array]:
        """Return W1 (n_1, n_0), b1 (n_1,), gamma2 (n_1,), …, as views; each layer has a number."""
        assert self.engine is not None
        return {
            f"{name}{number}": view
            for number, layer in enumerate(self._owners, 1)
            for name, view in layer.tensors().items()
        }

    def get_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return all of the model: a configuration that JSON can hold, and arrays by name.

        Raises
        ------
        RuntimeError
            If the model has no parameters yet.
        """
        tensors = {name: view.copy() for name, view in self._named_parameters().items()}
        state = self._state
        config = {
            "layers": [layer.get_config() for layer in self.layers],
            "input_size": self.input_size,
            "dtype": self.dtype.name,
            "seed": self.seed,
            # JSON's readers may not hold 128 bits as a number
            "state": {"entropy": str(state.entropy), "steps": state.steps, "epochs": state.epochs},
        }
        return config, tensors

    @classmethod
    def from_state(cls, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> Self:
        """Return the model that `get_state` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or does not fit.
        """
        layers = check_layers(from_config(layer) for layer in config["layers"])
        dtype = lookup("dtype", config["dtype"], DTYPES)
        # before anything is allocated: a small file may tell of a large network
        size = check_count("input_size", config["input_size"], 1)
        check_tensors(stacked(check_complete(layers), size), dtype, tensors)
        model = cls(layers, input_size=config["input_size"], dtype=dtype.name, seed=config["seed"])
        model._restore(config, tensors)
        return model

    def _restore(self, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Take over what a new model does not have."""
        state = config["state"]
        for name in ("steps", "epochs"):
            check_number(name, state[name], f"[0, {2**53}]", whole=True)
        entropy = int(state["entropy"])
        check_count("entropy", entropy, 0, SEED_BITS)
        self._state.entropy = entropy
        self._state.steps, self._state.epochs = state["steps"], state["epochs"]
        for name, view in self._named_parameters().items():
            view[...] = tensors[name]

    def predict(
        self,
        X: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        *,
        n_threads: int | None = None,
    ) -> Array:
        """A_L for every row of X, without dropout.

        Parameters
        ----------
        X : array_like of shape (m, n_0), or source of batches
            Also rows of SciPy's CSR and its like. Of a source of batches (see `Sequential.fit`) the
            y are left alone, and a batch may be X without y.
            With a `preparation`, the table's columns as they are: a DataFrame of pandas or polars
            with the training columns, or rows in the order of the training file.
        batch_size : int, optional
            Bounds the samples at work at once, and so the memory; 1024 by default. A sample's
            output is the same, to the bit, in a batch of any size, and with any number of threads.
        verbose : {0, 1, 2, "auto"}
            1 shows a bar if the work takes more than half a second, "auto" does on a terminal and
            in a notebook; 0 and 2 are silent.
        n_threads : int, optional
            How many threads work for this call; None is `fastdnn.get_num_threads`.

        Returns
        -------
        ndarray of shape (m, n_L)
            With a `preparation`, a regression's target is in its own unit.

        Warns
        -----
        RuntimeWarning
            If an output is not finite, for X or the parameters are too large; the row is named.
        """
        batch = check_batch_size(batch_size, EVALUATION_BATCH)
        if n_threads is None:  # for a service's single samples: even a context takes its time
            return self._predict(X, batch, verbose)
        with threads.of_call(n_threads):
            return self._predict(X, batch, verbose)

    def _predict(self, X: Any, batch: int, verbose: int | str) -> Array:
        engine, lock = self.engine, self.lock  # or the error, before a source is read
        if type(X) is not np.ndarray and is_source(X):
            return self._told(self._outputs_of_batches(engine, X, batch, verbose))
        if self.preparation is not None:
            X = self._prepared(X)
        X = self._read_X(X, whole=False)
        is_quick = verbose == 0 and is_readable(X)
        if is_quick and step.run.is_compiled(self.dtype) and lock.try_engine():
            try:
                A = engine.forward(X, batch=batch)
            finally:
                lock.leave_engine()
        else:
            bar = sample_bar("predict", X.shape[0], verbose)
            with lock.reading(engine) as free, bar as report:
                A = outputs_of(free, X, batch, report)
        return self._told(A)

    def _outputs_of_batches(
        self, engine: Engine, source: Any, batch: int, verbose: int | str
    ) -> Array:
        """A_L of every sample of a source of batches."""
        found = []
        with sample_bar("predict", getattr(source, "n_samples", None), verbose) as report:
            for X in inputs_of(source, self._checked_X):
                with self.lock.reading(engine) as free:
                    found.append(free.forward(X, batch=batch, report=report))
        return np.concatenate(found)

    def _checked_X(self, X: Any) -> Any:
        """X as the engine reads it."""
        return self._read_X(self._prepared(X))

    def _read_X(self, X: Any, *, whole: bool = True) -> Any:
        """Return X, checked: of the model's width, finite, categories where these are embedded."""
        X = check_X(X, self.input_size, self.dtype, whole=whole)
        check_categories(X, self.layers)
        return X

    def _prepared(self, X: Any) -> Any:
        """X as the layers take it."""
        preparation = self.preparation
        if preparation is None:
            return X
        return prepared("X", X, lambda X: preparation.inputs(X, self.dtype))

    def _told(self, A: Array) -> Array:
        """A_L in the target's own unit; with a warning where it is not finite."""
        if self.preparation is not None:
            A = self.preparation.outputs(A)
        if not is_finite(A):
            warn_of_outputs(self.engine, A)
        return A

    def predict_labels(
        self, X: Any, batch_size: int | None = None, *, n_threads: int | None = None
    ) -> Array:
        """Return the label of every row of X, as the file has them that the model was trained on.

        Parameters
        ----------
        X, batch_size, n_threads
            As for `predict`.

        Returns
        -------
        ndarray of shape (m,)
            The likeliest class, or a regression's target in its own unit.

        Raises
        ------
        RuntimeError
            If the model has no `preparation`: it was not trained on a file by ``fastdnn train``.
        """
        if self.preparation is None:
            raise RuntimeError(
                "predict_labels: the model does not know its labels: it has no preparation, as one "
                "of 'fastdnn train' has; use predict"
            )
        return self.preparation.labels(self.predict(X, batch_size, n_threads=n_threads))

    def count_params(self) -> int:
        """Return the number of all W's and b's elements."""
        return self.parameters.size

    def __repr__(self) -> str:
        """Return the layers and what else the model was made of."""
        seed = "" if self.seed is None else f", seed={self.seed}"
        return (
            f"{type(self).__name__}([{', '.join(map(repr, self.layers))}], "
            f"input_size={self.input_size}, dtype={self.dtype.name!r}{seed})"
        )

    def summary(self) -> None:
        """Print the layers with the shapes of W, b, Z and A, and count the parameters."""
        say(summarize(self.layers, self.input_size, self.dtype.name))
