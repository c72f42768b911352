"""What the sub-commands of ``fastdnn`` do; each takes its arguments and returns the exit status."""

from __future__ import annotations

import csv
import os
import statistics
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from itertools import chain
from pathlib import Path
from time import perf_counter

import fastdnn
from fastdnn import kernels, optimizers
from fastdnn._files import checked_output, replacing
from fastdnn.callbacks import Callback, EarlyStopping, History, ModelCheckpoint
from fastdnn.checkpoint import check_suffix
from fastdnn.data.datasets import Dataset, load, load_new
from fastdnn.data.labels import as_numbers, missing_labels
from fastdnn.data.preparation import Preparation
from fastdnn.data.tables import Array, quoted
from fastdnn.divergence import DivergenceError
from fastdnn.embedding import ColumnEmbedding, embedding_size
from fastdnn.layer import Layer
from fastdnn.layers import Dense
from fastdnn.machines import Alone, job_of, world
from fastdnn.metrics import r2, root_mean_squared_error
from fastdnn.model import Sequential
from fastdnn.normalization import hidden_layers
from fastdnn.optimizers import Optimizer
from fastdnn.plots import plot_history
from fastdnn.regularizers import L2

SAVED_EVERY = 30  # seconds, with --resume
# Months, weekdays and their like keep an input for each value, whose weights can be read; each
# further value would be a column more of X and of W_1.
EMBED_ABOVE = 16


def train(arguments: Namespace) -> int:
    """Train a network, save it, say how good it is, and draw its curves.

    Under ``mpiexec`` each process trains on its rows, and the first one alone prints and writes.
    """
    job = job_of(world())
    with _as_one(job), job.running():
        output, dataset, model = job.agreed(lambda: _prepare(arguments, job))
        history, clock, stopping = History(), _Clock(), _stopping(arguments)
        kept = _checkpoint(output) if arguments.resume else None
        status = 0
        try:
            _fit(model, dataset, arguments, [history, clock, *stopping], kept, job)
        except (KeyboardInterrupt, SystemExit) as stopped:
            status = 130 if isinstance(stopped, KeyboardInterrupt) else 143
            how = "Ctrl-C" if status == 130 else "SIGTERM"
            if job.rank == 0:
                print(f"fastdnn: stopped by {how}; saving the model as it is now", file=sys.stderr)
        except OSError as error:
            if kept is None or error.filename != str(kept):
                raise
            # All epochs are done, and the model itself may have room.
            print(f"fastdnn: {kept} could not be written ({error.strerror})", file=sys.stderr)

        def finish() -> None:
            # First of all: a second Ctrl-C, or a reader of stdout that leaves, ends what follows.
            model.save(output, metadata=dataset.preparation.to_metadata())
            for one in stopping:
                if one.best_epoch is not None:
                    best = one.best_epoch + 1
                    print(f"weights: those of epoch {best}, of the least validation loss")
            classes, y = dataset.classes, dataset.y_test
            A = dataset.preparation.outputs(model.predict(dataset.X_test))
            print(f"test {_score(dataset.preparation, A, y if classes is None else classes[y])}")
            if clock.seconds:
                print(f"{statistics.median(clock.seconds):.3g} seconds per epoch")
            print(f"model: {output}")
            _draw(history, output.with_suffix(".png"))
            if kept is not None and status == 0:
                kept.unlink(missing_ok=True)

        job.agreed(finish if job.rank == 0 else lambda: None)
    return status


def _prepare(arguments: Namespace, job: Alone) -> tuple[Path, Dataset, Sequential]:
    """Return where the model goes, the data and the network, and show the two."""
    inputs = [] if arguments.data is None else [arguments.data]
    output = checked_output(arguments.output, "--output", inputs)
    check_suffix("--output", output)
    if output.suffix == ".png":
        raise ValueError(f"--output: {output} is where the curves go; name the model .safetensors")
    if arguments.threads is not None:
        fastdnn.set_num_threads(arguments.threads)
    hidden, optimizer = _hidden_layers(arguments), _optimizer(arguments)
    dataset = load(
        arguments.data,
        target=arguments.target,
        seed=arguments.seed,
        dtype=arguments.dtype,
        task=arguments.task,
        drop=arguments.drop or (),
        validation_split=_validation_split(arguments),
        embed_above=EMBED_ABOVE,
    )
    print(f"data: {dataset}")
    print(dataset.report())
    if job.size > 1:
        print(f"{job.size} processes, each with its share of the training samples")
    model = _build(hidden, optimizer, dataset, arguments)
    model.summary()
    sys.stdout.flush()  # the progress goes to stderr
    return output, dataset, model


