"""Numbers that numba compiles no function anew for."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastdnn.kernels.base.constants import NO, ONE, YES, ZERO


@pytest.mark.parametrize(("number", "like"), [(ZERO, 0), (ONE, 1), (NO, False), (YES, True)])
def test_numba_takes_it_as_any_other_of_its_type(number: object, like: object) -> None:
    assert number == like
    assert numba.typeof(number) == (numba.boolean if isinstance(like, bool) else numba.int64)
    assert isinstance(number, np.generic)
