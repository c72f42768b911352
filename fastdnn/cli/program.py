"""The ``fastdnn`` command."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

import numba

from fastdnn import DivergenceError, __version__
from fastdnn._streams import Careful
from fastdnn.data.datasets import KINDS
from fastdnn.data.labels import RULE
from fastdnn.kernels.cpu.threads import available_cpus
from fastdnn.normalization import NORMALIZATIONS
from fastdnn.optimizers import OPTIMIZERS

from . import commands
from .search import search as run_search
from .training import train as run_train

PATIENCE = 10  # epochs
Add = Callable[..., object]  # argparse's add_argument
_STATUS = (
    "exit status: 0 done, 1 the training diverged, 2 bad input (one line on stderr says what),"
    " 130 stopped by Ctrl-C, 143 by SIGTERM (train saves the model as it is then)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str or None
        The arguments after the command's name; None takes the process's.

    Returns
    -------
    int
        The exit status: 0 done, 1 diverged, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    _fill_descriptors()
    with redirect_stdout(Careful(sys.stdout)), redirect_stderr(Careful(sys.stderr)):
        try:
            return _run(argv)
        except KeyboardInterrupt:
            return _fail("stopped by Ctrl-C", 130)
        except BrokenPipeError:
            return _leave_pipe()
        except DivergenceError as error:
            return _fail(f"{error} Nothing was written.", 1)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            return _fail(f"{what}{error.strerror or error}", 2)
        except (ValueError, TypeError, ImportError, MemoryError) as error:
            return _fail(error, 2)
        except RuntimeError as error:
            if "home directory" not in str(error):  # as pathlib says it
                raise
            return _fail("'~': this user has no home folder; write the whole path", 2)


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    status = run(arguments)
    sys.stdout.flush()
    return status


def _leave_pipe() -> int:
    """End as other commands do whose reader, `head` perhaps, has enough."""
    # at exit Python would write the rest, and fail too
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141  # 128 + SIGPIPE, as a shell reports them


def _fill_descriptors() -> None:
    """Have standard streams that are closed lead nowhere: a file would take their place."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (taken := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(taken)


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; '{self.prog} --help' says more")


