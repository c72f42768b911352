"""Engines that compute with another one's parameters at the same time, or keep them as they are."""

from __future__ import annotations

import numpy as np

from .engine import OF_CALLS, Engine

_OWN = (*OF_CALLS, "_loss_parameters")


def twin_of(engine: Engine, former: Engine | None = None) -> Engine:
    """Return an engine with the same parameters and memory of its own for calls.

    Both may run at the same time in two threads, as long as nobody changes the parameters.

    Parameters
    ----------
    engine : Engine
    former : Engine, optional
        An earlier twin of the same engine, which nobody uses: its memory serves again.
    """
    if former is None:
        twin = object.__new__(type(engine))
        twin.__dict__.update(engine.__dict__)
        twin._forget_calls()
        twin._loss_parameters = engine._loss_parameters.copy()
    else:
        twin = former
        twin._loss_parameters[:] = engine._loss_parameters
    own = {name: getattr(twin, name) for name in _OWN}
    twin.__dict__.update({**engine.__dict__, **own})
    return twin


def doubled(engine: Engine) -> Engine:
    """Return an engine of the same layers in float64, without penalties and without dropout.

    Its parameters are its own: zeros, in the order of the engine's.
    """
    layers = [layer._replace(dropout=0.0, l1=0.0, l2=0.0) for layer in engine.layers]
    return Engine(layers, dtype=np.float64)


def frozen(engine: Engine) -> Engine:
    """Return the engine as it is now, to be pickled or copied while the engine trains on."""
    still = object.__new__(type(engine))
    still.__dict__.update(engine.__dict__)
    still.hold(engine.copied())
    still.gradient, still.slots = engine.gradient.copy(), engine.slots.copy()
    return still
