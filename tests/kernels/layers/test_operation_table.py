"""The table of operations: what is loaded for whom, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fastdnn.kernels.layers import operation_table
from fastdnn.kernels.layers.layout import FIELDS, OPERATION, PHASES
from fastdnn.kernels.layers.operations import ROWS_BACKWARD, ROWS_FORWARD
from tests.kernels.common import DTYPES


def test_every_operation_goes_both_ways() -> None:
    for name, leaves in operation_table.LEAVES.items():
        assert {ROWS_FORWARD, ROWS_BACKWARD} <= set(leaves), name
    names = [leaf.name for leaves in operation_table.LEAVES.values() for leaf in leaves.values()]
    # by identity, fork and join
    shared = {"layers.joins.pass_forward", "layers.joins.pass_backward"}
    assert len({name for name in names if name not in shared}) == sum(
        name not in shared for name in names
    )


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^operation: .*'prelu'"):
        operation_table.operation_of("prelo")


def test_a_table_is_linked_for_its_dtype() -> None:
    found = []
    for dtype in DTYPES:
        table = np.zeros((4, FIELDS), np.int64)
        operation_table.link(table, [None, "prelu", "identity"], np.dtype(dtype))
        assert table[1, OPERATION] == table[0, OPERATION] == 0
        assert table[2, OPERATION] != table[3, OPERATION]
        assert (table[2:, PHASES] >> ROWS_FORWARD & 1 == 1).all()
        again = table.copy()
        operation_table.link(again, [None, "prelu", "identity"], np.dtype(dtype))
        np.testing.assert_array_equal(again, table)
        found.append(int(table[2, OPERATION]))
    assert len(set(found)) == 2


def test_who_uses_none_loads_none() -> None:
    program = (
        "import numpy as np, fastdnn; from fastdnn.kernels.layers import operation_table as t;"
        "m = fastdnn.Sequential([fastdnn.Dense(2)], input_size=3); m.predict(np.ones((2, 3)));"
        "assert not any(leaf._results for of in t.LEAVES.values() for leaf in of.values())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
