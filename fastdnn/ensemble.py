"""Several networks that predict as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.base.lookup import lookup
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine import CALL_FLOPS, Engine, parts_of, run_all

from . import checkpoint
from ._checks import check_batch_size
from ._closed import closed
from .building import ending
from .data.rows import parts
from .model import Sequential
from .progress import sample_bar
from .validation import EVALUATION_BATCH

Array = NDArray[Any]
METHODS = {"mean": False, "vote": True}
_SEPARATOR = "/"  # between a network's number and its tensor's name, in a file


@closed()
class Ensemble:
    """Networks of the same inputs and outputs, whose predictions are joined.

    Parameters
    ----------
    models : iterable of Sequential
        At least one; with parameters. They may have other layers, dtypes and seeds.
    method : {"mean", "vote"}
        "mean": the outputs are the mean of the networks' outputs. "vote": those of a classifier are
        the shares of the networks that hold each class for the likeliest one; with a single
        output, which is a probability, the share of those above a half.

    Attributes
    ----------
    models : tuple of Sequential

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or the networks do not go together.
    RuntimeError
        If a network has no parameters yet.

    Examples
    --------
    >>> models = [make_model(seed) for seed in range(10)]
    >>> fastdnn.fit_many(models, X, y, epochs=20)
    >>> probabilities = fastdnn.Ensemble(models).predict(X_new)
    """

    def __init__(self, models: Iterable[Sequential], method: str = "mean") -> None:
        self.models = tuple(models)
        self.method = method
        self._votes = lookup("method", method, METHODS)
        self._check()

    def _check(self) -> None:
        if not self.models:
            raise ValueError("models: want at least one network, got none")
        for number, model in enumerate(self.models):
            if not isinstance(model, Sequential):
                raise TypeError(f"models: want Sequential objects, got {model!r} at {number}")
            model.engine  # noqa: B018 - raises where it has no parameters
        if len({id(model) for model in self.models}) < len(self.models):
            raise ValueError("models: want each network once, got one several times")
        first, *others = self.models
        for number, model in enumerate(others, 1):
            sizes = [(one.input_size, _outputs(one)) for one in (first, model)]
            if sizes[0] != sizes[1]:
                raise ValueError(
                    "models: want the same numbers of inputs and outputs, got {} at 0 and {} at "
                    "{}".format(*sizes, number)
                )
            if model._kept({}) != first._kept({}):
                raise ValueError(f"models: want the same preparation, got another one at {number}")
        if self._votes:
            for model in self.models:
                g = ending(model.layers)[1]
                if g not in ("softmax", "sigmoid"):
                    raise ValueError(
                        f"method: 'vote' wants classifiers, whose last activation is softmax or "
                        f"sigmoid, got {g!r}; want 'mean'"
                    )

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.models)

    def __repr__(self) -> str:
        """Return how many networks of how many parameters there are."""
        count = sum(model.count_params() for model in self.models)
        return f"Ensemble({len(self)} networks, {count} parameters, method={self.method!r})"

    def predict(
        self,
        X: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        *,
        n_threads: int | None = None,
    ) -> Array:
        """Return the joined outputs for every row of X.

        Parameters
        ----------
        X, batch_size, verbose, n_threads
            As for `Sequential.predict`; X is an array, sparse rows or a table, and no source.

        Returns
        -------
        ndarray of shape (m, n_L)
            The same bits for any number of threads and any `batch_size`.

        Warns
        -----
        RuntimeWarning
            If an output is not finite.
        """
        model, X, dtype = self._read(X)
        joined = np.empty((X.shape[0], _outputs(model)), dtype)
        with threads.of_call(n_threads):
            for rows, outputs in self._outputs_by_rows(X, batch_size, verbose):
                joined[rows] = self._joined(outputs)
        return model._told(joined)

    def predict_all(
        self,
        X: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        *,
        n_threads: int | None = None,
    ) -> Array:
        """Return each network's own outputs, (networks, m, n_L): their spread tells of doubt.

        The parameters are those of `predict`.
        """
        model, X, dtype = self._read(X)
        found = np.empty((len(self), X.shape[0], _outputs(model)), dtype)
        with threads.of_call(n_threads):
            for rows, outputs in self._outputs_by_rows(X, batch_size, verbose):
                for to, A in zip(found, outputs, strict=True):
                    to[rows] = A
        return np.stack([model._told(A) for A in found])

    def _read(self, X: Any) -> tuple[Sequential, Any, np.dtype[Any]]:
        """Return what knows the data, X as the engines read it, and the dtype of all outputs."""
        model = self.models[0]
        X = model._read_X(model._prepared(X), whole=False)
        return model, X, np.result_type(*(one.dtype for one in self.models))

    def _outputs_by_rows(
        self, X: Any, batch_size: int | None, verbose: int | str
    ) -> Iterator[tuple[slice, list[Array]]]:
        """Give some rows at a time, and each network's outputs of them."""
        batch = check_batch_size(batch_size, EVALUATION_BATCH)
        with ExitStack() as stack:
            engines = [
                stack.enter_context(model.lock.reading(model.engine)) for model in self.models
            ]
            report = stack.enter_context(sample_bar("predict", X.shape[0], verbose))
            flops = sum(engine.flops_per_sample for engine in engines)
            at_once = max(CALL_FLOPS // (flops * batch), 1) * batch
            for part, dense in parts(X, engines[0].dtype, batch):
                begin = range(X.shape[0])[part].start
                for rows in parts_of(len(dense), at_once, report):
                    some = dense[rows]
                    to = slice(begin + rows.start, begin + rows.start + len(some))
                    yield to, _outputs_of(engines, some, batch)

    def _joined(self, outputs: list[Array]) -> Array:
        """Return the mean of the outputs, or of the votes."""
        n = outputs[0].shape[1]
        if self._votes and n == 1:
            outputs = [A > 0.5 for A in outputs]
        elif self._votes:
            outputs = [np.eye(n)[A.argmax(axis=1)] for A in outputs]
        joined: Array = np.mean(outputs, axis=0)
        return joined

    def predict_labels(
        self, X: Any, batch_size: int | None = None, *, n_threads: int | None = None
    ) -> Array:
        """Return the label of every row of X; see `Sequential.predict_labels`."""
        model = self.models[0]
        if model.preparation is None:
            return model.predict_labels(X)  # which tells why not
        return model.preparation.labels(self.predict(X, batch_size, n_threads=n_threads))

    def save(self, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
        """Write all networks to one safetensors file, whole or not at all.

        What `Sequential.save` says of functions of your own holds here too.
        """
        states = [model.get_state() for model in self.models]
        config = {"ensemble": self.method, "models": [one for one, _ in states]}
        tensors = {
            f"{number}{_SEPARATOR}{name}": tensor
            for number, (_, of_model) in enumerate(states)
            for name, tensor in of_model.items()
        }
        kept = self.models[0]._kept(metadata or {})
        checkpoint.write(path, checkpoint.Content(config, tensors, kept))

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, object] | None = None) -> Self:
        """Read an ensemble that `save` wrote; `custom_objects` are those of `Sequential.load`.

        Raises
        ------
        OSError, ValueError, TypeError
            As `Sequential.load` does.
        """
        config, tensors, metadata = checkpoint.read(path)
        if not isinstance(config, dict) or "ensemble" not in config:
            raise ValueError(f"{path}: want an ensemble, got a single model; use fastdnn.load")
        try:
            of_model: list[dict[str, Array]] = [{} for _ in config["models"]]
            for name, tensor in tensors.items():
                number, _, own = name.partition(_SEPARATOR)
                of_model[int(number)][own] = tensor
            pairs = list(zip(config["models"], of_model, strict=True))
        except checkpoint.WRONG as error:
            raise checkpoint.damaged(path, error) from None
        objects = {} if custom_objects is None else custom_objects
        models = [
            Sequential._from_content(path, checkpoint.Content(*pair, dict(metadata)), objects)
            for pair in pairs
        ]
        return cls(models, config["ensemble"])


def _outputs(model: Sequential) -> int:
    """Return n_L."""
    return ending(model.layers)[0]


def _outputs_of(engines: list[Engine], X: Array, batch: int) -> list[Array]:
    """Return A_L of every network, by one native call for each dtype."""
    found = [np.empty((len(X), engine.layers[-1].n), engine.dtype) for engine in engines]
    for dtype in {engine.dtype for engine in engines}:
        passes = [
            engine.forward_pass(X, A, batch=batch)
            for engine, A in zip(engines, found, strict=True)
            if engine.dtype == dtype
        ]
        # the costly ones first
        run_all(sorted(passes, key=lambda one: one.flops, reverse=True), dtype)
    return found
