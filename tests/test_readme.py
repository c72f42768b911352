"""README.md is short; every code block of it and of docs/ runs, and every link is followed.

The blocks of docs/migration.md have tests of their own, see test_migration.py.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fastdnn
from fastdnn.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
CONTRACT = "kernels/README.md"
KERNELS = Path(fastdnn.kernels.__file__).parent
NOTES = [name for name in DOCUMENTS if name.startswith("docs/measurements/")]
MAX_LINES = 150  # of README.md
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (name, text[: match.start()].count("\n") + 1, match[1], match[2])
    for name, text in DOCUMENTS.items()
    if name != "docs/migration.md"
    for match in FENCED.finditer(text)
]
PYTHON = [
    pytest.param(name, text, id=f"{name}-line{line}")
    for name, line, kind, text in BLOCKS
    if kind == "python"
]
COMMANDS = [
    (name, command.strip())
    for name, _, kind, text in BLOCKS
    if kind == "bash"
    for line in text.replace("\\\n", " ").splitlines()
    for command in line.split("&&")
    if command.strip()
]
# Commands that set up a machine or check a clone: .ci/run does what they say.
SET_UP = (
    "pip install",
    "python -m venv",
    "source .venv/bin/activate",
    "apt-get install",
    "pre-commit install",
    "python -m pytest",
    "docker ",
    "ruff check",
    "ruff format",
    "mypy",
    ".ci/run",
)
FASHION_MNIST = [command for _, command in COMMANDS if "fashion-mnist --" in command]
TRAINING: dict[str, list[str]] = {}
for document, command in COMMANDS:
    if command.startswith("fastdnn ") and command not in FASHION_MNIST:
        TRAINING.setdefault(document, []).append(command)


def test_readme_is_a_door() -> None:
    assert len(DOCUMENTS["README.md"].splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "docs/migration.md"])
def test_no_block_is_unseen(name: str) -> None:
    rest = FENCED.sub("", DOCUMENTS[name])
    assert not re.findall(r"^\s*(?:```|~~~|    |\t).*", rest, re.MULTILINE)


def test_every_block_is_run() -> None:
    assert {kind for _, _, kind, _ in BLOCKS} == {"python", "bash"}
    run = {*FASHION_MNIST, *(command for found in TRAINING.values() for command in found)}
    assert not [c for _, c in COMMANDS if c not in run and not c.startswith(SET_UP)]


@pytest.mark.parametrize(("name", "text"), PYTHON)
def test_python_block(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, name, "exec"), {"__name__": "__main__"})


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*DOCUMENTS, CONTRACT])
def test_every_link_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", text)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ROOT / name if not path else (ROOT / name).parent / path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_kernels_contract_is_short_and_names_what_there_is() -> None:
    """Figures are the notes'; what is named exists, and so do the notes that sources name."""
    text = (ROOT / CONTRACT).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert not re.findall(r"of the time|\d (?:us|ms|%|times|seconds)\b", text)
    for module, name in re.findall(r"`(\w+)\.(\w+)`", text):
        if name not in ("py", "md"):
            files = KERNELS.glob(f"{module}/{name}.py"), KERNELS.rglob(f"{module}.py")
            texts = [path.read_text(encoding="utf-8") for path in files[1]]
            is_there = any(re.search(rf"\b{name}\b", text) for text in texts)
            assert is_there or [*files[0]], f"{module}.{name}"
    for path in KERNELS.rglob("*.py"):
        for note in re.findall(r"docs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / note).is_file(), f"{path.name}: {note}"


@pytest.mark.parametrize("name", NOTES)
def test_a_measurement_says_how_and_what_for(name: str) -> None:
    assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d-[a-z0-9-]+\.md", Path(name).name)
    headings = re.findall(r"^## (.*)", DOCUMENTS[name], re.MULTILINE)
    assert headings == ["Command", "Machine", "Result", "Decision"]
    assert f"](measurements/{Path(name).name})" in DOCUMENTS["docs/speed.md"]


@pytest.mark.parametrize("name", TRAINING)
def test_commands_in_turn(name: str, tmp_path: Path) -> None:
    """A reader types them in one folder, one after the other."""
    source = str(Path(fastdnn.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    for command in TRAINING[name]:
        run = subprocess.run(
            [sys.executable, "-m", *shlex.split(command, comments=True)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"


def test_fashion_mnist_command(fashion_mnist: Path, tmp_path: Path) -> None:
    """One epoch of it: the command as it stands trains for minutes."""
    (command,) = FASHION_MNIST
    arguments = [
        str(fashion_mnist) if word == "/usr/share/datasets/fashion-mnist" else word
        for word in shlex.split(command)[1:]
    ]
    output = tmp_path / "model.safetensors"
    assert main([*arguments, "--epochs", "1", "--output", str(output)]) == 0
    assert output.is_file()


def test_the_two_commands_come_first() -> None:
    assert [command for name, command in COMMANDS if name == "README.md"][:4] == [
        "pip install .",
        "fastdnn train",
        "pip install '.[test]'",
        "python -m pytest",
    ]
