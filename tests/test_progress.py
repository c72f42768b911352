"""What the progress bars write to a terminal, to a file and into a notebook."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tqdm.autonotebook
import tqdm.std

from fastdnn import progress
from fastdnn.kernels.engine import engine
from fastdnn.progress import NetworkBar, ProgressBar, sample_bar
from tests.forked import can_take
from tests.nets import classifier, samples

LOGS = {"loss": 0.35214, "accuracy": 0.88006, "val_loss": 0.0, "learning_rate": 1e-4}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "perf_counter", clock)
    return clock


def train(bar: ProgressBar, clock: Clock) -> None:
    """Two epochs of 250 samples in 3 batches: 0.5 s of training, then 4.5 s of validation."""
    bar.on_train_begin()
    for epoch in (0, 1):
        bar.on_epoch_begin(epoch)
        for step in (1, 2, 3):
            clock.now += 0.5 / 3
            bar.on_batches_end(step, 3, {"loss": 0.5})
        clock.now += 4.5
        bar.on_epoch_end(epoch, LOGS)
    bar.on_train_end()


def wanted(epoch: int) -> str:
    return (
        f"epoch {epoch}/2  loss 0.3521  accuracy 0.8801  val_loss 0.0000  learning_rate 1.00e-04"
        "  500 samples/s"
    )


@pytest.mark.parametrize("verbose", ["auto", 2])
def test_a_file_gets_one_line_per_epoch(
    verbose: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as log:
        monkeypatch.setattr("sys.stderr", log)
        train(ProgressBar(2, 250, 100, verbose), clock)
    assert path.read_text(encoding="utf-8") == f"{wanted(1)}\n{wanted(2)}\n"


@pytest.mark.parametrize(
    ("stream", "verbose"), [(Terminal(), "auto"), (Terminal(), 1), (io.StringIO(), 1)]
)
def test_a_bar_and_the_lines(
    stream: io.StringIO, verbose: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    bar = ProgressBar(2, 250, 100, verbose)
    assert stream.getvalue() == ""
    bar._bar.mininterval = 0.0  # draw at every call
    bar._bar.delay = 0.0
    train(bar, clock)
    written = stream.getvalue()
    lines = [line.split("\r")[-1] for line in written.split("\n")]
    assert lines[:2] == [wanted(1), wanted(2)]
    assert lines[-1].strip() == "", "the bar is wiped away"
    drawn = re.findall(
        r"epoch 2/2 +(\d+)%\|[^\r]*?\| 00:00<[^\r]*?samples/s, loss 0\.5000", written
    )
    assert {"40", "80", "100"} <= set(drawn)


def test_a_terminal_gets_no_bar_with_verbose_2(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    train(ProgressBar(2, 250, 100, 2), clock)
    assert stream.getvalue() == f"{wanted(1)}\n{wanted(2)}\n"


def test_an_epoch_too_short_to_report_has_a_rate(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    bar = ProgressBar(1, 64, 32)
    bar.on_epoch_begin(0)
    clock.now += 0.25
    bar.on_epoch_end(0, {"loss": 1.0})
    assert stream.getvalue() == "epoch 1/1  loss 1.0000  256 samples/s\n"


def test_an_interrupted_epoch_leaves_no_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    bar = ProgressBar(2, 250, 100)
    bar.on_epoch_begin(0)
    bar._bar.delay = 0.0
    bar.on_batches_end(1, 3, {"loss": 0.5})
    bar.on_train_end()
    assert stream.getvalue().split("\r")[-1].strip() == ""


@pytest.mark.parametrize("verbose", [3, "yes", None, -1])
def test_unknown_verbose(verbose: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"verbose: want 0, 1, 2 or 'auto', got {verbose!r}")
    ):
        ProgressBar(2, 250, 100, verbose)


# --------------------------------------------------------------------------- predict and evaluate
class OfNotebook(tqdm.std.tqdm):  # type: ignore[type-arg]
    """As the class that draws a widget: told by its module."""


OfNotebook.__module__ = "tqdm.notebook"


class Eager(tqdm.std.tqdm):  # type: ignore[type-arg]
    """Draws at every call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, mininterval=0.0)


@pytest.mark.parametrize(
    ("verbose", "stream", "notebook", "shown"),
    [
        (1, io.StringIO(), False, True),
        ("auto", Terminal(), False, True),
        ("auto", io.StringIO(), False, False),
        ("auto", io.StringIO(), True, True),
        (2, Terminal(), True, False),
        (0, Terminal(), True, False),
    ],
)
def test_where_a_bar_is_shown(
    verbose: Any, stream: io.StringIO, notebook: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = type(stream)()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "SOON", 0.0)
    if notebook:
        monkeypatch.setattr(tqdm.autonotebook, "tqdm", OfNotebook)
    with sample_bar("predict", 250, verbose) as report:
        if report is not None:
            report(100)
    assert ("predict" in stream.getvalue()) == shown
    assert stream.getvalue().split("\r")[-1].strip() == ""


