import numpy as np
import pytest

from fastdnn.data.scaling import Scaling, check_finite

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaling_gives_mean_0_and_deviation_1_and_back(dtype: str) -> None:
    # More rows than are scaled at once; seconds since 1970, which float32 cannot tell apart.
    X = RNG.normal([1.7e9, 0.001], [50, 0.0001], (5000, 2))
    scaling = Scaling.fit(X)
    Z = scaling.apply(X, dtype)
    assert Z.dtype == dtype
    np.testing.assert_allclose(Z, (X - X.mean(0)) / X.std(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaling.undo(Z), X, rtol=1e-6)


def test_scaling_only_shifts_a_constant_column() -> None:
    # The standard deviation of 0.1 repeated is not exactly 0 in floating point.
    X = np.column_stack([np.full(1001, 0.1), np.arange(1001)])
    Z = Scaling.fit(X).apply(X, "float64")
    np.testing.assert_allclose(Z[:, 0], 0, atol=1e-14)
    assert Scaling.fit(X).deviation[0] == 1


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([-9e307, 9e307], r"-9e\+307 to 9e\+307"),
        ([1e200, 2e200], r"1e\+200 to 2e\+200"),
        ([1e308, 1e308], r"1e\+308 to 1e\+308"),
        ([1e-200, 2e-200], "1e-200 to 2e-200"),
    ],
)
def test_scaling_that_float64_cannot_hold_is_refused(values: list[float], got: str) -> None:
    X = np.column_stack([[0.0, 1.0], values])
    want = "want numbers whose mean and standard deviation float64 can hold, got"
    with pytest.raises(
        ValueError, match=rf"^column 1 \(from 0\): {want} {got}; choose another unit$"
    ):
        Scaling.fit(X)
    with pytest.raises(ValueError, match=f"^column 'v': {want} {got};"):
        Scaling.fit(X, ("u", "v"))
    with pytest.raises(ValueError, match=f"^column 'price': {want} {got};"):
        Scaling.fit(X[:, 1], ("price",))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_located(bad: float) -> None:
    X = np.zeros((5000, 3))
    check_finite(X, None)
    X[4500, 1] = bad
    with pytest.raises(ValueError, match=rf"data row 4501, column 1 \(from 0\): {bad};"):
        check_finite(X, None)
    with pytest.raises(ValueError, match=f"data row 4501, column 'v': {bad};"):
        check_finite(X, ("u", "v", "w"))


def test_nan_may_stand_for_what_is_missing() -> None:
    X = np.array([[0.0, np.nan], [1.0, np.inf]])
    check_finite(X[:1], None, missing=True)
    with pytest.raises(ValueError, match="data row 2, column 'v': inf"):
        check_finite(X, ("u", "v"), missing=True)
