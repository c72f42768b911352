"""Writes the table of ``speed.json`` into README.md; with ``--check`` says whether it is there.

    fastdnn bench --format json --output asv_bench/speed.json
    python asv_bench/readme_table.py [--check]

Exit status: 0 done, 1 README.md has another table than the file.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fastdnn._files import replacing
from fastdnn.benchmark import report

SPEED = Path(__file__).with_name("speed.json")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- speed: asv_bench/readme_table.py writes this -->", "<!-- speed: end -->"
PART = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)


def filled(text: str, result: report.Result) -> str:
    """Give the text with the result's table between the markers.

    Parameters
    ----------
    text : str
        A README.
    result : dict
        What ``fastdnn bench --format json`` writes.

    Raises
    ------
    ValueError
        If the text does not have both markers, each on a line of its own.
    """
    if len(PART.findall(text)) != 1:
        raise ValueError(f"want the lines {BEGIN!r} and {END!r} in README.md")
    return PART.sub(lambda _: report.markdown(result), text)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table, or check it; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write speed.json's table into README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it differs")
    options = parser.parse_args(argv)
    old = README.read_text(encoding="utf-8")
    new = filled(old, json.loads(SPEED.read_text(encoding="utf-8")))
    if options.check:
        if new != old:
            print("README.md differs: python asv_bench/readme_table.py", file=sys.stderr)
        return int(new != old)
    with replacing(README) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
