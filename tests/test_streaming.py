"""Batches as they come: the bits of an array, epochs, hooks, and what ends a training."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn.kernels.engine.engine import Engine
from tests.nets import WAYS, Spy, classifier, regressor, samples, wide
from tests.sources import SOURCES, Indexed, Iterable, batches, function, loader
from tests.test_progress import Terminal

Array = np.ndarray[Any, Any]
M = 150
X, y = samples(M)
W = np.random.default_rng(1).uniform(0.5, 2.0, M)
FIT: dict[str, Any] = {"verbose": 0}


def assert_same(one: fastdnn.Sequential, other: fastdnn.Sequential) -> None:
    """The same parameters, optimizer's state, counters and losses, to the bit."""
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert one._engine is not None
    assert other._engine is not None
    np.testing.assert_array_equal(one._engine.slots, other._engine.slots)
    assert (one._state.steps, one._state.epochs) == (other._state.steps, other._state.epochs)
    assert_same_history(one, other)


def assert_same_history(one: fastdnn.Sequential, other: fastdnn.Sequential) -> None:
    """The same losses, to the bit."""
    assert one.history.history.keys() == other.history.history.keys()
    for name, values in one.history.history.items():
        if "accuracy" in name:  # a mean of the batches' means
            np.testing.assert_allclose(values, other.history.history[name], rtol=1e-12)
        else:
            assert values == other.history.history[name], name


def of_array(way: str, epochs: int = 2, **options: Any) -> tuple[fastdnn.Sequential, int]:
    """A net trained on the samples in their order, and its batch size."""
    make, size = WAYS[way]
    net = make(**options)
    net.fit(X, y, batch_size=size, epochs=epochs, shuffle=False, **FIT)
    return net, size


# -------------------------------------------------------------------------------- the same bits
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_source_has_the_bits_of_an_array(way: str, threads: int) -> None:
    fastdnn.set_num_threads(threads)
    for dtype in ("float32", "float64"):
        wanted, size = of_array(way, dtype=dtype)
        given = batches(size, X, y)
        for name, make in SOURCES.items():
            net = WAYS[way][0](dtype=dtype)
            net.fit(make(given), epochs=2, **FIT)
            assert_same(net, wanted)
            assert len(net.history.history["loss"]) == 2, name


@pytest.mark.parametrize("way", [way for way in WAYS if way != "one unit"])
def test_dropout_and_weights_have_the_bits_of_an_array(way: str) -> None:
    make, size = WAYS[way]
    options: dict[str, Any] = {"metrics": ["accuracy"], "dropout": 0.3}
    weights = {0: 2.0, 1: 0.5}
    for given, more in ((batches(size, X, y), {}), (batches(size, X, y, W), {"sample_weight": W})):
        wanted, net = make(**options), make(**options)
        wanted.fit(X, y, size, epochs=2, shuffle=False, class_weight=weights, **more, **FIT)
        net.fit(function(given), epochs=2, class_weight=weights, **FIT)
        assert_same(net, wanted)


@pytest.mark.parametrize("way", WAYS)
def test_a_loader_has_the_bits_of_an_array(way: str) -> None:
    pytest.importorskip("torch", reason="PyTorch has the loader: pip install torch")
    wanted, size = of_array(way, epochs=4)
    net, source = WAYS[way][0](), loader(batches(size, X, y))
    for _ in range(2):  # the same loader again
        net.fit(source, epochs=2, **FIT)
    np.testing.assert_array_equal(net.parameters, wanted.parameters)


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 10])
def test_epochs_of_steps_have_the_bits_of_an_array(steps: int) -> None:
    options: dict[str, Any] = {"epochs": 4, "steps_per_epoch": steps, **FIT}
    wanted = classifier(dropout=0.3)
    wanted.fit(X, y, 32, shuffle=False, **options)  # five steps a pass
    given = batches(32, X, y)
    endless = itertools.chain.from_iterable(itertools.repeat(given))
    forever = function(given * 10)
    for source in (given, function(given), Indexed(given), endless, forever):
        net = classifier(dropout=0.3)
        net.fit(source, **options)
        if source is endless or source is forever:  # one pass, as far as they tell
            np.testing.assert_array_equal(net.parameters, wanted.parameters)
            assert_same_history(net, wanted)
        else:
            assert_same(net, wanted)
    # and what follows is trained on in the same order
    after = classifier(dropout=0.3)
    after.fit(given, **options)
    for one in (after, wanted):
        one.fit(X, y, 32, **FIT)
    assert_same(after, wanted)


def test_a_new_model_learns_its_input_size() -> None:
    net = classifier(input_size=None)
    net.fit(batches(32, X, y), **FIT)
    assert net.input_size == 4
    wanted = classifier()
    wanted.fit(X, y, shuffle=False, **FIT)
    assert_same(net, wanted)


