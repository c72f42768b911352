import pytest

from .mpi import told


@pytest.mark.parametrize("n", [3, 4])
def test_sums_are_trees_of_neighbours_on_every_rank(n: int) -> None:
    assert told(n, "sums") == [True] * 8
