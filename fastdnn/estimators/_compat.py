"""What scikit-learn's versions from 1.5 on do differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import sklearn
from sklearn.utils.fixes import parse_version

F = TypeVar("F", bound=Callable[..., Any])
VERSION = parse_version(sklearn.__version__)
HAS_CALLBACKS = parse_version("1.9.dev0") <= VERSION

if HAS_CALLBACKS:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
else:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: scikit-learn's callbacks came with 1.9."""

    def with_callbacks(method: F) -> F:
        """Return the method as it is."""
        return method


if parse_version("1.6.dev0") <= VERSION:
    from sklearn.utils.validation import validate_data
else:

    def validate_data(estimator: Any, X: Any, y: Any = None, **settings: Any) -> Any:
        """Check X, and y if it is given, by the method that 1.5's estimators inherit."""
        if y is None:
            return estimator._validate_data(X, **settings)
        return estimator._validate_data(X, y, **settings)


class FitContext:
    """The tasks of a fit as scikit-learn's callbacks (SLEP023) see them: one for each epoch.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight
        The training data, as the estimator's user gave them.
    epochs : int
        How many there are at most.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int) -> None:
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        self._epoch: Any = None
        # The mixin's contexts cost microseconds: none are made where nobody listens. A pipeline and
        # a search hand a context down, and their callbacks to this list.
        if HAS_CALLBACKS and getattr(estimator, "_skl_callbacks", ()):
            self._fit = estimator._init_callback_context(max_subtasks=epochs)
            self._fit.call_on_fit_task_begin(**self._given)

    @property
    def looks(self) -> bool:
        """Return whether a callback of scikit-learn's listens."""
        return self._fit is not None

    def begin(self, number: int) -> None:
        """Begin an epoch, numbered from 0."""
        if self._fit is not None:
            self._epoch = self._fit.subcontext(task_name=f"epoch {number}")
            self._epoch.call_on_fit_task_begin(**self._given)

    def end(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """End the epoch; return whether a callback wants the training to stop.

        `attributes` makes what a fitted copy of the estimator needs, if a callback asks for one.
        """
        if self._epoch is None:
            return False
        return bool(
            self._epoch.call_on_fit_task_end(**self._given, reconstruction_attributes=attributes)
        )

    def close(self) -> None:
        """End the fit."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._given, reconstruction_attributes={})


__all__ = ["CallbackSupportMixin", "FitContext", "validate_data", "with_callbacks"]