def _parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    parser = _Parser(
        prog="fastdnn",
        description="Train fully connected deep networks on the CPU, and use them.",
        epilog=_STATUS,
    )
    parser.add_argument("--version", action="version", version=f"fastdnn {__version__}")
    add = parser.add_subparsers(metavar="COMMAND", required=True).add_parser
    _add_train(add("train", help="train a network (without arguments: on images of digits)"))

    _add_search(
        add("search", help="find good settings: train many networks, and keep the best one")
    )

    predict = add("predict", help="label new data with a trained network")
    predict.add_argument("model", metavar="MODEL", help="a file that 'fastdnn train' wrote")
    predict.add_argument("data", metavar="DATA", help=f"{KINDS}; or one IDX file of images")
    predict.add_argument(
        "--output", metavar="CSV", help="write the labels here, one a line (default: to stdout)"
    )
    predict.add_argument(
        "--probabilities",
        action="store_true",
        help="write the probability of each class instead, under a line of their names",
    )
    predict.set_defaults(run=commands.predict)

    summary = add("summary", help="show a network's layers, shapes and number of parameters")
    summary.add_argument("model", metavar="MODEL", help="a file that fastdnn wrote")
    summary.set_defaults(run=commands.summary)

    export = add("export", help="write a network as an ONNX file, for other programs")
    export.add_argument("model", metavar="MODEL", help="a file that fastdnn wrote")
    export.add_argument("output", metavar="OUT.onnx", help="the file to write; needs onnx")
    export.set_defaults(run=commands.export)

    _add_bench(add("bench", help="time training beside the other libraries that are installed"))

    info = add("info", help="show versions, CPU, threads and the cache of compiled code")
    info.set_defaults(run=commands.info)

    warmup = add("warmup", help="compile everything now, as in a container's build")
    warmup.set_defaults(run=commands.warmup)
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fastdnn train``."""
    train.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    train.epilog = _STATUS
    train.set_defaults(run=run_train)
    _add_data(train.add_argument_group("data").add_argument)
    network = train.add_argument_group("network")
    add = network.add_argument
    add(
        "--layers",
        type=_layers,
        default="256,128",
        metavar="N,N,…",
        help='units of hidden layers; "" for none, which makes a linear model',
    )
    add("--activation", default="relu", metavar="NAME", help="of the hidden layers")
    add(
        "--normalization",
        choices=NORMALIZATIONS,
        help="of the hidden layers, before the activation: of each unit over the batch, of each"
        " sample over the units, or of its mean square alone",
    )
    add(
        "--dropout", type=_number(0, 1), default=0.0, metavar="RATE", help="after each hidden layer"
    )
    add(
        "--l2",
        type=_number(0),
        default=0.0,
        metavar="L2",
        help="penalty L2 * sum(W ** 2) on each layer's weights",
    )
    add("--dtype", choices=("float32", "float64"), default="float32", help="of the arithmetic")
    _add_training(train.add_argument_group("training").add_argument)


def _add_search(search: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fastdnn search``."""
    search.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    search.description = (
        "Train a network for each combination of the values of the settings, on all folds of the"
        " training part but one, and score it on that one; then train the best on all of it. The"
        " test samples, a fifth of all, are used once, at the end."
    )
    search.epilog = _STATUS
    search.set_defaults(run=run_search)
    _add_data(search.add_argument_group("data").add_argument)
    settings = search.add_argument_group("settings, each with one or more values")

    def add(name: str, default: list[Any], **how: Any) -> None:
        settings.add_argument(name, nargs="+", default=default, **how)

    add("--layers", [(64,), (256, 128)], type=_layers, metavar="N,N,…", help="of hidden units")
    add("--activation", ["relu"], metavar="NAME", help="of the hidden layers")
    add(
        "--normalization", [None], type=_normalization, metavar="NAME",
        help=f"{', '.join(NORMALIZATIONS)} or none",
    )  # fmt: skip
    add("--dropout", [0.0, 0.2], type=_number(0, 1), metavar="RATE", help="after hidden layers")
    add("--l2", [0.0], type=_number(0), metavar="L2", help="penalty on the weights")
    add("--optimizer", ["adam"], metavar="NAME", help=", ".join(OPTIMIZERS))
    add("--learning-rate", [0.001, 0.003, 0.01], type=_positive, metavar="RATE", help="its rate")
    add("--batch-size", [64], type=_count, metavar="N", help="samples in a step")
    add("--epochs", [20], type=_count, metavar="N", help="passes over the training samples")
    one = search.add_argument_group("search").add_argument
    one(
        "--candidates",
        type=_count,
        metavar="N",
        help="try so many of the combinations, drawn at random; without it all",
    )
    one("--folds", type=_folds, default=5, metavar="N", help="of the training part")
    _add_run(one, "fastdnn-search.safetensors", "beside it a .csv of all, and a .png")
    one("--dtype", choices=("float32", "float64"), default="float32", help="of the arithmetic")


def _add_data(add: Add) -> None:
    """Add what to train on."""
    add("--data", metavar="PATH", help=f"{KINDS}; without it scikit-learn's digits")
    add(
        "--target",
        metavar="COLUMN",
        help="a table's label column: name, or number from 0; the last",
    )
    add(
        "--drop",
        type=_names,
        metavar="NAME,NAME,…",
        help="columns of a table to leave out, named as by --target",
    )
    add("--task", choices=("classification", "regression"), help=RULE)


