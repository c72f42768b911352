"""What is shown on stderr while the kernels are compiled: once on a machine, for many seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from ._streams import standard

SOON = 1.0  # seconds: what is over by then needs no word
REDRAWN = 0.5  # seconds from one drawing of the bar to the next
KNOWN = 0.03  # of the work is done before a guess of what is left makes sense
TITLE = "fastdnn: first use, compiling"
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass
class _Progress:
    """How far the compilation is; `done` and `total` count work as `kernels.compiling` does."""

    total: float
    done: float = 0.0
    start: float = field(default_factory=perf_counter)

    def tell(self, work: float) -> None:
        """Count more work as done; a part that was not foreseen cannot make it more than all."""
        self.done = min(self.done + work, self.total)

    def line(self) -> str:
        """Return what a file is told."""
        share, seconds = self.done / self.total, perf_counter() - self.start
        left = f", about {seconds * (1 - share) / share:.0f} s left" if share > KNOWN else ""
        return f"{TITLE}: {share:.0%} done{left}"


@contextmanager
def show(total: float) -> Iterator[Callable[[float], None]]:
    """Show how far `total` work is: on a terminal by a bar, in a file by a few lines.

    Yields
    ------
    callable
        Takes the work of each part that is done.
    """
    progress, ended = _Progress(total), threading.Event()
    # numba keeps this thread busy, from part to part
    shown = threading.Thread(target=_follow, args=(progress, ended), daemon=True)
    shown.start()
    try:
        yield progress.tell
    finally:
        ended.set()
        shown.join()


def _follow(progress: _Progress, ended: threading.Event) -> None:
    if ended.wait(SOON):
        return
    stream = standard("stderr")
    if stream.isatty():
        _draw(progress, ended, stream)
        return
    pause = SOON
    while True:
        print(progress.line(), file=stream, flush=True)
        pause *= 2  # or an hour on a slow machine would fill the file
        if ended.wait(pause):
            break
    seconds = perf_counter() - progress.start
    print(f"{TITLE}: done in {seconds:.0f} s", file=stream, flush=True)


def _draw(progress: _Progress, ended: threading.Event, stream: Any) -> None:
    from tqdm import tqdm

    bar = tqdm(
        total=progress.total, desc=TITLE, bar_format=BAR, file=stream, position=0, leave=False,
        dynamic_ncols=True,
    )  # fmt: skip
    bar.start_t -= perf_counter() - progress.start
    while True:
        bar.n = progress.done
        bar.refresh()
        if ended.wait(REDRAWN):
            break
    bar.close()
