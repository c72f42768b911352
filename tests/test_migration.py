"""Both sides of each pair of docs/migration.md run, and give the same numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.migration import CHAPTERS, MODULES, TEXT, imported

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAIR = re.compile(
    r"^<table>\n<tr><th>(?P<library>[\w-]+)</th><th>fastdnn</th></tr>\n<tr><td>\n\n"
    r"```python\n(?P<theirs>[^`]*)```\n\n</td><td>\n\n"
    r"```python\n(?P<ours>[^`]*)```\n\n</td></tr>\n</table>\n",
    re.MULTILINE,
)
EQUAL = re.compile(r"\nEqual: ((?:`\w+`(?:, )?)+)(?:, to (\d+e-\d+))?\.")
# Relative, in norm: what rounding makes of some hundred steps, in float64 and in float32.
TOLERANCE = {"scikit-learn": 1e-10, "Keras": 1e-5, "PyTorch": 1e-5}
COLUMNS = 56  # two of these stand beside each other


class Pair(NamedTuple):
    """Code of a library and of fastdnn, and the names of what both give."""

    library: str
    theirs: str
    ours: str
    equal: tuple[str, ...]
    tolerance: float


class Part(NamedTuple):
    """What a chapter holds: blocks that come before each pair, the pairs, and fastdnn's own."""

    library: str
    data: str
    both: Pair | None  # run before all other pairs of the part
    pairs: dict[str, Pair]
    alone: dict[str, str]


def read(text: str) -> Pair | None:
    """The pair of a section."""
    found = PAIR.search(text)
    if found is None:
        return None
    library, theirs, ours = found.group("library", "theirs", "ours")
    equal = EQUAL.match(text, found.end())
    names = () if equal is None else tuple(re.findall(r"`(\w+)`", equal[1]))
    tolerance = TOLERANCE[library] if equal is None or equal[2] is None else float(equal[2])
    return Pair(library, theirs, ours, names, tolerance)


def part_of(text: str) -> Part:
    """A chapter's blocks by the headings that they stand under."""
    head, *sections = re.split(r"^### ", text, flags=re.MULTILINE)
    library = head.splitlines()[0].removeprefix("From ")
    both, pairs, alone = None, {}, {}
    for section in sections:
        title, pair = section.splitlines()[0], read(section)
        if pair is None:
            blocks = FENCE.findall(section)
            alone |= {f"{title} {i}".removesuffix(" 0"): block for i, block in enumerate(blocks)}
        elif not pair.equal:
            assert both is None
            both = pair
        else:
            pairs[title] = pair
    (data,) = FENCE.findall(head)
    return Part(library, data, both, pairs, alone)


PARTS = [part_of(text) for text in CHAPTERS.values()]
PAIRS = [
    pytest.param(
        part, pair, id=f"{part.library}: {title}", marks=pytest.mark.xdist_group(part.library)
    )
    for part in PARTS
    for title, pair in part.pairs.items()
]
ALONE = [
    pytest.param(part, code, id=f"{part.library}: {title}")
    for part in PARTS
    for title, code in part.alone.items()
]


def run(*blocks: str) -> dict[str, Any]:
    """The names after some blocks, one after the other."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "migration.md", "exec"), names)
    return names


def compare(theirs: dict[str, Any], ours: dict[str, Any], pair: Pair) -> None:
    """Fail if what both give differs: numbers by more than the tolerance, anything else at all."""
    for name in pair.equal:
        want, got = theirs[name], ours[name]
        if np.asarray(want).dtype.kind != "f":
            assert np.array_equal(want, got), name
            continue
        want, got = np.asarray(want, np.float64), np.asarray(got, np.float64)
        assert want.shape == got.shape, name
        difference = float(np.linalg.norm(got - want) / np.linalg.norm(want))
        assert difference <= pair.tolerance, f"{name} differs by {difference:.1e}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to write files to."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("part", "pair"), PAIRS)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pair(part: Part, pair: Pair) -> None:
    before = [part.data] if part.both is None else [part.data, part.both.ours]
    ours = run(*before, pair.ours)
    assert set(pair.equal) <= set(ours)
    imported(pair.library)
    before = [part.data] if part.both is None else [part.data, part.both.theirs]
    compare(run(*before, pair.theirs), ours, pair)


@pytest.mark.parametrize(("part", "code"), ALONE)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fastdnn_alone(part: Part, code: str) -> None:
    run(part.data, *([] if part.both is None else [part.both.ours]), code)


def test_every_block_is_run() -> None:
    read = [part.data for part in PARTS]
    for part in PARTS:
        both = [] if part.both is None else [part.both]
        read += [code for pair in [*part.pairs.values(), *both] for code in pair[1:3]]
        read += part.alone.values()
    assert sorted(read) == sorted(FENCE.findall(TEXT))
    assert TEXT.count("```") == 2 * len(read)
    assert TEXT.count("\nEqual: ") == len(PAIRS)
    assert [part.library for part in PARTS] == list(MODULES)


@pytest.mark.parametrize(("part", "pair"), PAIRS)
def test_both_sides_fit_beside_each_other(part: Part, pair: Pair) -> None:
    assert pair.library == part.library
    assert "fastdnn" not in pair.theirs
    assert "sklearn.neural_network" not in pair.ours
    assert max(map(len, (pair.theirs + pair.ours).splitlines())) <= COLUMNS


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (1.0, 1.0 + 1e-8),
        ([1.0, 2.0], [1.0, 2.1]),
        (np.ones(2), np.ones((2, 1))),
        ("a", "b"),
        (3, 4),
    ],
)
def test_a_difference_is_noticed(want: object, got: object) -> None:
    pair = Pair("scikit-learn", "", "", ("value",), TOLERANCE["scikit-learn"])
    compare({"value": want}, {"value": want}, pair)
    with pytest.raises(AssertionError):
        compare({"value": want}, {"value": got}, pair)
