"""Networks that predict as one: their mean or their votes, in one native call, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import ensemble
from fastdnn.ensemble import Ensemble
from tests.nets import WAYS, classifier, regressor, samples, wide

Array = np.ndarray[Any, Any]
X, y = samples(300)


def mixed() -> list[fastdnn.Sequential]:
    """Networks of other layers and dtypes, which go different ways through the kernels."""
    return [
        classifier(seed=1),
        wide(seed=2, dropout=0.5),
        classifier(seed=3, dtype="float64"),
        wide(seed=4),
        classifier(seed=5, dropout=0.2),
    ]


def binary(seed: int) -> fastdnn.Sequential:
    model = fastdnn.Sequential([fastdnn.Dense(1, "sigmoid")], input_size=4, seed=seed)
    model.compile("sgd", "binary_crossentropy")
    return model


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [None, 1, 64, 1000])
def test_the_mean_of_the_outputs(n: int, batch: int | None) -> None:
    models = mixed()
    outputs = [model.predict(X) for model in models]
    found = Ensemble(models).predict(X, batch, n_threads=n)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.mean(outputs, axis=0))
    each = Ensemble(models).predict_all(X, batch, n_threads=n)
    np.testing.assert_array_equal(each, outputs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("m", [0, 1, 5, 300])
def test_every_way_through_the_kernels(way: str, m: int) -> None:
    make, _ = WAYS[way]
    models = [make(seed=i) for i in range(3)]
    each = Ensemble(models).predict_all(X[:m], n_threads=2)
    np.testing.assert_array_equal(each, [model.predict(X[:m]) for model in models])


def test_many_ranks_and_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "CALL_FLOPS", 1)
    monkeypatch.setattr("fastdnn.kernels.cpu.threads.workers", lambda *flops: 3)
    models = mixed()
    with fastdnn.num_threads(3):
        found = Ensemble(models).predict(X, 32)
    np.testing.assert_array_equal(found, np.mean([model.predict(X) for model in models], axis=0))


@pytest.mark.parametrize(
    "given",
    [X.astype(np.int8), X.astype(np.float32), np.asfortranarray(X), X[::2], X.tolist(),
     scipy.sparse.csr_array(X)],
    ids=["int8", "float32", "Fortran", "strided", "list", "sparse"],
)  # fmt: skip
def test_x_of_any_kind(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdnn.data.rows.PART_BYTES", 400)
    models = mixed()
    wanted = [model.predict(given) for model in models]
    np.testing.assert_array_equal(Ensemble(models).predict(given), np.mean(wanted, axis=0))


def test_votes() -> None:
    models = mixed()
    found = Ensemble(models, "vote").predict(X)
    classes = np.array([model.predict(X).argmax(axis=1) for model in models])
    wanted = np.stack([(classes == k).mean(axis=0) for k in range(3)], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)
    pair = [binary(seed) for seed in range(4)]
    above = np.mean([model.predict(X) > 0.5 for model in pair], axis=0)
    np.testing.assert_array_equal(Ensemble(pair, "vote").predict(X), above)


def test_it_is_better_than_its_networks() -> None:
    models = [wide(fastdnn.Adam(0.01), seed=i) for i in range(8)]
    rows = [np.random.default_rng(i).integers(200, size=200) for i in range(8)]
    fastdnn.fit_many(models, X[:200], y[:200], subsets=rows, epochs=60, verbose=0)
    unseen, labels = X[200:], y[200:]

    def loss(A: Array) -> float:
        return -float(np.log(A[range(100), labels] + 1e-7).mean())

    joined = Ensemble(models)
    assert loss(joined.predict(unseen)) < np.mean([loss(A) for A in joined.predict_all(unseen)])


def test_a_file_holds_it_all(tmp_path: Path) -> None:
    models = mixed()
    fastdnn.fit_many(models, X, y, epochs=2, verbose=0)
    path = tmp_path / "ensemble.safetensors"
    Ensemble(models, "vote").save(path, metadata={"who": "me"})
    read = Ensemble.load(path)
    assert (read.method, len(read), read.models[0].metadata) == ("vote", 5, {"who": "me"})
    np.testing.assert_array_equal(read.predict(X), Ensemble(models, "vote").predict(X))
    for model, own in zip(read.models, models, strict=True):
        model.fit(X, y, verbose=0)
        own.fit(X, y, verbose=0)
        assert model.parameters.tobytes() == own.parameters.tobytes()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    classifier().save(path)
    with pytest.raises(ValueError, match="want an ensemble, got a single model"):
        Ensemble.load(path)
    Ensemble([classifier()]).save(path)
    with pytest.raises(ValueError, match=r"want a single model, got an ensemble"):
        fastdnn.load(path)
    with pytest.raises(FileNotFoundError):
        Ensemble.load(tmp_path / "none")


@pytest.mark.parametrize("harm", ["models", "tensor", "number"])
def test_a_damaged_file_is_refused(harm: str, tmp_path: Path) -> None:
    from fastdnn import checkpoint

    path = tmp_path / "model.safetensors"
    Ensemble([classifier(), classifier()]).save(path)
    config, tensors, metadata = checkpoint.read(path)
    if harm == "models":
        config["models"] = config["models"][:1]
    elif harm == "tensor":
        del tensors["1/W1"]
    else:
        tensors["x/W1"] = tensors["1/W1"]
    checkpoint.write(path, checkpoint.Content(config, tensors, metadata))
    with pytest.raises(ValueError, match="damaged model file"):
        Ensemble.load(path)


def test_outputs_that_are_not_finite_are_told() -> None:
    models = [regressor(), regressor(seed=1)]
    models[1].parameters[...] = np.inf
    with pytest.warns(RuntimeWarning, match="row 0 of X"):
        Ensemble(models).predict(X)


def test_a_model_that_trains_meanwhile_is_read_between_its_steps() -> None:
    model, other, seen = wide(), wide(seed=1), list[Array]()

    class Predicts(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append(Ensemble([model, other]).predict(X))

    model.fit(X, y, callbacks=[Predicts()], verbose=0)
    wanted = np.mean([model.predict(X), other.predict(X)], axis=0)
    np.testing.assert_array_equal(seen[0], wanted)


def test_mistakes() -> None:
    one: Any
    for one, kind, message in [
        ([], ValueError, "want at least one network"),
        ([classifier(), 3], TypeError, "want Sequential objects, got 3 at 1"),
        ([classifier(), regressor()], ValueError, r"got \(4, 3\) at 0 and \(4, 1\) at 1"),
        ([classifier(input_size=None)], RuntimeError, "parameters"),
    ]:
        with pytest.raises(kind, match=message):
            Ensemble(one)
    with pytest.raises(ValueError, match="each network once"):
        Ensemble([classifier()] * 2)
    with pytest.raises(ValueError, match="'vote' wants classifiers"):
        Ensemble([regressor()], "vote")
    with pytest.raises(ValueError, match="method: unknown name 'votes'; did you mean 'vote'"):
        Ensemble([classifier()], "votes")
    with pytest.raises(ValueError, match="X: want 4 features"):
        Ensemble(mixed()).predict(X[:, :3])
    with pytest.raises(RuntimeError, match="does not know its labels"):
        Ensemble(mixed()).predict_labels(X)
