import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdnn.callbacks import History
from fastdnn.plots import plot_history, plot_search, plot_weights

HISTORY = {
    "loss": [1.0, 0.5, 0.25],
    "accuracy": [0.5, 0.75, 0.8],
    "val_loss": [1.1, 0.7, 0.6],
    "val_accuracy": [0.4, 0.6, 0.7],
    "learning_rate": [0.1, 0.1, 0.1],
}


def lines(axes) -> dict[str, list[list[float]]]:
    return {line.get_label(): [list(v) for v in line.get_data()] for line in axes.get_lines()}


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )


def test_history_draws_loss_and_metrics_with_validation() -> None:
    loss, accuracy = plot_history(HISTORY).axes
    assert loss.get_ylabel() == "loss"
    assert accuracy.get_ylabel() == "accuracy"
    epochs = [1, 2, 3]
    assert lines(loss) == {
        "training": [epochs, HISTORY["loss"]],
        "validation": [epochs, HISTORY["val_loss"]],
    }
    assert lines(accuracy)["validation"] == [epochs, HISTORY["val_accuracy"]]


def test_history_object_keeps_its_epoch_numbers() -> None:
    history = History()
    for epoch in (7, 8):
        history.on_epoch_end(epoch, {"loss": 1.0 / epoch})
    (axes,) = plot_history(history).axes
    assert lines(axes) == {"training": [[8, 9], [1 / 7, 1 / 8]]}


def test_one_epoch_is_visible() -> None:
    (axes,) = plot_history({"loss": [1.0]}).axes
    assert axes.get_lines()[0].get_marker() == "o"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_ticks_are_numbers_of_epochs(count: int) -> None:
    values = [1 / (i + 1) for i in range(count)]
    for history in ({"loss": values}, {"loss": values, "val_loss": values}):
        figure = plot_history(history)
        figure.canvas.draw()
        (axes,) = figure.axes
        low, high = axes.get_xlim()
        shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert shown
        assert all(tick == round(tick) for tick in shown)


def test_the_legend_covers_no_curve() -> None:
    figure = plot_history(HISTORY)
    figure.canvas.draw()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1


def test_a_notebook_shows_the_picture() -> None:
    for figure in (plot_history(HISTORY), plot_weights(np.eye(4), (2, 2))):
        assert figure._repr_png_().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("history", [{}, {"loss": []}, History(), {"learning_rate": [0.1]}])
def test_empty_history_is_refused(history) -> None:
    with pytest.raises(ValueError, match="history: no finished epoch"):
        plot_history(history)


def test_png_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    plot_history(HISTORY, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"IEND" in content[-16:]
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_without_suffix_becomes_a_png(tmp_path: Path) -> None:
    plot_history({"loss": [2.0, 1.0]}, tmp_path / "curves")
    assert [file.name for file in tmp_path.iterdir()] == ["curves"]
    assert (tmp_path / "curves").read_bytes().startswith(b"\x89PNG")


def test_weights_are_laid_out_row_by_row(tmp_path: Path) -> None:
    W = np.arange(5 * 6, dtype=np.float32).reshape(5, 6) - 12
    path = tmp_path / "weights.png"
    axes = plot_weights(W, (2, 3), path, columns=2).axes[0]
    (image,) = axes.get_images()
    shown = np.ma.filled(image.get_array(), np.nan)
    assert shown.shape == (3 * 3 + 1, 2 * 4 + 1)
    for unit in range(5):
        top, left = 1 + unit // 2 * 3, 1 + unit % 2 * 4
        np.testing.assert_array_equal(shown[top : top + 2, left : left + 3], W[unit].reshape(2, 3))
    assert np.isnan(shown[:, 4]).all()
    assert np.isnan(shown[7:9, 5:]).all()
    low, high = image.get_clim()
    assert low == -high
    assert path.read_bytes().startswith(b"\x89PNG")


def test_weights_default_to_a_square_and_zeros_are_drawn() -> None:
    axes = plot_weights(np.zeros((9, 4)), (2, 2)).axes[0]
    (image,) = axes.get_images()
    assert image.get_array().shape == (10, 10)
    assert image.get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((3, 6), (2, 2)), ((6,), (2, 3)), ((0, 6), (2, 3)), ((3, 6), (6,))]
)
def test_weights_that_fill_no_image_are_refused(shape, image_shape) -> None:
    with pytest.raises(ValueError, match=r"W: shape .* image_shape"):
        plot_weights(np.zeros(shape), image_shape)


