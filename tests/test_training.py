"""Training on samples in memory: any numbers and layout, the same bits, no second copy."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import loop
from fastdnn.data import rows
from fastdnn.kernels.compiler import jit, native
from fastdnn.kernels.elementwise import losses
from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.parallel import entry
from fastdnn.kernels.passes.step import run
from fastdnn.training import Draw, Trainer
from tests.nets import WAYS, Spy, classifier, fingerprint, regressor, samples, wide
from tests.sources import peak

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}
M = 150
MORE = samples(M)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 2.0, M)


def mapped(dtype: str, order: Any = "C") -> Callable[[Array, Path], Array]:
    """Return what writes X to a file and maps it read-only."""

    def make(given: Array, folder: Path) -> Array:
        file = np.memmap(folder / "X", dtype, "w+", shape=given.shape, order=order)
        file[...] = given
        file.flush()
        return np.memmap(folder / "X", dtype, "r", shape=given.shape, order=order)

    return make


def packed(given: Array, folder: Path) -> Array:
    """X as a field of records that lie between whole elements."""
    records = np.zeros(len(given), [("flag", "u1"), ("X", "f4", given.shape[1])])
    records["X"] = given
    return records["X"]


# whole numbers from 0: the same in every dtype
MEMORY: dict[str, Callable[[Array, Path], Any]] = {
    "mapped float32": mapped("f4"),
    "mapped float64": mapped("f8"),
    "mapped uint8": mapped("u1"),
    "mapped big-endian": mapped(">f4"),
    "mapped big-endian float64": mapped(">f8"),
    "mapped Fortran": mapped("f4", "F"),
    "mapped uint8, Fortran": mapped("u1", "F"),
    "float16": lambda given, folder: given.astype(np.float16),
    "bool and int": lambda given, folder: given.astype(np.int32),
    "backwards": lambda given, folder: given[::-1].copy()[::-1],
    "packed": packed,
    "csr": lambda given, folder: scipy.sparse.csr_array(given),
    "csr of uint8": lambda given, folder: scipy.sparse.csr_matrix(given.astype(np.uint8)),
    "csc": lambda given, folder: scipy.sparse.csc_array(given),
    "coo": lambda given, folder: scipy.sparse.coo_array(given),
    "nested lists": lambda given, folder: given.tolist(),
}


@pytest.mark.parametrize("way", ["tiny", "resident", "blocked", "tiny, one sample"])
@pytest.mark.parametrize("what", MEMORY)
def test_samples_of_any_kind_have_the_same_bits(
    way: str, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make, batch = WAYS[way]
    plain, labels = MORE[0] + 3, MORE[1]
    given = MEMORY[what](plain, tmp_path)
    weighed: dict[str, Any] = {"sample_weight": WEIGHTS, "class_weight": {1: 3.0}}
    unseen: dict[str, Any] = {"validation_split": 0.3}
    for dtype, options in (("float32", weighed), ("float64", unseen | {"shuffle": False})):
        wanted = make(dtype=dtype, dropout=0.2, metrics=["accuracy"])
        wanted.fit(plain, labels, batch, 2, 0, **options)
        for size in (16_000_000, 7 * plain.shape[1] * 8 * batch, 1):  # of batches at a time
            monkeypatch.setattr(rows, "PART_BYTES", size)
            net = make(dtype=dtype, dropout=0.2, metrics=["accuracy"])
            net.fit(given, labels, batch, 2, 0, **options)
            np.testing.assert_array_equal(net.parameters, wanted.parameters)
            assert net.history.history == wanted.history.history
            assert net._state.steps == wanted._state.steps
            assert net.evaluate(given, labels) == wanted.evaluate(plain, labels)
            np.testing.assert_array_equal(net.predict(given), wanted.predict(plain))


@pytest.mark.parametrize("steps", [3, 7])
@pytest.mark.parametrize("slice_seconds", [0.0, 1e9])
def test_parts_and_slices_change_nothing(
    steps: int, slice_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 3, "steps_per_epoch": steps, **FIT}
    wanted = wide(dropout=0.2)
    wanted.fit(X, y, **options)
    monkeypatch.setattr(loop, "SLICE_SECONDS", slice_seconds)
    for size in (1, 2, 3):
        monkeypatch.setattr(rows, "PART_BYTES", size * 16 * 4 * 4)
        net = wide(dropout=0.2)
        net.fit(scipy.sparse.csr_array(X.astype(np.int8)), y, **options)
        np.testing.assert_array_equal(net.parameters, wanted.parameters)
        assert net.history.history == wanted.history.history
        assert net._state.epochs == wanted._state.epochs


def test_ctrl_c_between_parts_counts_the_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises KeyboardInterrupt when a native call returns, with parts still to come."""
    train = Engine.train

    def interrupted(*arguments: Any, **options: Any) -> Any:
        train(*arguments, **options)
        raise KeyboardInterrupt

    whole, broken = classifier(), classifier()
    given = scipy.sparse.csr_array(X)
    monkeypatch.setattr(rows, "PART_BYTES", 1)
    whole.fit(given[:16], y[:16], shuffle=False, **FIT)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train", interrupted)
        patch.setattr(loop, "SLICE_SECONDS", 1e9)
        with pytest.raises(KeyboardInterrupt):
            broken.fit(given, y, shuffle=False, **FIT)
    assert broken._state.steps == 1
    np.testing.assert_array_equal(broken.parameters, whole.parameters)


