"""Where a command prints, as a test reads it."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console


class FakeConsole:
    """Keeps what is printed. width: a terminal's, 0 for none."""

    def __init__(self, out: io.StringIO, width: int = 0) -> None:
        self._out = out
        self.is_terminal = width > 0
        self.drawing = Console(file=out, force_terminal=True, width=width, color_system=None)

    def print(self, words: str, /, **how: Any) -> None:
        """A line of its own."""
        self._out.write(f"{words}\n")