def test_columns_are_checked() -> None:
    with pytest.raises(ValueError, match=r"columns: want an integer in \[1, inf\), got 0"):
        plot_weights(np.zeros((3, 6)), (2, 3), columns=0)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda: plot_history(None),
            TypeError,
            "history: want a History or its dict, got NoneType",
        ),
        (lambda: plot_history([1.0]), TypeError, "history: want a History or its dict, got list"),
        (
            lambda: plot_history({"loss": [2.0, 1.0], "val_loss": [2.0]}),
            ValueError,
            r"history: want a list of 2 values of 'val_loss', one per epoch, got shape \(1,\)",
        ),
        (
            lambda: plot_history({"loss": 0.5}),  # what evaluate returns
            ValueError,
            r"history: want a list of 1 values of 'loss', one per epoch, got shape \(\)",
        ),
        (lambda: plot_weights(None, (2, 2)), TypeError, "W: want real numbers, got dtype object"),
        (
            lambda: plot_weights([[1, 2, 3, 4]], 4),
            TypeError,
            r"image_shape: want \(rows, columns\)",
        ),
        (
            lambda: plot_weights([[1, 2, 3, 4]], (-2, -2)),
            ValueError,
            r"image_shape\[0\]: want an integer in \[1, inf\), got -2",
        ),
        (
            lambda: plot_weights([[1, 2, 3, 4]], (2, 2), columns=2.5),
            TypeError,
            r"columns: want an integer in \[1, inf\), got 2.5",
        ),
    ],
)
def test_wrong_arguments(draw, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        draw()


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastdnn\[plot\]'"):
        plot_history(HISTORY)


def test_pyplot_stays_out() -> None:
    code = (
        "import sys, fastdnn.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.plot_history({'loss': [1.0]}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------- searches
RESULTS = {
    "params": [{"rate": r, "units": u, "g": "relu"} for r in (0.1, 0.01, 10.0) for u in ("8", "4")],
    "mean_test_score": [0.9, 0.8, 0.7, 0.6, -50.0, np.nan],
}


def test_a_search_has_a_panel_for_each_setting_that_differs() -> None:
    rate, units = plot_search(RESULTS, score="accuracy").axes
    assert (rate.get_xlabel(), units.get_xlabel()) == ("rate", "units")
    assert (rate.get_ylabel(), units.get_ylabel()) == ("accuracy", "")
    labels = [text.get_text() for text in rate.get_xticklabels()]
    assert labels == ["0.01", "0.1", "10.0"]  # by size
    near, far, line, best = (one.get_xydata().tolist() for one in rate.get_lines())
    floor = 0.9 - 3 * (0.9 - 0.7)
    assert near == [[1, 0.9], [1, 0.8], [0, 0.7], [0, 0.6]]
    np.testing.assert_allclose(far, [[2, floor]])
    np.testing.assert_allclose(line, [[0, 0.7], [1, 0.9], [2, floor]])
    assert best == [[1, 0.9]]


def test_a_search_of_scikit_learn_is_drawn(tmp_path: Path) -> None:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    grids = [{"C": [0.1, 1]}, {"tol": [0.01, 0.1]}]  # of other settings
    search = GridSearchCV(LogisticRegression(), grids, cv=2).fit(*load_iris(return_X_y=True))
    path = tmp_path / "search.png"
    figure = plot_search(search.cv_results_, path)
    assert [axes.get_xlabel() for axes in figure.axes] == ["C", "tol"]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ([1, 2], TypeError),
        ({"params": [{}]}, TypeError),
        ({"params": [{"a": 1}], "mean_test_score": [np.nan]}, ValueError),
        ({"params": [{}], "mean_test_score": [0.1]}, ValueError),
        ({"params": [], "mean_test_score": []}, ValueError),
        ({"params": [{"a": 1}], "mean_test_score": [0.1, 0.2]}, ValueError),
    ],
)
def test_what_is_no_search_is_refused(results: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="results: want"):
        plot_search(results)