def test_an_error_of_reading_a_part_counts_the_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(9))
    read = rows.dense

    def broken_disk(given: Any, dtype: Any) -> Array:
        if next(calls) == 2:
            raise OSError("disk")
        return read(given, dtype)

    monkeypatch.setattr(rows, "PART_BYTES", 1)
    monkeypatch.setattr("fastdnn.training.dense", broken_disk)
    net, spy = classifier(), Spy()
    with pytest.raises(OSError, match="disk"):
        net.fit(X.astype(np.int8), y, callbacks=[spy], **FIT)
    assert net._state.steps == 2
    assert spy.calls[-1] == ("train_end",)


def test_divergence_in_a_part_names_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PART_BYTES", 1)
    large = scipy.sparse.csr_array(X * np.where(np.arange(50) < 32, 1.0, 1e38)[:, None])
    net = regressor(fastdnn.SGD(0.0), dtype="float32")
    net.parameters[...] = 0
    with pytest.raises(fastdnn.DivergenceError, match=r"gradient of step 2 of epoch 0 .*\(step 2"):
        net.fit(large, np.full(50, 1e3), shuffle=False, **FIT)
    assert net._state.steps == 2


def test_much_data_of_other_numbers_is_refused_as_if_no_step_had_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "PART_BYTES", 10_000)
    plain, labels = samples(4000)
    plain[1999, 2] = np.nan
    half = np.where(plain == 3, 1e39, plain)
    for bad in (plain.astype(np.float16), plain.astype(">f8"), scipy.sparse.csr_array(plain)):
        for make in (classifier, wide):
            net = make()
            before = fingerprint(net)
            with pytest.raises(ValueError, match=r"^X: want finite .* at X\[1999, 2\] \(1 such"):
                net.fit(bad, labels, verbose=0)
            assert fingerprint(net) == before
    for bad in (half.astype(">f8"), scipy.sparse.csr_array(half)):
        net = wide()
        with pytest.raises(ValueError, match=r"^X: want finite numbers of float32, got 1e\+39 at"):
            net.fit(bad, labels, verbose=0)


# --------------------------------------------------------------------------------------- memory
MANY, FEATURES = 20_000, 400
BYTES = np.random.default_rng(0).integers(0, 2, (MANY, FEATURES)).astype(np.uint8)
TALL: dict[str, Callable[[], Any]] = {
    "uint8": lambda: BYTES,
    "float16": lambda: BYTES.astype(np.float16),
    "big-endian": lambda: BYTES.astype(">f4"),
    "float32": lambda: BYTES.astype(np.float32),
    "float64": lambda: BYTES.astype(np.float64),
    "Fortran": lambda: np.asfortranarray(BYTES, np.float32),
    "packed": lambda: packed(BYTES, Path()),
    "csr": lambda: scipy.sparse.csr_array(BYTES.astype(np.float32)),
    "csr of uint8": lambda: scipy.sparse.csr_array(BYTES),
}


