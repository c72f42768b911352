"""A callback that asks whether a logged value is better than before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Any

from fastdnn.kernels.base.lookup import lookup

from ._checks import check_number
from .hooks import Callback
from .metrics import higher_is_better


class Monitoring(Callback):
    """A callback that asks whether a logged value is better than the best so far."""

    _KEPT: tuple[str, ...] = ()  # the names of what a resumed training must know

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"{self._name('monitor')}: want a name in the logs, got {monitor!r}")
        check_number(self._name("min_delta"), min_delta, "[0, inf)")
        higher = lookup(
            self._name("mode"),
            mode,
            {"min": False, "max": True, "auto": higher_is_better(monitor)},
        )
        self._sign = 0.0 if higher is None else 1.0 if higher else -1.0  # 0: nothing improves
        self.monitor = monitor
        self.min_delta = min_delta
        self._forget_best()

    def _name(self, argument: str) -> str:
        return f"{type(self).__name__}.{argument}"

    def check_logs(self, names: Collection[str]) -> None:
        """Refuse to monitor what the logs will not hold."""
        self._check_name("monitor", self.monitor, names)
        if self._sign == 0:
            raise ValueError(
                f"{self._name('mode')}: want 'min' or 'max' for {self.monitor!r}, as whether lower "
                "or higher is better is known of fastdnn's own metrics only; got 'auto'"
            )

    def _check_name(self, argument: str, name: str, names: Collection[str]) -> None:
        if name.startswith("val_") and name not in names and "val_loss" not in names:
            raise ValueError(
                f"{self._name(argument)}: want a name in the logs, got {name!r} without validation "
                "data; give fit validation_data or a validation_split"
            )
        lookup(self._name(argument), name, dict.fromkeys(names))

    def _forget_best(self) -> None:
        self.best = -inf * (self._sign or 1.0)

    def _value(self, logs: Mapping[str, float]) -> float:
        return lookup(self._name("monitor"), self.monitor, logs)

    def _lacks(self, name: str, logs: Mapping[str, float]) -> bool:
        """Return whether the name is of the validation, which this epoch does not have."""
        return name.startswith("val_") and "val_loss" not in logs

    def get_state(self) -> dict[str, Any]:
        """Return the best value, and what else counts."""
        return {name: getattr(self, name) for name in ("best", *self._KEPT)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with these, and nothing else: a stranger may have written the file."""
        check_number(self._name("best"), state["best"], "[-inf, inf]")
        for name in ("best", *self._KEPT):
            setattr(self, name, state[name])

    def _improved(self, value: float) -> bool:
        """Return whether `value` beats the best by more than min_delta; if so it is the best."""
        improved = self._sign * (value - self.best) > self.min_delta
        if improved:
            self.best = value
        return improved
