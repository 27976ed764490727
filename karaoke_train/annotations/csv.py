"""Notes as a table: `onset,offset,pitch`, one note per line, and back.

onset and offset are seconds from the start of the audio, pitch is a MIDI number with fractions
allowed. A header is optional; with one the columns may come in any order under the names
`onset` or `start`, `offset` or `end`, `pitch` or `midi`, and further columns are ignored.
Blank lines and lines that begin with `#` are skipped.
"""

from __future__ import annotations

import csv
from math import isfinite
from typing import TYPE_CHECKING

from karaoke_train.annotations.base import AnnotationError, Entry, checked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from karaoke_train.notes import Note

_NAMES = (("onset", "start"), ("offset", "end"), ("pitch", "midi"))


def parse(data: bytes, path: Path) -> tuple[Note, ...]:
    """The notes of a table. `path` is for the messages. Raises AnnotationError."""
    columns = (0, 1, 2)
    entries: list[Entry] = []
    first = True
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if first and not _is_number(cells[0]):
            columns = _columns(cells, number, path)
        else:
            entries.append(_entry(cells, columns, number, path))
        first = False
    return checked(entries, path)


def render(notes: Sequence[Note]) -> str:
    """The table of `notes`, times to the microsecond."""
    rows = [f"{n.onset:.6f},{n.offset:.6f},{n.pitch:.4f}\n" for n in notes]
    return "onset,offset,pitch\n" + "".join(rows)


def _columns(cells: list[str], number: int, path: Path) -> tuple[int, int, int]:
    names = [cell.lower() for cell in cells]
    found = [next((names.index(n) for n in pair if n in names), None) for pair in _NAMES]
    onset, offset, pitch = found
    if onset is None or offset is None or pitch is None:
        raise AnnotationError(
            path,
            f"line {number}",
            f"the header {','.join(cells)!r} lacks one of onset,offset,pitch",
        )
    return onset, offset, pitch


def _entry(cells: list[str], columns: tuple[int, int, int], number: int, path: Path) -> Entry:
    where = f"line {number}"
    if len(cells) <= max(columns):
        raise AnnotationError(
            path, where, f"{','.join(cells)!r} is not onset,offset,pitch separated by commas"
        )
    values = [_number(cells[column], where, path) for column in columns]
    return Entry(where, *values)


def _is_number(cell: str) -> bool:
    try:
        return isfinite(float(cell))
    except ValueError:
        return False


def _number(cell: str, where: str, path: Path) -> float:
    if not _is_number(cell):
        raise AnnotationError(path, where, f"{cell!r} is not a number; write it like 1.25")
    return float(cell)
