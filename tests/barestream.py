"""What some programs put in the place of ``sys.stdout``."""

from __future__ import annotations


class Bare:
    """A stream with two methods and nothing else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass
