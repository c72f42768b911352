"""Random mistakes in what a model is given: refused by name, and nothing has changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastdnn
from tests.fuzzing import fuzz
from tests.nets import classifier, fingerprint, samples
from tests.spoiled import HUGE, NO_NUMBERS, refusal, spoiled

X, y = samples()
ONES = np.ones(len(y))
Call = Callable[[Any, Any], Any]
# where a bad array may come from: its name, what is right there, and who takes it
DOORS: dict[str, tuple[str, Any, Call]] = {
    "X of fit": ("X", X, lambda model, bad: model.fit(bad, y, verbose=0)),
    "X of train_on_batch": ("X", X, lambda model, bad: model.train_on_batch(bad, y)),
    "X of evaluate": ("X", X, lambda model, bad: model.evaluate(bad, y)),
    "X of predict": ("X", X, lambda model, bad: model.predict(bad)),
    "X of loss_and_gradients": ("X", X, lambda model, bad: model.loss_and_gradients(bad, y)),
    "y of fit": ("y", y, lambda model, bad: model.fit(X, bad, verbose=0)),
    "y of train_on_batch": ("y", y, lambda model, bad: model.train_on_batch(X, bad)),
    "y of evaluate": ("y", y, lambda model, bad: model.evaluate(X, bad)),
    "weights of fit": (
        "sample_weight",
        ONES,
        lambda model, bad: model.fit(X, y, sample_weight=bad, verbose=0),
    ),
    "weights of evaluate": (
        "sample_weight",
        ONES,
        lambda model, bad: model.evaluate(X, y, sample_weight=bad),
    ),
    "validation's X": (
        "validation_data",
        X,
        lambda model, bad: model.fit(X, y, validation_data=(bad, y), verbose=0),
    ),
    "validation's y": (
        "validation_data",
        y,
        lambda model, bad: model.fit(X, y, validation_data=(X, bad), verbose=0),
    ),
    "W": ("W", np.ones((6, 4)), lambda model, bad: setattr(model.layers[0], "W", bad)),
    "b": ("b", np.ones(6), lambda model, bad: setattr(model.layers[0], "b", bad)),
    "weights": (
        "weights",
        np.ones((4, 6)),
        lambda model, bad: model.set_weights([bad, *model.get_weights()[1:]]),
    ),
    "gradients": (
        "gradients",
        np.ones((6, 4)),
        lambda model, bad: model.apply_gradients([(bad, np.ones(6)), (np.ones((3, 6)), ONES[:3])]),
    ),
}
MODELS = {dtype: classifier(dtype=dtype, seed=1) for dtype in ("float32", "float64")}
OF_BOTH = "[Xy]"  # of data that do not fit each other


def is_good(door: str, bad: Any) -> bool:
    """Whether it is right for this door: one number for all of W, fewer samples to predict."""
    if door in ("W", "b"):
        return isinstance(bad, float | int | np.ndarray | np.generic) and np.shape(bad) == ()
    return door == "X of predict" and isinstance(bad, np.ndarray) and bad.shape[1:] == (4,)


def check_refused(model: fastdnn.Sequential, name: str, call: Call, bad: Any) -> None:
    """The error begins with the argument's name, in one line, and nothing has changed."""
    before = fingerprint(model)
    message = refusal(call, model, bad)
    assert message is not None
    assert re.match(rf"{OF_BOTH if name == 'X' else name}\b", message), message
    assert fingerprint(model) == before


@fuzz(150)
@given(st.sampled_from(list(DOORS)), st.data())
def test_bad_arrays(door: str, data: st.DataObject) -> None:
    name, good, call = DOORS[door]
    bad = data.draw(spoiled(good))
    model = MODELS[data.draw(st.sampled_from(list(MODELS)))]
    if is_good(door, bad) and np.asarray(bad).dtype.kind in "fiub" and np.isfinite(bad).all():
        return
    check_refused(model, name, call, bad)


@pytest.mark.parametrize("door", DOORS)
def test_a_huge_integer_is_refused_with_its_place(door: str) -> None:
    name, good, call = DOORS[door]
    bad = good.astype(object)
    bad[(2,) * good.ndim] = HUGE
    place = re.escape(str([2] * good.ndim))
    for one in (bad, bad.tolist()):
        with pytest.raises(ValueError, match=rf"{name}.*a larger int at .*{place}$"):
            call(MODELS["float64"], one)


# name of the argument in the error: who takes a number
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "SGD.learning_rate": fastdnn.SGD,
    "SGD.momentum": lambda bad: fastdnn.SGD(momentum=bad),
    "Adam.beta_1": lambda bad: fastdnn.Adam(beta_1=bad),
    "Adam.epsilon": lambda bad: fastdnn.Adam(epsilon=bad),
    "AdamW.weight_decay": lambda bad: fastdnn.AdamW(weight_decay=bad),
    "RMSprop.rho": lambda bad: fastdnn.RMSprop(rho=bad),
    "SGD.clipnorm": lambda bad: bad is None or fastdnn.SGD(clipnorm=bad),
    "Huber.delta": fastdnn.losses.Huber,
    "Quantile.q": fastdnn.losses.Quantile,
    "BinaryFocalCrossentropy.gamma": lambda bad: fastdnn.losses.BinaryFocalCrossentropy(gamma=bad),
    "l1": lambda bad: fastdnn.L1L2(l1=bad),
    "Dropout.rate": fastdnn.Dropout,
    "seed": lambda bad: bad is None or fastdnn.Sequential(seed=bad),
    "StepDecay.initial": lambda bad: fastdnn.StepDecay(bad, 0.5, 3),
    "class_weight": lambda bad: MODELS["float32"].fit(X, y, class_weight={0: bad}, verbose=0),
    **{
        name: lambda bad, name=name: bad is None or MODELS["float32"].fit(X, y, **{name: bad})
        for name in ("epochs", "batch_size", "steps_per_epoch", "validation_split")
    },
}


@pytest.mark.parametrize("name", NUMBERS)
def test_bad_numbers(name: str) -> None:
    before = fingerprint(MODELS["float32"])
    for bad in NO_NUMBERS:
        message = refusal(NUMBERS[name], bad)
        assert bad is None if message is None else message.startswith(name), message
    assert fingerprint(MODELS["float32"]) == before
