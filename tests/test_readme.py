"""Every code block of README.md runs."""

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
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (README[: match.start()].count("\n") + 1, match[1], match[2])
    for match in FENCED.finditer(README)
]
PYTHON = [pytest.param(text, id=f"line{line}") for line, kind, text in BLOCKS if kind == "python"]
COMMANDS = [
    command.strip()
    for _, kind, text in BLOCKS
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
    "ruff check",
    "ruff format",
    "mypy",
    ".ci/run",
)
FASHION_MNIST = [command for command in COMMANDS if "fashion-mnist --" in command]
TRAINING = [c for c in COMMANDS if c.startswith("fastdnn ") and c not in FASHION_MNIST]


def test_every_block_is_run() -> None:
    assert {kind for _, kind, _ in BLOCKS} == {"python", "bash"}
    rest = FENCED.sub("", README)
    assert not re.findall(r"^\s*(?:```|~~~|    |\t).*", rest, re.MULTILINE), "a block unseen"
    assert not [
        c for c in COMMANDS if c not in TRAINING + FASHION_MNIST and not c.startswith(SET_UP)
    ]


@pytest.mark.parametrize("text", PYTHON)
def test_python_block(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})


def test_commands_in_turn(tmp_path: Path) -> None:
    """A reader types them in one folder, one after the other."""
    source = str(Path(fastdnn.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    for command in TRAINING:
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
    assert COMMANDS[:4] == [
        "pip install .",
        "fastdnn train",
        "pip install '.[test]'",
        "python -m pytest",
    ]
