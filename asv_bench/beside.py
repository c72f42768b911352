"""A race of fastdnn with other libraries, as asv shows it.

asv takes every public class of its own modules for a benchmark, so what they share is here.
"""

from __future__ import annotations

import sys

from by_path import comparison
from labels import labelled

contenders, racing = comparison("contenders"), comparison("race")
LIBRARIES = list(contenders.CONTENDERS)
ROUNDS = 3
Times = dict[str, dict[str, float]]  # microseconds per step by case and library


def compare(cases: list[str], libraries: list[str] = LIBRARIES, rounds: int = ROUNDS) -> Times:
    """Race each case; says of each library that is not there why."""
    times: Times = {}
    for case in cases:
        work = contenders.Work(case)
        lanes = racing.race(work, libraries, rounds)
        for name, lane in lanes.items():
            if lane.skipped is not None:
                print(f"{case}, {name}: n/a, {lane.skipped}", file=sys.stderr)
        times[case] = {
            name: 1e6 * lane.best / work.steps
            for name, lane in lanes.items()
            if lane.skipped is None
        }
    return times


class Step:
    """A training step of each library."""

    param_names = ("case", "library")

    def setup(self, times: Times, case: str, library: str) -> None:
        """Leave out what did not run."""
        if library not in times[case]:
            raise NotImplementedError(f"{library} did not run")

    @labelled("training step beside other libraries", "us")
    def track_step(self, times: Times, case: str, library: str) -> float:
        """The best of the rounds."""
        return times[case][library]


class Ratio:
    """How long fastdnn takes, the fastest other library taken as 1."""

    param_names = ("case",)

    def setup(self, times: Times, case: str) -> None:
        """Leave out what has nothing to compare."""
        if "fastdnn" not in times[case] or len(times[case]) < 2:
            raise NotImplementedError("there are no two to compare")

    @labelled("training step beside the fastest other library's", "times as long")
    def track_ratio(self, times: Times, case: str) -> float:
        """Of the best of the rounds."""
        ours, *others = (times[case][name] for name in LIBRARIES if name in times[case])
        return ours / min(others)