def test_batches_of_any_sizes() -> None:
    net, by_hand = classifier(), classifier()
    given = [(X[a:b], y[a:b]) for a, b in itertools.pairwise([0, 3, 70, 71, 150])]
    net.fit(given, **FIT)
    for batch in given:
        by_hand.train_on_batch(*batch)
    np.testing.assert_allclose(net.parameters, by_hand.parameters, rtol=1e-4, atol=1e-6)
    assert net._state.steps == 4


@pytest.mark.parametrize("slice_seconds", [0.0, 1e9])
def test_the_hooks_change_nothing(slice_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", slice_seconds)
    wanted, _ = of_array("tiny", metrics=["accuracy"])
    given = batches(32, X, y)
    spied, silent, one_by_one = (classifier() for _ in range(3))
    spy = Spy()
    spied.fit(given, epochs=2, callbacks=[spy], **FIT)
    silent.fit(given, epochs=2, **FIT)
    one_by_one.fit(given, epochs=2, callbacks=[Steps()], **FIT)
    for net in (spied, silent, one_by_one):
        assert_same(net, wanted)
    steps = [call[1] for call in spy.calls if call[0] == "batches_end"]
    assert steps == ([1, 2, 3, 4, 5] * 2 if slice_seconds == 0 else [5, 5])


# ------------------------------------------------------------------------------- hooks and bars
class Steps(fastdnn.Callback):
    """Notes the hooks of single steps."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_train_batch_begin(self, batch: int) -> None:
        self.calls.append(("begin", batch))

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.calls.append(("end", batch, logs))


def test_hooks_of_single_steps_have_the_metrics_of_their_batch() -> None:
    steps = Steps()
    net = classifier(fastdnn.SGD(0.0))
    given = batches(32, X, y)
    net.fit(function(given), callbacks=[steps], **FIT)
    assert [call[:2] for call in steps.calls] == [
        (what, i) for i in range(5) for what in ("begin", "end")
    ]
    for call, (X_i, y_i) in zip(steps.calls[1::2], given, strict=True):
        assert call[2]["accuracy"] == net.evaluate(X_i, y_i)["accuracy"]
    assert steps.calls[-1][2]["loss"] == pytest.approx(net.evaluate(X, y)["loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("source", "lengths"),
    [
        (batches(32, X, y), [5, 5]),
        (function(batches(32, X, y)), [None, 5]),
        (Indexed(batches(32, X, y)), [5, 5]),
    ],
)
def test_the_length_of_an_epoch_is_learned(
    source: Any, lengths: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    spy, net = Spy(), classifier()
    net.fit(source, epochs=2, callbacks=[spy], **FIT)
    calls = [call[1:3] for call in spy.calls if call[0] == "batches_end"]
    assert calls == [(i + 1, n) for n in lengths for i in range(5)]
    assert spy.params == {"epochs": 2, "steps": lengths[0]}
    assert net.history.params == spy.params
    net.fit(source, epochs=2, callbacks=[spy], steps_per_epoch=3, **FIT)
    assert spy.params == {"epochs": 2, "steps": 3}


def drawn(source: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """What `fit` writes to a terminal that is redrawn at every call."""
    from fastdnn.streaming import StreamBar

    class Eager(StreamBar):
        def on_epoch_begin(self, epoch: int) -> None:
            self._bar.delay = self._bar.mininterval = 0.0
            super().on_epoch_begin(epoch)

    monkeypatch.setattr("fastdnn.fitting.StreamBar", Eager)
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    classifier().fit(source, epochs=2, **options)
    return stream.getvalue()


def test_the_bar_shows_what_is_known_of_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    given = batches(32, X, y)
    known = drawn(given, monkeypatch, verbose=1)
    assert re.search(r"epoch 1/2 +20%\|", known)
    assert re.search(r"epoch 2/2 +100%\|", known)
    unknown = drawn(function(given), monkeypatch, verbose=1)
    assert "epoch 1/2 32.0 samples  00:00" in unknown
    assert "epoch 1/2 150 samples  00:00" in unknown
    assert not re.search(r"epoch 1/2 +\d+%", unknown)
    for percent in (21, 43, 64, 85, 100):  # of 150 samples
        assert re.search(rf"epoch 2/2 +{percent}%\|", unknown)
    steps = drawn(function(given), monkeypatch, verbose=1, steps_per_epoch=4)
    assert re.search(r"epoch 1/2 +25%\|", steps)
    for written in (known, unknown, steps):
        assert written.split("\r")[-1].strip() == "", "the bar is wiped away"
        assert re.search(r"epoch 2/2  loss \d\.\d{4}  accuracy .* samples/s\n", written)


@pytest.mark.parametrize(("stream", "verbose"), [(Terminal(), 2), (io.StringIO(), "auto")])
def test_lines_alone(stream: io.StringIO, verbose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := type(stream)())
    classifier().fit(function(batches(32, X, y)), epochs=2, verbose=verbose)
    lines = stream.getvalue().splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all(re.search(r"learning_rate 0.0010  [1-9]\d* samples/s$", line) for line in lines)


def test_a_wrong_verbose_takes_nothing_from_an_iterator() -> None:
    source = iter(batches(32, X, y))
    with pytest.raises(ValueError, match=r"^verbose: want"):
        classifier().fit(source, verbose=7)
    with pytest.raises(TypeError, match=r"^callbacks: want"):
        classifier().fit(source, callbacks=[3], verbose=0)  # type: ignore[list-item]
    assert len(list(source)) == 5


# ------------------------------------------------------------------------------- ends and errors
def test_an_iterator_serves_one_epoch() -> None:
    net, wanted = classifier(), classifier()
    net.fit(iter(batches(32, X, y)), **FIT)
    wanted.fit(X, y, shuffle=False, **FIT)
    assert_same(net, wanted)


def test_an_endless_iterator_is_gone_on_with_by_the_next_fit() -> None:
    given = batches(32, X, y)
    source = itertools.cycle(given)
    net, wanted = classifier(), classifier()
    for _ in range(3):
        net.fit(source, epochs=2, steps_per_epoch=2, **FIT)
    wanted.fit([*given, *given, *given][:12], **FIT)
    np.testing.assert_array_equal(net.parameters, wanted.parameters)


def test_an_iterator_that_ends_too_early_ends_the_training() -> None:
    net, spy = classifier(), Spy()
    with pytest.warns(
        UserWarning, match="^X: the iterator has given its last batch, after 2 of"
    ) as w:
        net.fit(iter(batches(32, X, y)), epochs=4, steps_per_epoch=3, callbacks=[spy], **FIT)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert net.history.epoch == [0, 1]
    assert (net._state.steps, net._state.epochs) == (5, 1)
    assert spy.calls[-1] == ("train_end",)
    with pytest.warns(UserWarning, match="^X: the iterator .*, at an epoch's end, ") as w:
        net.fit(iter(batches(32, X, y)[:4]), epochs=3, steps_per_epoch=2, **FIT)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert net.history.epoch == [0, 1]
    with pytest.warns(UserWarning, match="^X: the iterator .*, after 5 of the epoch's 9 steps"):
        net.fit(iter(batches(32, X, y)), steps_per_epoch=9, **FIT)


BAD_BATCHES: dict[str, tuple[Any, type[Exception], str]] = {
    "an array": (X[:32], TypeError, r"want a tuple \(X, y\) or .*, got ndarray$"),
    "X alone": ((X[:32],), TypeError, r"want a tuple .*, got tuple of 1$"),
    "four": ((X[:32],) * 4, TypeError, r"want a tuple .*, got tuple of 4$"),
    "a dict": ({"x": 1}, TypeError, r"want a tuple .*, got dict$"),
    "None": (None, TypeError, r"want a tuple .*, got NoneType$"),
    "features": ((X[:32, :3], y[:32]), ValueError, "X: want 4 features.*got 3$"),
    "NaN": ((X[:32] * np.nan, y[:32]), ValueError, r"X: want finite .* X\[0, 0\] \(128 such"),
    "labels": ((X[:32], y[:32] + 1), ValueError, "y: want classes 0 to 2"),
    "lengths": ((X[:32], y[:30]), ValueError, "y: want one target for each of X's 32 rows"),
    "weights": ((X[:32], y[:32], -W[:32]), ValueError, "sample_weight: want weights >= 0"),
    "nothing": ((X[:0], y[:0]), ValueError, "X: got no samples"),
    "text": (([["a"] * 4], [0]), TypeError, "X: want "),
    "images": (
        (np.ones((32, 2, 2, 1)), y[:32]),
        ValueError,
        r"X: .*shape \(32, 2, 2, 1\); flatten",
    ),
    "a sample": ((X[0], y[0]), ValueError, r"X: .*; a source gives batches, .*DataLoader$"),
}


@pytest.mark.parametrize("what", BAD_BATCHES)
@pytest.mark.parametrize("number", [0, 3])
def test_a_bad_batch_is_named_and_the_steps_before_it_are_kept(what: str, number: int) -> None:
    bad, error, message = BAD_BATCHES[what]
    given = batches(32, X, y)
    net, wanted, spy = classifier(), classifier(), Spy()
    before = net.parameters.copy()
    with pytest.raises(error, match=f"^X: batch {number}: {message}") as caught:
        net.fit(function([*given[:number], bad, *given]), callbacks=[spy], epochs=2, **FIT)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
    assert net._state.steps == number
    if number == 0:
        np.testing.assert_array_equal(net.parameters, before)
        assert spy.calls == []
    else:
        for batch in given[:number]:
            wanted.train_on_batch(*batch)
        np.testing.assert_array_equal(net.parameters, wanted.parameters)
        assert spy.calls[-1] == ("train_end",)
    net.fit(given, **FIT)
    assert net._state.steps == number + 5


def test_a_second_pass_without_batches() -> None:
    source = iter(batches(32, X, y))
    net = classifier()
    with pytest.raises(ValueError, match=r"^X: it gave no batch; want at least one in each pass$"):
        net.fit(lambda: source, epochs=2, **FIT)
    assert net._state.steps == 5


class OwnError(ValueError):
    """An error of the user's."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(one, other)


ERRORS = OwnError(1, 2), KeyboardInterrupt(), OSError("disk"), TypeError("text")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("number", [0, 2])
def test_an_error_of_the_source_comes_through(error: BaseException, number: int) -> None:
    def source() -> Iterator[Any]:
        yield from batches(32, X, y)[:number]
        raise error

    class Broken(Indexed):
        def __getitem__(self, i: int) -> Any:
            if i == number:
                raise error
            return super().__getitem__(i)

    for one in (source, Broken(batches(32, X, y))):
        net, spy = classifier(), Spy()
        with pytest.raises(type(error)) as caught:
            net.fit(one, callbacks=[spy], **FIT)
        assert caught.value is error
        assert net._state.steps == number
        assert (spy.calls[-1:] == [("train_end",)]) == (number > 0)
        net.fit(batches(32, X, y), **FIT)


def test_ctrl_c_within_a_step_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Engine.train
    calls = iter(range(10))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        outcome = train(*arguments, **options)
        if next(calls) == 2:
            raise KeyboardInterrupt
        return outcome

    net, wanted = classifier(), classifier()
    given = batches(32, X, y)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.fit(given, **FIT)
    assert net._state.steps == 3
    wanted.fit(given[:3], **FIT)
    np.testing.assert_array_equal(net.parameters, wanted.parameters)


def test_divergence_names_the_step() -> None:
    net = regressor(fastdnn.SGD(1e200))
    with pytest.raises(fastdnn.DivergenceError, match="step 1 of epoch 0"):
        net.fit(batches(32, X, y), **FIT)
    assert net._state.steps == 1


def test_stop_training_ends_after_the_epoch() -> None:
    def stop(model: Any) -> None:
        model.stop_training = True

    source, net = Iterable(batches(32, X, y)), classifier()
    net.fit(source, epochs=9, callbacks=[Spy(batches_end=stop)], **FIT)
    assert net.history.epoch == [0]
    assert net._state.steps == 5
    assert source.passes == 1


def test_an_indexed_source_is_told_of_each_pass() -> None:
    source = Indexed(batches(32, X, y))
    classifier().fit(source, epochs=3, **FIT)
    assert source.passes == 3
    classifier().evaluate(source)
    classifier().predict(source)
    assert source.passes == 5


def test_callbacks_that_watch_the_loss() -> None:
    plateau = fastdnn.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    stop = fastdnn.EarlyStopping("loss", patience=3, min_delta=1e9)
    source = function(batches(32, X, y))
    history = classifier().fit(source, epochs=9, callbacks=[plateau, stop], **FIT).history
    assert history["learning_rate"] == [0.001, 0.001, 0.0005, 0.00025]


def test_two_trainings_at_a_time_on_one_source() -> None:
    given = batches(5, X, y)
    wanted = wide()
    wanted.fit(given, epochs=3, **FIT)
    nets = [wide(), wide()]
    threads = [Thread(target=net.fit, args=(given,), kwargs={"epochs": 3, **FIT}) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets:
        assert_same(net, wanted)


def test_metrics_of_an_epoch_are_those_of_its_samples() -> None:
    def least(y_true: Array, y_pred: Array) -> float:
        return float(np.sort(y_pred[np.arange(len(y_true)), y_true])[3])

    rate = fastdnn.SGD(0.0)
    metrics = ["accuracy", "f1_macro", least]
    net, wanted = classifier(rate, metrics), classifier(rate, metrics)
    wanted.fit(X, y, shuffle=False, **FIT)
    for source in (batches(32, X, y), SOURCES["refilled"](batches(32, X, y))):
        net.fit(source, **FIT)
        for name, values in wanted.history.history.items():
            assert net.history.history[name] == pytest.approx(values, rel=1e-12), name
