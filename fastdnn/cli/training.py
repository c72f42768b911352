"""``fastdnn train``."""

from __future__ import annotations

import os
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from time import perf_counter

import fastdnn
from fastdnn._files import checked_output
from fastdnn.callbacks import Callback, EarlyStopping, History, ModelCheckpoint
from fastdnn.checkpoint import check_suffix
from fastdnn.data.datasets import Dataset, load
from fastdnn.divergence import DivergenceError
from fastdnn.machines import Alone, job_of, world
from fastdnn.model import Sequential
from fastdnn.plots import plot_history

from .networks import EMBED_ABOVE, build, hidden_layers_of, optimizer_of, target_scaled
from .scores import metric_of, score_of_test

SAVED_EVERY = 30  # seconds, with --resume


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
            print(f"test {score_of_test(model, dataset)}")
            if clock.seconds:
                print(f"{statistics.median(clock.seconds):.3g} seconds per epoch")
            print(f"model: {output}")
            _draw_curves(history, output.with_suffix(".png"))
            if kept is not None and status == 0:
                kept.unlink(missing_ok=True)

        job.agreed(finish if job.rank == 0 else lambda: None)
    return status


def _prepare(arguments: Namespace, job: Alone) -> tuple[Path, Dataset, Sequential]:
    """Return where the model goes, the data and the network, and show the two."""
    output = output_of(arguments, {".png": "the curves go"})
    if arguments.threads is not None:
        fastdnn.set_num_threads(arguments.threads)
    hidden, optimizer = hidden_layers_of(arguments), optimizer_of(arguments)
    dataset = load_data(arguments, _validation_split(arguments))
    if job.size > 1:
        print(f"{job.size} processes, each with its share of the training samples")
    model = build(hidden, optimizer, dataset, arguments, [metric_of(dataset)])
    model.summary()
    sys.stdout.flush()  # the progress goes to stderr
    return output, dataset, model


def output_of(arguments: Namespace, beside: Mapping[str, str]) -> Path:
    """Return where the model goes, if it can be written there and has none of these suffixes."""
    inputs = [] if arguments.data is None else [arguments.data]
    output = checked_output(arguments.output, "--output", inputs)
    check_suffix("--output", output)
    if output.suffix in beside:
        what = beside[output.suffix]
        raise ValueError(f"--output: {output} is where {what}; name the model .safetensors")
    return output


def load_data(arguments: Namespace, validation_split: float = 0.0) -> Dataset:
    """Return the data set that is asked for, and show it."""
    dataset = load(
        arguments.data,
        target=arguments.target,
        seed=arguments.seed,
        dtype=arguments.dtype,
        task=arguments.task,
        drop=arguments.drop or (),
        validation_split=validation_split,
        embed_above=EMBED_ABOVE,
    )
    print(f"data: {dataset}")
    print(dataset.report())
    return dataset


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
    validation = None
    if dataset.X_validation is not None and dataset.y_validation is not None:
        validation = dataset.X_validation[rows], target_scaled(dataset, dataset.y_validation)[rows]
    saving = [] if kept is None else [ModelCheckpoint(kept, every_seconds=SAVED_EVERY)]
    model.fit(
        dataset.X_train[rows],
        target_scaled(dataset, dataset.y_train)[rows],
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        validation_data=validation,
        callbacks=[*callbacks, *saving],
        resume_from=kept if job.first(kept is not None and kept.exists()) else None,
        n_threads=arguments.threads,
        comm=job.comm,
    )


def draw(what: str, path: Path, plot: Callable[[], object]) -> None:
    """Draw a picture if matplotlib is there, and say where it is, or why not."""
    try:
        plot()
    except ImportError as error:
        print(f"{what}: none ({error})")
    else:
        print(f"{what}: {path}")


def _draw_curves(history: History, path: Path) -> None:
    """Draw the training curves, if there are any."""
    if history.epoch:
        draw("curves", path, lambda: plot_history(history, path))
