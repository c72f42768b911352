"""``fastdnn bench``: what is installed here, side by side."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

import fastdnn
from fastdnn._files import checked_output, replacing
from fastdnn.kernels.base.lookup import lookup
from fastdnn.plots import new_figure

from . import report
from .contenders import CASES, CONTENDERS, Work
from .race import race

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: dict[str, Callable[[report.Result], str]] = {
    "text": report.text,
    "markdown": report.markdown,
    "json": lambda result: json.dumps(result, indent=1, ensure_ascii=False) + "\n",
}


def bench(arguments: Namespace) -> int:
    """Race, and say how it ended."""
    cases = _names("--cases", arguments.cases, CASES)
    contenders = _names("--contenders", arguments.contenders, CONTENDERS)
    output = None if arguments.output is None else checked_output(arguments.output, "--output")
    picture = None if arguments.plot is None else checked_output(arguments.plot, "--plot")
    figure = None if picture is None else _figure(picture, len(cases))
    threads = arguments.threads or fastdnn.get_num_threads()
    settings = {
        "optimizer": arguments.optimizer,
        "dtype": arguments.dtype,
        "threads": threads,
        "rounds": arguments.rounds,
    }
    lanes = {}
    turns = len(cases) * len(contenders) * (1 + arguments.rounds)
    with tqdm(total=turns, unit=" turns", file=sys.stderr, leave=False) as bar:
        for case in cases:
            bar.set_description(case)
            work = Work(case, arguments.optimizer, arguments.dtype, threads)

            def advance(name: str, case: str = case) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update()

            lanes[case] = race(work, contenders, arguments.rounds, progress=advance)
    result = report.result_of(settings, lanes)
    written = FORMATS[arguments.format](result)
    if output is None:
        sys.stdout.write(written)
    else:
        with replacing(output) as temporary:
            temporary.write_text(written, encoding="utf-8")
    if figure is not None and picture is not None:
        report.plot(result, figure, picture)
    return 0


def _figure(picture: Path, n_cases: int) -> Figure:
    """Return an empty figure, which matplotlib can write by the picture's name."""
    figure = new_figure((2.0 + 1.5 * n_cases, 4.5))
    suffixes = [f".{kind}" for kind in figure.canvas.get_supported_filetypes()]
    if picture.suffix.lower() not in suffixes:
        raise ValueError(f"--plot: want a name that ends in {', '.join(suffixes)}, got {picture}")
    return figure


def _names(option: str, given: str | None, table: Mapping[str, object]) -> list[str]:
    """Return the names in a list with commas, each looked up; all of them where there is none."""
    if given is None:
        return list(table)
    names = [name.strip() for name in given.split(",")]
    for name in names:
        lookup(option, name, table)
    return names
