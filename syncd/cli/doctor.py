"""`doctor`: what could keep records from arriving, each with a remedy."""

from __future__ import annotations

from typing import Any


def add(commands: Any) -> None:
    """Add the command."""
