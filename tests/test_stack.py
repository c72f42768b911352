"""Layers laid out as rows: what becomes part of the row before, and what is a row of its own."""

from __future__ import annotations

import pytest

from fastdnn import (
    Activation,
    Dense,
    Dropout,
    LayerNormalization,
    PeriodicEmbedding,
    Residual,
)
from fastdnn.building import stacked
from fastdnn.layer import Layer
from fastdnn.stack import either

CASES: list[tuple[list[Layer], list[tuple[str, str, float]]]] = [
    ([Dense(3), Activation("relu")], [("dense", "relu", 0.0)]),
    ([Dense(3), Activation("relu"), Dropout(0.5)], [("dense", "relu", 0.5)]),
    ([Dense(3), Dropout(0.5), Dropout(0.5)], [("dense", "identity", 0.75)]),
    (
        [Dense(3), Dropout(0.5), Activation("relu")],
        [("dense", "identity", 0.5), ("identity", "relu", 0.0)],
    ),
    (
        [Dense(3, "tanh"), Activation("relu")],
        [("dense", "tanh", 0.0), ("identity", "relu", 0.0)],
    ),
    (
        [Dense(3), LayerNormalization(), Activation("relu"), Dropout(0.25)],
        [("dense", "identity", 0.0), ("layer_normalization", "relu", 0.25)],
    ),
    (  # its backward pass reads the sines
        [PeriodicEmbedding(1), Activation("relu"), Dense(3)],
        [
            ("identity", "identity", 0.0),
            ("periodic_embedding", "identity", 0.0),
            ("identity", "relu", 0.0),
            ("dense", "identity", 0.0),
        ],
    ),
    (  # what the fork passes stays as it is
        [Dense(4), Residual([Activation("relu"), Dense(4)]), Activation("tanh")],
        [
            ("dense", "identity", 0.0),
            ("fork", "identity", 0.0),
            ("identity", "relu", 0.0),
            ("dense", "identity", 0.0),
            ("join", "tanh", 0.0),
        ],
    ),
    (
        [Residual([Dropout(0.5), Dense(4)]), Dropout(0.25), Dense(1)],
        [
            ("identity", "identity", 0.0),
            ("fork", "identity", 0.0),
            ("identity", "identity", 0.5),
            ("dense", "identity", 0.0),
            ("join", "identity", 0.25),
            ("dense", "identity", 0.0),
        ],
    ),
]


@pytest.mark.parametrize(("layers", "wanted"), CASES)
def test_rows(layers: list[Layer], wanted: list[tuple[str, str, float]]) -> None:
    rows = stacked(layers, 4).rows
    assert [(row.operation, row.activation, row.dropout) for row in rows] == wanted
    assert [row.n_prev for row in rows] == [4, *(row.n for row in rows[:-1])]


def test_dropout_of_the_input_is_no_row() -> None:
    stack = stacked([Dropout(0.5), Dropout(0.2), Dense(3)], 4)
    assert stack.input_dropout == pytest.approx(0.6)
    assert [row.operation for row in stack.rows] == ["dense"]
    assert either(0.5, 0.5) == 0.75


def test_a_fork_and_its_join_know_each_other() -> None:
    rows = stacked([Dense(4), Residual([Residual([Dense(4)]), Dense(4)]), Dense(1)], 4).rows
    settings = {l: dict(row.settings) for l, row in enumerate(rows, 1) if row.settings}
    assert settings == {2: {"join": 7}, 3: {"join": 5}, 5: {"fork": 3}, 7: {"fork": 2}}