@pytest.mark.parametrize("what", TALL)
def test_no_second_copy_is_made(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 million features: 8 MB in one byte each."""
    monkeypatch.setattr(rows, "PART_BYTES", 200_000)
    given, labels = TALL[what](), np.arange(MANY) % 3
    net = classifier(input_size=FEATURES, metrics=[])
    net.fit(given[:64], labels[:64], **FIT)
    options: dict[str, Any] = {"batch_size": 64, "verbose": 0}
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: net.fit(given, labels, **options),
        "split": lambda: net.fit(given, labels, validation_split=0.4, **options),
        "in order": lambda: net.fit(given, labels, shuffle=False, **options),
        "validation": lambda: net.fit(
            given[:64], labels[:64], validation_data=(given, labels), **options
        ),
        "evaluate": lambda: net.evaluate(given, labels),
        "predict": lambda: net.predict(given),
    }
    for name, call in calls.items():
        call()  # what is made once is there
        assert peak(call) < 5e6, name  # most of it is batches of 1024


def test_a_file_larger_than_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "X"
    with path.open("wb") as file:
        file.truncate(200_000 * 400)  # of zeros, 320 MB as float32
    given = np.memmap(path, np.uint8, "r", shape=(200_000, 400))
    assert isinstance(given._mmap, mmap.mmap)  # type: ignore[attr-defined]
    net = classifier(input_size=400)
    labels = np.zeros(200_000, int)
    assert peak(lambda: net.fit(given, labels, 1000, verbose=0)) < 60e6


# ---------------------------------------------------------------------------------------- trainer
def test_a_trainer_draws_the_samples_of_each_pass() -> None:
    """An order and weights of the caller's own, by the number of the pass."""
    drawn, by_hand = (classifier(dtype="float64") for _ in range(2))
    rng = np.random.default_rng(0)
    draws = [Draw(rng.permutation(50), rng.uniform(size=50)) for _ in range(3)]
    numbers: list[int] = []

    def draw(first: int, passes: int) -> Draw:
        numbers.append(first)
        assert passes == 1
        return draws[first]

    data = drawn._checked(X, y, None, 4)
    trainer = Trainer(
        engine=drawn._ready(data), lock=drawn.lock, optimizer=drawn.optimizer, state=drawn._state,
        metrics={}, data=data, batch=16, draw=draw,
    )  # fmt: skip
    for epoch in range(3):
        trainer.epoch(epoch)
    assert numbers == [0, 1, 2]
    for order, weights in draws:
        assert weights is not None
        options: dict[str, Any] = {"sample_weight": weights[order], "shuffle": False}
        by_hand.fit(X[order], y[order], **options, **FIT)
    np.testing.assert_allclose(drawn.parameters, by_hand.parameters, rtol=1e-12)


# --------------------------------------------------------------------------------- compiling
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", ["mean_squared_error", "log_cosh"])
def test_nothing_is_compiled_within_an_epoch(
    threads: int, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its rate would be that of the compiler; also what starts threads, and rare losses."""
    happened: list[str] = []
    compile_cached = jit.compile_cached

    def told(function: Any, *given: Any, **options: Any) -> Any:
        happened.append("compiled")
        return compile_cached(function, *given, **options)

    class Epochs(fastdnn.Callback):
        def on_train_begin(self) -> None:
            happened.append("begin")

    monkeypatch.setattr(jit, "compile_cached", told)
    monkeypatch.setattr(entry, "compile_cached", told)
    monkeypatch.setattr(run, "_compiled", {})
    monkeypatch.setattr(run, "_starters", {})
    monkeypatch.setattr(native, "_kept", {})
    for spare in losses.SPARES:
        monkeypatch.setattr(spare, "_results", {})
    for width in (8, 700):  # resident and blocked
        rng = np.random.default_rng(0)
        inputs, targets = rng.normal(size=(512, width)), rng.normal(size=(512, 1))
        model = fastdnn.Sequential([fastdnn.Dense(width), fastdnn.Dense(1)])
        model.compile("adam", loss)
        with fastdnn.num_threads(threads):
            model.fit(inputs, targets, batch_size=256, callbacks=[Epochs()], verbose=0)
        assert "compiled" not in happened[happened.index("begin") :]
        happened.clear()
