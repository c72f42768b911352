"""What the converters share."""

import pytest

from fastdnn import Dense
from fastdnn.interop import _common
from tests.interop.cases import net


def test_errors_begin_with_the_place() -> None:
    with (
        pytest.raises(ValueError, match=r"^layers\[2\], Dense: no$"),
        _common.at("layers[2], Dense"),
    ):
        raise ValueError("no")
    assert _common.place(2, Dense(3)) == "layers[2], Dense"


def test_a_still_model_is_a_copy() -> None:
    model, _ = net("Dense", "float32")
    still = _common.still(model, "to_torch")
    still.parameters[...] = 0
    assert model.parameters.any()


def test_one_dtype() -> None:
    assert _common.one_dtype(["float64", "float64"]) == "float64"
    with pytest.raises(ValueError, match="got float16"):
        _common.one_dtype(["float16"])
