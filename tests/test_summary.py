"""The table that `summary` prints, to the letter."""

from __future__ import annotations

import pytest

from fastdnn import Dense, Dropout, Sequential
from fastdnn.summary import summarize


def network(input_size: int | None) -> Sequential:
    layers = [
        Dropout(0.25),
        Dense(1000, "relu", use_bias=False),
        Dropout(0.5),
        Dense(10, "softmax"),
    ]
    return Sequential(layers, input_size=input_size)


def printed(model: Sequential, capsys: pytest.CaptureFixture[str]) -> list[str]:
    model.summary()
    return capsys.readouterr().out.splitlines()


def test_the_notes_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(network(784), capsys) == [
        "layer            activation  W            b      Z, A       parameters",
        "----------------------------------------------------------------------",
        "X                                                (784, m)",
        "1 Dropout(0.25)                                  (784, m)   0",
        "2 Dense          relu        (1000, 784)  none   (1000, m)  784,000",
        "3 Dropout(0.5)                                   (1000, m)  0",
        "4 Dense          softmax     (10, 1000)   (10,)  (10, m)    10,010",
        "parameters: 794,010 (float32)",
    ]


def test_the_shapes_are_those_of_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    model = network(784)
    text = "\n".join(printed(model, capsys))
    for layer in (model.layers[1], model.layers[3]):
        assert isinstance(layer, Dense)
        assert str(layer.W.shape) in text
        assert layer.b is None or str(layer.b.shape) in text


def test_before_the_input_size_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(network(None), capsys)
    assert lines[2].split() == ["X", "(?,", "m)"]
    assert "(1000, ?)" in lines[4]
    assert lines[4].endswith("?")
    assert lines[6].endswith("10,010")
    assert lines[-1] == "parameters: unknown until the input size is (float32)"


@pytest.mark.parametrize("input_size", [1, 7])
def test_the_count_is_that_of_the_parameters(input_size: int) -> None:
    model = network(input_size)
    text = summarize(model.layers, input_size, "float64")
    assert text.endswith(f"parameters: {model.parameters.size:,} (float64)")
