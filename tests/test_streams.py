"""Text for streams that are missing, closed, or have few characters."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import textbook
from fastdnn._streams import Careful, say, standard
from tests.barestream import Bare
from tests.nets import classifier, samples

TEXT = "7 × 9 … é"


class Failing(Bare):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> None:
        raise OSError(self.number, "no")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def of(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize(
    ("encoding", "text"), [("ascii", "7 ? 9 ? ?"), ("latin-1", "7 × 9 ? é"), ("utf-8", TEXT)]
)
def test_what_an_encoding_lacks_is_replaced(encoding: str, text: str) -> None:
    stream = of(encoding)
    print(TEXT, file=Careful(stream))
    assert written(stream) == f"{text}\n"


def test_a_name_of_no_encoding() -> None:
    stream = of("utf-8")
    print("caf\udce9", file=Careful(stream))  # bytes of a file's name, as os.fsdecode gives them
    assert written(stream) == "caf?\n"


@pytest.mark.parametrize(
    "stream", [None, closed(), Failing(errno.EBADF)], ids=["none", "closed", "bad"]
)
def test_what_goes_nowhere_is_lost(stream: Any) -> None:
    careful = Careful(stream)
    print(TEXT, file=careful, flush=True)
    assert not careful.isatty()


def test_a_stream_with_two_methods() -> None:
    stream = Bare()
    careful = Careful(stream)
    print(TEXT, file=careful, flush=True)
    assert stream.text == f"{TEXT}\n"
    assert not careful.isatty()
    assert careful.encoding == "ascii"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_other_errors_come_through(number: int) -> None:
    with pytest.raises(OSError, match="no") as error:
        Careful(Failing(number)).write(TEXT)
    assert error.value.errno == number


def test_standard_is_the_stream_itself_where_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for good in (io.StringIO(), of("utf-8")):
        monkeypatch.setattr(sys, "stderr", good)
        assert standard("stderr") is good
    for other in (None, closed(), Bare(), of("ascii")):
        monkeypatch.setattr(sys, "stderr", other)
        assert isinstance(standard("stderr"), Careful)


def everything_printed() -> None:
    """All that the library prints."""
    X, y = samples()
    model = classifier()
    model.summary()
    for verbose in ("auto", 1, 2):
        model.fit(X, y, epochs=1, verbose=verbose)
    model.predict(X, verbose=1)
    model.evaluate(X, y, verbose=1)
    a = np.random.default_rng(0).normal(size=(2, 30))
    p, _ = textbook.L_layer_model(a, a[:1] > 0, [2, 1], num_iterations=101, print_cost=True)
    textbook.predict(a, a[:1] > 0, p)
    fastdnn.MLPClassifier((3,), max_iter=2, tol=1e9, verbose=True).fit(X, y).predict(X)
    fastdnn.TerminateOnNaN().set_model(model)
    diverging = fastdnn.TerminateOnNaN()
    diverging.set_model(model)
    diverging.on_divergence(ArithmeticError(TEXT))


STREAMS = {"none": lambda: None, "bare": Bare, "closed": closed, "ascii": lambda: of("ascii")}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("out", STREAMS)
@pytest.mark.parametrize("err", STREAMS)
def test_the_library_prints_to_any_streams(
    out: str, err: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = {"stdout": STREAMS[out](), "stderr": STREAMS[err]()}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    everything_printed()
    if isinstance(streams["stdout"], Bare):
        assert "parameters:" in streams["stdout"].text
        assert "Cost after iteration 100:" in streams["stdout"].text
        assert "Accuracy: " in streams["stdout"].text
        assert "Iteration 1, loss" in streams["stdout"].text
        assert "epoch 1/1" not in streams["stdout"].text
    if isinstance(streams["stderr"], Bare):
        assert streams["stderr"].text.count("epoch 1/1  loss ") == 3
        assert TEXT in streams["stderr"].text


def test_say_goes_where_stdout_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    say(TEXT)
    assert capsys.readouterr().out == f"{TEXT}\n"


def test_a_closed_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (tmp_path / "log").open("w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    os.close(stream.fileno())
    say(TEXT)
    Careful(stream).flush()
    with pytest.raises(OSError, match="Bad file descriptor"):
        stream.close()
