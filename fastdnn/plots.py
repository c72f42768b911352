"""Pictures of a training run and of a layer's weights; they need matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastdnn.kernels.base.arrays import as_float

from ._checks import check_count
from ._files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .history import History

# An outlier would leave all other weights grey.
_SHOWN_PERCENTILE = 99.5
_SHOWN_SPREADS = 3  # below the best score, of its distance to the median


def plot_history(
    history: History | Mapping[str, Sequence[float]], path: str | Path | None = None
) -> Figure:
    """Draw the loss and each metric by epoch, training and validation together.

    Parameters
    ----------
    history : History or mapping
        What ``fit`` returned, or its ``history``: from a name to one value an epoch.
    path : str, Path or None
        A file to write as well, its format by the suffix (``.png``, ``.svg``, ``.pdf``).

    Returns
    -------
    Figure
        One axes for the loss and one for each metric.

    Raises
    ------
    TypeError, ValueError
        If it is no history, no epoch was finished, or a name has not one value an epoch.
    ImportError
        If matplotlib is not installed.
    """
    curves, epochs = _curves(history)
    names = [name for name in curves if name != "learning_rate" and not name.startswith("val_")]
    if not any(epochs.values()) or not names:
        raise ValueError("history: no finished epoch to draw")
    for name, values in curves.items():
        if np.shape(values) != (len(epochs[name]),):
            raise ValueError(
                f"history: want a list of {len(epochs[name])} values of {name!r}, one per epoch, "
                f"got shape {np.shape(values)}"
            )
    figure = new_figure(figsize=(5.0 * len(names), 3.6))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        numbered = []
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in curves:
                # A curve of one point would be invisible without its marker.
                marker = "o" if len(epochs[key]) < 30 else None
                numbered.append(np.add(epochs[key], 1).tolist())
                axes.plot(numbered[-1], curves[key], marker=marker, markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if max(map(max, numbered)) == min(map(min, numbered)):  # the locator finds no whole numbers
            axes.set_xticks(numbered[0])
        axes.grid(alpha=0.3)
        # above the curves, not on them
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    write_figure(figure, path)
    return figure


def _curves(
    history: History | Mapping[str, Sequence[float]],
) -> tuple[Mapping[str, Sequence[float]], dict[str, list[int]]]:
    """Return the values by their names, and the numbers of their epochs."""
    from .history import History

    if isinstance(history, History):
        return history.history, {name: history.epochs_of(name) for name in history.history}
    if not isinstance(history, Mapping):
        raise TypeError(f"history: want a History or its dict, got {type(history).__name__}")
    count = max(map(np.size, history.values()), default=0)
    return history, {name: list(range(count)) for name in history}


def plot_weights(
    W: ArrayLike,
    image_shape: tuple[int, int],
    path: str | Path | None = None,
    *,
    columns: int | None = None,
) -> Figure:
    """Draw each unit's incoming weights as an image: what it looks for in the input.

    Parameters
    ----------
    W : array_like, shape (n_l, n_{l-1})
        A layer's weights, as ``layer.W``.
    image_shape : (int, int)
        Rows and columns of an input image; their product is n_{l-1}.
    path : str, Path or None
        A file to write as well, its format by the suffix.
    columns : int or None
        Images in a row. None makes about as many rows as columns.

    Returns
    -------
    Figure
        All units on one scale of colours, symmetric about zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or a row of W does not fill an image.
    ImportError
        If matplotlib is not installed.
    """
    W = as_float("W", W, np.float64, None)
    if not isinstance(image_shape, tuple | list):
        raise TypeError(f"image_shape: want (rows, columns), got {image_shape!r}")
    for i, n in enumerate(image_shape):
        check_count(f"image_shape[{i}]", n, 1)
    if W.ndim != 2 or W.size == 0 or len(image_shape) != 2 or W.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"W: shape {W.shape} and image_shape {tuple(image_shape)}; want (units, rows * columns)"
        )
    columns = check_count("columns", math.ceil(len(W) ** 0.5) if columns is None else columns, 1)
    mosaic = _mosaic(W.reshape(len(W), *image_shape), min(columns, len(W)))
    size = np.abs(W)
    largest = float(np.percentile(size, _SHOWN_PERCENTILE) or size.max() or 1.0)
    height = 6.0 * mosaic.shape[0] / mosaic.shape[1]
    figure = new_figure(figsize=(7.0, min(max(height, 1.5), 20.0)))
    from matplotlib import colormaps  # there, as the figure is

    axes = figure.subplots()
    # Zero is white, so the gaps are not.
    colours = colormaps["RdBu_r"].with_extremes(bad="0.6")
    image = axes.imshow(mosaic, colours, vmin=-largest, vmax=largest, interpolation="nearest")
    axes.axis("off")
    figure.colorbar(image, ax=axes, label="weight", extend="both")
    write_figure(figure, path)
    return figure


def plot_search(
    results: Mapping[str, Any], path: str | Path | None = None, *, score: str = "score"
) -> Figure:
    """Draw the scores of a search by the values of each setting that differs.

    Each point is a candidate; the line joins the best of each value, and the best of all stands
    out. A setting whose line is flat matters little. Scores far below most are drawn at the edge,
    as triangles.

    Parameters
    ----------
    results : mapping
        ``cv_results_`` of a search of `fastdnn.model_selection` or scikit-learn.
    path : str, Path or None
        A file to write as well, its format by the suffix.
    score : str
        What the scores are, for the axis.

    Returns
    -------
    Figure
        One axes for each setting.

    Raises
    ------
    TypeError, ValueError
        If it has no settings with scores.
    ImportError
        If matplotlib is not installed.
    """
    if not isinstance(results, Mapping) or not {"params", "mean_test_score"} <= set(results):
        raise TypeError(
            f"results: want cv_results_ of a search, with params and mean_test_score, got "
            f"{results!r:.60}"
        )
    params, scores = list(results["params"]), np.asarray(results["mean_test_score"], float)
    known = np.isfinite(scores)
    names = dict.fromkeys(name for one in params for name in one)
    if len(params) != len(scores) or not known.any() or not names:
        raise ValueError("results: want a setting, and a finite score of a candidate, at least")
    texts = {name: [str(one.get(name, "")) for one in params] for name in names}
    varied = {name: column for name, column in texts.items() if len(set(column)) > 1} or texts
    best = int(np.where(known, scores, -np.inf).argmax())
    # those that have gone astray would press all others into one line
    floor = scores[best] - _SHOWN_SPREADS * (scores[best] - np.median(scores[known]))
    is_far = known & (scores < floor)
    drawn = np.maximum(scores, floor)
    columns = min(len(varied), 4)
    rows = math.ceil(len(varied) / columns)
    figure = new_figure(figsize=(3.6 * columns, 3.2 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(varied) :]:
        axes.axis("off")
    for axes, (name, column) in zip(panels, varied.items(), strict=False):
        values = _in_order(params, name)
        at = np.array([values.index(text) for text in column])
        for marker, which in (("o", known & ~is_far), ("v", is_far)):
            axes.plot(at[which], drawn[which], marker, color="C0", markersize=4, alpha=0.4)
        tops = [drawn[known & (at == i)].max(initial=-np.inf) for i in range(len(values))]
        axes.plot(np.where(np.isfinite(tops), tops, np.nan), color="C0")
        axes.plot(at[best], scores[best], "*", markersize=13, color="C1", label="best")
        axes.set_xticks(range(len(values)), values, rotation=30 if len(values) > 3 else 0)
        axes.set(xlabel=name, ylabel=score if axes in panels[::columns] else None)
        axes.grid(alpha=0.3)
    write_figure(figure, path)
    return figure


def _in_order(params: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the values of a setting as text: numbers by size, others as they come."""
    values = {str(one.get(name, "")): one.get(name, "") for one in params}
    if all(isinstance(value, int | float) for value in values.values()):
        return sorted(values, key=lambda text: values[text])
    return list(values)


def _mosaic(images: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
    """Return images (m, rows, columns) side by side, a blank line of one pixel around each."""
    m, height, width = images.shape
    rows = math.ceil(m / columns)
    mosaic = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for i, image in enumerate(images):
        top, left = 1 + i // columns * (height + 1), 1 + i % columns * (width + 1)
        mosaic[top : top + height, left : left + width] = image
    return mosaic


def new_figure(figsize: tuple[float, float]) -> Figure:
    """Make a figure of its own: pyplot would keep it for ever, and may want a display."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "drawing needs matplotlib, which is not installed: pip install 'fastdnn[plot]'"
        ) from None

    class Shown(Figure):
        """A figure that a notebook shows: it knows those of pyplot only."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, dpi=100, format="png")
            return picture.getvalue()

    return Shown(figsize=figsize, layout="constrained")


def write_figure(figure: Figure, path: str | Path | None) -> None:
    """Write a picture whole, if it is to be written."""
    if path is not None:
        # named without a suffix, the temporary file would be given one by matplotlib
        kind = Path(path).suffix[1:] or "png"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, format=kind)
