"""What is refused before a network is laid out, and what is not."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fastdnn import Dense, Dropout, Sequential, building
from tests.nets import samples

X, y = samples()


@pytest.mark.parametrize("units", [10**12, 10**22, pytest.param(10**400, id="beyond floats")])
def test_a_network_larger_than_memory_is_refused(units: int) -> None:
    if building.memory() is None:
        pytest.skip("the system does not say how much memory there is")
    message = rf"^layers: want parameters that fit, .*, got {1_000_001 * units + units + 1:,} para"
    layers = [Dense(units), Dropout(0.1), Dense(1)]
    with pytest.raises(MemoryError, match=message):
        Sequential(layers, input_size=1_000_000)
    late = Sequential(layers)
    late.compile("sgd", "mse")
    with pytest.raises(MemoryError, match=r"^layers: want parameters that fit, with their grad"):
        late.fit(X, y, verbose=0)
    assert not late.built


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_may_fill_the_memory(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n_parameters = 3 * 4 + 3 + 2 * 3  # the last layer has no bias
    memory = 2 * n_parameters * np.dtype(dtype).itemsize
    for lack, fits in ((0, True), (1, False)):
        monkeypatch.setattr(building, "memory", lambda lack=lack: memory - lack)
        layers = [Dense(3), Dense(2, use_bias=False)]
        if fits:
            Sequential(layers, input_size=4, dtype=dtype)
        else:
            with pytest.raises(MemoryError, match="got 21 parameters"):
                Sequential(layers, input_size=4, dtype=dtype)


def test_a_system_need_not_say_how_much_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf_names", {})
    assert building.memory() is None
    assert Sequential([Dense(3)], input_size=4).built
