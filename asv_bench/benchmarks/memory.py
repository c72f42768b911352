"""Memory of training, in a fresh process."""

from __future__ import annotations

from by_path import comparison
from labels import labelled

contenders = comparison("contenders")
STEPS = 1000
# VmHWM, not getrusage: what that calls the peak counts the process that started this one
TRAIN = """
import sys
from pathlib import Path
import contenders

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

case, more = sys.argv[1], int(sys.argv[2])
work = contenders.Work(case, samples=4 * contenders.CASES[case].batch)
epoch = contenders.CONTENDERS["fastdnn"](work).epoch
for _ in range(10):
    epoch()
before = peak()
for _ in range(more // work.steps):
    epoch()
print(peak() - before if more else before)
"""


class Peak:
    """The largest resident set of a process that trains, data, Python and libraries included."""

    params = (["mnist_m", "large"],)
    param_names = ("case",)
    timeout = 300

    @labelled("peak memory of training", "MB")
    def track_peak(self, case: str) -> float:
        """After 40 steps."""
        from fresh import number

        return number(TRAIN, case, "0")


class Growth:
    """What is never given back."""

    params = (["digits", "mnist_m"],)
    param_names = ("case",)
    timeout = 300

    @labelled(f"growth of the peak memory in {STEPS} more steps", "MB")
    def track_growth(self, case: str) -> float:
        """Of the peak."""
        from fresh import number

        return number(TRAIN, case, str(STEPS))