def _add_training(add: Add) -> None:
    """Add how to train."""
    add(
        "--validation-split",
        type=_number(0, 1),
        metavar="SHARE",
        help="share of the training samples to validate on after each epoch: 0, and 0.1 with"
        " --early-stopping; the test samples, a fifth of all, are used once, at the end",
    )
    add("--optimizer", default="adam", metavar="NAME", help=", ".join(OPTIMIZERS))
    add("--learning-rate", type=_positive, metavar="RATE", help="that of the optimizer")
    add("--epochs", type=_count, default=20, metavar="N", help="passes over the training samples")
    add(
        "--early-stopping",
        nargs="?",
        const=PATIENCE,
        type=_count,
        metavar="PATIENCE",
        help="stop after so many epochs without a smaller validation loss, 10 if it is not said,"
        " and take the best epoch's weights; without it all epochs are trained",
    )
    add(
        "--resume",
        action="store_true",
        help="keep the training in a file beside the model, every 30 seconds and when Ctrl-C or"
        " SIGTERM stops it, and go on from that file if it is there; with the same options the"
        " result is that of a training that was never stopped",
    )
    add("--batch-size", type=_count, default=64, metavar="N", help="samples in a step")
    _add_run(add, "fastdnn-model.safetensors", "a .png of the curves is put beside it")


def _add_run(add: Add, output: str, beside: str) -> None:
    """Add what all commands that train take."""
    add("--threads", type=_threads, metavar="N", help="all that the process may use")
    add(
        "--seed", type=int, default=0, metavar="N", help="of the split, the start and the shuffling"
    )
    add("--output", default=output, metavar="PATH", help=f"the model; {beside}")


def _add_bench(bench: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fastdnn bench``."""

    def run(arguments: argparse.Namespace) -> int:
        from .benchmark.command import bench as command  # other commands do not need it

        return command(arguments)

    bench.set_defaults(run=run)
    bench.description = "Time a training step of the same networks with each library, in turn."
    add = bench.add_argument
    add("--cases", metavar="NAME,…", help="networks; all eight take about six minutes")
    add("--contenders", metavar="NAME,…", help="libraries, such as fastdnn,torch; all of them")
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="adam")
    add("--dtype", choices=("float32", "float64"), default="float32", help="float32")
    add("--threads", type=_threads, metavar="N", help="all that the process may use")
    add("--rounds", type=_count, default=5, metavar="N", help="turns of each library; 5")
    add("--format", choices=("text", "markdown", "json"), default="text", help="text")
    add("--output", metavar="PATH", help="write the table here (default: to stdout)")
    add("--plot", metavar="PNG", help="draw a bar chart too; needs matplotlib")


def _count(text: str) -> int:
    """Return a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; want a whole number from 1")
    return value


def _folds(text: str) -> int:
    """Return a number of folds."""
    count = _count(text)
    if count < 2:
        raise argparse.ArgumentTypeError(f"{text!r}; want a whole number from 2")
    return count


def _normalization(text: str) -> str | None:
    """Return the name of a normalization, or None."""
    if text == "none":
        return None
    if text not in NORMALIZATIONS:
        names = ", ".join(NORMALIZATIONS)
        raise argparse.ArgumentTypeError(f"{text!r}; want {names} or none")
    return text


def _threads(text: str) -> int:
    """Return a number of threads, of as many as there may be."""
    count = _count(text)
    most = max(available_cpus(), int(numba.config.NUMBA_NUM_THREADS))
    if count > most:
        raise argparse.ArgumentTypeError(f"{text!r}; want up to {most}, the CPUs of this process")
    return count


def _positive(text: str) -> float:
    """Return a number above 0."""
    value = _number(0)(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r}; want a number above 0")
    return value


def _names(text: str) -> list[str]:
    """``"a,b"`` as ["a", "b"]."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}; want names of columns, as a,b")
    return names


def _number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return a converter to numbers between two bounds."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value < high:
            bound = "" if high == math.inf else f" and below {high}"
            raise argparse.ArgumentTypeError(f"{text!r}; want a number from {low}{bound}")
        return value

    return convert


def _layers(text: str) -> tuple[int, ...]:
    """``"256,128"`` as (256, 128), and ``""`` as ()."""
    if not text.strip():
        return ()
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        units = (0,)
    if min(units) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; want units by layer, as 256,128")
    return units


def _fail(message: object, status: int) -> int:
    """Say in one line why nothing more is done."""
    text = " ".join(str(message).split()) or type(message).__name__
    print(f"fastdnn: error: {text}", file=sys.stderr)
    return status