def test_what_is_over_soon_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    with sample_bar("predict", 250, 1) as report:
        assert report is not None
        report(250)
    assert stream.getvalue() == ""


def test_predict_and_evaluate_have_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = samples()
    model = classifier(dtype="float64")
    plain = model.predict(X), model.evaluate(X, y)
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    monkeypatch.setattr(progress, "SOON", 0.0)
    monkeypatch.setattr(tqdm.autonotebook, "tqdm", Eager)
    monkeypatch.setattr(engine, "CALL_FLOPS", 1)
    told = [model.predict(X, 16, verbose=1), model.evaluate(X, y, 16, 1)]
    assert "predict 100%" in stream.getvalue()
    assert "evaluate 100%" in stream.getvalue()
    assert np.array_equal(told[0], plain[0])
    assert told[1] == pytest.approx(plain[1])


@pytest.mark.parametrize("verbose", [3, "yes", None, -1])
def test_unknown_verbose_of_predict(verbose: Any) -> None:
    X, y = samples()
    for call in (
        lambda: classifier().predict(X, verbose=verbose),
        lambda: classifier().evaluate(X, y, verbose=verbose),
    ):
        with pytest.raises(ValueError, match=r"^verbose: want 0, 1, 2 or 'auto', got "):
            call()


def test_no_bar_stays_in_a_notebook(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a widget that is not full, tqdm makes a red one that stays."""
    closed: list[bool] = []

    class Widget(OfNotebook):
        def close(self) -> None:
            if not self.disable:
                closed.append(self.n == self.total)
            super().close()

    Widget.__module__ = "tqdm.notebook"
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(tqdm.autonotebook, "tqdm", Widget)
    bar = ProgressBar(2, 250, 100)
    bar.on_epoch_begin(0)  # an epoch that is over before it has anything to show
    bar.on_epoch_end(0, LOGS)
    bar.on_train_end()
    with pytest.raises(KeyboardInterrupt), sample_bar("predict", 250, 1):
        raise KeyboardInterrupt
    assert closed[:2] == [True, True]


# --------------------------------------------------------------------------------- many networks
def follow(bar: NetworkBar, clock: Clock) -> None:
    """Two networks: three quarters of the work in two epochs, and one that ends early."""
    with bar, bar.network(0.25, 10) as first:
        with bar.network(0.75, 2) as second:
            for epoch in (0, 1):
                clock.now += 1.5
                second.on_epoch_end(epoch, LOGS)
                bar.show()
        bar.show()
        clock.now += 1.0
        first.on_epoch_end(0, LOGS)
        bar.show()
    bar.show()


def test_a_file_gets_a_line_for_each_tenth_of_many_networks(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    follow(NetworkBar("fit_many", 2, "auto"), clock)
    assert stream.getvalue().splitlines() == [
        "fit_many: 0/2 networks, 0 networks/s, about 2 s left",
        "fit_many: 0/2 networks, 0 networks/s, about 1 s left",
        "fit_many: 2/2 networks, 0.5 networks/s, about 0 s left",
    ]


def test_a_bar_of_many_networks(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    bar = NetworkBar("fit_many", 2, "auto")
    bar._bar.delay = 0
    shown: list[tuple[float, str]] = []
    draw = bar._bar.set_postfix_str

    def noted(text: str, **options: Any) -> None:
        draw(text, **options)
        shown.append((round(bar._bar.n, 3), text))

    monkeypatch.setattr(bar._bar, "set_postfix_str", noted)
    follow(bar, clock)
    assert [text for _, text in shown] == [
        "0/2 networks, 0 networks/s",
        "0/2 networks, 0 networks/s",
        "1/2 networks, 0.333 networks/s",
        "1/2 networks, 0.25 networks/s",
        "2/2 networks, 0.5 networks/s",
    ]
    assert [n for n, _ in shown] == [0.0, 0.375, 0.75, 0.75, 1.0]


def test_many_networks_are_silent_where_that_is_wanted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    follow(NetworkBar("fit_many", 2, 0), clock)
    assert stream.getvalue() == ""


# -------------------------------------------------------------------------------------- processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_forked_child_shows_bars_whoever_drew_one() -> None:
    model, (X, y) = classifier(), samples()
    model.fit(X, y, verbose=1)

    def fit() -> bool:
        done = threading.Event()

        def train() -> None:
            model.fit(X, y, verbose=1)
            done.set()

        threading.Thread(target=train, daemon=True).start()
        return done.wait(20)

    assert can_take(tqdm.std.tqdm.get_lock(), fit)
