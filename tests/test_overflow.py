"""Outputs and losses that are not finite are told of, with the first row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastdnn
from tests.nets import regressor

X = np.linspace(-1, 1, 40).reshape(10, 4)
y = np.zeros(10)
LARGE = X.copy()
LARGE[[3, 7]] = 1e30


def wide_numbers(dtype: str = "float32") -> fastdnn.Sequential:
    """Rows of 1e30 make outputs of 4e45."""
    model = regressor(dtype=dtype)
    model.layers[0].W = 1e15
    return model


FORMS: dict[str, Any] = {
    "array": lambda X: X,
    "Fortran": np.asfortranarray,
    "CSR": sparse.csr_array,
    "batches": lambda X: [(X[:2],), (X[2:],)],
}


@pytest.mark.parametrize("form", FORMS)
def test_predict_tells_of_the_first_row_that_is_not_finite(form: str) -> None:
    model = wide_numbers()
    told = r"^predict: got inf for row 3 of X \(2 such rows\); numbers leave the range of float32"
    with pytest.warns(RuntimeWarning, match=told) as caught:
        A = model.predict(FORMS[form](LARGE))
    assert caught[0].filename == __file__
    assert np.flatnonzero(np.isinf(A)).tolist() == [3, 7]
    assert np.isfinite(wide_numbers("float64").predict(FORMS[form](LARGE))).all()
    model.predict(FORMS[form](X))  # a warning would be an error


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("m", [1, 10, 6000])
def test_parameters_that_are_not_finite_are_told_of(bad: float, m: int) -> None:
    model = regressor(dtype="float32")
    model.parameters[-1] = bad
    with pytest.warns(RuntimeWarning, match=rf"got {bad} for row 0 .*; the model's parameters are"):
        model.predict(np.ones((m, 4), np.float32))


def test_large_finite_outputs_are_not_told_of() -> None:
    model = regressor(dtype="float32")
    model.layers[0].W = 1e30
    assert np.isfinite(model.predict(np.ones((10, 4)))).all()  # whose squares are not


@pytest.mark.parametrize("form", FORMS)
def test_evaluate_tells_of_the_first_row(form: str) -> None:
    model, late = wide_numbers(), "row 3 of X;"
    given: tuple[Any, ...] = FORMS[form](LARGE), y
    if form == "batches":
        given, late = ([(LARGE[:2], y[:2]), (LARGE[2:], y[2:])],), "row 1 of X of batch 1;"
    with pytest.warns(
        RuntimeWarning, match=rf"^evaluate: got the loss inf, .* from {late}"
    ) as caught:
        assert model.evaluate(*given, batch_size=2)["loss"] == np.inf
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.evaluate(X, y)["loss"])


def test_evaluate_tells_of_finite_outputs_whose_loss_is_not() -> None:
    targets = y.copy()
    targets[3] = 1e25  # whose square is not
    with pytest.warns(RuntimeWarning, match="from row 3 of X; numbers leave the range of float32"):
        regressor(dtype="float32").evaluate(X, targets)


def test_the_estimators_tell_too() -> None:
    model = fastdnn.MLPRegressor(hidden_layer_sizes=(3,), dtype="float32").partial_fit(X, y)
    model.coefs_[0][...] = 1e30
    with pytest.warns(RuntimeWarning, match=r"^predict: got .* for row \d of X"):
        model.predict(X * 1e30)
