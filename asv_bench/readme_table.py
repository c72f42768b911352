"""Writes the tables of ``speed/`` into README.md; with ``--check`` says whether they are there.

    fastdnn bench --format json --output asv_bench/speed/avx2.json
    python asv_bench/readme_table.py [--check]

There is a file for each kind of machine. Exit status: 0 done, 1 README.md has other tables.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fastdnn._files import replacing
from fastdnn.cli.benchmark import report

SPEED = Path(__file__).with_name("speed")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- speed: asv_bench/readme_table.py writes this -->", "<!-- speed: end -->"
PART = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)


def filled(text: str, results: Sequence[report.Result]) -> str:
    """Give the text with the results' tables between the markers.

    Parameters
    ----------
    text : str
        A README.
    results : sequence of dict
        What ``fastdnn bench --format json`` writes, on each machine.

    Raises
    ------
    ValueError
        If the text does not have both markers, each on a line of its own.
    """
    if len(PART.findall(text)) != 1:
        raise ValueError(f"want the lines {BEGIN!r} and {END!r} in README.md")
    tables = "\n".join(map(report.markdown, results))
    return PART.sub(lambda _: tables, text)


def recorded() -> list[report.Result]:
    """Read the results of all machines."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(SPEED.glob("*.json"))]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the tables of speed/ into README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if they differ")
    options = parser.parse_args(argv)
    old = README.read_text(encoding="utf-8")
    new = filled(old, recorded())
    if options.check:
        if new != old:
            print("README.md differs: python asv_bench/readme_table.py", file=sys.stderr)
        return int(new != old)
    with replacing(README) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