@contextmanager
def _as_one(job: Alone) -> Iterator[None]:
    """Have the first of several processes print what all of them would, errors too."""
    if job.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        except DivergenceError:
            raise SystemExit(1) from None
        except Exception:  # rank 0 raises it too
            raise SystemExit(2) from None


def predict(arguments: Namespace) -> int:
    """Write the label of each sample, and on stderr how many are right if the data have labels."""
    output = None
    if arguments.output is not None:
        inputs = [arguments.model, arguments.data]
        output = checked_output(arguments.output, "--output", inputs)
    model = _load_model(arguments.model)
    preparation = model.preparation
    if preparation is None:
        raise ValueError(
            f"{arguments.model}: the model does not say how its data were prepared, as those of"
            " 'fastdnn train' do; use fastdnn.load(path).predict(X) in Python"
        )
    if arguments.probabilities and preparation.classes is None:
        raise ValueError("--probabilities: the model predicts numbers; it has no classes")
    X, y = load_new(arguments.data, preparation, model.dtype)
    model.preparation = None  # X is prepared
    A = preparation.outputs(model.predict(X, verbose="auto"))
    rows = _rows(preparation, A, arguments.probabilities)
    if output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with (
            replacing(output) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows(rows)
    if y is not None and not missing_labels(y).all():
        print(_score(preparation, A, y), file=sys.stderr)
    return 0


def _rows(preparation: Preparation, A: Array, probabilities: bool) -> Iterator[list[str]]:
    """What `predict` writes of the outputs A: a label a row, or a probability for each class."""
    if preparation.classes is None:
        return ([f"{value:.8g}"] for value in preparation.labels(A).tolist())
    if not probabilities:
        return ([str(label)] for label in preparation.labels(A).tolist())
    head = [str(label) for label in preparation.classes.tolist()]
    return chain([head], ([f"{p:.8g}" for p in row] for row in A.tolist()))


def summary(arguments: Namespace) -> int:
    """Show a network, and what it was trained on."""
    model = _load_model(arguments.model)
    model.summary()
    preparation = model.preparation
    if preparation is None:
        return 0  # saved from Python: there is nothing more to show
    print(f"trained on: {preparation.data}")
    if preparation.features is not None:
        print(f"features: {quoted(preparation.features)}")
    if preparation.target is not None:
        print(f"target: {preparation.target!r}")
    if preparation.classes is not None:
        print(f"classes: {quoted([str(label) for label in preparation.classes])}")
    if preparation.report():  # files of 0.1.0 have none
        print(preparation.report())
    return 0


def export(arguments: Namespace) -> int:
    """Write a network as an ONNX file."""
    output = checked_output(arguments.output, "OUT.onnx", [arguments.model])
    if output.suffix != ".onnx":
        raise ValueError(f"OUT.onnx: want a name that ends so, got {output}")
    model = _load_model(arguments.model)
    is_prepared, model.preparation = model.preparation is not None, None
    model.to_onnx(output)
    print(f"network: {output}")
    if is_prepared:
        print(
            "fastdnn: the file takes the numbers that the model makes of a table, not the table;"
            " in Python model.preparation.inputs(table, model.dtype) makes them",
            file=sys.stderr,
        )
    return 0


def info(arguments: Namespace) -> int:
    """Show what the speed depends on."""
    facts = {"fastdnn": fastdnn.__version__, **kernels.info()}
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def warmup(arguments: Namespace) -> int:
    """Compile all there is, so that no later process has to."""
    start = perf_counter()
    kernels.warmup()
    print(f"compiled in {perf_counter() - start:.1f} s; kept in {kernels.info()['cache folder']}")
    return 0


class _Clock(Callback):
    """How long the steps of each finished epoch took, without its validation."""

    is_kept = False  # a resumed training measures its own epochs

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = self._last = perf_counter()

    def on_batches_end(self, step: int, n_steps: int | None, logs: dict[str, float]) -> None:
        self._last = perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.seconds.append(self._last - self._start)


def _validation_split(arguments: Namespace) -> float:
    """Return the share that is asked for; early stopping needs one."""
    share: float | None = arguments.validation_split
    if share is None:
        return 0.0 if arguments.early_stopping is None else 0.1
    if share == 0 and arguments.early_stopping is not None:
        raise ValueError("--validation-split: 0; --early-stopping needs samples to validate on")
    return share


def _stopping(arguments: Namespace) -> list[EarlyStopping]:
    """Return the callback that ends the training early, if that is asked for."""
    if arguments.early_stopping is None:
        return []
    patience = arguments.early_stopping
    return [EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]


def _checkpoint(output: Path) -> Path:
    """Return where the training is kept while it lasts."""
    return output.with_name(f"{output.stem}-training.safetensors")


def _dense(units: int, activation: str | None, arguments: Namespace) -> Dense:
    return Dense(units, activation, kernel_regularizer=L2(arguments.l2))


def _hidden_layers(arguments: Namespace) -> list[Layer]:
    """Return the hidden layers, made before the data are read: a wrong name shows at once."""
    Dense(1, arguments.activation)  # also where there is no hidden layer
    settings = {"normalization": arguments.normalization, "dropout": arguments.dropout}
    penalty = L2(arguments.l2)
    layers: list[Layer] = []
    for n in arguments.layers:
        layers += hidden_layers(n, arguments.activation, kernel_regularizer=penalty, **settings)
    return layers


def _optimizer(arguments: Namespace) -> Optimizer:
    """Return the optimizer, with its own learning rate unless another is given."""
    optimizer = optimizers.get(arguments.optimizer)
    if arguments.learning_rate is None:
        return optimizer
    return replace(optimizer, learning_rate=arguments.learning_rate)


def _build(
    hidden: list[Layer], optimizer: Optimizer, dataset: Dataset, arguments: Namespace
) -> Sequential:
    """A compiled network for a data set: softmax over its classes, or one output for its target."""
    if dataset.classes is None:
        last, loss, metric = _dense(1, None, arguments), "mean_squared_error", "r2"
    else:
        last = _dense(len(dataset.classes), "softmax", arguments)
        loss, metric = "sparse_categorical_crossentropy", "accuracy"
    model = Sequential(
        [*_embedding(dataset.preparation), *hidden, last],
        input_size=dataset.X_train.shape[1],
        dtype=arguments.dtype,
        seed=arguments.seed,
    )
    first = model.layers[0]
    for E in first.E if isinstance(first, ColumnEmbedding) else ():
        E[0] = 0.0  # of what training never shows, as with an input for each value
    model.compile(optimizer, loss, [metric])
    return model


def _embedding(preparation: Preparation) -> list[Layer]:
    """The layer for the columns of X that are whole numbers, if there are any."""
    cardinalities = preparation.cardinalities
    if not cardinalities:
        return []
    counts = tuple(cardinalities.values())
    return [ColumnEmbedding(tuple(cardinalities), counts, tuple(map(embedding_size, counts)))]


def _fit(
    model: Sequential,
    dataset: Dataset,
    arguments: Namespace,
    callbacks: list[Callback],
    kept: Path | None,
    job: Alone,
) -> None:
    """Train, and validate after each epoch if there is a validation part.

    The training is saved to `kept` now and then, and goes on from there if there is such a file.
    """
    rows = slice(job.rank, None, job.size)  # of this process
    scaling = dataset.preparation.target_scaling

    def targets(y: Array) -> Array:
        return y if scaling is None else scaling.apply(y, arguments.dtype)

    validation = None
    if dataset.X_validation is not None and dataset.y_validation is not None:
        validation = dataset.X_validation[rows], targets(dataset.y_validation)[rows]
    saving = [] if kept is None else [ModelCheckpoint(kept, every_seconds=SAVED_EVERY)]
    model.fit(
        dataset.X_train[rows],
        targets(dataset.y_train)[rows],
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        validation_data=validation,
        callbacks=[*callbacks, *saving],
        resume_from=kept if job.first(kept is not None and kept.exists()) else None,
        n_threads=arguments.threads,
        comm=job.comm,
    )


def _score(preparation: Preparation, A: Array, y: Array) -> str:
    """How well outputs A agree with labels y as a file has them, where it has them."""
    known = ~missing_labels(y)
    truth = y[known]
    if preparation.classes is None:
        predicted, numbers = preparation.labels(A)[known], as_numbers(truth)
        if numbers is None:
            raise ValueError(f"labels: {truth[0]!s} is text; the model predicts numbers")
        rmse = root_mean_squared_error(numbers, predicted)
        return f"R2 {r2(numbers, predicted):.4f}, RMSE {rmse:.6g}"
    right = A[known].argmax(axis=1) == preparation.codes(truth)
    return f"accuracy {right.mean():.4f} ({right.sum()} of {len(right)})"


def _draw(history: History, path: Path) -> None:
    """Draw the training curves, if there are any and matplotlib is there."""
    if not history.epoch:
        return
    try:
        plot_history(history, path)
    except ImportError as error:
        print(f"curves: none ({error})")
    else:
        print(f"curves: {path}")


def _load_model(path: str) -> Sequential:
    """Return a saved network."""
    if Path(path).is_dir():
        raise ValueError(f"{path}: a folder; name a model file that 'fastdnn train' wrote")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such model file; 'fastdnn train' writes one")
    return fastdnn.load(path)
